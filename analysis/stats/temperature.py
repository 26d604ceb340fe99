"""What temperature scaling is worth: the calibration error of the test set before and after it.

The temperature of each trial was fitted to its validation images (`trainable.calibration`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.results.schema import Results
from analysis.stats.calibration import (
    ResampledErrors,
    errors_by_seed,
    expected_errors,
    over_images,
)
from analysis.stats.estimates import Estimate, student_half_width
from analysis.stats.seed_predictions import SeedPredictions, at_largest
from trainable import calibration


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """Temperature scaling of the trials of one cell."""

    predictions: SeedPredictions
    """As the networks give them."""
    temperatures: tuple[float, ...]
    """One for each seed."""
    n_validation: tuple[int, ...]
    """Images that each was fitted to."""
    before: Estimate
    """Expected calibration error, mean over seeds, 0–1."""
    after: Estimate
    change: Estimate
    """After minus before."""


def temperature_scaling(results: Results) -> tuple[Scaling, ...]:
    """Of both inits at the largest fraction; none if there is no test set, or no predictions are stored.

    Without a test set the temperature would be judged on the images that it was fitted to.
    """
    if results.scored_on != "test":
        return ()
    cells: list[tuple[SeedPredictions, list[calibration.Temperature]]] = []
    for predictions in at_largest(results).values():
        folders = [results.checkpoint(trial) for trial in predictions.trials]
        found = [calibration.stored(folder, tested=True) if folder else None for folder in folders]
        known = [temperature for temperature in found if temperature is not None]
        if len(known) == len(found):
            cells.append((predictions, known))
    if not cells:
        return ()
    before = [predictions for predictions, _ in cells]
    after = [_scaled(predictions, temperatures) for predictions, temperatures in cells]
    changes = _changes(before, after)
    estimates = zip(expected_errors(before), expected_errors(after), changes, strict=True)
    return tuple(
        Scaling(
            predictions=predictions,
            temperatures=tuple(temperature.value for temperature in temperatures),
            n_validation=tuple(temperature.n for temperature in temperatures),
            before=of_before,
            after=of_after,
            change=change,
        )
        for (predictions, temperatures), (of_before, of_after, change) in zip(
            cells, estimates, strict=True
        )
    )


def _scaled(
    predictions: SeedPredictions, temperatures: Sequence[calibration.Temperature]
) -> SeedPredictions:
    probabilities = [
        calibration.scaled(of_seed, temperature.value) * seen[:, None]
        for of_seed, temperature, seen in zip(
            predictions.probabilities, temperatures, predictions.seen, strict=True
        )
    ]
    return replace(predictions, probabilities=np.stack(probabilities))


def _changes(before: Sequence[SeedPredictions], after: Sequence[SeedPredictions]) -> list[Estimate]:
    """Change of the error of each cell, paired by image and seed, with its interval.

    The bootstrap over images is the basic one, as of the errors themselves; Student's interval of the
    seeds' mean, pooled over cells, is added in quadrature.
    """
    by_seed = [_change(b, a, b.seen) for b, a in zip(before, after, strict=True)]
    known = [(float(c.var(ddof=1)), len(c)) for c in by_seed if len(c) > 1]
    how = "bootstrap over the images" + (", and Student's over the seeds" if known else "")
    estimates: list[Estimate] = []
    for b, a, changes in zip(before, after, by_seed, strict=True):
        value, seeds = float(changes.mean()), student_half_width(known, [b.n_seeds])
        first, second = ResampledErrors(b), ResampledErrors(a)
        low, high = over_images(
            len(b.rows), lambda counts, first=first, second=second: second(counts) - first(counts)
        )
        below = float(np.hypot(max(value - low, 0.0), seeds))
        above = float(np.hypot(max(high - value, 0.0), seeds))
        estimates.append(Estimate(value=value, low=value - below, high=value + above, how=how))
    return estimates


def _change(
    before: SeedPredictions, after: SeedPredictions, weights: NDArray[Any]
) -> NDArray[np.float64]:
    """(S,) change of each seed's error."""
    first, second = (errors_by_seed(p.confidence, p.correct, weights) for p in (before, after))
    return second - first
