"""Joint draws of the accuracies of several cells: over the images scored on and over seeds.

"Accuracy" stands for whatever `CellRuns.metric` the cells are compared by.

Images are resampled with replacement, each resample the same for all trials, so that whatever
the trials share (one test set, or the overlap of two) is paired by itself. Seeds are too
few to be resampled: a bootstrap of two or three values is too narrow, whatever its kind. So
the variance between seeds enters by Student's t. Of the variance v between seeds on d degrees of
freedom, the resampled images explain the part w (which image a seed happens to get right), as in
the analysis of readers and cases (Hillis 2007, Stat. Med. 26, 596); counting it twice would make
intervals too wide, and setting all of it aside too narrow, as v itself is uncertain. Ours: the
share d/(d + 2) of w is set aside, which covers best in simulations
(tests/unit/analysis/stats/test_bootstrap.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from analysis.metrics import ACCURACY, SCORER_RESAMPLES
from analysis.stats.seed_predictions import CellRuns

RESAMPLES = 2000
PER_RESAMPLE = 10
"""Draws of the seeds for each resample of the images: Student's t on one or two degrees of freedom
has ends that 2,000 draws find to a tenth only."""
BATCH = 250  # resamples at a time, so that memory stays small for many images


@dataclass(frozen=True, kw_only=True)
class Contrasts:
    """Differences between cells as they might have come out, all from the same draws."""

    draws: NDArray[np.float64]
    """(B', K): each difference, over images and, if known, over seeds."""
    centre: NDArray[np.float64]
    """(K,) Middle of the draws: the differences, and the images added."""
    se: NDArray[np.float64]
    """(K,) Standard error of each, 0–1."""
    df: NDArray[np.float64]
    """(K,) Degrees of freedom of `se` (Satterthwaite); infinite if images alone vary."""

    def critical(self, level: float) -> NDArray[np.float64]:
        """(K,) Half the widths, in standard errors, of intervals that hold together.

        Each difference has the same chance to lie outside its interval (Beran 1988, J. Am. Stat.
        Assoc. 83, 679), so that one with few degrees of freedom does not widen the others.
        """
        t = np.abs(self.draws - self.centre) / self.se
        ranks = t.argsort(axis=0).argsort(axis=0)
        rank = np.quantile(ranks.max(axis=1), level, method="inverted_cdf")
        return np.sort(t, axis=0)[int(rank)]


@dataclass(frozen=True, kw_only=True)
class _Seeds:
    """The variance between seeds, a sum of squares of the trials' residuals for each of P pools."""

    pool: NDArray[np.integer[Any]]
    """(C,) Pool of each cell, 0 to P - 1."""
    of_trial: NDArray[np.integer[Any]]
    """(T,) Pool of each trial."""
    n: NDArray[np.integer[Any]]
    """(C,) Number of seeds of each cell."""
    variance: NDArray[np.float64]
    """(P,) Variance between seeds, 0 or more."""
    images: NDArray[np.float64]
    """(P,) The part of it that the resampled images explain, 0 or more."""
    forms: NDArray[np.float64]
    """(P, T, T) The quadratic form of the accuracies that estimates each variance."""
    scale: NDArray[np.float64]
    """(C,) Variance of each cell in units of its pool's."""
    scale_of_trial: NDArray[np.float64]
    """(T,) The same for each trial."""

    @property
    def of_cells(self) -> NDArray[np.float64]:
        """(C,) Variance between seeds of each cell."""
        return self.variance[self.pool] * self.scale

    def weights(self, contrasts: NDArray[np.float64]) -> NDArray[np.float64]:
        """(K, P): the variance of each difference, (K, C), in terms of those of the pools."""
        squares = contrasts**2 * self.scale / self.n
        member = self.pool[:, None] == np.arange(len(self.variance))
        return squares @ member

    def df(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """(K,) Degrees of freedom of a weighted sum (K, P) of the variances (Satterthwaite).

        Of pools that share no residual this is Welch's formula.
        """
        least = 1e-6 * self.variance.max() or 1.0  # seeds that agree by chance still have a df
        spread = np.maximum(self.variance, least)[self.of_trial] * self.scale_of_trial
        return np.array([_satterthwaite(np.tensordot(w, self.forms, 1) * spread) for w in weights])

    def beyond_images(
        self, weights: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(K,) Variance that the resampled images do not bring, and its degrees of freedom."""
        d = self.df(weights)
        return np.maximum(weights @ self.variance - weights @ self.images * d / (d + 2), 0), d


def _satterthwaite(form: NDArray[np.float64]) -> float:
    return float(np.trace(form) ** 2 / (form @ form).trace())


@dataclass(frozen=True, kw_only=True)
class Draws:
    """Accuracies as they might have come out."""

    means: NDArray[np.float64]
    """(B, C): mean accuracy of each cell over its seeds, 0–1."""
    over_images: NDArray[np.float64]
    """(B, C): the same without the variance between seeds."""
    seeds: _Seeds | None
    """None if each cell has one seed."""
    n_images: int
    """Images that trials are scored on, all together."""
    resampled: bool
    """Seeds of one cell are scored on different images."""

    @property
    def with_seeds(self) -> bool:
        """The variance between seeds is in them; it cannot be if each cell has one seed."""
        return self.seeds is not None

    def contrasts(self, weights: ArrayLike) -> Contrasts:
        """Differences between cells, drawn together.

        The variances of the pools may differ (Welch): each difference has Student's t with
        Satterthwaite's degrees of freedom. What differences share, a cell or an image, they share
        in each draw.

        Parameters
        ----------
        weights
            (K, C) of each cell in each difference, as 1 and -1.
        """
        weights = np.asarray(weights, dtype=float)
        drawn = self.over_images @ weights.T
        centre, images = drawn.mean(axis=0), drawn.var(axis=0)
        if self.seeds is None:
            none = np.full(len(weights), np.inf)
            return Contrasts(draws=drawn, centre=centre, se=np.sqrt(images), df=none)
        of_pools = self.seeds.weights(weights)
        rest, d = self.seeds.beyond_images(of_pools)
        random = np.random.default_rng(1)
        drawn = np.repeat(drawn, PER_RESAMPLE, axis=0)
        normal = random.standard_normal((len(drawn), len(self.seeds.n)))
        normal *= np.sqrt(self.seeds.of_cells / self.seeds.n)
        total = np.sqrt(of_pools @ self.seeds.variance)
        unit = normal @ weights.T / np.where(total > 0, total, 1)
        chance = random.random((len(drawn), 1))  # one for all: they share their variances
        drawn = drawn + unit * np.sqrt(rest * d / stats.chi2.ppf(chance, d))
        with np.errstate(divide="ignore"):
            df = (images + rest) ** 2 * d / rest**2
        return Contrasts(draws=drawn, centre=centre, se=np.sqrt(images + rest), df=df)


def draw(
    cells: Sequence[CellRuns],
    *,
    pools: Sequence[int] | None = None,
    scales: ArrayLike | None = None,
    extra: ArrayLike | None = None,
    resamples: int = RESAMPLES,
    stream: int | None = None,
) -> Draws | None:
    """Draw the mean accuracies of all cells together; None for a reason of `why_none`.

    Parameters
    ----------
    cells
        C cells.
    pools
        (C,) Cells of one number share one variance between seeds; by default all do.
    scales
        (C,) Variance between seeds of each cell in units of what its pool shares; by default 1.
    extra
        (C, k) Images added, and whether the first trial of each cell is right on them: few
        images on which cells differ must not look like certainty (Agresti & Min 2005).
    resamples
        B; for a scorer of scikit-learn at most `SCORER_RESAMPLES`, without those in which a class
        has no image.
    stream
        Of random numbers for the seeds. Calls with different ones draw the same resamples of the same
        images, and seeds that are independent: the time and memory of a call grow with the square of
        its trials and more.
    """
    trials = _trials(cells)
    if trials is None:
        return None
    random = np.random.default_rng(0)
    if cells[0].metric == ACCURACY:
        drawn = np.concatenate(list(_over_images(trials, extra, resamples, random)))
    else:
        drawn = _scored_over_images(cells, trials, extra, resamples, random)
        if drawn is None:
            return None
        resamples = len(drawn)
    over_images = drawn @ trials.averages.T
    means, seeds = over_images.copy(), _between_seeds(trials, pools, drawn, scales)
    random = random if stream is None else np.random.default_rng([0, stream])
    if seeds is not None:
        n_pools = len(seeds.variance)
        rest, d = seeds.beyond_images(np.eye(n_pools))
        for p in range(n_pools):
            pooled = np.flatnonzero(seeds.pool == p)
            normal = random.standard_normal((resamples, len(pooled)))
            student = normal * np.sqrt(d[p] / random.chisquare(d[p], (resamples, 1)))
            means[:, pooled] += student * np.sqrt(rest[p] * seeds.scale[pooled] / seeds.n[pooled])
    return Draws(
        means=means,
        over_images=over_images,
        seeds=seeds,
        n_images=trials.seen.shape[1],
        resampled=trials.resampled,
    )


def why_none(cells: Sequence[CellRuns]) -> str:
    """Why `draw` gives nothing."""
    if any(cell.predictions is None for cell in cells):
        return "not all trials have stored predictions"
    return "some class has so few images that most resamples have none of it"


@dataclass(frozen=True, kw_only=True)
class _Trials:
    """The T trials of all cells on the N images that any of them is scored on."""

    rows: NDArray[np.integer[Any]]
    """(N,) int: row of each image in the data file, ascending."""
    correct: NDArray[np.bool_]
    """(T, N) bool; False if the image is not seen."""
    seen: NDArray[np.bool_]
    """(T, N) bool: the trial is scored on the image."""
    cell: NDArray[np.integer[Any]]
    """(T,) int, 0 to C - 1."""
    seed: NDArray[np.integer[Any]]
    """(T,) int."""
    accuracies: NDArray[np.float64]
    """(T,)."""
    n_cells: int
    """C."""

    @property
    def first(self) -> NDArray[np.integer[Any]]:
        """(C,) int: the first trial of each cell."""
        return np.unique(self.cell, return_index=True)[1]

    @property
    def resampled(self) -> bool:
        """Seeds of one cell are scored on different images."""
        return bool((self.seen[self.first][self.cell] != self.seen).any())

    @property
    def averages(self) -> NDArray[np.float64]:
        """(C, T): takes a value per trial to the mean of each cell."""
        member = np.arange(self.n_cells)[:, None] == self.cell
        return member / member.sum(axis=1, keepdims=True)


def _trials(cells: Sequence[CellRuns]) -> _Trials | None:
    """The trials of several cells, image by image; None if predictions are not stored."""
    stored = [cell.predictions for cell in cells if cell.predictions is not None]
    if len(stored) < len(cells):
        return None
    rows = np.unique(np.concatenate([predictions.rows for predictions in stored]))
    of_trial = np.repeat(np.arange(len(cells)), [cell.n for cell in cells])
    correct, seen = np.zeros((2, len(of_trial), len(rows)), dtype=bool)
    for number, predictions in enumerate(stored):
        block = np.ix_(of_trial == number, np.searchsorted(rows, predictions.rows))
        correct[block], seen[block] = predictions.correct, predictions.seen
    accuracies = correct.sum(axis=1) / seen.sum(axis=1)
    if cells[0].metric != ACCURACY:
        accuracies = np.concatenate([cell.accuracies for cell in cells])
    return _Trials(
        rows=rows,
        correct=correct,
        seen=seen,
        cell=of_trial,
        seed=np.concatenate([cell.seeds for cell in cells]),
        accuracies=accuracies,
        n_cells=len(cells),
    )


def _over_images(
    trials: _Trials, extra: ArrayLike | None, resamples: int, random: np.random.Generator
) -> Iterator[NDArray[np.float64]]:
    """(batch, T) accuracies over images drawn with replacement, the same ones for all trials."""
    seen, correct = trials.seen, trials.correct
    if extra is not None:
        added = np.asarray(extra, dtype=bool)
        first = np.isin(np.arange(len(seen)), trials.first)
        correct = np.hstack([correct, added[trials.cell] & first[:, None]])
        seen = np.hstack([seen, np.ones((len(seen), added.shape[1]), dtype=bool)])
    right, n = correct.T.astype(np.float32), seen.shape[1]
    counted = seen.T.astype(np.float32)
    for drawn in _times(n, resamples, random):
        times = drawn.astype(np.float32)
        total = np.maximum(times @ counted, 1)  # 0 only if a set of a few images is missed
        yield (times @ right / total).astype(float)


def _times(
    n: int, resamples: int, random: np.random.Generator
) -> Iterator[NDArray[np.integer[Any]]]:
    """(batch, n) How often each of n images is drawn."""
    for start in range(0, resamples, BATCH):
        size = min(BATCH, resamples - start)
        chosen = random.integers(0, n, (size, n)) + n * np.arange(size)[:, None]
        yield np.bincount(chosen.ravel(), minlength=size * n).reshape(size, n)


def _scored_over_images(
    cells: Sequence[CellRuns],
    trials: _Trials,
    extra: ArrayLike | None,
    resamples: int,
    random: np.random.Generator,
) -> NDArray[np.float64] | None:
    """(B, T) values of the cells' metric over images drawn with replacement, the same for all.

    B is less than `resamples` for a scorer of scikit-learn; None if less than half of its
    resamples have an image of every class in every trial.
    """
    metric, n = cells[0].metric, len(trials.rows)
    added = np.zeros((len(cells), 0), dtype=bool)
    if metric.from_counts is None:
        resamples = min(resamples, SCORER_RESAMPLES)
    elif extra is not None:
        added = np.asarray(extra, dtype=bool)
    batches: list[NDArray[np.float64]] = []
    for times in _times(n + added.shape[1], resamples, random):
        values: list[NDArray[np.float64]] = []
        for number, cell in enumerate(cells):
            if cell.predictions is None:
                continue
            images = np.searchsorted(trials.rows, cell.predictions.rows)
            for seed, seen in enumerate(cell.predictions.seen):
                is_right = added[number] & (seed == 0)  # as in `_over_images`
                values.append(
                    metric.resampled(
                        cell.predictions.labels[seen],
                        cell.predictions.probabilities[seed, seen],
                        times[:, images[seen]],
                        right=times[:, n:] @ is_right,
                        wrong=times[:, n:] @ ~is_right,
                    )
                )
        batches.append(np.stack(values, axis=1))
    drawn = np.concatenate(batches)
    defined = np.isfinite(drawn).all(axis=1)
    return drawn[defined] if 2 * defined.sum() >= len(drawn) else None


def _between_seeds(
    trials: _Trials,
    pools: Sequence[int] | None,
    drawn: NDArray[np.float64],
    scales: ArrayLike | None = None,
) -> _Seeds | None:
    """The variance between seeds of each pool; None if no cell has a second seed.

    The sum of squared residuals of a pool over what is left free of them. If seeds have splits of
    their own, residuals are of pairs within a seed, and so hold something of the other pools too;
    the variance of a difference of two cells comes out right all the same.

    Parameters
    ----------
    drawn
        (B, T) accuracies over resampled images.
    """
    residual = _residual_maker(trials)
    free = np.diag(residual)
    if free.sum() < 0.5:
        return None
    given = np.zeros(trials.n_cells, dtype=int) if pools is None else np.asarray(pools)
    pool = np.unique(given, return_inverse=True)[1]
    if any(free[pool[trials.cell] == p].sum() < 1e-6 for p in pool):
        pool = np.zeros_like(pool)  # a cell of one seed borrows the spread of the others
    of_trial = pool[trials.cell]
    member = (of_trial == np.arange(pool.max() + 1)[:, None]).astype(float)
    solve = np.diag(1 / (member @ free))
    scale = np.ones(trials.n_cells) if scales is None else np.asarray(scales, dtype=float)
    member = member / scale[trials.cell]
    accuracies = trials.accuracies

    def variances(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.maximum(((values @ residual) ** 2 @ member.T) @ solve, 0)

    of_pools = np.einsum("ti,pt,tj->pij", residual, member, residual)
    return _Seeds(
        pool=pool,
        of_trial=of_trial,
        n=np.bincount(trials.cell),
        variance=variances(accuracies),
        images=np.maximum(
            (((drawn - accuracies) @ residual) ** 2).mean(axis=0) @ member.T @ solve, 0
        ),
        forms=np.tensordot(solve, of_pools, 1),
        scale=scale,
        scale_of_trial=scale[trials.cell],
    )


def _residual_maker(trials: _Trials) -> NDArray[np.float64]:
    """(T, T): what is left of a value per trial without the means of cells.

    If each seed is scored on images of its own, without the means of seeds too: an easy
    set favours all cells alike, and the resampled images account for it already. Unless nothing
    would be left then to tell seeds by.
    """
    design = (trials.cell[:, None] == np.arange(trials.n_cells)).astype(float)
    if trials.resampled and trials.n_cells > 1:
        both = np.hstack([design, trials.seed[:, None] == np.unique(trials.seed)])
        if np.linalg.matrix_rank(both) < len(both):
            design = both
    return np.eye(len(design)) - design @ np.linalg.pinv(design)
