"""The end of a trial, decided from what it reports."""

from __future__ import annotations

from typing import Any

from ray import tune


class EarlyStopper(tune.Stopper):
    """Ends a trial whose δ/patience counter has reached its patience, or at its last epoch.

    Both rules, the paper's and its authors', count in `trainable.early_stopping`; the minimum and
    the counter live in the trial's own checkpoint and are reported with each epoch. This class
    keeps nothing, so a restored trial stops exactly where an uninterrupted one would (a stopper's
    own state is restored as of Tune's last snapshot and can count an epoch twice).
    """

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether the trial that reported `result` has ended."""
        del trial_id
        return result["counter"] >= result["patience"] or result["epoch"] >= result["max_epochs"]

    def stop_all(self) -> bool:
        """Never: a trial ends alone."""
        return False
