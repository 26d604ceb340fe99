"""The pre-trained trials against the baseline, and at equal labels: the answer in numbers.

Where several fractions are compared, "more accurate at some of them" is a statement about all:
with five fractions and no difference, single 95% intervals would find one in 14% of sweeps. So
the fractions have simultaneous intervals, all of which cover their true values together in 95% of
sweeps: half their width, in standard errors, is a quantile (`JOINT`, `JOINT_POOLED`) of the largest
|t| of the differences' joint draws. One fraction alone has a single interval.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from analysis.results.schema import Results, records
from analysis.stats.bootstrap import RESAMPLES, draw
from analysis.stats.estimates import LEVEL, Estimate, accuracy_difference, student
from analysis.stats.label_efficiency import ROUNDING, isotonic_fit
from analysis.stats.seed_predictions import CellRuns, cell_runs
from analysis.stats.seed_variances import OWN_VARIANCE, seed_pools
from analysis.stats.sequential import Looks, looks_of

COLUMNS = (
    "fraction",
    "n_labels",
    "pretrained",
    "scratch",
    "difference",
    "low",
    "high",
    "p",
    "sign",
    "n_pretrained",
    "n_scratch",
    "how",
    "estimate",
    "single",
)
"""``low`` to ``sign`` and ``how`` are those of ``estimate``, whose interval is one of several
simultaneous ones if several fractions are compared; ``single`` is the same difference with an
interval of its own."""

JOINT, JOINT_POOLED = 0.95, 0.98
"""Quantiles of the largest |t|: if each cell has a variance between seeds of its own, and if some share
one (`seed_variances`). Ours: of simulated sweeps without a difference, 5% to 6% are clear with five seeds or
more and own variances; with three seeds and shared ones 2% to 5%, or 8% if seeds differ four times more
with the fewest labels than with the most (`docs/statistics/clear_without_difference.md`)."""
Pair = tuple[CellRuns, CellRuns]
"""Pre-trained and scratch."""


@dataclass(frozen=True, kw_only=True)
class Crossing:
    """Which of the fractions tested reach the baseline."""

    fraction: float | None
    """The smallest fraction tested at which its fitted accuracy is the baseline's or more."""
    below: tuple[float, ...] = ()
    """Fractions whose interval lies wholly below the baseline."""
    level: tuple[float, ...] = ()
    """Fractions whose interval includes no difference."""
    above: tuple[float, ...] = ()
    """Fractions whose interval lies wholly above the baseline."""
    without: tuple[float, ...] = ()
    """Fractions without an interval between the methods, as with one seed each."""

    @property
    def why_none(self) -> str:
        """Why there is no such fraction."""
        tested = self.below or self.level or self.above or self.without
        return "not reached at any fraction tested" if tested else "not tested"


def against_baseline(results: Results) -> pd.DataFrame:
    """Every pre-trained cell against scratch on all labels; empty if one side is missing."""
    baseline = cell_runs(results, "scratch", results.baseline_fraction)
    return _compared(results, _pairs(results, lambda _: baseline))


def at_equal_labels(results: Results) -> pd.DataFrame:
    """Every pre-trained cell against scratch at the same fraction, if both are complete."""
    return _compared(results, pairs_at_equal_labels(results))


def pairs_at_equal_labels(results: Results) -> list[Pair]:
    """Every pre-trained cell with scratch at the same fraction, by ascending fraction."""
    return _pairs(results, lambda fraction: cell_runs(results, "scratch", fraction))


def _pairs(results: Results, other: Callable[[float], CellRuns | None]) -> list[Pair]:
    pairs: list[Pair] = []
    tested = (row for row in records(results.complete) if row["init"] == "pretrained")
    for fraction in sorted({float(row["fraction"]) for row in tested}):
        pretrained, scratch = cell_runs(results, "pretrained", fraction), other(fraction)
        if pretrained is not None and scratch is not None:
            pairs.append((pretrained, scratch))
    return pairs


