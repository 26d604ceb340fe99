"""The thin Ray Trainable around `engine.Run`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from pyarrow.fs import LocalFileSystem
from ray import tune

from . import checkpoint
from .config import RunConfig
from .engine import Run


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

    def step(self) -> dict[str, float]:
        """Train an epoch; a finished run that is restored reports its last row again."""
        row = self.run.history[-1] if self.run.finished else self.run.step_epoch()
        return row | {
            "training_iteration": row["epoch"],
            "done": bool(row["finished"]),
            "skipped_checkpoints": self.skipped,
        }

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Write the run's state to Ray's folder, if there is room where Ray will copy it."""
        checkpoint.save(self.run, Path(checkpoint_dir), self.provenance)
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
