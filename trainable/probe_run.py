"""The run of a linear probe: one epoch long, in which `trainable.probe` fits the head."""

from __future__ import annotations

import copy
import time
from typing import Any

import numpy as np
import torch
from torch import nn

from trainable.config import TrainingConfig
from trainable.data.batches import Rows, predict
from trainable.data.class_selection import select
from trainable.data.splits import planned
from trainable.metrics import scores
from trainable.models import architectures
from trainable.models.features import cached_features
from trainable.probe import Edge, LinearProbe, fit_probe
from trainable.run import Progress, Row, Run, open_as_planned

EDGES: dict[Edge | None, int] = {"strongest": 1, None: 0, "weakest": -1}
"""The end of the path that a probe's strength lies on → the number that rows have for it."""


class ProbeRun(Run):
    """A run that fits the last layer to the features of a frozen backbone.

    With a label budget all its images teach the probe, and its validation scores are of the same
    images, each by the fit that left out its fold. With a split of the paper's the validation images
    are others, which neither teach it nor choose anything.

    Parameters
    ----------
    config
        With ``trained`` ``probe``.
    device
        Where features are computed and the probe is fitted.
    preparing
        Called with (images done, images in all) while a cache of images or features is made.
    """

    def __init__(
        self,
        config: TrainingConfig,
        *,
        device: str | torch.device = "cpu",
        preparing: Progress | None = None,
    ) -> None:
        survey = open_as_planned(config.data)
        selection = select(survey, config.data.drop_labels, config.data.merge_labels)
        super().__init__(config, device, selection, planned(survey, selection, config))
        features = cached_features(survey, config, device=self.device, progress=preparing)
        linear = nn.Linear(features.shape[1], len(self.selection.class_names))
        for parameter in linear.parameters():
            nn.init.zeros_(parameter)  # for a state before the fit
        name = architectures.architecture(config.arch).head
        self.model = architectures.Head(name, linear).to(self.device)
        self.inputs = Rows(features, self.device)

    def step_epoch(self) -> Row:
        """Fit the probe, evaluate it, and return its row of numbers.

        Beside those of every run it has ``strength`` (λ) and ``strength_edge``, see `EDGES`. The
        learning rate is 0: there is none.

        Raises
        ------
        NonFiniteLossError
            Features are NaN or infinite.
        """
        started = time.perf_counter()
        partition = self.partition
        assert partition.folds is not None, "the split of a probe has folds"
        probe = fit_probe(
            self.inputs.array[partition.train],
            partition.train_labels,
            partition.folds,
            device=self.device,
        )
        fit_seconds = time.perf_counter() - started
        linear = self.model.linear
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(probe.weight))
            linear.bias.copy_(torch.from_numpy(probe.bias))
        if len(partition.test):
            logits = torch.from_numpy(probe.logits).float()
        else:
            logits = self.logits(partition.validation)
        trained = scores(self.logits(partition.train), torch.from_numpy(partition.train_labels))
        row = self.complete_epoch(
            logits,
            (trained["loss"], trained["accuracy"]),
            lambda: copy.deepcopy(architectures.trained_state(self.model)),
            learning_rate=0.0,
            started=started,
            train_seconds=fit_seconds,
        )
        self.details = {"probe": described(probe)}
        row |= {"strength": probe.strength, "strength_edge": EDGES[probe.edge]}
        if len(partition.test):
            ended = time.perf_counter()
            row |= self.keep_test(self.logits(partition.test))
            row["test_seconds"] = time.perf_counter() - ended
        self.history.append(row)
        return row

    def logits(self, rows: np.ndarray) -> torch.Tensor:
        """Of the images of `rows` (n,): (n, C) float32 on the CPU."""
        return predict(self.model, self.inputs, rows=torch.from_numpy(rows), autocast=False)

    def state_dict(self) -> dict[str, Any]:
        """Everything: nothing depends on it but what has been found."""
        return {"model": architectures.trained_state(self.model), **self.progress_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the `state_dict` of a run with the same configuration."""
        self.model.load_state_dict(state["model"])
        self.load_progress(state)


def described(probe: LinearProbe) -> dict[str, Any]:
    """How a probe's strength was chosen, as plain values."""
    return {
        "strength": probe.strength,
        "edge": probe.edge,
        "strengths": probe.strengths.tolist(),
        "losses": probe.losses.tolist(),
    }