def _compared(results: Results, pairs: Sequence[Pair]) -> pd.DataFrame:
    cells = results.complete[["init", "fraction"]].drop_duplicates().itertuples(index=False)
    found = (cell_runs(results, str(init), float(fraction)) for init, fraction in cells)
    others = [cell for cell in found if cell is not None and cell.predictions is not None]
    looks = looks_of(results.manifest.settings)
    if looks is None:
        singles = [accuracy_difference(*pair) for pair in pairs]
        estimates = simultaneous(pairs, singles, others=others)
    else:
        singles, estimates = at_last_looks(pairs, looks, others=others)
    rows: list[dict[str, Any]] = []
    for (pretrained, scratch), single, estimate in zip(pairs, singles, estimates, strict=True):
        rows.append(
            {
                "fraction": pretrained.fraction,
                "n_labels": pretrained.n_labels,
                "pretrained": pretrained.accuracy,
                "scratch": scratch.accuracy,
                "difference": estimate.value,
                "low": estimate.low,
                "high": estimate.high,
                "p": estimate.p,
                "sign": estimate.sign,
                "n_pretrained": pretrained.n,
                "n_scratch": scratch.n,
                "how": estimate.how,
                "estimate": estimate,
                "single": single,
            }
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def at_last_looks(
    pairs: Sequence[Pair],
    looks: Looks,
    *,
    others: Sequence[CellRuns] = (),
    resamples: int = RESAMPLES,
) -> tuple[list[Estimate], list[Estimate]]:
    """Each difference as it was at the last look at it: alone, and with the others.

    All cells count with the seeds that had run at that look, so that the interval is the one that
    decided, whatever ran later.

    Parameters
    ----------
    others
        Further cells of the sweep, whose seeds tell the variance of their init, too.
    """
    reached = [looks.reached(min(cell.n for cell in pair)) for pair in pairs]
    alone: dict[int, Estimate] = {}
    together: dict[int, Estimate] = {}
    for look in sorted(set(reached)):
        level = looks.levels[look]
        then = [(_at(a, looks, look), _at(b, looks, look)) for a, b in pairs]
        singles = [accuracy_difference(*p, resamples=resamples, level=level) for p in then]
        estimates = simultaneous(
            then,
            singles,
            others=[_at(cell, looks, look) for cell in others],
            resamples=resamples,
            level=level,
        )
        for number in (n for n, at in enumerate(reached) if at == look):
            alone[number], together[number] = (
                _looked_at(found[number], looks) for found in (singles, estimates)
            )
    order = range(len(pairs))
    return [alone[n] for n in order], [together[n] for n in order]


def _at(cell: CellRuns, looks: Looks, look: int) -> CellRuns:
    """A cell with the seeds that it had at a look; draws of a probe were all there at the first."""
    return cell if cell.n > looks.seeds[-1] else cell.first(looks.seeds[look])


def _looked_at(estimate: Estimate, looks: Looks) -> Estimate:
    if estimate.low is None:
        return estimate
    return replace(estimate, how=f"{estimate.how}; corrected for {len(looks.seeds)} planned looks")


def simultaneous(
    pairs: Sequence[Pair],
    singles: Sequence[Estimate],
    *,
    others: Sequence[CellRuns] = (),
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> list[Estimate]:
    """The differences of several pairs of cells with simultaneous intervals, by default of 95%.

    A pair of one seed each, and a single pair that has an interval, stay as they are. Which cells
    share a variance between seeds: `seed_variances.seed_pools`. If a pair's seeds differ more than
    the variance they share with others says, its interval alone, by its own variances, may be the
    wider one: no simultaneous interval is narrower than that.

    Parameters
    ----------
    singles
        The difference of each pair with an interval of its own.
    others
        Further cells of the sweep, whose seeds tell the variance of their init, too.
    """
    known = [number for number, single in enumerate(singles) if single.low is not None]
    estimates = list(singles)
    if len(known) < 2:
        return estimates
    of_pairs = [pairs[number] for number in known]
    compared = [cell for pair in of_pairs for cell in pair]
    cells = list({(c.init, c.fraction): c for c in (*compared, *others)}.values())
    sides = np.array([cell.init == "scratch" for cell in cells], dtype=int)
    pools, scales = seed_pools(cells)
    drawn = draw(cells, pools=pools, scales=scales, extra=np.eye(2)[sides], resamples=resamples)
    if drawn is None:
        each = 1 - (1 - level) / 2 / len(known)  # Bonferroni
        for number in known:
            single = singles[number]
            critical = student(each, single.df)
            estimates[number] = _widened(single, single.value, critical, len(known))
        return estimates
    keys = [(cell.init, cell.fraction) for cell in cells]
    weights = np.zeros((len(known), len(cells)))
    for row, pair in zip(weights, of_pairs, strict=True):
        for cell, sign in zip(pair, (1, -1), strict=True):
            row[keys.index((cell.init, cell.fraction))] = sign
    contrasts = drawn.contrasts(weights)
    pooled = any(cell.n < OWN_VARIANCE for cell in compared)
    critical = contrasts.critical(joint_level(level, len(known), pooled=pooled))
    for order, number in enumerate(known):
        single, centre = singles[number], float(contrasts.centre[order])
        se, half = float(contrasts.se[order]), float(critical[order] * contrasts.se[order])
        alone = _half_width(single)
        if single.se and alone > half:
            estimates[number] = _widened(single, centre, alone / single.se, len(known))
        else:
            shared = replace(single, se=se, df=float(contrasts.df[order]))
            estimates[number] = _widened(shared, centre, float(critical[order]), len(known))
    return estimates


def joint_level(level: float, count: int, *, pooled: bool) -> float:
    """The quantile of the largest |t| of `count` differences for simultaneous intervals.

    Parameters
    ----------
    pooled
        Some cells share a variance between seeds.
    """
    if count == 1:
        return level
    return 1 - (1 - level) * (1 - (JOINT_POOLED if pooled else JOINT)) / (1 - LEVEL)


def _half_width(estimate: Estimate) -> float:
    """Half the width of an interval; 0 without one."""
    if estimate.low is None or estimate.high is None:
        return 0.0
    return (estimate.high - estimate.low) / 2


def _widened(single: Estimate, centre: float, critical: float, count: int) -> Estimate:
    """The estimate with its interval as one of `count` simultaneous ones."""
    half = critical * (single.se or 0.0)
    return replace(
        single,
        low=min(centre - half, single.value),
        high=max(centre + half, single.value),
        critical=critical,
        how=f"{single.how}; one of {count} simultaneous intervals",
    )


def crossing(compared: pd.DataFrame) -> Crossing:
    """The smallest fraction tested that reaches the baseline, from `against_baseline`.

    Reaches it by the fit of `label_efficiency.isotonic_fit`: chance ups and downs are evened out.

    Parameters
    ----------
    compared
        Columns ``fraction``, ``difference`` (mean, 0–1) and ``sign`` (-1, 0 or 1: the side of 0 on
        which the interval lies), by ascending fraction.
    """
    if compared.empty:
        return Crossing(fraction=None)
    fit = isotonic_fit(compared["difference"].to_numpy(dtype=float))
    reached = compared.loc[fit >= -ROUNDING, "fraction"]
    fraction = None if reached.empty else float(reached.min())
    below, level, above = (
        tuple(map(float, compared.loc[compared["sign"] == sign, "fraction"])) for sign in (-1, 0, 1)
    )
    without = tuple(map(float, compared.loc[compared["sign"].isna(), "fraction"]))
    return Crossing(fraction=fraction, below=below, level=level, above=above, without=without)
