"""The thin Ray Trainable around a `run.Run`."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ray import tune
from ray.tune.result import SHOULD_CHECKPOINT

from trainable import checkpoint, groups_of_heads
from trainable.checkpoint import load_newest
from trainable.config import TrainingConfig
from trainable.devices import allotted_gpu
from trainable.forward_backward import use_determinism, use_precision
from trainable.make_run import make_run
from trainable.run import Row, Run

COPIES = 2
"""Times that a checkpoint is written: by the trial, and by Ray into its storage."""
BACKGROUND = frozenset({"cuda"})
"""Devices whose runs train on while a checkpoint is written: on a CPU that takes what the training needs."""
SHARE = 0.1
"""Of the training time, what checkpoints may take: if they are large they wait."""


TOGETHER = ".together"
"""Folder in that of an experiment for what trials end with that were trained by another of their group."""


_quick = False
"""Whether what this process has imported is left out of searches for garbage."""


def _collect() -> None:
    """Free what refers to itself, such as closures and optimisers.

    What lives through the first search is left out of all later ones: it is imported code, nearly all, and
    searching that takes half a second, longer than a trial that fits a head.
    """
    global _quick
    gc.collect()
    if not _quick:
        gc.freeze()
        _quick = True


class Trial(tune.Trainable):
    """A training run as Ray Tune wants it: one epoch a step.

    Tune's ``config`` names the cell alone. All else is supplied by ``tune.with_parameters``, for a
    trial that is restored too, so that it finds its files where they are now.
    """

    def setup(  # pyright: ignore[reportIncompatibleMethodOverride] - as with_parameters calls it
        self,
        config: Mapping[str, Any],
        *,
        runs: Mapping[str, TrainingConfig],
        experiment: Path | None,
        checkpoint_seconds: float,
        together: Mapping[str, tuple[str, ...]],
    ) -> None:
        """Take note of the cell; its run is made when it is first needed, see `run`.

        If another process becomes free while this one starts, Tune gives it the same trial and keeps this one
        for later. What both prepared would be computed twice, or one would wait for the other's features.

        Parameters
        ----------
        config
            ``{"cell": id}``; further entries are for loggers.
        runs
            Cell id → its complete configuration.
        experiment
            Folder into which Ray copies ``CELL_ID/checkpoint_…``; None if it is remote.
        checkpoint_seconds
            How long the run trains at least before it is saved again at the end of an epoch; 0 for
            after every epoch.
        together
            Cell id → ids of the cells that train together with it, if there are any.
        """
        self.cell: str = config["cell"]
        self.training = runs[self.cell]
        self._made: tuple[Run, checkpoint.Writer] | None = None
        self.skipped = 0
        self.folder = experiment / config["cell"] if experiment else None
        self.asked = self.period = checkpoint_seconds
        self.unsaved = 0.0  # seconds of training since the last checkpoint
        self.group = {cell: runs[cell] for cell in together.get(self.cell, ())}
        self.ended: dict[str, Any] | None = None  # what the run ends with, if its group has trained
        self.told = 0  # of its epochs

    @property
    def run(self) -> Run:
        """The cell's run, on the device that Ray allotted; made now if it is not there."""
        return self._make()[0]

    @property
    def writer(self) -> checkpoint.Writer:
        """What writes the checkpoints of `run`, which is made now if it is not there."""
        return self._make()[1]

    def _make(self) -> tuple[Run, checkpoint.Writer]:
        if self._made is None:
            resources = self.trial_resources
            gpus = resources.required_resources.get("GPU", 0) if resources else 0
            use_precision(self.training.precision)
            use_determinism(self.training.deterministic, "cuda" if gpus else "cpu")
            device = allotted_gpu(gpus) if gpus else torch.device("cpu")
            run = make_run(self.training, device=device)
            self._made = run, checkpoint.Writer(checkpoint.record(run))
        return self._made

    def step(self) -> dict[str, float]:
        """Train an epoch; a finished run that is restored reports its last row again."""
        row = self.run.history[-1] if self.run.finished else self._next_row()
        self.unsaved += row["epoch_seconds"]
        return row | {
            "training_iteration": row["epoch"],
            "done": bool(row["finished"]),
            "skipped_checkpoints": self.skipped,
            SHOULD_CHECKPOINT: self.run.finished or self._should_checkpoint(row),
        }

    def _should_checkpoint(self, row: Row) -> bool:
        """Whether a run that has not ended is to be saved, or what a thread has written to be taken.

        On a GPU a thread writes while the run trains on, and what it has written is taken at the end of an
        epoch. Not if an epoch is so long that writing takes less than `SHARE` of it: two would be lost by a kill
        instead of one.
        """
        if self.writer.pending:
            return self.writer.ready
        due = self.unsaved >= self.period and self.run.epoch == row["epoch"]
        in_thread = self.run.device.type in BACKGROUND and row["epoch_seconds"] < self.period
        if due and in_thread:
            self.writer.begin(self.run)
            self.unsaved = 0.0
            return False
        return due

    def _next_row(self) -> Row:
        """The next epoch's row: trained now or, of a group, by the first of its trials.

        In a group, the run is as it is before its first epoch, and would be saved so, until its last row: then it
        is the run that has ended.
        """
        if self.group and self.folder and not self.run.epoch:
            if not self.told:
                self.ended = groups_of_heads.final_state(
                    self.cell, self.group, self.folder.parent / TOGETHER, self.run.device
                )
            if self.ended is None:
                self.group = {}  # it trains alone
            else:
                row: Row = self.ended["history"][self.told]
                self.told += 1
                if row["finished"]:
                    self.run.load_state_dict(self.ended)
                return row
        return self.run.step_epoch()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Write the run's state to Ray's folder, if there is room where Ray will copy it."""
        if self.writer.pending and not self.run.finished:
            self.writer.hand_over(Path(checkpoint_dir))
        else:
            self.writer.save(self.run, Path(checkpoint_dir))
            self.unsaved = 0.0
        saving = COPIES * self.writer.seconds
        self.period = max(self.asked, saving / SHARE) if self.asked else 0
        if self.folder and self.folder.exists():
            checkpoint.require_room(Path(checkpoint_dir), self.folder)

    def load_checkpoint(  # pyright: ignore[reportIncompatibleMethodOverride] - of `save_checkpoint`
        self, checkpoint: str
    ) -> None:
        """Resume from Ray's folder, or from the one before if that is corrupt or gone."""
        self.skipped = load_newest(self.run, Path(checkpoint))

    def cleanup(self) -> None:
        """End: what a thread is still writing is given up."""
        if self._made is not None:
            self.writer.close()

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take on another trial in the same process, which spares its start-up.

        The run before is given up now: two would not always fit into a GPU's memory, and what one
        holds there decides whether the next keeps its images there.
        """
        self.cleanup()
        self._made = self.ended = None
        _collect()
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()
        self.setup(new_config)  # pyright: ignore[reportCallIssue] - with_parameters adds the rest
        return True
