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
import pandas as pd
from scipy import stats
from sklearn.metrics import confusion_matrix
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from .frames import Predictions, Results

LEVEL = 0.95
RESAMPLES = 2000


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number with its 95 % interval, or with the reason why it has none."""

    value: float
    low: float | None = None
    high: float | None = None
    how: str
    """How the interval was found and what it covers, or why there is none."""

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
    n_val: tuple[int, ...]
    val_hashes: tuple[str | None, ...]
    correct: np.ndarray | None = None
    """(seeds, n_val) bool by image, where all seeds share one validation set; else None."""
    rows: np.ndarray | None = None
    """(n_val,) rows of those images in the data file."""

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
    correct, rows = _stacked(stored)
    return Arm(
        label=f"{init} at {fraction * 100:.4g} %",
        n_train=int(trials["n_train"].iloc[0]),
        accuracies=tuple(map(float, trials["best_val_accuracy"])),
        n_val=tuple(map(int, trials["n_val"])),
        val_hashes=tuple(trials["val_hash"]),
        correct=correct,
        rows=rows,
    )


def _stacked(stored: list[Predictions | None]) -> tuple[np.ndarray | None, np.ndarray | None]:
    known = [p for p in stored if p is not None]
    if len(known) < len(stored) or not all(np.array_equal(p.rows, known[0].rows) for p in known):
        return None, None
    return np.stack([p.correct for p in known]), known[0].rows


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

    Where both are scored on the same images (equal ``val_hash`` and rows) the images are
    paired: a bootstrap over images of the per-image difference, averaged over seeds, with one
    more image each way, so that few images on which the two differ do not look like certainty
    (after Agresti & Min 2005; as strict as McNemar's exact test). Else two independent
    proportions (Newcombe). With two seeds or more, Student's interval of the
    difference of the seeds' means is added in quadrature to both half-widths.
    """
    value = a.accuracy - b.accuracy
    paired = _paired(a, b)
    if paired is not None:
        low, high = stats.bootstrap(
            (np.append(paired, (1, -1)),),
            np.mean,
            n_resamples=RESAMPLES,
            batch=100,
            confidence_level=LEVEL,
            method="percentile",
            rng=np.random.default_rng(0),
        ).confidence_interval
        how = f"paired over {len(paired):,} shared validation images"
    else:
        n_a, n_b = int(np.mean(a.n_val)), int(np.mean(b.n_val))
        low, high = proportions_difference(a.accuracy, n_a, b.accuracy, n_b)
        how = f"two samples of {n_a:,} and {n_b:,} validation images"
    seeds = _seeds_half_width(a.accuracies, b.accuracies)
    if seeds is None:
        how += "; one seed each, so without the seed's share"
    else:
        low = value - np.hypot(value - low, seeds)
        high = value + np.hypot(high - value, seeds)
        how += f", and over the seeds ({a.n} and {b.n})"
    return Estimate(value=value, low=float(low), high=float(high), how=how)


def proportions_difference(a: float, n_a: int, b: float, n_b: int) -> tuple[float, float]:
    """Newcombe's interval of `a` - `b`, accuracies over `n_a` and `n_b` other images."""
    low, high = confint_proportions_2indep(
        a * n_a, n_a, b * n_b, n_b, method="newcomb", compare="diff", alpha=1 - LEVEL
    )
    return float(low), float(high)


def _paired(a: Arm, b: Arm) -> np.ndarray | None:
    """(n_val,) per-image difference of the shares of seeds that are right; None if unpaired."""
    hashes = {*a.val_hashes, *b.val_hashes}
    if a.correct is None or b.correct is None or len(hashes) != 1 or None in hashes:
        return None
    if not np.array_equal(a.rows, b.rows):
        return None
    return a.correct.mean(axis=0) - b.correct.mean(axis=0)


def _seeds_half_width(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Half of Student's interval (pooled variance) of a difference of means; None if 1 and 1."""
    free = len(a) + len(b) - 2
    if free < 1:
        return None
    pooled = sum(np.var(v) * len(v) for v in (a, b)) / free
    return float(stats.t.ppf((1 + LEVEL) / 2, free) * np.sqrt(pooled * (1 / len(a) + 1 / len(b))))


def mean_difference(a: Sequence[float], b: Sequence[float]) -> Estimate:
    """Mean of `a` less that of `b`, over seeds (Student, pooled variance)."""
    value = float(np.mean(a) - np.mean(b))
    half = _seeds_half_width(a, b)
    if half is None:
        return Estimate(value=value, how="no interval: one seed each")
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


def confusion(predictions: Predictions, names: Sequence[str]) -> pd.DataFrame:
    """Counts, true class by row and predicted class by column."""
    counts = confusion_matrix(
        predictions.labels,
        predictions.probabilities.argmax(axis=1),
        labels=np.arange(len(names)),
    )
    return pd.DataFrame(counts, index=list(names), columns=list(names))


def recall(counts: pd.DataFrame) -> pd.DataFrame:
    """Per true class: images, share found and its Wilson interval; NA where no image has it.

    Parameters
    ----------
    counts
        As `confusion` gives it.
    """
    rows = []
    for name, right in zip(counts.index, np.diag(counts), strict=True):
        n = int(counts.loc[name].sum())
        found = wilson(right / n, n) if n else None
        bounds = (found.value, found.low, found.high) if found else (pd.NA,) * 3
        rows.append((name, n, *bounds))
    return pd.DataFrame(rows, columns=["class", "images", "recall", "low", "high"])
