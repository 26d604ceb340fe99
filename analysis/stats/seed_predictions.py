"""The trials of one cell of the grid, one a seed, and what they predict image by image.

A cell is an init and a fraction. This is the one structure for seeds × images: the bootstrap,
the scores of the classes, calibration and the galleries all start from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.formatting import fraction as percentage
from analysis.formatting import listed
from analysis.formatting import seeds as number_of_seeds
from analysis.metrics import ACCURACY, Metric
from analysis.results.schema import Predictions, Results, records
from trainable.protocol import INITS


@dataclass(frozen=True, kw_only=True)
class SeedPredictions:
    """What the S seeds of one cell predict for the n images that any of them is scored on."""

    init: str
    fraction: float
    trials: tuple[str, ...]
    """S trials, one for each seed."""
    rows: NDArray[np.integer[Any]]
    """(n,) int: row of each image in the data file, ascending."""
    labels: NDArray[np.integer[Any]]
    """(n,) int: true class, 0 to C - 1."""
    probabilities: NDArray[np.floating[Any]]
    """(S, n, C) float, 0–1; 0 if a seed is not scored on an image."""
    seen: NDArray[np.bool_]
    """(S, n) bool: the seed is scored on the image. All true if the seeds share one split."""

    @property
    def n_seeds(self) -> int:
        """S."""
        return len(self.trials)

    @cached_property
    def predicted(self) -> NDArray[np.integer[Any]]:
        """(S, n) int: most probable class; -1 if unseen."""
        return np.where(self.seen, self.probabilities.argmax(axis=2), -1)

    @cached_property
    def confidence(self) -> NDArray[np.float64]:
        """(S, n) float: probability of the most probable class, 0–1; 0 if unseen."""
        return self.probabilities.max(axis=2).astype(float)

    @cached_property
    def correct(self) -> NDArray[np.bool_]:
        """(S, n) bool: the most probable class is the true one; False if unseen."""
        return self.predicted == self.labels

    def first(self, n_seeds: int) -> SeedPredictions:
        """Those of the first seeds, on the images that any of them is scored on."""
        seen = self.seen[:n_seeds].any(axis=0)
        return replace(
            self,
            trials=self.trials[:n_seeds],
            rows=self.rows[seen],
            labels=self.labels[seen],
            probabilities=self.probabilities[:n_seeds, seen],
            seen=self.seen[:n_seeds, seen],
        )

    @property
    def label(self) -> str:
        """Cell and number of seeds: "scratch at 100%, n = 3 seeds"."""
        return f"{self.init} at {percentage(self.fraction)}, {number_of_seeds(self.n_seeds)}"


@dataclass(frozen=True, kw_only=True)
class CellRuns:
    """The complete trials of one cell, one entry per seed."""

    init: str
    fraction: float
    n_labels: int
    """The label budget; of a split without a test set, the training images."""
    seeds: tuple[int, ...]
    accuracies: tuple[float, ...]
    """Of each seed on the images that it is scored on, 0–1; or its value of another `metric`."""
    n_scored: tuple[int, ...]
    """Images that each seed is scored on."""
    scored_on: str = "test"
    """Which images these are: ``test`` or ``validation``."""
    predictions: SeedPredictions | None = None
    """None if a trial's predictions are not stored."""
    metric: Metric = ACCURACY
    """What `accuracies` are values of."""

    @property
    def n(self) -> int:
        """Number of seeds."""
        return len(self.accuracies)

    @property
    def accuracy(self) -> float:
        """Mean over seeds, 0–1, or in the unit of another `metric`."""
        return float(np.mean(self.accuracies))

    def first(self, n_seeds: int) -> CellRuns:
        """The first seeds alone."""
        stored = self.predictions
        return replace(
            self,
            seeds=self.seeds[:n_seeds],
            accuracies=self.accuracies[:n_seeds],
            n_scored=self.n_scored[:n_seeds],
            predictions=None if stored is None else stored.first(n_seeds),
        )

    @property
    def label(self) -> str:
        """The cell: "scratch at 100%"."""
        return f"{self.init} at {percentage(self.fraction)}"


