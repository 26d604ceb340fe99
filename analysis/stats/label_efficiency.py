"""How many labels are enough: where the pre-trained model's accuracy reaches that of scratch.

The pre-trained cells' mean accuracies over the logarithm of the labels are fitted by isotonic
regression, linear between the fractions tested. Where the fit reaches the accuracy of scratch on
all labels is the crossing; where it reaches scratch at another fraction says how many labels
pre-training saves there. Intervals are 95% bootstrap intervals over images and seeds
(`bootstrap.draw`), the same resamples for all cells and the baseline. If cells share a variance
between seeds, the interval covers both what a variance that falls with the labels says, and one that
does not. With one seed a cell they are
over images alone, and so of these trained models (`CrossingPoint.of_models`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import isotonic_regression

from analysis import formatting
from analysis.results.schema import Results, records
from analysis.stats.bootstrap import RESAMPLES, Draws, draw, why_none
from analysis.stats.estimates import percentiles
from analysis.stats.seed_predictions import CellRuns, cell_runs
from analysis.stats.seed_variances import seed_pools

BELOW = 0.0
"""The accuracy is reached at the smallest fraction tested already: the crossing is there or below."""
NEVER = float("inf")
"""The accuracy is not reached at any fraction tested."""
ROUNDING = 1e-9  # accuracies that differ by less are equal


@dataclass(frozen=True, kw_only=True)
class CrossingPoint:
    """The smallest fraction at which pre-training reaches an accuracy: 0–1, `BELOW` or `NEVER`."""

    value: float
    low: float | None
    """None without an interval; `how` says why."""
    high: float | None
    tested: tuple[float, ...]
    """The pre-trained fractions it rests on, ascending."""
    how: str
    of_models: bool = False
    """One seed each: the interval is of these trained models, not of the methods."""
    n_pool: int | None = None
    """Labels at a fraction of 1, to speak of labels; None: to speak of fractions, as the paper."""

    @property
    def text(self) -> str:
        """The label budget: "425", "≤ 100" or "> 1,198"; the latter two as far as was tested.

        A fraction if the paper's splits have fractions: "23%".
        """
        return self._as_text(self.value)

    @property
    def amount(self) -> str:
        """`text` with what it is of: "425 labels", or "23% of the labels"."""
        return f"{self.text} of the labels" if self.n_pool is None else f"{self.text} labels"

    @property
    def smallest(self) -> str:
        """The smallest amount tested: "100 labels" or "5% of the labels"."""
        return replace(self, value=self.tested[0]).amount

    @property
    def largest(self) -> str:
        """The largest amount tested."""
        return replace(self, value=self.tested[-1]).amount

    @property
    def interval(self) -> str:
        """The interval: "95% CI: 49% to > 100%", or why there is none."""
        if self.low is None or self.high is None:
            return f"no interval: {self.how}"
        ends = dict.fromkeys((self._as_text(self.low), self._as_text(self.high)))
        return f"{self.interval_name}: {' to '.join(ends)}"

    @property
    def interval_name(self) -> str:
        """What the interval is of, if not of the methods."""
        return "95% CI of these trained models" if self.of_models else "95% CI"

    def __str__(self) -> str:
        return f"{self.text if self.n_pool is None else self.amount} ({self.interval})"

    def _as_text(self, fraction: float) -> str:
        if fraction == BELOW:
            return f"≤ {self._tested(self.tested[0])}"
        if fraction == NEVER:
            return f"> {self._tested(self.tested[-1])}"
        if self.n_pool is not None:
            return f"{fraction * self.n_pool:,.0f}"
        return formatting.percent(fraction, 0 if fraction >= 0.1 else 1)

    def _tested(self, fraction: float) -> str:
        if self.n_pool is None:
            return formatting.fraction(fraction)
        return f"{fraction * self.n_pool:,.0f}"


@dataclass(frozen=True, kw_only=True)
class Saving:
    """What pre-training needs for the accuracy that scratch has at one fraction."""

    fraction: float
    """Of scratch."""
    n_labels: int
    accuracy: float
    """Of scratch there, mean over seeds."""
    crossing: CrossingPoint

    @property
    def times_fewer(self) -> str:
        """How many times fewer labels that is: "4.4 (95% CI: 3.3 to 6.1)"."""
        value, low, high = self.crossing.value, self.crossing.low, self.crossing.high
        if low is None or high is None:
            return f"{self._factor(value)} ({self.crossing.interval})"
        ends = dict.fromkeys((self._factor(high), self._factor(low)))
        name = self.crossing.interval_name
        return f"{self._factor(value)} ({name}: {' to '.join(ends)})"

    def _factor(self, fraction: float) -> str:
        if fraction == NEVER:
            return f"< {self.fraction / self.crossing.tested[-1]:.2g}"
        if fraction == BELOW:
            return f"≥ {self.fraction / self.crossing.tested[0]:.2g}"
        return f"{self.fraction / fraction:.2g}"


@dataclass(frozen=True, kw_only=True)
class LabelEfficiency:
    """The answer to "how many labels are enough?"; empty if no cells can be compared."""

    savings: tuple[Saving, ...] = ()
    """By ascending fraction of scratch."""
    baseline_fraction: float = 1.0
    """Of the baseline, which may have no complete trial."""

    @property
    def crossing(self) -> CrossingPoint | None:
        """Where the baseline is reached; None without a baseline or pre-trained cells."""
        points = (
            s.crossing for s in self.savings if np.isclose(s.fraction, self.baseline_fraction)
        )
        return next(points, None)


def isotonic_fit(accuracies: ArrayLike) -> NDArray[np.float64]:
    """Isotonic regressions.

    Parameters
    ----------
    accuracies
        (..., C) by ascending fraction.

    Returns
    -------
    numpy.ndarray
        Of the same shape, never falling along the last axis.
    """
    flat = np.reshape(accuracies, (-1, np.shape(accuracies)[-1]))
    return np.stack([isotonic_regression(row).x for row in flat]).reshape(np.shape(accuracies))


def first_fraction_reaching(
    fractions: Sequence[float], curves: NDArray[np.float64], targets: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Where curves first reach their targets, linear in the logarithm of the fraction.

    Parameters
    ----------
    fractions
        (C,) ascending.
    curves
        (B, C), never falling.
    targets
        (B,).

    Returns
    -------
    numpy.ndarray
        (B,) fractions, `BELOW` or `NEVER`.
    """
    reached = curves >= targets[:, None] - ROUNDING
    after = reached.argmax(axis=1)
    before = np.maximum(after - 1, 0)
    each, logs = np.arange(len(curves)), np.log(fractions)
    rise = curves[each, after] - curves[each, before]
    share = (targets - curves[each, before]) / np.where(rise > 0, rise, 1)
    between = np.exp(logs[before] + np.clip(share, 0, 1) * (logs[after] - logs[before]))
    return np.where(reached[:, 0], BELOW, np.where(reached.any(axis=1), between, NEVER))


