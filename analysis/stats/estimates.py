"""Accuracies, differences and ratios over seeds and images, each with its 95% interval.

Two things make the accuracy of a cell uncertain: which images happen to be in the set
that it is scored on, and the seed. The first is known from the stored predictions, even with one seed. The
second can only be seen if a cell has two seeds or more. With one seed each, a difference has no
interval as one between two methods, only one between these two trained models
(`Estimate.models`). If no interval can be given, `Estimate.how` says why.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import brentq
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from analysis.formatting import known
from analysis.metrics import ACCURACY, Metric
from analysis.results.schema import Results, records
from analysis.stats.bootstrap import RESAMPLES, Contrasts, Draws, draw, why_none
from analysis.stats.seed_predictions import CellRuns, SeedPredictions, cell_runs
from analysis.stats.seed_variances import seed_pools

LEVEL = 0.95
POWER = 0.8
ONE_SEED_EACH = (
    "no interval of a difference between the methods: one seed each does not show how much seeds "
    "differ, and an interval without that covers the true difference far too rarely"
)
ALWAYS_EQUAL = "it is the same in all resamples of the images"
ROUNDING = 1e-12  # of a standard error
PLUS_FOUR = np.array([True, True, False, False])
"""Two images that are right and two that are wrong, so that perfect accuracy is no certainty
(Agresti & Coull 1998)."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number with its 95% interval, or with the reason why it has none."""

    value: float
    low: float | None = None
    high: float | None = None
    how: str
    """How the interval was found and what it covers, or why there is none."""
    p: float | None = None
    """Of McNemar's exact test, for two single runs on the same images."""
    models: tuple[float, float] | None = None
    """With one seed each: the 95% interval of the difference between these two trained models."""
    se: float | None = None
    """Standard error of a difference."""
    df: float = np.inf
    """Degrees of freedom of `se`."""
    critical: float | None = None
    """Half the interval in standard errors, if it is one of several simultaneous ones; else
    Student's."""
    level: float = LEVEL
    """Of an interval that stands alone; higher if a sweep was looked at several times."""
    metric: Metric = ACCURACY
    """What a difference is of, and so how it is shown."""

    @property
    def detectable(self) -> float | None:
        """The true difference that such an interval excludes 0 for in 80% of the cases.

        None without a standard error of the difference between the methods.
        """
        if self.se is None or self.low is None:
            return None
        alone = student((1 + self.level) / 2, self.df)
        critical = alone if self.critical is None else self.critical
        return noncentrality(critical, self.df) * self.se

    @property
    def power(self) -> str | None:
        """What would have been found, if the interval includes 0; else None."""
        if self.sign != 0 or self.detectable is None:
            return None
        if self.metric.shares and self.detectable >= 1:
            return (
                f"no difference, however large, would have been found in {POWER:.0%} of such sweeps"
            )
        return (
            f"differences above {self.metric.size(self.detectable)}{self.metric.unit} would have "
            f"been found in {POWER:.0%} of such sweeps"
        )

    @property
    def sign(self) -> int | None:
        """1 or -1 if the interval excludes 0, 0 if it does not, None without one."""
        if self.low is None or self.high is None:
            return None
        return int(self.low > 0) - int(self.high < 0)

    def in_points(self, unit: str = " points") -> str:
        """A difference of shares in percentage points, with its interval and p.

        "+6.0 points [+4.2, +7.9]" or "+6.0 points (no interval: …)"; a table may drop the unit.
        With one seed each: "+6.0 points (these two trained models: [+4.2, +7.9])". Of a metric
        that is no share: "+0.060 [+0.042, +0.079]".
        """
        shown = self.metric.difference
        text = f"{shown(self.value)}{unit if self.metric.shares else ''}"
        if self.models is not None:
            low, high = map(shown, self.models)
            return f"{text} (these two trained models: [{low}, {high}]{p_value(self.p)})"
        if self.low is None:
            return f"{text} ({self.how})"
        return f"{text} [{shown(self.low)}, {shown(self.high)}]{p_value(self.p)}"


def p_value(p: float | None) -> str:
    """0.0123 → ", McNemar's p = 0.012"; empty without one."""
    if p is None or not known(p):
        return ""
    size = "< 0.001" if p < 0.001 else f"= {p:.3f}" if p < 0.9995 else "= 1"
    return f", McNemar's p {size}"


def spread(values: Sequence[float]) -> tuple[float, float | None, int]:
    """Mean, standard deviation (ddof 1; None for one seed) and number of seeds."""
    array = np.asarray(values, dtype=float)
    return float(array.mean()), float(array.std(ddof=1)) if len(array) > 1 else None, len(array)


