"""Joint draws of the accuracies of several cells: over validation images and over seeds.

Images are resampled with replacement, each resample the same for all trials, so that whatever
the trials share (one validation set, or the overlap of two) is paired by itself. Seeds are too
few to be resampled: a bootstrap of two or three values is too narrow, whatever its kind. So
their share is drawn from Student's t. Of the variance v between seeds on d degrees of freedom,
the resampled images explain the part w (which image a seed happens to get right), as in the
analysis of readers and cases (Hillis 2007, Stat. Med. 26, 596); counting it twice would make
intervals too wide, and setting all of it aside too narrow, as v itself is uncertain. Ours: the
share d/(d + 2) of w is set aside, which covers best in simulations (tests/analysis/test_draws).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .statistics import Arm

RESAMPLES = 2000
BATCH = 250  # resamples at a time, so that memory stays small for many images


@dataclass(frozen=True, kw_only=True)
class Runs:
    """Which of T trials is right on which of N images; a cell's trials differ in their seed."""

    correct: np.ndarray
    """(T, N) bool; False where the image is not seen."""
    seen: np.ndarray
    """(T, N) bool: the image is in the trial's validation set."""
    cell: np.ndarray
    """(T,) int, 0 to C - 1."""
    seed: np.ndarray
    """(T,) int."""

    @property
    def n_cells(self) -> int:
        """Number of cells, C."""
        return int(self.cell.max()) + 1

    @property
    def resampled(self) -> bool:
        """Seeds of one cell have different validation sets."""
        first = self.seen[np.unique(self.cell, return_index=True)[1]]
        return bool((first[self.cell] != self.seen).any())

    @property
    def averages(self) -> np.ndarray:
        """(C, T): takes a value per trial to the mean of each cell."""
        member = np.arange(self.n_cells)[:, None] == self.cell
        return member / member.sum(axis=1, keepdims=True)


def stack(arms: Sequence[Arm]) -> Runs | None:
    """The trials of several arms, image by image; None where predictions are not stored."""
    if any(arm.rows is None for arm in arms):
        return None
    rows = np.unique(np.concatenate([arm.rows for arm in arms]))
    cell = np.repeat(np.arange(len(arms)), [arm.n for arm in arms])
    correct, seen = np.zeros((2, len(cell), len(rows)), dtype=bool)
    for number, arm in enumerate(arms):
        place = np.ix_(cell == number, np.searchsorted(rows, arm.rows))
        correct[place], seen[place] = arm.correct, arm.seen
    seeds = np.concatenate([arm.seeds for arm in arms])
    return Runs(correct=correct, seen=seen, cell=cell, seed=seeds)


@dataclass(frozen=True, kw_only=True)
class Draws:
    """Accuracies as they might have come out."""

    means: np.ndarray
    """(B, C): mean accuracy of each cell over its seeds, 0–1."""
    with_seeds: bool
    """The seeds' share is in them; it cannot be where each cell has one seed."""


def draw(
    runs: Runs,
    *,
    pools: Sequence[int] | None = None,
    extra: np.ndarray | None = None,
    resamples: int = RESAMPLES,
) -> Draws:
    """Draw the mean accuracies of all cells together.

    Parameters
    ----------
    pools
        (C,) Cells of one number share one variance between seeds; by default all do.
    extra
        (C, k) Images added, and whether the first trial of each cell is right on them: few
        images on which cells differ must not look like certainty (Agresti & Min 2005).
    """
    random = np.random.default_rng(0)
    pool = np.zeros(runs.n_cells, dtype=int) if pools is None else np.asarray(pools)
    accuracies = (runs.correct & runs.seen).sum(axis=1) / runs.seen.sum(axis=1)
    drawn = np.concatenate(list(_over_images(runs, extra, resamples, random)))
    means = drawn @ runs.averages.T
    residual = _residual_maker(runs)
    free = np.diag(residual)
    if free.sum() < 0.5:
        return Draws(means=means, with_seeds=False)
    if any(free[pool[runs.cell] == p].sum() < 1e-6 for p in pool):
        pool = np.zeros_like(pool)  # a cell of one seed borrows the spread of the others
    seeds = np.bincount(runs.cell)
    for p in np.unique(pool):
        own, cells = pool[runs.cell] == p, np.flatnonzero(pool == p)
        block = residual[np.ix_(own, own)]
        share = np.trace(block)
        d = share**2 / (block**2).sum()  # Satterthwaite; `share` itself where splits are shared
        v = ((accuracies @ residual)[own] ** 2).sum() / share
        w = (((drawn - accuracies) @ residual)[:, own] ** 2).sum(axis=1).mean() / share
        rest = max(v - w * d / (d + 2), 0)
        normal = random.standard_normal((resamples, len(cells)))
        student = normal * np.sqrt(d / random.chisquare(d, (resamples, 1)))
        means[:, cells] += student * np.sqrt(rest / seeds[cells])
    return Draws(means=means, with_seeds=True)


def _over_images(
    runs: Runs, extra: np.ndarray | None, resamples: int, random: np.random.Generator
) -> Iterator[np.ndarray]:
    """(batch, T) accuracies over images drawn with replacement, the same ones for all trials."""
    seen, correct = runs.seen, runs.correct & runs.seen
    if extra is not None:
        first = np.isin(np.arange(len(seen)), np.unique(runs.cell, return_index=True)[1])
        correct = np.hstack([correct, np.asarray(extra, dtype=bool)[runs.cell] & first[:, None]])
        seen = np.hstack([seen, np.ones((len(seen), np.shape(extra)[1]), dtype=bool)])
    right, n = correct.T.astype(np.float32), seen.shape[1]
    counted = seen.T.astype(np.float32)
    for start in range(0, resamples, BATCH):
        size = min(BATCH, resamples - start)
        chosen = random.integers(0, n, (size, n)) + n * np.arange(size)[:, None]
        times = np.bincount(chosen.ravel(), minlength=size * n).reshape(size, n)
        times = times.astype(np.float32)
        total = np.maximum(times @ counted, 1)  # 0 only where a set of a few images is missed
        yield (times @ right / total).astype(float)


def _residual_maker(runs: Runs) -> np.ndarray:
    """(T, T): what is left of a value per trial without the means of cells.

    Where each seed has a validation set of its own, without the means of seeds too: an easy
    set favours all cells alike, and the resampled images account for it already. Unless nothing
    would be left then to tell seeds by.
    """
    design = (runs.cell[:, None] == np.arange(runs.n_cells)).astype(float)
    if runs.resampled and runs.n_cells > 1:
        both = np.hstack([design, runs.seed[:, None] == np.unique(runs.seed)])
        if np.linalg.matrix_rank(both) < len(both):
            design = both
    return np.eye(len(design)) - design @ np.linalg.pinv(design)
