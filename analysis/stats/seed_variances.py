"""Which cells share a variance between seeds, and how it falls with the number of labels.

Two or three seeds tell little of a variance, so cells share one. But a seed also draws the labelled
images, which matters more if they are few: with one variance for all numbers of labels, intervals
are too narrow at few labels and too wide at many. Ours: a cell with `OWN_VARIANCE` seeds or more has a
variance of its own; those of an init with fewer share one up to a power of the number of labels,
whose exponent is fitted to the variances of all cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma, polygamma

from analysis.stats.seed_predictions import CellRuns

OWN_VARIANCE = 5
"""Seeds from which on a cell's variance between seeds is its own."""
LEAST_NUMBERS = 3
"""Different numbers of labels that an exponent is fitted to."""
STEEPEST = -2.0
"""Least exponent of the variance over labels: of what is fitted to few values, beyond belief."""


def seed_pools(cells: Sequence[CellRuns]) -> tuple[list[int], NDArray[np.float64]]:
    """Pools and scales of the cells' variances between seeds, for `bootstrap.draw`.

    Returns
    -------
    pools : list of int
        (C,) Cells of one number share a variance.
    scales : numpy.ndarray
        (C,) Variance of each cell in units of its pool's.
    """
    own = np.array([cell.n >= OWN_VARIANCE for cell in cells])
    pools = [
        number + 2 if alone else int(cell.init == "scratch")
        for number, (cell, alone) in enumerate(zip(cells, own, strict=True))
    ]
    labels = np.log([cell.n_labels for cell in cells])
    scales = np.exp(_exponent(cells, labels) * (labels - labels.mean()))
    return pools, np.where(own, 1.0, scales)


def _exponent(cells: Sequence[CellRuns], labels: NDArray[np.float64]) -> float:
    """Of the labels in the variance between seeds, at most 0; 0 if they cannot tell.

    Weighted least squares on log variances, whose mean and variance are those of the logarithm of
    chi-squared, with a constant for each init.
    """
    known = [number for number, cell in enumerate(cells) if cell.n > 1]
    if len({round(labels[number], 6) for number in known}) < LEAST_NUMBERS:
        return 0.0
    df = np.array([cells[number].n - 1 for number in known])
    least = [1 / (12 * np.mean(cells[number].n_scored) ** 2) for number in known]  # of rounding
    variances = [np.var(cells[number].accuracies, ddof=1) for number in known]
    logs = log_variances(np.maximum(variances, least), df)
    scratch = np.array([cells[number].init == "scratch" for number in known])
    return float(fitted_exponent(labels[known], logs, scratch, 1 / polygamma(1, df / 2)))


def log_variances(variances: NDArray[np.float64], df: NDArray[Any]) -> NDArray[np.float64]:
    """The logarithm of variances estimated on `df`, without its bias; (…, C) of (…, C) and (C,)."""
    return np.log(variances) - (digamma(df / 2) - np.log(df / 2))


def fitted_exponent(
    labels: NDArray[np.float64],
    variances: NDArray[np.float64],
    scratch: NDArray[np.bool_],
    weights: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Of the labels in the variance between seeds, with a constant for each init; at most 0.

    Parameters
    ----------
    labels
        (C,) Logarithms.
    variances
        (…, C) Logarithms, of one sweep or of several.
    scratch
        (C,) Whether the init is.
    weights
        (C,) Of the logarithm of each variance.

    Returns
    -------
    numpy.ndarray
        (…,) One for each sweep.
    """
    x, y = labels.copy(), variances.copy()
    for side in (scratch, ~scratch):
        if side.any():
            x[side] -= np.average(x[side], weights=weights[side])
            y[..., side] -= np.average(y[..., side], axis=-1, weights=weights[side])[..., None]
    spread = weights @ x**2
    if spread < 1e-9:
        return np.zeros(y.shape[:-1])
    return np.clip(y @ (weights * x) / spread, STEEPEST, 0.0)