def wilson(accuracy: float, n: int, scored_on: str = "test") -> Estimate:
    """Wilson's interval of one accuracy over `n` test (or other) images."""
    if n < 1:
        raise ValueError(f"an accuracy over {n} images: expected at least one image")
    ends = proportion_confint(accuracy * n, n, alpha=1 - LEVEL, method="wilson")
    low, high = cast("tuple[float, float]", ends)
    how = f"Wilson over {n:,} {scored_on} images; without the variance between seeds"
    return Estimate(value=accuracy, low=float(low), high=float(high), how=how)


def accuracies(results: Results) -> pd.DataFrame:
    """Mean accuracy of each cell that has complete trials, with its 95% interval.

    Several seeds: by `bootstrap.draw`, variances between seeds as of `seed_variances.seed_pools`. One
    seed: Wilson's interval of that run; of another metric than accuracy the bootstrap's, over images
    alone.

    Returns
    -------
    pandas.DataFrame
        ``init``, ``fraction``, ``n_labels``, ``n`` (seeds), ``accuracy``, ``low``, ``high``
        (0–1, or in the unit of the results' metric) and ``how``; scratch first, by ascending
        fraction.
    """
    keys = {(str(row["init"]), float(row["fraction"])) for row in records(results.complete)}
    ordered = sorted(keys, key=lambda key: (key[0] != "scratch", key[1]))
    every = (cell_runs(results, init, fraction) for init, fraction in ordered)
    cells = [cell for cell in every if cell is not None]
    drawn = _by_bootstrap([cell for cell in cells if cell.predictions is not None])
    if results.metric != ACCURACY:
        others = [cell for cell in cells if (cell.init, cell.fraction) not in drawn]
        drawn |= {(cell.init, cell.fraction): _of_metric(cell) for cell in others}
    rows: list[tuple[Any, ...]] = []
    for cell in cells:
        estimate = drawn.get((cell.init, cell.fraction))
        if estimate is None:
            n_images = round(float(np.mean(cell.n_scored)))
            estimate = wilson(cell.accuracy, n_images, cell.scored_on)
        rows.append(
            (
                *(cell.init, cell.fraction, cell.n_labels, cell.n, cell.accuracy),
                *(estimate.low, estimate.high, estimate.how),
            )
        )
    columns = ["init", "fraction", "n_labels", "n", "accuracy", "low", "high", "how"]
    return pd.DataFrame(rows, columns=columns)


def _by_bootstrap(cells: Sequence[CellRuns]) -> dict[tuple[str, float], Estimate]:
    """Init and fraction → estimate, of those of `cells` that have several seeds."""
    if not cells or max(cell.n for cell in cells) < 2:
        return {}
    pools, scales = seed_pools(cells)
    drawn = draw(
        cells,
        pools=pools,
        scales=scales,
        extra=np.tile(PLUS_FOUR, (len(cells), 1)),
    )
    estimates: dict[tuple[str, float], Estimate] = {}
    for column, cell in enumerate(cells):
        if drawn is None or cell.predictions is None or cell.n == 1:
            continue
        of_cell = drawn.means[:, column]
        low, high = percentiles(np.clip(of_cell, 0, 1) if cell.metric.shares else of_cell)
        if low == high:  # a scorer of scikit-learn that is at its best
            continue
        estimates[cell.init, cell.fraction] = Estimate(
            value=cell.accuracy,
            low=min(low, cell.accuracy),  # a perfect accuracy may lie beyond all draws
            high=max(high, cell.accuracy),
            how=f"over {len(cell.predictions.rows):,} {cell.scored_on} images and {cell.n} seeds",
        )
    return estimates


def _of_metric(cell: CellRuns) -> Estimate:
    """The value of a cell by another metric than accuracy, over images alone."""
    drawn = draw([cell], extra=PLUS_FOUR[None])
    if drawn is None:
        return Estimate(
            value=cell.accuracy, how=f"no interval: {why_none([cell])}", metric=cell.metric
        )
    low, high = percentiles(drawn.over_images[:, 0])
    if low == high:
        return Estimate(value=cell.accuracy, how=f"no interval: {ALWAYS_EQUAL}", metric=cell.metric)
    return Estimate(
        value=cell.accuracy,
        low=min(low, cell.accuracy),
        high=max(high, cell.accuracy),
        how=f"over {drawn.n_images:,} {cell.scored_on} images; without the variance between seeds",
        metric=cell.metric,
    )


