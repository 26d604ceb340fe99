"""A run whose label budget is too small for a validation set: cross-validated, then refitted.

Each labelled image validates once. One model a fold trains on the labelled images of the other folds,
all in step, and predicts its own; the stopper and the choice of the epoch go by these predictions of
all labelled images together. When they stop, one model trains on all labelled images for as many epochs
as were best, and that one is tested. All models start from the same parameters.
"""

from __future__ import annotations

import copy
import time
from typing import Any

import numpy as np
import torch

from trainable.models import architectures
from trainable.run import Best, Row, Run, TrainingRun


class CrossValidatedRun(Run):
    """A run over folds; the epochs of its last model are part of its last step.

    Parameters
    ----------
    whole
        The run that will train on all labelled images; its partition has the folds, and the folds
        share its inputs.
    """

    def __init__(self, whole: TrainingRun) -> None:
        folds = whole.partition.folds
        if folds is None:
            raise ValueError("a run with a validation set needs no folds")
        super().__init__(whole.config, whole.device, whole.selection, whole.partition)
        self.whole = whole
        self.folds = [
            TrainingRun(
                whole.config,
                device=whole.device,
                progress=whole.progress,
                partition=whole.partition.fold(number),
                inputs=whole.inputs,
            )
            for number in range(int(folds.max()) + 1)
        ]

    def step_epoch(self) -> Row:
        """One epoch of each fold; after the last one, the model of all labelled images too."""
        started = time.perf_counter()
        trained = np.mean([fold.train_epoch() for fold in self.folds], axis=0)
        train_seconds = time.perf_counter() - started
        logits = torch.empty(len(self.partition.validation), len(self.selection.class_names))
        for number, fold in enumerate(self.folds):
            fold.epoch += 1
            inside = torch.from_numpy(self.partition.folds == number)
            logits[inside] = fold.logits(fold.partition.validation)
        row = self.complete_epoch(
            logits,
            (float(trained[0]), float(trained[1])),
            dict,  # there is no model of all labelled images yet
            learning_rate=self.folds[0].learning_rate,
            started=started,
            train_seconds=train_seconds,
        )
        if self.finished and self.best:
            row |= self._refit(self.best)
            row["epoch_seconds"] = time.perf_counter() - started
        self.history.append(row)
        return row

    def _refit(self, best: Best) -> Row:
        """Train on all labelled images for the epochs that were best; the test scores."""
        for epoch in range(best["epoch"]):
            self.whole.epoch = epoch
            self.whole.train_epoch()
        best["weights"] = copy.deepcopy(architectures.trained_state(self.whole.model))
        return self.keep_test(self.whole.logits(self.partition.test))

    def state_dict(self) -> dict[str, Any]:
        """All that the next epoch depends on."""
        return {
            "model": architectures.trained_state(self.whole.model),
            "folds": [
                {
                    "model": architectures.trained_state(fold.model),
                    "optimiser": fold.optimiser.state_dict(),
                }
                for fold in self.folds
            ],
            **self.progress_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from the `state_dict` of a run with the same configuration."""
        self.whole.model.load_state_dict(state["model"], strict=False)
        self.load_progress(state)
        for fold, kept in zip(self.folds, state["folds"], strict=True):
            fold.load_trained(kept)
            fold.epoch = self.epoch
