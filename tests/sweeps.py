"""What a sweep left, and what it should have left."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from trainable.config import RunConfig
from trainable.engine import Run

SAME = ["train_loss", "train_accuracy", "val_loss", "val_accuracy", "val_macro_f1"]
"""Columns that are the same, bit for bit, however a trial came to its end."""

SECRET = "not-to-be-written-down"
"""In the environment of every sweep that the tests run."""


def manifest(storage: Path, name: str = "small") -> dict:
    """``sweep.json`` of a sweep."""
    return json.loads((storage / name / "sweep.json").read_text())


def rows_of(folder: Path) -> pd.DataFrame:
    """A trial's epochs as Tune wrote them."""
    return pd.read_json(folder / "result.json", lines=True, precise_float=True)


def expected_rows(config: dict) -> pd.DataFrame:
    """The same trial without Ray and without interruption."""
    run = Run(RunConfig.from_dict(config))
    while not run.finished:
        run.step_epoch()
    return pd.DataFrame(run.history)