def accuracy_difference(
    a: CellRuns, b: CellRuns, *, resamples: int = RESAMPLES, level: float = LEVEL
) -> Estimate:
    """Mean accuracy of `a` minus that of `b`, with a 95% interval or one of another level.

    From stored predictions: `bootstrap.draw`, images paired and with the variances between seeds,
    one for each cell (Welch), and one more image each way, so that few images on which the two
    differ do not look like certainty (after Agresti & Min 2005; as strict as McNemar's exact test,
    whose p stands beside the interval of two single runs). Without: two independent proportions
    (Newcombe), to both half-widths of which Welch's interval of the difference of the seeds' means
    is added in quadrature. With one seed each the interval is `Estimate.models`. Cells
    of another metric are compared by it: from stored predictions alone, without p, and without
    added images if it is a scorer of scikit-learn.
    """
    drawn = draw([a, b], pools=[0, 1], extra=np.eye(2), resamples=resamples)
    if drawn is None and a.metric != ACCURACY:
        how = f"no interval: {why_none([a, b])}"
        return Estimate(value=a.accuracy - b.accuracy, how=how, metric=a.metric)
    if drawn is None:
        return _from_counts(a, b, level)
    return _drawn_difference(a, b, drawn, drawn.contrasts([[1, -1]]), level)


def _drawn_difference(
    a: CellRuns, b: CellRuns, drawn: Draws, contrasts: Contrasts, level: float
) -> Estimate:
    """Mean accuracy of `a` minus that of `b`, the first difference of `contrasts`."""
    value = a.accuracy - b.accuracy
    if a.predictions is None or b.predictions is None:
        return _from_counts(a, b, level)
    low, high = percentiles(contrasts.draws[:, 0], level)
    rows_a, rows_b = a.predictions.rows, b.predictions.rows
    same = np.array_equal(rows_a, rows_b)
    shared = len(np.intersect1d(rows_a, rows_b))
    if same:
        how = f"paired over {len(rows_a):,} shared {a.scored_on} images"
    else:
        how = f"over {len(rows_a):,} and {len(rows_b):,} {a.scored_on} images"
        how += f", {shared:,} of them shared and paired" if shared else ", none shared"
    if drawn.resampled:
        how += " (each seed has a split of its own; seeds are paired)"
    se, df = float(contrasts.se[0]), float(contrasts.df[0])
    if se < ROUNDING:  # a scorer of scikit-learn that is at its best for both, e.g.
        return Estimate(value=value, how=f"no interval: {ALWAYS_EQUAL}", metric=a.metric)
    if a.n == b.n == 1:
        with_p = same and a.metric == ACCURACY
        p = _mcnemar(a.predictions, b.predictions) if with_p else None
        return replace(_of_models(value, (low, high), how, p), metric=a.metric)
    how += f", and over the seeds ({a.n} and {b.n})"
    return Estimate(
        value=value, low=low, high=high, how=how, se=se, df=df, level=level, metric=a.metric
    )


def _of_models(
    value: float, interval: tuple[float, float], how: str, p: float | None = None
) -> Estimate:
    """The difference of two single runs."""
    how = f"{ONE_SEED_EACH}; that of these two trained models is {how}"
    return Estimate(value=value, how=how, p=p, models=interval)


def percentiles(draws: NDArray[np.float64], level: float = LEVEL) -> tuple[float, float]:
    """Both ends of the interval of draws; each end is one of the draws."""
    ends = np.quantile(draws, ((1 - level) / 2, (1 + level) / 2), method="inverted_cdf")
    return float(ends[0]), float(ends[1])


def _mcnemar(a: SeedPredictions, b: SeedPredictions) -> float:
    """P of McNemar's exact test of two single runs on the same images."""
    both = [[np.sum((a.correct == x) & (b.correct == y)) for y in (1, 0)] for x in (1, 0)]
    result: Any = mcnemar(both, exact=True)  # a bunch of names
    return float(result.pvalue)


def _from_counts(a: CellRuns, b: CellRuns, level: float) -> Estimate:
    value = a.accuracy - b.accuracy
    n_a, n_b = int(np.mean(a.n_scored)), int(np.mean(b.n_scored))
    low, high = proportions_difference(a.accuracy, n_a, b.accuracy, n_b, level)
    how = f"of two samples of {n_a:,} and {n_b:,} {a.scored_on} images"
    if a.n == b.n == 1:
        return _of_models(value, (low, high), how)
    se, df = _seeds_error(a.accuracies, b.accuracies)
    half = student((1 + level) / 2, df) * se
    images = (high - low) / 2 / student((1 + level) / 2, np.inf)
    low = value - float(np.hypot(value - low, half))
    high = value + float(np.hypot(high - value, half))
    how += f", and over the seeds ({a.n} and {b.n})"
    total = float(np.hypot(images, se))
    df = float(total**4 * df / se**4) if se else np.inf
    return Estimate(value=value, low=low, high=high, how=how, se=total, df=df, level=level)