def cell_runs(results: Results, init: str, fraction: float) -> CellRuns | None:
    """The complete trials of a cell with their stored predictions; None if there is none.

    Trials that have no value of the results' metric are left out.
    """
    values = {str(trial): results.value(trial) for trial in results.of(init, fraction)["trial"]}
    known_values = {trial: value for trial, value in values.items() if value is not None}
    trials = [row for row in records(results.of(init, fraction)) if row["trial"] in known_values]
    if not trials:
        return None
    stored = {str(row["trial"]): results.predictions(row["trial"]) for row in trials}
    known = {trial: read for trial, read in stored.items() if read is not None}
    return CellRuns(
        init=init,
        fraction=fraction,
        n_labels=round(float(np.mean([row["n_labels"] for row in trials]))),
        seeds=tuple(int(row["seed"]) for row in trials),
        accuracies=tuple(known_values.values()),
        n_scored=tuple(int(row["n_scored"]) for row in trials),
        scored_on=results.scored_on,
        predictions=stacked(init, fraction, known) if len(known) == len(stored) else None,
        metric=results.metric,
    )


def stacked(init: str, fraction: float, stored: Mapping[str, Predictions]) -> SeedPredictions:
    """The predictions of several trials of one cell, image by image.

    Parameters
    ----------
    stored
        Name of a trial → what it stored; one entry or more.
    """
    of_trials = list(stored.values())
    rows, first = np.unique(np.concatenate([p.rows for p in of_trials]), return_index=True)
    labels = np.concatenate([p.labels for p in of_trials])[first]
    n_classes = max(p.probabilities.shape[1] for p in of_trials)
    probabilities = np.zeros((len(stored), len(rows), n_classes), np.float32)
    seen = np.zeros((len(stored), len(rows)), bool)
    for seed, predictions in enumerate(of_trials):
        images = np.searchsorted(rows, predictions.rows)
        probabilities[seed, images], seen[seed, images] = predictions.probabilities, True
    return SeedPredictions(
        init=init,
        fraction=fraction,
        trials=tuple(stored),
        rows=rows,
        labels=labels,
        probabilities=probabilities,
        seen=seen,
    )


def at_largest(results: Results) -> dict[str, SeedPredictions]:
    """Init → its seeds at the largest fraction that both inits have, else at its own largest.

    Only complete trials with stored predictions count; an init without any is left out.
    """
    stored = [
        (str(row["init"]), float(row["fraction"]), str(row["trial"]))
        for row in records(results.complete)
        if results.predictions(row["trial"]) is not None
    ]
    tested = {init: {f for i, f, _ in stored if i == init} for init in INITS}
    shared = set[float].intersection(*tested.values())
    largest = {init: max(shared or tested[init]) for init in INITS if tested[init]}
    return {
        init: stacked(init, fraction, _predictions(results, stored, init, fraction))
        for init, fraction in largest.items()
    }


def _predictions(
    results: Results, stored: Sequence[tuple[str, float, str]], init: str, fraction: float
) -> dict[str, Predictions]:
    read = {t: results.predictions(t) for i, f, t in stored if (i, f) == (init, fraction)}
    return {trial: predictions for trial, predictions in read.items() if predictions is not None}


def described(by_init: Mapping[str, SeedPredictions]) -> str:
    """Cells and seeds: "Scratch and pretrained at 100%, n = 3 seeds", or each if they differ."""
    cells = {predictions.label.removeprefix(init) for init, predictions in by_init.items()}
    if len(cells) == 1:
        text = listed(by_init) + cells.pop()
    else:
        text = listed(predictions.label for predictions in by_init.values())
    return text[0].upper() + text[1:]


def same_images(by_init: Mapping[str, SeedPredictions]) -> bool:
    """Whether both inits are there, at one fraction and with every seed on the same images."""
    if set(by_init) != set(INITS):
        return False
    a, b = by_init.values()
    return (
        a.fraction == b.fraction
        and np.array_equal(a.rows, b.rows)
        and bool(a.seen.all() and b.seen.all())
    )
