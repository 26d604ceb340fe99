"""Seeds and intervals: what a difference between two cells of the grid is worth.

Two things make the accuracy of a cell uncertain: which images happen to be in the validation
set, and the seed. The first is known from the stored predictions, even with one seed. The
second can only be seen where a cell has two seeds or more; with one, the words say so.
All intervals are 95 %. Where no interval can be given, `Estimate.how` says why, in words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from .draws import draw, stack
from .frames import Predictions, Results

LEVEL = 0.95
ONE_SEED_EACH = "; n = 1 seed each, so without the seed's share"


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number with its 95 % interval, or with the reason why it has none."""

    value: float
    low: float | None = None
    high: float | None = None
    how: str
    """How the interval was found and what it covers, or why there is none."""
    p: float | None = None
    """Of McNemar's exact test, for two single runs on the same images."""

    @property
    def sign(self) -> int | None:
        """1 or -1 where the interval excludes 0, 0 where it does not, None without one."""
        if self.low is None or self.high is None:
            return None
        return int(self.low > 0) - int(self.high < 0)


@dataclass(frozen=True, kw_only=True)
class Arm:
    """The complete trials of one cell (init and fraction), one entry per seed."""

    label: str
    n_train: int
    accuracies: tuple[float, ...]
    """0–1."""
    seeds: tuple[int, ...]
    n_val: tuple[int, ...]
    correct: np.ndarray | None = None
    """(seeds, N) bool: right on the image; None where a trial's predictions are not stored."""
    seen: np.ndarray | None = None
    """(seeds, N) bool: the image is in the seed's validation set. All true where seeds share it."""
    rows: np.ndarray | None = None
    """(N,) rows of the images in the data file, ascending."""

    @property
    def n(self) -> int:
        """Number of seeds."""
        return len(self.accuracies)

    @property
    def accuracy(self) -> float:
        """Mean over seeds."""
        return float(np.mean(self.accuracies))


def arm(results: Results, init: str, fraction: float) -> Arm | None:
    """The complete trials of a cell with their stored predictions; None where there is none."""
    trials = results.of(init, fraction)
    if trials.empty:
        return None
    stored = [results.predictions(trial) for trial in trials["trial"]]
    correct, seen, rows = _stacked(stored)
    return Arm(
        label=f"{init} at {fraction * 100:.4g} %",
        n_train=int(trials["n_train"].iloc[0]),
        accuracies=tuple(map(float, trials["best_val_accuracy"])),
        seeds=tuple(map(int, trials["seed"])),
        n_val=tuple(map(int, trials["n_val"])),
        correct=correct,
        seen=seen,
        rows=rows,
    )


def _stacked(stored: list[Predictions | None]) -> tuple[np.ndarray | None, ...]:
    """Correct, seen and rows of an `Arm`; nothing where a trial left no predictions."""
    known = [p for p in stored if p is not None]
    if len(known) < len(stored):
        return None, None, None
    rows = np.unique(np.concatenate([p.rows for p in known]))
    correct, seen = np.zeros((2, len(known), len(rows)), dtype=bool)
    for number, predictions in enumerate(known):
        places = np.searchsorted(rows, predictions.rows)
        correct[number, places], seen[number, places] = predictions.correct, True
    return correct, seen, rows


def spread(values: Sequence[float]) -> tuple[float, float | None, int]:
    """Mean, standard deviation (ddof 1; None for one seed) and number of seeds."""
    values = np.asarray(values, dtype=float)
    return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else None, len(values)


def wilson(accuracy: float, n: int) -> Estimate:
    """Wilson's interval of one accuracy over `n` validation images."""
    if n < 1:
        raise ValueError(f"an accuracy over {n} images: expected at least one image")
    low, high = proportion_confint(accuracy * n, n, alpha=1 - LEVEL, method="wilson")
    how = f"Wilson over {n:,} validation images; the seed's share is not in it"
    return Estimate(value=accuracy, low=float(low), high=float(high), how=how)


def accuracy_difference(a: Arm, b: Arm) -> Estimate:
    """Mean accuracy of `a` less that of `b`, with a 95 % interval.

    From stored predictions: `draws`, images paired and with the seeds' share, and one more image
    each way, so that few images on which the two differ do not look like certainty (after
    Agresti & Min 2005; as strict as McNemar's exact test, whose p stands beside the interval of
    two single runs). Without: two independent proportions (Newcombe), to both half-widths of
    which Student's interval of the difference of the seeds' means is added in quadrature.
    """
    value = a.accuracy - b.accuracy
    runs = stack([a, b])
    if runs is None:
        return _from_counts(a, b, value)
    drawn = draw(runs, extra=np.eye(2))
    low, high = percentiles(drawn.means[:, 0] - drawn.means[:, 1])
    shared = np.intersect1d(a.rows, b.rows)
    if np.array_equal(a.rows, b.rows):
        how = f"paired over {len(a.rows):,} shared validation images"
    else:
        how = f"over {len(a.rows):,} and {len(b.rows):,} validation images"
        how += f", {len(shared):,} of them shared and paired" if len(shared) else ", none shared"
    if runs.resampled:
        how += " (each seed has a split of its own; seeds are paired)"
    how += f", and over the seeds ({a.n} and {b.n})" if drawn.with_seeds else ONE_SEED_EACH
    p = _mcnemar(a, b) if a.n == b.n == 1 and np.array_equal(a.rows, b.rows) else None
    return Estimate(value=value, low=low, high=high, how=how, p=p)


