"""Trials whose true accuracy is known: images of varying ease, seeds of varying luck."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import stats

from analysis.stats.seed_predictions import CellRuns, SeedPredictions

NOISE = 0.6  # of one trial on one image, in units of the spread of the images' ease
SEEDS = 0.03  # spread between seeds, in the same units: about one point of accuracy


def skill(accuracy, seeds=SEEDS):
    """The latent skill whose true accuracy, over images, seeds and noise, this is."""
    return stats.norm.ppf(accuracy) * np.sqrt(1 + NOISE**2 + seeds**2)


def in_points(accuracy, seeds=SEEDS):
    """The spread between seeds in percentage points of accuracy, about."""
    unit = np.sqrt(1 + NOISE**2 + seeds**2)
    return 100 * stats.norm.pdf(stats.norm.ppf(accuracy)) * seeds / unit


def spread_of(points, accuracy=0.65):
    """The spread between seeds that makes accuracies differ by so many percentage points, about."""
    return np.asarray(points) * SEEDS / in_points(accuracy)


def cells(
    random,
    accuracies,
    *,
    n_val,
    n_seeds,
    seeds=SEEDS,
    resample=False,
    share=0.2,
    own_ease=0.0,
    inits=None,
    nested=0.0,
):
    """Cells with these true accuracies, on one validation set or one per seed.

    `seeds`, the spread between seeds, is one number or one for each cell. With `resample`, the
    sets of the seeds are drawn from one survey, `share` of it each. An image's ease has a part that
    cells of one number in `inits` share, `own_ease` of its variance, and a part that all do. `nested` is the
    share of the variance between seeds that all cells have in common, as if budgets lie inside each other.
    """
    truth, n_cells = np.asarray(accuracies), len(accuracies)
    n = round(n_val / share) if resample else n_val
    ease = random.normal(size=n)
    if inits is not None:
        of_init = random.normal(size=(max(inits) + 1, n))[np.asarray(inits)]
        ease = (np.sqrt(1 - own_ease) * ease + np.sqrt(own_ease) * of_init)[:, None]
    seeds = np.broadcast_to(seeds, n_cells)
    luck = random.normal(0, 1, (n_cells, n_seeds, 1))
    if nested:
        common = random.normal(0, 1, (n_seeds, 1))
        luck = np.sqrt(nested) * common + np.sqrt(1 - nested) * luck
    luck *= seeds[:, None, None]
    noise = random.normal(0, NOISE, (n_cells, n_seeds, n))
    correct = skill(truth, seeds)[:, None, None] + luck + ease + noise > 0
    seen = np.ones((n_seeds, n), dtype=bool)
    if resample:
        seen = np.argsort(random.random((n_seeds, n)), axis=1) < n_val
    return [cell(one, seen, number=number) for number, one in enumerate(correct)]


def pairs(
    random,
    fractions,
    *,
    n_val,
    n_seeds,
    seeds=SEEDS,
    gain=0.0,
    own_ease=0.0,
    labels=None,
):
    """Pre-trained and scratch at several fractions, the one more accurate by `gain`, 0–1.

    `seeds` is one number, or that of the pre-trained and that of scratch, or (2, fractions).
    `gain` is one number or one for each fraction. `labels` of each fraction: 100 unless given.
    """
    truth = np.linspace(0.55, 0.75, fractions)
    spread = np.asarray(seeds)
    spread = np.broadcast_to(spread[:, None] if spread.ndim == 1 else spread, (2, fractions))
    both = [*(truth + np.asarray(gain) / 2), *(truth - np.asarray(gain) / 2)]
    made = cells(
        random,
        both,
        n_val=n_val,
        n_seeds=n_seeds,
        seeds=spread.ravel(),
        own_ease=own_ease,
        inits=np.repeat((0, 1), fractions),
    )
    named = [
        replace(
            one,
            init=init,
            fraction=(number + 1) / fractions,
            n_labels=labels[number] if labels else 100,
        )
        for init, group in (("pretrained", made[:fractions]), ("scratch", made[fractions:]))
        for number, one in enumerate(group)
    ]
    return list(zip(named[:fractions], named[fractions:], strict=True))


def cell(correct, seen=None, *, rows=None, seeds=None, number=0):
    """The runs of a cell that are right on these images, (S, N) bool."""
    correct = np.atleast_2d(np.asarray(correct, dtype=bool))
    seen = np.ones_like(correct) if seen is None else np.atleast_2d(seen)
    n_seeds, n = correct.shape
    right = (correct & seen).astype(np.float32)
    predictions = SeedPredictions(
        init="pretrained",
        fraction=(number + 1) / 100,
        trials=tuple(f"cell{number}-s{seed}" for seed in range(n_seeds)),
        rows=np.arange(n) if rows is None else np.asarray(rows),
        labels=np.zeros(n, dtype=int),  # class 0 or, if a seed is wrong, 1
        probabilities=np.stack([right, seen - right], axis=2),
        seen=seen,
    )
    return CellRuns(
        init=predictions.init,
        fraction=predictions.fraction,
        n_labels=100,
        seeds=tuple(range(n_seeds)) if seeds is None else tuple(seeds),
        accuracies=tuple(predictions.correct.sum(axis=1) / seen.sum(axis=1)),
        n_scored=tuple(seen.sum(axis=1)),
        predictions=predictions,
    )


def runs(accuracies, *, init="scratch", n_labels=100, n_scored=300):
    """A cell with these accuracies, one for each seed, without predictions."""
    return CellRuns(
        init=init,
        fraction=n_labels / 1000,
        n_labels=n_labels,
        seeds=tuple(range(len(accuracies))),
        accuracies=tuple(map(float, accuracies)),
        n_scored=(n_scored,) * len(accuracies),
    )


def allowed(repeats, sigmas=3):
    """Coverages that are no evidence against one of 93 to 97%, by binomial error."""
    low, high = (sigmas * np.sqrt(p * (1 - p) / repeats) for p in (0.93, 0.97))
    return 0.93 - low, 0.97 + high
