"""What a sweep left, and what it should have left."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pandas as pd
from helpers.surveys import ROOT

from trainable.config import TrainingConfig
from trainable.make_run import make_run
from trainable.manifest import Manifest

SAME = ["train_loss", "train_accuracy", "val_loss", "val_accuracy", "val_macro_f1"]
"""Columns that are the same, bit for bit, however a trial came to its end."""

SECRET = "not-to-be-written-down"
"""In the environment of every sweep that the tests run."""


def manifest(storage: Path, name: str = "small") -> Manifest:
    """``sweep.json`` of a sweep."""
    return Manifest.read(storage / name)


def rows_of(folder: Path) -> pd.DataFrame:
    """A trial's epochs as Tune wrote them."""
    return pd.read_json(folder / "result.json", lines=True, precise_float=True)


def saved_rows(trial: Path) -> pd.DataFrame:
    """A trial's epochs as it saved them itself, in its newest checkpoint."""
    newest = max(trial.glob("checkpoint_*"))
    return pd.DataFrame(json.loads((newest / "epochs.json").read_text()))


def expected_rows(config: TrainingConfig) -> pd.DataFrame:
    """The same trial without Ray and without interruption."""
    run = make_run(config)
    while not run.finished:
        run.step_epoch()
    return pd.DataFrame(run.history)


def assert_same_epochs(found: pd.DataFrame, config: TrainingConfig) -> None:
    """Bit for bit those of the trial alone."""
    assert found[SAME].to_numpy().tolist() == expected_rows(config)[SAME].to_numpy().tolist()


def wait_for(process: subprocess.Popen[str], text: str) -> str:
    """The next line of a sweep's output that has `text` in it."""
    for line in process.stdout:
        if text in line:
            return line
    raise AssertionError(f"the sweep ended without {text!r}")


def started(command: list[str], **options) -> subprocess.Popen[str]:
    """A sweep in a process group of its own, as a batch system starts it."""
    environment = os.environ | {"COLUMNS": "200"} | options.pop("env", {})
    return subprocess.Popen(
        command,
        **{"cwd": ROOT, "env": environment, "stdout": subprocess.PIPE, "text": True} | options,
        start_new_session=True,
    )


def truncate(path: Path) -> None:
    """Leave half of a file, as a kill may."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
