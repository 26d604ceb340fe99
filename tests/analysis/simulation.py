"""Trials whose true accuracy is known: images of varying ease, seeds of varying luck."""

from __future__ import annotations

import numpy as np
from scipy import stats

from analysis.draws import Runs
from analysis.statistics import Arm

NOISE = 0.6  # of one trial on one image, in units of the spread of the images' ease
SEEDS = 0.03  # spread between seeds, in the same units: about one point of accuracy


def skill(accuracy, seeds=SEEDS):
    """The latent skill whose true accuracy, over images, seeds and noise, this is."""
    return stats.norm.ppf(accuracy) * np.sqrt(1 + NOISE**2 + seeds**2)


def runs(random, accuracies, *, n_val, n_seeds, seeds=SEEDS, resample=False, share=0.2):
    """`Runs` of cells with these true accuracies, on one validation set or one per seed.

    With `resample`, the sets of the seeds are drawn from one survey, `share` of it each.
    """
    cells, n_cells = np.asarray(accuracies), len(accuracies)
    n = round(n_val / share) if resample else n_val
    ease = random.normal(size=n)
    luck = random.normal(0, seeds, (n_cells, n_seeds, 1))
    noise = random.normal(0, NOISE, (n_cells, n_seeds, n))
    correct = skill(cells, seeds)[:, None, None] + luck + ease + noise > 0
    seen = np.ones((n_seeds, n), dtype=bool)
    if resample:
        seen = np.argsort(random.random((n_seeds, n)), axis=1) < n_val
    seen = np.broadcast_to(seen, correct.shape).reshape(-1, n)
    kept = seen.any(axis=0)
    return Runs(
        correct=(correct.reshape(-1, n) & seen)[:, kept],
        seen=seen[:, kept],
        cell=np.repeat(np.arange(n_cells), n_seeds),
        seed=np.tile(np.arange(n_seeds), n_cells),
    )


def arms(made: Runs) -> list[Arm]:
    """The cells of `made` as arms."""
    return [
        Arm(
            label=f"cell {number}",
            n_train=100,
            accuracies=tuple(correct.sum(axis=1) / seen.sum(axis=1)),
            seeds=tuple(range(len(seen))),
            n_val=tuple(seen.sum(axis=1)),
            correct=correct,
            seen=seen,
            rows=np.arange(seen.shape[1]),
        )
        for number in range(made.n_cells)
        for correct, seen in [(made.correct[made.cell == number], made.seen[made.cell == number])]
    ]


def allowed(repeats, sigmas=3):
    """Coverages that are no evidence against one of 93 to 97 %, by binomial error."""
    low, high = (sigmas * np.sqrt(p * (1 - p) / repeats) for p in (0.93, 0.97))
    return 0.93 - low, 0.97 + high