@cache
def noncentrality(critical: float, df: float) -> float:
    """The true difference, in standard errors, with which t exceeds `critical` in 80% of the cases.

    By noncentral t: with few degrees of freedom the standard error is itself uncertain, so that more
    is needed than the usual sum of two quantiles.
    """
    if np.isinf(df):
        return critical + student(POWER, df)
    most = critical + student(POWER, df)
    while stats.nct.sf(critical, df, most) < POWER:
        most *= 1.5
    found: Any = brentq(lambda shift: stats.nct.sf(critical, df, shift) - POWER, 0.0, most)
    return float(found)


def student(level: float, df: float) -> float:
    """Quantile of Student's t; of the normal distribution if `df` is infinite."""
    return float(stats.norm.ppf(level) if np.isinf(df) else stats.t.ppf(level, df))


def proportions_difference(
    a: float, n_a: int, b: float, n_b: int, level: float = LEVEL
) -> tuple[float, float]:
    """Newcombe's interval of `a` - `b`, accuracies over `n_a` and `n_b` other images."""
    low, high = confint_proportions_2indep(
        a * n_a, n_a, b * n_b, n_b, method="newcomb", compare="diff", alpha=1 - level
    )
    return float(low), float(high)


def _seeds_error(a: Sequence[float], b: Sequence[float]) -> tuple[float, float]:
    """Standard error of a difference of means over seeds and its degrees of freedom (Welch).

    The variance of a single seed is taken to be the other side's. At least one side has two.
    """
    known = [(float(np.var(v, ddof=1)), len(v)) for v in (a, b) if len(v) > 1]
    if len(known) == 1:
        ((variance, n),) = known
        return float(np.sqrt(variance * (1 / len(a) + 1 / len(b)))), n - 1
    parts = [(variance / n, n - 1) for variance, n in known]
    total = sum(part for part, _ in parts)
    if total == 0:
        return 0.0, sum(d for _, d in parts)
    return float(np.sqrt(total)), total**2 / sum(part**2 / d for part, d in parts)


def student_half_width(
    known: Sequence[tuple[float, int]], seeds: Sequence[int], level: float = LEVEL
) -> float:
    """Half of Student's interval of a sum of means over seeds.

    Parameters
    ----------
    known
        Variance between seeds (ddof 1) and number of seeds, two or more; they are pooled. 0 is
        returned if there is none.
    seeds
        How many seeds each mean is taken over.
    """
    free = sum(n - 1 for _, n in known)
    if not free:
        return 0.0
    variance = sum(v * (n - 1) for v, n in known) / free * sum(1 / n for n in seeds)
    return float(stats.t.ppf((1 + level) / 2, free) * np.sqrt(variance))


def mean_difference(a: Sequence[float], b: Sequence[float]) -> Estimate:
    """Mean of `a` minus that of `b`, over seeds (Welch: a variance of its own for each side)."""
    value = float(np.mean(a) - np.mean(b))
    if len(a) == len(b) == 1:
        return Estimate(value=value, how="no interval: n = 1 seed each")
    se, df = _seeds_error(a, b)
    if se == 0:
        return Estimate(value=value, how="no interval: the seeds that could tell do not differ")
    half = student((1 + LEVEL) / 2, df) * se
    how = f"over the seeds ({len(a)} and {len(b)})"
    return Estimate(value=value, low=value - half, high=value + half, how=how, se=se, df=df)


def ratio(a: Sequence[float], b: Sequence[float]) -> Estimate:
    """Geometric mean of `a` over that of `b` (Student on logarithms); both positive."""
    if min(*a, *b) <= 0:
        raise ValueError(f"a ratio of {list(a)} and {list(b)}: expected positive numbers, e.g. s")
    logs = mean_difference(np.log(a).tolist(), np.log(b).tolist())
    if logs.low is None or logs.high is None:
        return Estimate(value=float(np.exp(logs.value)), how=logs.how)
    value, low, high = (float(np.exp(x)) for x in (logs.value, logs.low, logs.high))
    return Estimate(value=value, low=low, high=high, how=logs.how)
