"""What the analysis knows of a sweep: a frame of trials, one of epochs, stored predictions."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

COMPLETE = "complete"
BASELINE_FRACTION = 1.0
"""The baseline is scratch at this fraction: on all labels."""
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
KEY = ["trial", "init", "fraction", "seed"]


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What one trial says about its validation images, at its best epoch by `val_accuracy`."""

    rows: np.ndarray
    """(n_val,) int: row of each image in the data file, ascending."""
    labels: np.ndarray
    """(n_val,) int: true class, 0 to C - 1."""
    probabilities: np.ndarray
    """(n_val, C) float32."""
    epoch: int

    @property
    def correct(self) -> np.ndarray:
        """(n_val,) bool: the most probable class is the true one."""
        return self.probabilities.argmax(axis=1) == self.labels


def of_cell(cell: dict[str, Any], manifest: dict[str, Any]) -> tuple[str, ...]:
    """Names of the protocols that prescribe a cell of a manifest, its own first."""
    return tuple(cell.get("protocols", [manifest["protocol"]]))


@dataclass(frozen=True, kw_only=True)
class Results:
    """A grid of trials as frames. Fractions and accuracies are in 0–1, times in seconds."""

    manifests: tuple[dict[str, Any], ...]
    trials: pd.DataFrame
    """One row per cell of the manifests, whatever became of it: ``status`` says. ``protocols`` has
    the names of all that prescribe the trial, ``protocol`` the one that it is shown under."""
    epochs: pd.DataFrame
    """One row per trial and epoch, each once and in order."""
    examples: np.ndarray | None = None
    """(C, S, S, 3) uint8: one image per class."""
    notes: tuple[str, ...] = ()
    """What was odd in the folders, for the reader of the report."""

    @property
    def manifest(self) -> dict[str, Any]:
        """The first manifest; the others agree with it in all but their cells."""
        return self.manifests[0]

    @property
    def protocols(self) -> tuple[str, ...]:
        """Names of all protocols that were run, the one of `manifest` first."""
        others = (name for names in self.trials["protocols"] for name in names)
        return tuple(dict.fromkeys((self.manifest["protocol"], *others)))

    @property
    def main(self) -> Results:
        """The part of the results that the report is about but for its section on protocols."""
        return self.only(self.manifest["protocol"])

    def only(self, protocol: str) -> Results:
        """What one protocol prescribes: its trials and epochs, and manifests of its cells alone."""
        trials = self.trials[[protocol in names for names in self.trials["protocols"]]]
        manifests = [
            manifest
            | {
                "protocol": protocol,
                "cells": [
                    cell for cell in manifest["cells"] if protocol in of_cell(cell, manifest)
                ],
            }
            for manifest in self.manifests
        ]
        return replace(
            self,
            manifests=tuple(manifest for manifest in manifests if manifest["cells"]),
            trials=trials.assign(protocol=protocol).reset_index(drop=True),
            epochs=self.epochs[self.epochs["trial"].isin(trials["trial"])].reset_index(drop=True),
        )

    @property
    def complete(self) -> pd.DataFrame:
        """The trials that ended as the protocol wants: the only ones that statistics may use."""
        return self.trials[self.trials["status"] == COMPLETE]

    @property
    def missing(self) -> pd.DataFrame:
        """The trials that failed, were interrupted or never started."""
        return self.trials[self.trials["status"] != COMPLETE]

    def of(self, init: str, fraction: float) -> pd.DataFrame:
        """The complete trials of one init and fraction, one row per seed."""
        trials = self.complete
        return trials[(trials["init"] == init) & np.isclose(trials["fraction"], fraction)]

    def predictions(self, trial: str) -> Predictions | None:
        """The stored predictions of a trial, ordered by row; None where none were stored."""
        path = self._stored(trial, "predictions.npz")
        if path is None:
            return None
        with np.load(path) as stored:
            order = np.argsort(stored["rows"], kind="stable")
            return Predictions(
                rows=stored["rows"][order],
                labels=stored["labels"][order],
                probabilities=stored["probabilities"][order],
                epoch=int(stored["epoch"]),
            )

    def record(self, trial: str) -> dict[str, Any] | None:
        """A trial's `record.json`; None where there is none."""
        path = self._stored(trial, "record.json")
        return None if path is None else json.loads(path.read_text(encoding="utf-8"))

    def _stored(self, trial: str, name: str) -> Path | None:
        """A file of a trial's last checkpoint; None where there is none."""
        folder = self.trials.loc[self.trials["trial"] == trial, "checkpoint"].item()
        path = None if pd.isna(folder) else Path(folder, name)
        return path if path and path.is_file() else None
