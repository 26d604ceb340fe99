"""What a claim of the paper is, and the rules that lead from an estimate to a verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from . import words
from .crossing import BELOW, Place
from .frames import BASELINE_FRACTION, Results
from .statistics import Estimate

Verdict = Literal["holds", "does not hold", "cannot be told here"]
HOLDS: Verdict = "holds"
FAILS: Verdict = "does not hold"
UNKNOWN: Verdict = "cannot be told here"

TIMING_MARGIN = 0.1
"""Ours: with one seed, times must differ by a tenth to be told apart; trials that share a
machine change each other's times by as much."""
ABOUT = 0.1
"""Ours: "about 50 %" of the labels allows for 60 %."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim of the paper and what the results say to it."""

    claim: str
    verdict: Verdict
    ours: str
    paper: str
    why: str


def verdict_on_difference(difference: Estimate) -> Verdict:
    """For a claim that something is greater: the interval lies above 0, below 0, or neither."""
    return {1: HOLDS, -1: FAILS, 0: UNKNOWN, None: UNKNOWN}[difference.sign]


def verdict_on_time(share: Estimate) -> Verdict:
    """For a claim that something takes less time: `share` is its time over the other's.

    With an interval, this must lie below 1 (above: does not hold). Without, the share must be
    below 1 by `TIMING_MARGIN` (above by as much: does not hold).
    """
    low, high = share.low, share.high
    if low is None or high is None:
        low, high = share.value * (1 - TIMING_MARGIN), share.value / (1 - TIMING_MARGIN)
    return HOLDS if high < 1 else FAILS if low > 1 else UNKNOWN


def verdict_on_fraction(place: Place, claimed: float) -> Verdict:
    """For the claim that about `claimed` of the labels suffice to match the baseline.

    It holds where the crossing's interval ends at `claimed` and `ABOUT` or before, and does not
    hold where it starts beyond. Without an interval it cannot be told.
    """
    if place.low is None or place.high is None:
        return UNKNOWN
    most = claimed + ABOUT
    last = place.tested[0] if place.high == BELOW else place.high
    return HOLDS if last <= most else FAILS if place.low > most else UNKNOWN


def verdict_on_epochs(
    more: Estimate, *, longer_cut_short: bool, shorter_cut_short: bool
) -> Verdict:
    """For the claim that one trains for more epochs before the stopper ends it.

    Parameters
    ----------
    more
        Epochs of the one claimed to train longer, less those of the other.
    longer_cut_short, shorter_cut_short
        A trial ended at the epoch limit instead: its epochs are a lower bound, so they can
        speak for "more" but not for "fewer".
    """
    verdict = verdict_on_difference(more)
    if (verdict == HOLDS and shorter_cut_short) or (verdict == FAILS and longer_cut_short):
        return UNKNOWN
    return verdict


def absent(results: Results, init: str, fraction: float) -> str | None:
    """Why a cell has no complete trial; None where it has one."""
    if len(results.of(init, fraction)):
        return None
    cell = f"{init} at {words.fraction(fraction)}"
    trials = results.missing
    trials = trials[(trials["init"] == init) & np.isclose(trials["fraction"], fraction)]
    if trials.empty:
        return f"the grid has no trial {cell}"
    return f"no trial {cell} is complete ({words.listed(sorted(set(trials['status'])))})"


def both_absent(results: Results) -> str | None:
    """Why pre-trained and scratch on all labels cannot be compared; None where they can."""
    reasons = [absent(results, init, BASELINE_FRACTION) for init in ("pretrained", "scratch")]
    return "; ".join(filter(None, reasons)) or None


def unknown(claim: str, published: str, why: str) -> Claim:
    """A claim that cannot be told here, and why."""
    return Claim(claim=claim, verdict=UNKNOWN, ours=words.NONE, paper=published, why=why)