def percentiles(draws: np.ndarray) -> tuple[float, float]:
    """Both ends of the 95 % interval of draws; each end is one of the draws."""
    ends = np.quantile(draws, ((1 - LEVEL) / 2, (1 + LEVEL) / 2), method="inverted_cdf")
    return float(ends[0]), float(ends[1])


def _mcnemar(a: Arm, b: Arm) -> float:
    """p of McNemar's exact test of two single runs on the same images."""
    both = [[np.sum((a.correct == x) & (b.correct == y)) for y in (1, 0)] for x in (1, 0)]
    return float(mcnemar(both, exact=True).pvalue)


def _from_counts(a: Arm, b: Arm, value: float) -> Estimate:
    n_a, n_b = int(np.mean(a.n_val)), int(np.mean(b.n_val))
    low, high = proportions_difference(a.accuracy, n_a, b.accuracy, n_b)
    how = f"two samples of {n_a:,} and {n_b:,} validation images"
    seeds = _seeds_half_width(a.accuracies, b.accuracies)
    if seeds is None:
        return Estimate(value=value, low=low, high=high, how=how + ONE_SEED_EACH)
    low = value - float(np.hypot(value - low, seeds))
    high = value + float(np.hypot(high - value, seeds))
    how += f", and over the seeds ({a.n} and {b.n})"
    return Estimate(value=value, low=low, high=high, how=how)


def proportions_difference(a: float, n_a: int, b: float, n_b: int) -> tuple[float, float]:
    """Newcombe's interval of `a` - `b`, accuracies over `n_a` and `n_b` other images."""
    low, high = confint_proportions_2indep(
        a * n_a, n_a, b * n_b, n_b, method="newcomb", compare="diff", alpha=1 - LEVEL
    )
    return float(low), float(high)


def _seeds_half_width(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Half of Student's interval (pooled variance) of a difference of means; None if 1 and 1."""
    known = [(float(np.var(v, ddof=1)), len(v)) for v in (a, b) if len(v) > 1]
    return student_half_width(known, [len(a), len(b)]) if known else None


def student_half_width(
    known: Sequence[tuple[float, int]], seeds: Sequence[int], level: float = LEVEL
) -> float:
    """Half of Student's interval of a sum of means over seeds.

    Parameters
    ----------
    known
        Variance between seeds (ddof 1) and number of seeds, two or more; they are pooled. 0 is
        returned where there is none.
    seeds
        How many seeds each mean is taken over.
    """
    free = sum(n - 1 for _, n in known)
    if not free:
        return 0.0
    variance = sum(v * (n - 1) for v, n in known) / free * sum(1 / n for n in seeds)
    return float(stats.t.ppf((1 + level) / 2, free) * np.sqrt(variance))


def mean_difference(a: Sequence[float], b: Sequence[float]) -> Estimate:
    """Mean of `a` less that of `b`, over seeds (Student, pooled variance)."""
    value = float(np.mean(a) - np.mean(b))
    half = _seeds_half_width(a, b)
    if half is None:
        return Estimate(value=value, how="no interval: n = 1 seed each")
    if half == 0:
        return Estimate(value=value, how="no interval: the seeds that could tell do not differ")
    how = f"over the seeds ({len(a)} and {len(b)})"
    return Estimate(value=value, low=value - half, high=value + half, how=how)


def ratio(a: Sequence[float], b: Sequence[float]) -> Estimate:
    """Geometric mean of `a` over that of `b` (Student on logarithms); both positive."""
    if min(*a, *b) <= 0:
        raise ValueError(f"a ratio of {list(a)} and {list(b)}: expected positive numbers, e.g. s")
    logs = mean_difference(np.log(a), np.log(b))
    if logs.low is None or logs.high is None:
        return Estimate(value=float(np.exp(logs.value)), how=logs.how)
    value, low, high = (float(np.exp(x)) for x in (logs.value, logs.low, logs.high))
    return Estimate(value=value, low=low, high=high, how=logs.how)
