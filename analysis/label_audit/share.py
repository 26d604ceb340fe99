"""How many labels are wrong: what a check, or a review by eye, allows to say, and no more.

Let q be the share of wrong labels, e confident learning's estimate, s its response to wrong labels and
b what it counts of hard images whose labels are right: e = b + s q. Labels flipped on purpose tell s,
because b stays; nothing in the labels and the features tells b from s q. Since b is at least 0, q is
at most e / s, which is a bound and no estimate. With flips of a share f on top, of which a share q hits
labels that were wrong already, e rises by at most s f (1 − q); so from the slope m = s (1 − q) that is
seen, q ≤ e / (m + e).

The upper limit takes e at the upper end of its Clopper-Pearson interval, and m at the lower end of its
own, of the kind of flips that is found worst: two errors of 2.5% each. The lower limit is 0. It rests on one
assumption: that the real errors are counted at least as well as those flips. Errors that sit on the
very images that look like another class are not.

A review of a random sample by eye needs no such assumption, and gives both limits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from analysis.label_audit.confident_learning import Audit
from analysis.label_audit.flips import KINDS, Check, Kind
from analysis.label_audit.review import Verdict
from analysis.results.schema import rows_where

ALPHA = 0.05
"""Of the whole interval."""
LEAST_RESPONSE = 0.2
"""Slope, lower end, below which an estimate hardly responds and bounds nothing."""


@dataclass(frozen=True, kw_only=True)
class Response:
    """How much of a share of flipped labels the estimate rises by."""

    kind: Kind
    slope: float
    """Least squares through the estimate at 0 added; 1 counts each flipped label once."""
    low: float
    """Lower end of its one-sided 97.5% interval, over repeats."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """Interval of the share of wrong labels, 95%, 0–1."""

    low: float
    high: float | None
    """None: no limit can be given."""
    estimate: float | None = None
    """The share, if a review of both parts gives one."""
    reviewed: int = 0
    """Labels that were looked at."""
    responses: tuple[Response, ...] = ()


def responses(found: Audit, check: Check) -> tuple[Response, ...]:
    """The response to each kind of flips."""
    result: list[Response] = []
    for kind in KINDS:
        rows = rows_where(check.frame, check.frame["kind"] == kind)
        if not len(rows):
            continue
        added = rows["added"].to_numpy()
        risen = rows["estimate"].to_numpy() - found.estimate
        slope = float(added @ risen / (added @ added))
        error = risen - slope * added
        # of each repeat, by flips and folds; the estimate at 0 added is a mean over draws of the folds
        variance = error @ error / max(1, len(rows) - 1)
        of_start = (added.sum() / (added @ added)) ** 2 / len(found.estimates)
        spread = float(np.sqrt(variance * (1 / (added @ added) + of_start)))
        low = slope - float(stats.t.ppf(1 - ALPHA / 2, max(1, len(rows) - 1))) * spread
        result.append(Response(kind=kind, slope=slope, low=low))
    return tuple(result)


def from_check(found: Audit, check: Check) -> Share:
    """The upper limit that the response to flips allows."""
    measured = responses(found, check)
    worst = min(response.low for response in measured)
    if worst < LEAST_RESPONSE:
        return Share(low=0.0, high=None, responses=measured)
    n = len(found.labels)
    seen = clopper_pearson(round(found.estimate * n), n)[1]
    return Share(low=0.0, high=seen / (worst + seen), responses=measured)


def from_review(suspected: NDArray[np.bool_], verdicts: Mapping[int, Verdict]) -> Share:
    """Both limits from labels that somebody looked at, drawn at random among suspected and others.

    The limits are sums of Clopper-Pearson limits of both parts, at 97.5% each. A label of which the
    reviewer is unsure counts as right for the lower limit, as wrong for the upper one, and half in the
    estimate.

    Parameters
    ----------
    suspected
        (n,): of the audit that the sample was drawn from.
    verdicts
        Index of an image → what was said of its label.
    """
    low = high = estimate = 0.0
    for part in (True, False):
        weight = float((suspected == part).mean())
        said = [verdict for index, verdict in verdicts.items() if suspected[index] == part]
        wrong, unsure = said.count("wrong"), said.count("unsure")
        low += weight * clopper_pearson(wrong, len(said), ALPHA / 2)[0]
        high += weight * clopper_pearson(wrong + unsure, len(said), ALPHA / 2)[1]
        if weight:
            estimate += weight * (wrong + unsure / 2) / len(said) if said else float("nan")
    return Share(
        low=low,
        high=high,
        estimate=None if np.isnan(estimate) else estimate,
        reviewed=len(verdicts),
    )


def clopper_pearson(found: int, n: int, alpha: float = ALPHA) -> tuple[float, float]:
    """Exact two-sided interval of a share; (0, 1) of no images."""
    if n == 0:
        return 0.0, 1.0
    low = stats.beta.ppf(alpha / 2, found, n - found + 1) if found else 0.0
    high = stats.beta.ppf(1 - alpha / 2, found + 1, n - found) if found < n else 1.0
    return float(low), float(high)