def label_efficiency(results: Results) -> LabelEfficiency:
    """The crossing and the savings at all fractions of scratch, from the complete trials."""
    pretrained, scratch = (tested_cells(results, init) for init in ("pretrained", "scratch"))
    if not pretrained or not scratch:
        return LabelEfficiency()
    n_pool = results.manifest.data.n_pool if results.scored_on == "test" else None
    return LabelEfficiency(
        baseline_fraction=results.baseline_fraction,
        savings=tuple(
            Saving(
                fraction=cell.fraction,
                n_labels=cell.n_labels,
                accuracy=cell.accuracy,
                crossing=crossing,
            )
            for cell, crossing in zip(
                scratch, crossing_points(pretrained, scratch, n_pool=n_pool), strict=True
            )
        ),
    )


def tested_cells(results: Results, init: str) -> list[CellRuns]:
    """The cells of one init that have complete trials, by ascending fraction."""
    rows = records(results.complete)
    fractions = sorted({float(row["fraction"]) for row in rows if row["init"] == init})
    cells = (cell_runs(results, init, fraction) for fraction in fractions)
    return [cell for cell in cells if cell is not None]


def crossing_points(
    pretrained: Sequence[CellRuns],
    scratch: Sequence[CellRuns],
    *,
    n_pool: int | None = None,
    resamples: int = RESAMPLES,
) -> list[CrossingPoint]:
    """Where the isotonic fit of the pre-trained cells reaches each of the scratch cells.

    Parameters
    ----------
    pretrained
        C cells by ascending fraction.
    n_pool
        Labels at a fraction of 1, to speak of labels; None: to speak of fractions.
    """
    fractions = [cell.fraction for cell in pretrained]
    fit = isotonic_fit([cell.accuracy for cell in pretrained])[None]
    draws, how = _drawn(pretrained, scratch, resamples)
    curves = [isotonic_fit(drawn.means[:, : len(pretrained)]) for drawn in draws]
    points: list[CrossingPoint] = []
    for number, cell in enumerate(scratch, start=len(pretrained)):
        value = first_fraction_reaching(fractions, fit, np.array([cell.accuracy]))[0]
        ends = [
            percentiles(first_fraction_reaching(fractions, curve, drawn.means[:, number]))
            for drawn, curve in zip(draws, curves, strict=True)
        ]
        points.append(
            CrossingPoint(
                value=float(value),
                low=min((low for low, _ in ends), default=None),
                high=max((high for _, high in ends), default=None),
                tested=tuple(fractions),
                how=how,
                of_models=any(not drawn.with_seeds for drawn in draws),
                n_pool=n_pool,
            )
        )
    return points


def _drawn(
    pretrained: Sequence[CellRuns], scratch: Sequence[CellRuns], resamples: int
) -> tuple[list[Draws], str]:
    """Accuracies of all cells, pre-trained first, and how they were drawn, or none and why.

    Few seeds tell little of how their variance falls with the labels. What they tell makes that of
    the baseline, which has the most labels, too small on average, so a second draw is of a variance
    that does not fall.
    """
    sides = np.repeat([0, 1], [len(pretrained), len(scratch)])
    cells = [*pretrained, *scratch]
    pools, scales = seed_pools(cells)
    draws: list[Draws] = []
    for falling in (scales, np.ones(len(cells))) if (scales != 1).any() else (scales,):
        drawn = draw(
            cells, pools=pools, scales=falling, extra=np.eye(2)[sides], resamples=resamples
        )
        if drawn is None:
            return [], why_none(cells)
        draws.append(drawn)
    seeds = formatting.seeds([cell.n for cell in cells])
    how = f"bootstrap over {draws[0].n_images:,} {scratch[0].scored_on} images"
    how += (
        f" and {seeds}"
        if draws[0].with_seeds
        else f"; {seeds}, so without the variance between seeds"
    )
    return draws, how
