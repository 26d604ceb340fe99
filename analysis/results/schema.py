"""What the analysis knows of a sweep: a frame of trials, one of epochs, stored predictions."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.metrics import ACCURACY, Metric, metric_named
from trainable.manifest import Cell, Manifest
from trainable.protocol import UNTRAINED

if TYPE_CHECKING:  # it reads files by functions from here
    from analysis.results.transfer import Transfer

COMPLETE = "complete"
EPOCH_COLUMNS = (
    "epoch",
    "train_loss",
    "train_accuracy",
    "val_loss",
    "val_accuracy",
    "val_macro_f1",
    "learning_rate",
    "images_per_second",
    "epoch_seconds",
    "min_loss",
    "counter",
    "best_val_accuracy",
)
NO_IMAGE = "some class has no image among those it is scored on"
KEY = ("trial", "init", "fraction", "seed")
"""Columns of `Results.epochs` that tell its trials apart."""


def rows_where(table: pd.DataFrame, condition: pd.Series | list[bool]) -> pd.DataFrame:
    """The rows of a table for which the condition is true, with their index."""
    return cast("pd.DataFrame", table[condition])


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table as dictionaries: name of a column → value."""
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def groups(table: pd.DataFrame, column: str, *further: str) -> list[tuple[Any, pd.DataFrame]]:
    """The rows that agree in some columns, in order of appearance: values of the columns, rows."""
    by = [column, *further] if further else column
    return [(values, rows) for values, rows in table.groupby(by, sort=False)]


class CorruptFile(Exception):
    """A file of a trial that cannot be read; the message names it."""


def npz_arrays(path: Path, *names: str) -> tuple[NDArray[Any], ...]:
    """Arrays of an ``.npz`` file by their names; `CorruptFile` if they cannot be read."""
    try:
        with path.open("rb") as file, np.load(file) as stored:
            return tuple(stored[name] for name in names)
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise CorruptFile(f"{path} is corrupt: {error}") from error


