"""The thin Ray Trainable around `engine.Run`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from pyarrow.fs import LocalFileSystem
from ray import tune
from ray.tune.result import SHOULD_CHECKPOINT

from . import checkpoint
from .config import RunConfig
from .engine import Run

COPIES = 2
"""Times that a checkpoint is written: by the trial, and by Ray into its storage."""
CHEAP = 1.0
"""Seconds that a checkpoint may take after every epoch, however short that is."""
SHARE = 0.1
"""Of the training time, what dearer checkpoints may take: they wait for more epochs."""


class Trial(tune.Trainable):
    """One epoch a step. ``config`` is ``{"cell": id, "run": RunConfig.to_dict()}``."""

    def setup(self, config: dict[str, Any]) -> None:
        """Make the run of `config` on the device that Ray allotted."""
        resources = self.trial_resources
        gpus = resources.required_resources.get("GPU", 0) if resources else 0
        device = "cuda" if gpus and torch.cuda.is_available() else "cpu"
        self.run = Run(RunConfig.from_dict(config["run"]), device=device)
        self.provenance = checkpoint.record(self.run)
        self.skipped = 0
        self.saving, self.unsaved = 0.0, 0.0  # seconds: of a checkpoint, of training since then

    def step(self) -> dict[str, float]:
        """Train an epoch; a finished run that is restored reports its last row again."""
        row = self.run.history[-1] if self.run.finished else self.run.step_epoch()
        self.unsaved += row["epoch_seconds"]
        return row | {
            "training_iteration": row["epoch"],
            "done": bool(row["finished"]),
            "skipped_checkpoints": self.skipped,
            SHOULD_CHECKPOINT: self.saving < CHEAP or self.saving < SHARE * self.unsaved,
        }

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Write the run's state to Ray's folder, if there is room where Ray will copy it."""
        start = time.perf_counter()
        checkpoint.save(self.run, Path(checkpoint_dir), self.provenance)
        self.saving, self.unsaved = COPIES * (time.perf_counter() - start), 0.0
        kept = getattr(self, "_storage", None)  # Ray's, which tells it in no other way
        if kept and isinstance(kept.storage_filesystem, LocalFileSystem):
            checkpoint.require_room(Path(checkpoint_dir), Path(kept.trial_fs_path))

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        """Go on from Ray's folder, or from the one before where that is torn or gone."""
        self.skipped = checkpoint.load_newest(self.run, Path(checkpoint_dir))

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take on another trial in the same process, which spares its start-up."""
        self.setup(new_config)
        return True
