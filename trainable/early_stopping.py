"""The δ/patience rule of the paper's §5, and the authors' own variant of it. Pure Python."""

from __future__ import annotations

import math
from typing import Any

from trainable.protocol import Stopping


class EarlyStopping:
    """The early stopper of one trial, which watches its validation loss.

    Parameters
    ----------
    stopping
        Rule, δ and patience.

    Attributes
    ----------
    min_loss : float
        Lowest loss so far; ``inf`` before the first epoch.
    counter : int
        Epochs counted against the trial so far.
    """

    def __init__(self, stopping: Stopping) -> None:
        self.stopping = stopping
        self.min_loss = math.inf
        self.counter = 0

    @property
    def should_stop(self) -> bool:
        """Whether the counter has reached the patience."""
        return self.counter >= self.stopping.patience

    def update(self, loss: float) -> bool:
        """Take in one epoch's validation loss; True if the trial should stop.

        Raises
        ------
        ValueError
            The loss is NaN or infinite.
        """
        if not math.isfinite(loss):
            raise ValueError(f"early stopping needs a finite loss, got {loss}")
        if self.stopping.rule == "none":
            self.min_loss = min(self.min_loss, loss)
            return False
        resetting = self.stopping.rule == "resetting"
        if loss < self.min_loss:
            self.min_loss = loss
            if resetting:
                self.counter = 0
        else:
            limit = self.min_loss + self.stopping.delta
            self.counter += (loss >= limit) if resetting else (loss > limit)
        return self.should_stop

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint needs to resume as if never interrupted."""
        return {"min_loss": self.min_loss, "counter": self.counter}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.min_loss = float(state["min_loss"])
        self.counter = int(state["counter"])
