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
SHARE = 0.1
"""Of the training time, what checkpoints may take: where they are large they wait."""


class Trial(tune.Trainable):
    """One epoch a step.

    ``config`` is ``{"cell": id, "run": RunConfig.to_dict(), "checkpoint_seconds": seconds}``. The
    last is how long it trains at least before it is saved again at the end of an epoch; 0, or not
    there, for every epoch.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Make the run of `config` on the device that Ray allotted."""
        resources = self.trial_resources
        gpus = resources.required_resources.get("GPU", 0) if resources else 0
        device = "cuda" if gpus and torch.cuda.is_available() else "cpu"
        self.run = Run(RunConfig.from_dict(config["run"]), device=device)
        self.provenance = checkpoint.record(self.run)
        self.skipped = 0
        self.asked = self.period = config.get("checkpoint_seconds", 0)
        self.unsaved = 0.0  # seconds of training since the last checkpoint

    def step(self) -> dict[str, float]:
        """Train an epoch; a finished run that is restored reports its last row again."""
        row = self.run.history[-1] if self.run.finished else self.run.step_epoch()
        self.unsaved += row["epoch_seconds"]
        return row | {
            "training_iteration": row["epoch"],
            "done": bool(row["finished"]),
            "skipped_checkpoints": self.skipped,
            SHOULD_CHECKPOINT: self.run.finished or self.unsaved >= self.period,
        }

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Write the run's state to Ray's folder, if there is room where Ray will copy it."""
        start = time.perf_counter()
        checkpoint.save(self.run, Path(checkpoint_dir), self.provenance)
        saving = COPIES * (time.perf_counter() - start)
        self.period = max(self.asked, saving / SHARE) if self.asked else 0
        self.unsaved = 0.0
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