def read_json(path: Path) -> Any:
    """The values in a JSON file; `CorruptFile` if it is missing or cannot be read."""
    if not path.is_file():
        raise CorruptFile(f"{path} is missing")
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise CorruptFile(f"{path} is corrupt: {error}") from error


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What one trial predicts for the images it is scored on, at the epoch that validation chose."""

    rows: NDArray[np.integer[Any]]
    """(n,) int: row of each image in the data file, ascending."""
    labels: NDArray[np.integer[Any]]
    """(n,) int: true class, 0 to C - 1."""
    probabilities: NDArray[np.floating[Any]]
    """(n, C) float32, 0–1."""
    epoch: int
    """From 1."""

    @property
    def correct(self) -> NDArray[np.bool_]:
        """(n,) bool: the most probable class is the true one."""
        return self.probabilities.argmax(axis=1) == self.labels

    @classmethod
    def read(cls, path: Path) -> Predictions:
        """Read a ``predictions.npz`` and order it by row; `CorruptFile` if it cannot be read."""
        rows, labels, probabilities, epoch = npz_arrays(
            path, "rows", "labels", "probabilities", "epoch"
        )
        if not len(rows) == len(labels) == len(probabilities):
            raise CorruptFile(
                f"{path} is corrupt: {len(rows)} rows, {len(labels)} labels and predictions for "
                f"{len(probabilities)} images"
            )
        order = np.argsort(rows, kind="stable")
        return cls(
            rows=rows[order],
            labels=labels[order],
            probabilities=probabilities[order],
            epoch=int(epoch),
        )


@dataclass(frozen=True, kw_only=True)
class Results:
    """A grid of trials as frames. Fractions and accuracies are in 0–1, times in seconds."""

    manifests: tuple[Manifest, ...]
    trials: pd.DataFrame
    """One row per cell of the manifests, whatever became of it: ``status`` says. ``trial`` is the
    name shown, unique in the frame; ``cell`` the cell's id in the manifest of the sweep ``sweep``.
    ``arch`` is its architecture. ``protocols`` has the names of all that prescribe the trial,
    ``protocol`` the one that it is shown under."""
    epochs: pd.DataFrame
    """One row per trial and epoch, each once and in order."""
    examples: NDArray[np.uint8] | None = None
    """(C, S, S, 3) uint8: one image per class."""
    metric: Metric = ACCURACY
    """What cells are compared by; `with_metric` gives the same results with another one."""
    transfer: Transfer | None = None
    """What the pre-trained model knows without any label, if it was trained on another survey."""
    notes: tuple[str, ...] = ()
    """What was odd in the folders, for the reader of the report."""
    loaded: dict[Path, Predictions | CorruptFile] = field(
        default_factory=dict[Path, "Predictions | CorruptFile"], repr=False, compare=False
    )
    """Files of predictions that were read already; parts of the results share them."""

    @property
    def manifest(self) -> Manifest:
        """The first manifest; the others agree with it in all but their cells."""
        return self.manifests[0]

    @property
    def scored_on(self) -> str:
        """Which images accuracies are of: ``test`` or ``validation``."""
        return self.manifest.data.scored_on

    @property
    def accuracy_name(self) -> str:
        """What values of `metric` are, e.g. "test balanced accuracy"."""
        if self.metric == ACCURACY and self.scored_on != "test":
            return "best validation accuracy"
        return f"{self.scored_on} {self.metric.label}"

    def with_metric(self, name: str) -> Results:
        """The same results, compared by another metric of the stored predictions.

        Raises
        ------
        SettingsError
            There is no metric of that name for as many classes.
        """
        metric = metric_named(name, len(self.manifest.data.class_names))
        if metric == self.metric:
            return self
        results = replace(self, metric=metric)
        without = [t for t in self.complete["trial"] if results.value(t) is None]
        notes = (
            f"{trial}: no {metric.label}, as "
            f"{'it has no stored predictions' if self.predictions(trial) is None else NO_IMAGE}; "
            "it is left out of the comparisons."
            for trial in without
        )
        return replace(results, notes=(*self.notes, *notes))

    def value(self, trial: str) -> float | None:
        """A complete trial's value of `metric`; None if it has none. Accuracy is that of its log."""
        if self.metric == ACCURACY:
            return float(self._row(trial)["accuracy"])
        stored = self.predictions(trial)
        if stored is None:
            return None
        return self.metric.value(stored.labels, stored.probabilities)

    @property
    def loss_name(self) -> str:
        """What the column ``loss`` is."""
        return "test loss" if self.scored_on == "test" else "lowest validation loss"

    @property
    def baseline_fraction(self) -> float:
        """Share of the labels of the baseline: all or, of budgets in images, the largest of scratch."""
        if not self.manifest.settings.get("budgets"):
            return 1.0
        scratch = self.trials.loc[self.trials["init"] == "scratch", "fraction"]
        return float(scratch.max()) if len(scratch) else 1.0

    def are_probes(self, init: str) -> bool:
        """Whether trials of an init are linear probes, which are fitted at once, not in epochs."""
        return any(
            cell.init == init and cell.config.trained == "probe"
            for manifest in self.manifests
            for cell in manifest.cells
        )

    @property
    def protocols(self) -> tuple[str, ...]:
        """Names of all protocols that were run, the one of `manifest` first; not that of controls."""
        others = (name for names in self.trials["protocols"] for name in names)
        known = dict.fromkeys((self.manifest.protocol, *others))
        return tuple(name for name in known if name != UNTRAINED.name)

    @property
    def archs(self) -> tuple[str, ...]:
        """All architectures that were run, that of `manifest` first; with that of a control."""
        return tuple(dict.fromkeys((self.manifest.arch, *self.trials["arch"])))

    @property
    def main(self) -> Results:
        """What the report is about but for its sections on protocols and architectures."""
        return self.of_arch(self.manifest.arch).only(self.manifest.protocol)

    def of_arch(self, arch: str) -> Results:
        """What was run of one architecture: its trials and epochs, and manifests of its cells alone."""
        trials = rows_where(self.trials, self.trials["arch"] == arch).reset_index(drop=True)
        manifests = (manifest.of_arch(arch) for manifest in self.manifests)
        return self.part(trials, manifests)

    def only(self, protocol: str) -> Results:
        """What one protocol prescribes: its trials and epochs, and manifests of its cells alone."""
        trials = rows_where(self.trials, [protocol in names for names in self.trials["protocols"]])
        manifests = (manifest.only(protocol) for manifest in self.manifests)
        return self.part(trials.assign(protocol=protocol).reset_index(drop=True), manifests)

    def part(self, trials: pd.DataFrame, manifests: Iterable[Manifest]) -> Results:
        """These trials, their epochs, and those of the manifests that have cells."""
        of_trials = self.epochs["trial"].isin(set(trials["trial"]))
        return replace(
            self,
            manifests=tuple(manifest for manifest in manifests if manifest.cells),
            trials=trials,
            epochs=rows_where(self.epochs, of_trials).reset_index(drop=True),
        )

    @property
    def complete(self) -> pd.DataFrame:
        """The trials that ended as the protocol wants: the only ones that statistics may use."""
        return rows_where(self.trials, self.trials["status"] == COMPLETE)

    @property
    def missing(self) -> pd.DataFrame:
        """The trials that failed, were interrupted or never started."""
        return rows_where(self.trials, self.trials["status"] != COMPLETE)

    def of(self, init: str, fraction: float) -> pd.DataFrame:
        """The complete trials of one init and fraction, one row per seed."""
        trials = self.complete
        close = np.isclose(trials["fraction"].to_numpy(float), fraction)
        return rows_where(trials, (trials["init"] == init) & close)

    def cell(self, trial: str) -> Cell:
        """The cell of the manifest that a trial ran."""
        row = self._row(trial)
        return next(
            cell
            for manifest in self.manifests
            if manifest.name == row["sweep"]
            for cell in manifest.cells
            if cell.id == row["cell"]
        )

    def predictions(self, trial: str) -> Predictions | None:
        """The stored predictions of a trial, ordered by row; None if none can be read.

        A file is read once and kept; `load.read` reads all of them, and notes the corrupt ones.
        """
        path = self._stored(trial, "predictions.npz")
        if path is None:
            return None
        if path not in self.loaded:
            try:
                self.loaded[path] = Predictions.read(path)
            except CorruptFile as problem:
                self.loaded[path] = problem
        stored = self.loaded[path]
        return None if isinstance(stored, CorruptFile) else stored

    @property
    def corrupt(self) -> tuple[CorruptFile, ...]:
        """What is wrong with those files of predictions that could not be read."""
        return tuple(stored for stored in self.loaded.values() if isinstance(stored, CorruptFile))

    def record(self, trial: str) -> dict[str, Any] | None:
        """A trial's ``record.json``; None if there is none, `CorruptFile` if it cannot be read."""
        path = self._stored(trial, "record.json")
        return None if path is None else read_json(path)

    def _stored(self, trial: str, name: str) -> Path | None:
        """A file of a trial's last checkpoint; None if there is none."""
        folder = self.checkpoint(trial)
        path = folder / name if folder else None
        return path if path and path.is_file() else None

    def checkpoint(self, trial: str) -> Path | None:
        """Folder of a trial's newest sound checkpoint; None if it has none."""
        folder = self._row(trial)["checkpoint"]
        return Path(folder) if isinstance(folder, str) else None

    def _row(self, trial: str) -> dict[str, Any]:
        return self._rows[trial]

    @cached_property
    def _rows(self) -> dict[str, dict[str, Any]]:
        """Name of a trial → its row."""
        return {row["trial"]: row for row in records(self.trials)}
