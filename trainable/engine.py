"""One training run: build, step an epoch, evaluate, and say whether it is over.

Everything random in epoch k follows from (seed, k) alone, so a run restored after epoch k
continues as the uninterrupted one would, without any generator's state to keep.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from . import backbones, steps
from .batches import Rows, image_rows, predict
from .config import DataConfig, RunConfig
from .early_stopping import EarlyStopping
from .features import cached_features, fresh_head
from .galaxy10 import DataError, Survey, open_survey
from .metrics import scores
from .preprocess import cached_images, mirror_and_turn
from .selection import select
from .splits import planned

Progress = Callable[[int, int], None]


class NonFiniteLossError(ArithmeticError):
    """The loss became NaN or infinite."""


class Run:
    """A training run, stepped one epoch at a time.

    Parameters
    ----------
    config
        Complete settings.
    device
        Where the model trains.
    progress
        Called with (batches done, batches in all) within an epoch.
    preparing
        Called with (images done, images in all) while a cache of images or features is made.

    Attributes
    ----------
    epoch : int
        Epochs done.
    history : list of dict
        One row of numbers for each of them.
    best : dict or None
        Of the epoch with the highest validation accuracy: ``epoch``, ``val_accuracy``,
        ``weights`` (what was trained) and ``probabilities`` (n_val, C) float32.
    """

    def __init__(
        self,
        config: RunConfig,
        *,
        device: str | torch.device = "cpu",
        progress: Progress | None = None,
        preparing: Progress | None = None,
    ) -> None:
        self.config, self.device, self.progress = config, torch.device(device), progress
        steps.use_precision(config)
        data = config.data
        survey = open_as_planned(data)
        self.selection = select(survey, data.drop_labels, data.merge_labels)
        self.partition = planned(survey, self.selection, config)
        self.model, self.inputs = self._model_and_inputs(survey, preparing)
        self.optimiser = torch.optim.AdamW(
            [p for p in self.model.parameters() if p.requires_grad],
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            fused=True,
        )
        self.gradients = steps.gradients(self.model, config, self.device)
        self.stopping = EarlyStopping(config.stopping)
        self.epoch, self.history, self.best = 0, [], None

    def _model_and_inputs(
        self, survey: Survey, preparing: Progress | None
    ) -> tuple[nn.Module, Rows]:
        """The whole model and the images, or the head alone and the features of the images."""
        config, spec = self.config, backbones.architecture(self.config.arch)
        num_classes = len(self.selection.class_names)
        if config.cache_features and config.trained == "head":
            head = fresh_head(config, num_classes)
            if head is not None:
                features = cached_features(survey, config, device=self.device, progress=preparing)
                return head.to(self.device), Rows(features, self.device)
        images = cached_images(
            survey,
            transform=config.transform,
            size=spec.image_size,
            cache_dir=config.data.cache_dir,
            progress=preparing,
        )
        model = backbones.build_for(config, num_classes)
        return model.to(self.device), image_rows(images, spec, self.device)

    @property
    def finished(self) -> bool:
        """Stopped by the stopper, or at the last epoch allowed."""
        return self.stopping.should_stop or self.epoch >= self.config.max_epochs

    def step_epoch(self) -> dict[str, float]:
        """Train one epoch, evaluate it, and return its row of numbers.

        Raises
        ------
        NonFiniteLossError
            Names the epoch and, in training, the step.
        """
        start = time.perf_counter()
        train_loss, train_accuracy = self._train()
        train_seconds = time.perf_counter() - start
        logits = predict(
            self.model,
            self.inputs,
            rows=torch.from_numpy(self.partition.validation),
            autocast=self.config.precision == "bf16",
        )
        validation = scores(logits, torch.from_numpy(self.partition.validation_labels))
        if not math.isfinite(validation["loss"]):
            raise NonFiniteLossError(
                f"validation loss is {validation['loss']} after epoch {self.epoch + 1}"
            )
        self.epoch += 1
        self.stopping.update(validation["loss"])
        self._keep_best(validation["accuracy"], logits)
        n_train = len(self.partition.train)
        row = {
            "epoch": self.epoch,
            "train_loss": train_loss,
            "train_accuracy": train_accuracy,
            "val_loss": validation["loss"],
            "val_accuracy": validation["accuracy"],
            "val_macro_f1": validation["macro_f1"],
            "learning_rate": self.optimiser.param_groups[0]["lr"],
            "images_per_second": n_train / train_seconds,
            "epoch_seconds": time.perf_counter() - start,
            **self.stopping.state_dict(),
            "patience": self.config.stopping.patience,
            "delta": self.config.stopping.delta,
            "max_epochs": self.config.max_epochs,
            "best_val_accuracy": self.best["val_accuracy"],
            "best_epoch": self.best["epoch"],
            "n_train": n_train,
            "n_val": len(self.partition.validation),
            "finished": int(self.finished),
        }
        self.history.append(row)
        return row

    def _train(self) -> tuple[float, float]:
        """One pass over the training images; mean loss and accuracy while they moved."""
        n, size = len(self.partition.train), self.config.batch_size
        generator = torch.Generator().manual_seed(_epoch_seed(self.config.seed, self.epoch + 1))
        torch.manual_seed(generator.initial_seed())  # dropout, where an architecture has it
        order = torch.randperm(n, generator=generator)
        inputs = self.inputs.batches(torch.from_numpy(self.partition.train)[order], size)
        if self.config.augment:
            ways = (torch.rand(n, 3, generator=generator) < 0.5).to(self.device)
            inputs = map(mirror_and_turn, inputs, ways.split(size))
        labels = torch.from_numpy(self.partition.train_labels)[order].to(self.device)
        logits = torch.empty(n, len(self.selection.class_names), device=self.device)
        backbones.set_training(self.model)
        batches = zip(inputs, labels.split(size), logits.split(size), strict=True)
        for step, (batch, target, kept) in enumerate(batches, start=1):
            kept.copy_(self.gradients(batch, target))
            self.optimiser.step()
            if self.progress:
                self.progress(step, math.ceil(n / size))
        losses = functional.cross_entropy(logits, labels, reduction="none").double().cpu()  # (n,)
        if not losses.isfinite().all():
            first = int((~losses.isfinite()).nonzero()[0])
            raise NonFiniteLossError(
                f"training loss is {losses[first]:g} at epoch {self.epoch + 1}, step "
                f"{first // size + 1} of {math.ceil(n / size)}; try a lower --learning-rate or "
                "--precision fp32"
            )
        return losses.mean().item(), (logits.argmax(1) == labels).double().mean().item()

    def _keep_best(self, accuracy: float, logits: torch.Tensor) -> None:
        if self.best is None or accuracy > self.best["val_accuracy"]:
            self.best = {
                "epoch": self.epoch,
                "val_accuracy": accuracy,
                "weights": copy.deepcopy(backbones.trained_state(self.model)),
                "probabilities": logits.softmax(1),
            }

    def state_dict(self) -> dict[str, Any]:
        """All that the next epoch depends on; small where little is trained."""
        return {
            "model": backbones.trained_state(self.model),
            "optimiser": self.optimiser.state_dict(),
            "stopping": self.stopping.state_dict(),
            "epoch": self.epoch,
            "history": self.history,
            "best": self.best,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict` of a run with the same configuration."""
        self.model.load_state_dict(state["model"], strict=False)
        self.optimiser.load_state_dict(state["optimiser"])
        self.stopping.load_state_dict(state["stopping"])
        self.epoch, self.best = state["epoch"], state["best"]
        self.history = list(state["history"])


def open_as_planned(data: DataConfig) -> Survey:
    """The survey, if it is still the one that the run was planned with; else `DataError`."""
    survey = open_survey(data.path)
    if survey.sha256 != data.sha256:
        raise DataError(
            f"{data.path} has SHA-256 {survey.sha256}, expected {data.sha256}: it changed since "
            "the run was planned, or this node has another file. Give every node the same one."
        )
    return survey


def _epoch_seed(seed: int, epoch: int) -> int:
    """A seed that differs for every (seed, epoch)."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0] >> 1)
