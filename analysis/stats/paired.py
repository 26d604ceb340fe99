"""Two ways of training compared repeat by repeat, on the same test images, at several budgets.

In each of R repeats both ways begin from the same labelled images, so that their difference is taken
within the repeat. What makes it uncertain are the test images and the repeats; both are treated as
`bootstrap` treats images and seeds: images are resampled, the same ones for all repeats and budgets, and
the variance between repeats enters by Student's t, without the part that the resampled images explain. The
repeats' shares are drawn together for all budgets, since a repeat that is lucky with few labels has the
same images among its many. Intervals are simultaneous over the budgets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from analysis.stats.bootstrap import PER_RESAMPLE, RESAMPLES, Contrasts
from analysis.stats.estimates import LEVEL, Estimate, percentiles
from analysis.stats.label_efficiency import first_fraction_reaching, isotonic_fit

RATIO_RESAMPLES = 1000
"""For the number of labels; each needs an isotonic fit."""


@dataclass(frozen=True, kw_only=True)
class LabelsNeeded:
    """How many labels another way of labelling needs for an accuracy, with its 95% interval.

    The ends may be `label_efficiency.BELOW` or `label_efficiency.NEVER`.
    """

    value: float
    low: float
    high: float


def with_average(right: NDArray[np.bool_]) -> NDArray[np.float32]:
    """What `paired_differences` takes, with the mean over all budgets as one more, the last.

    Parameters
    ----------
    right
        Shape (K, R, N).

    Returns
    -------
    numpy.ndarray
        Shape (K + 1, R, N), 0–1.
    """
    values = right.astype(np.float32)
    return np.concatenate([values, values.mean(axis=0, keepdims=True)])


def paired_differences(
    a: NDArray[np.bool_] | NDArray[np.float32],
    b: NDArray[np.bool_] | NDArray[np.float32],
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> list[Estimate]:
    """Mean accuracy of `a` minus that of `b` at each budget, with simultaneous intervals.

    One more image each way is added, so that few images on which the two differ do not look like
    certainty (after Agresti & Min 2005).

    Parameters
    ----------
    a, b
        Shape (K, R, N): right at budget k in repeat r on test image n, or such averages; R at least 2.
    level
        Chance that all K intervals hold.

    Returns
    -------
    list of Estimate
        One for each budget, 0–1.
    """
    budgets, repeats, images = a.shape
    if repeats < 2:
        raise ValueError(f"{repeats} repeats: the variance between them needs at least 2")
    difference = a.astype(np.float32) - b.astype(np.float32)
    of_repeat = difference.mean(axis=2)  # (K, R)
    residual = of_repeat - of_repeat.mean(axis=1, keepdims=True)
    d = repeats - 1
    added = np.zeros((budgets, repeats, 2), np.float32)
    added[:, 0] = 1, -1
    values = np.concatenate([difference, added], axis=2)
    over_images = np.empty((resamples, budgets))
    explained = np.zeros(budgets)
    random = np.random.default_rng(0)
    for draw in range(resamples):
        drawn = random.integers(0, images + 2, images + 2)
        times = np.bincount(drawn, minlength=images + 2).astype(np.float32)
        accuracies = values @ times / (images + 2)  # (K, R)
        over_images[draw] = accuracies.mean(axis=1)
        moved = accuracies - of_repeat
        moved -= moved.mean(axis=1, keepdims=True)
        explained += (moved**2).sum(axis=1) / d / resamples
    variance = (residual**2).sum(axis=1) / d
    rest = np.maximum(variance - explained * d / (d + 2), 0) / repeats
    normal = random.standard_normal((resamples * PER_RESAMPLE, repeats)) / np.sqrt(d)
    unit = normal @ (residual / np.sqrt(np.where(variance > 0, variance, 1))[:, None]).T
    chance = random.random((len(unit), 1))
    draws = np.repeat(over_images, PER_RESAMPLE, axis=0)
    draws = draws + unit * np.sqrt(rest * d / stats.chi2.ppf(chance, d))
    of_images = over_images.var(axis=0)
    se = np.sqrt(of_images + rest)
    with np.errstate(divide="ignore"):
        df = np.where(rest > 0, (of_images + rest) ** 2 * d / rest**2, np.inf)
    contrasts = Contrasts(draws=draws, centre=over_images.mean(axis=0), se=se, df=df)
    critical = contrasts.critical(level)
    how = f"paired over {images:,} test images and {repeats} repeats"
    if budgets > 1:
        how += f"; one of {budgets} simultaneous intervals"
    estimates: list[Estimate] = []
    for k in range(budgets):
        value, half = float(of_repeat[k].mean()), float(critical[k] * se[k])
        centre = float(contrasts.centre[k])
        estimates.append(
            Estimate(
                value=value,
                low=min(centre - half, value),
                high=max(centre + half, value),
                how=how,
                se=float(se[k]),
                df=float(df[k]),
                critical=float(critical[k]),
                level=level,
            )
        )
    return estimates


def labels_needed(
    budgets: Sequence[int],
    a: NDArray[np.bool_],
    b: NDArray[np.bool_],
    *,
    resamples: int = RATIO_RESAMPLES,
) -> list[LabelsNeeded]:
    """How many labels `b` needs for the accuracy that `a` has at each budget.

    The mean accuracies of `b` are made never to fall by isotonic regression, linear in the logarithm of
    the labels between budgets. Intervals are 95% bootstrap intervals over images and repeats.

    Parameters
    ----------
    budgets
        (K,) ascending.
    a, b
        Shape (K, R, N), as of `paired_differences`.
    """
    _, repeats, images = a.shape
    right_a, right_b = a.astype(np.float32), b.astype(np.float32)
    drawn_a, drawn_b = np.empty((2, resamples, len(budgets)))
    random = np.random.default_rng(0)
    for draw in range(resamples):
        times = np.bincount(random.integers(0, images, images), minlength=images)
        chosen = np.bincount(random.integers(0, repeats, repeats), minlength=repeats)
        weights = times.astype(np.float32) / images
        for drawn, right in ((drawn_a, right_a), (drawn_b, right_b)):
            drawn[draw] = (right @ weights) @ chosen / repeats
    fit = isotonic_fit(right_b.mean(axis=(1, 2)))[None]
    fits = isotonic_fit(drawn_b)
    amounts = [float(budget) for budget in budgets]
    needed: list[LabelsNeeded] = []
    for k in range(len(budgets)):
        value = first_fraction_reaching(amounts, fit, right_a[k].mean(keepdims=True).reshape(1))
        low, high = percentiles(first_fraction_reaching(amounts, fits, drawn_a[:, k]))
        needed.append(LabelsNeeded(value=float(value[0]), low=low, high=high))
    return needed
