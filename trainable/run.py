"""One training run: build, step an epoch, evaluate, and say whether it is over.

Everything random in epoch k follows from (seed, k) alone, so a run restored after epoch k
continues as the uninterrupted one would, without any generator's state to keep.
"""

from __future__ import annotations

import abc
import copy
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, TypedDict

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from trainable.captured_step import CapturedStep
from trainable.config import DataConfig, TrainingConfig
from trainable.data.batches import Rows, image_rows, predict
from trainable.data.class_selection import Selection, select
from trainable.data.dataset import Survey, open_as_configured
from trainable.data.pixels import flip_and_rotate, mix
from trainable.data.preprocess import cached_images
from trainable.data.splits import Partition, planned
from trainable.early_stopping import EarlyStopping
from trainable.errors import DataError, NonFiniteLossError
from trainable.forward_backward import make_forward_backward
from trainable.metrics import scores
from trainable.models import architectures
from trainable.models.cut import cut, cut_of
from trainable.models.features import cached_features, cached_tokens, fresh_head, token_rows
from trainable.optimiser import make_optimiser, set_learning_rates, settle
from trainable.protocol import MIXUP_LABELS

Progress = Callable[[int, int], None]
"""Called with how much is done and how much there is in all."""
Row = dict[str, float]
"""Numbers of one epoch, by name."""
TIMES = frozenset({"epoch_seconds", "images_per_second", "test_seconds"})
"""Those of a row that are measured by a clock: another run of the same configuration has others."""


class Best(TypedDict):
    """The epoch that the validation images choose."""

    epoch: int
    val_accuracy: float
    val_loss: float
    """Nats."""
    weights: dict[str, torch.Tensor]
    """What was trained. Empty in a cross-validated run that is not finished."""
    probabilities: torch.Tensor
    """Shape (n_val, C), float32, of the validation images."""


class Run(abc.ABC):
    """What a trial steps and a checkpoint keeps, however it trains.

    Parameters
    ----------
    config
        Complete settings.
    device
        Where the model trains.
    selection, partition
        The classes, and the images of each use.

    Attributes
    ----------
    epoch : int
        Epochs done.
    history : list of Row
        One for each of them.
    best : Best or None
        None before the first epoch.
    test : torch.Tensor or None
        Shape (n_test, C), float32: probabilities of the test images at the best epoch, once the run
        is finished; None before, or without a test set.
    details : dict
        What the run found out beside its rows, as plain values for its ``record.json``.
    """

    def __init__(
        self,
        config: TrainingConfig,
        device: str | torch.device,
        selection: Selection,
        partition: Partition,
    ) -> None:
        self.config, self.device = config, torch.device(device)
        self.selection, self.partition = selection, partition
        self.stopping = EarlyStopping(config.stopping)
        self.epoch = 0
        self.history: list[Row] = []
        self.best: Best | None = None
        self.test: torch.Tensor | None = None
        self.details: dict[str, Any] = {}

    @property
    def finished(self) -> bool:
        """Stopped by the stopper, or at the last epoch allowed."""
        return self.stopping.should_stop or self.epoch >= self.config.max_epochs

    @abc.abstractmethod
    def step_epoch(self) -> Row:
        """Train one epoch, evaluate it, and return its row of numbers.

        Raises
        ------
        NonFiniteLossError
            Names the epoch and, in training, the step.
        """

    @abc.abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """All that the next epoch depends on."""

    @abc.abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from the `state_dict` of a run with the same configuration."""

    def progress_dict(self) -> dict[str, Any]:
        """The part of `state_dict` that all kinds of runs have."""
        return {
            "stopping": self.stopping.state_dict(),
            "epoch": self.epoch,
            "history": self.history,
            "best": self.best,
            "test": self.test,
            "details": self.details,
        }

    def load_progress(self, state: dict[str, Any]) -> None:
        """The inverse of `progress_dict`."""
        self.stopping.load_state_dict(state["stopping"])
        self.epoch, self.best, self.test = state["epoch"], state["best"], state["test"]
        self.history, self.details = list(state["history"]), dict(state["details"])

    def complete_epoch(
        self,
        logits: torch.Tensor,
        trained: tuple[float, float],
        weights: Callable[[], dict[str, torch.Tensor]],
        *,
        learning_rate: float,
        started: float,
        train_seconds: float,
    ) -> Row:
        """Count an epoch that has been trained, let the stopper see it, keep it if it is the best.

        Parameters
        ----------
        logits
            Shape (n_val, C), of the validation images.
        trained
            Loss (nats) and accuracy (0–1) on the training images.
        weights
            Gives a copy of what was trained, of an epoch that is kept.
        started
            When the epoch began, by ``time.perf_counter``.

        Returns
        -------
        Row
            The epoch's numbers, not yet in ``history``.

        Raises
        ------
        NonFiniteLossError
            The validation loss is not finite.
        """
        partition = self.partition
        validation = scores(logits, torch.from_numpy(partition.validation_labels))
        if not math.isfinite(validation["loss"]):
            raise NonFiniteLossError(
                f"validation loss is {validation['loss']} after epoch {self.epoch + 1}"
            )
        self.epoch += 1
        self.stopping.update(validation["loss"])
        if self.best is None or self._is_better(validation, self.best):
            self.best = {
                "epoch": self.epoch,
                "val_accuracy": validation["accuracy"],
                "val_loss": validation["loss"],
                "weights": weights(),
                "probabilities": logits.softmax(1),
            }
        n_train = len(partition.train)
        return {
            "epoch": self.epoch,
            "train_loss": trained[0],
            "train_accuracy": trained[1],
            "val_loss": validation["loss"],
            "val_accuracy": validation["accuracy"],
            "val_macro_f1": validation["macro_f1"],
            "learning_rate": learning_rate,
            "images_per_second": n_train / train_seconds,
            "epoch_seconds": time.perf_counter() - started,
            **self.stopping.state_dict(),
            "patience": self.config.stopping.patience,
            "delta": self.config.stopping.delta,
            "max_epochs": self.config.max_epochs,
            "best_val_accuracy": self.best["val_accuracy"],
            "best_epoch": self.best["epoch"],
            "n_train": n_train,
            "n_val": len(partition.validation),
            "finished": int(self.finished),
        }

    def _is_better(self, validation: dict[str, float], best: Best) -> bool:
        """A higher validation accuracy than the best so far.

        With a label budget, equal accuracies are told apart by the lower loss: few validation images
        have few values of the accuracy. The paper's splits keep the first epoch.
        """
        if validation["accuracy"] != best["val_accuracy"]:
            return validation["accuracy"] > best["val_accuracy"]
        return self.config.data.split == "budget" and validation["loss"] < best["val_loss"]

    def keep_test(self, logits: torch.Tensor) -> Row:
        """Keep the probabilities of the test images; their scores.

        Parameters
        ----------
        logits
            Shape (n_test, C), at the epoch that the validation images chose.
        """
        self.test = logits.softmax(1)
        found = scores(logits, torch.from_numpy(self.partition.test_labels))
        return {f"test_{name}": value for name, value in found.items()}


class TrainingRun(Run):
    """A training run, stepped one epoch at a time.

    Torch's precision switches are the process's and not the run's: see
    `trainable.forward_backward.use_precision`.

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
    survey
        The images and labels; None: those that `config` names are opened.
    partition
        The images to train on and to validate with; None: those that `config` prescribes.
    inputs
        Inputs of all images, of a run that uses the same ones; None: they are opened.

    Attributes
    ----------
    forward_backward : ForwardBackward
        Leaves the gradients of a batch in ``.grad`` of what is trained and returns its logits.
    captured : CapturedStep or None
        Replays whole steps, on a GPU with ``config.compile``.
    """

    def __init__(
        self,
        config: TrainingConfig,
        *,
        device: str | torch.device = "cpu",
        progress: Progress | None = None,
        preparing: Progress | None = None,
        survey: Survey | None = None,
        partition: Partition | None = None,
        inputs: Rows | None = None,
    ) -> None:
        data = config.data
        survey = survey or open_as_planned(data)
        selection = select(survey, data.drop_labels, data.merge_labels)
        super().__init__(config, device, selection, partition or planned(survey, selection, config))
        self.progress = progress
        self.model, self.inputs = self._model_and_inputs(survey, preparing, inputs)
        captured = config.compile and self.device.type == "cuda"
        self.optimiser = make_optimiser(self.model, config, captured=captured)
        self.forward_backward = make_forward_backward(self.model, config, self.device)
        self.captured = (
            CapturedStep(self.train_batch, self.model, self.optimiser) if captured else None
        )

    def _model_and_inputs(
        self, survey: Survey, preparing: Progress | None, inputs: Rows | None
    ) -> tuple[nn.Module, Rows]:
        """The model and the images, or the part that is trained and what the rest makes of them."""
        config, spec = self.config, architectures.architecture(self.config.arch)
        num_classes = len(self.selection.class_names)
        if config.on_features:
            if inputs is None:
                features = cached_features(survey, config, device=self.device, progress=preparing)
                inputs = Rows(features, self.device)
            head = fresh_head(config, num_classes, inputs.array.shape[1])
            return head.to(self.device), inputs
        model = architectures.build_for(config, num_classes)
        if (
            config.on_tokens
            and (parts := cut(model))
            and (found := cut_of(config.arch, config.trained))
        ):
            below, above = parts
            if inputs is None:
                tokens = cached_tokens(
                    survey, config, below, found.shape, device=self.device, progress=preparing
                )
                inputs = token_rows(tokens, self.device)
            return above.to(self.device), inputs
        model.to(self.device)
        if inputs is not None:
            return model, inputs
        images = cached_images(
            survey,
            transform=config.transform,
            size=spec.image_size,
            evaluation=spec.evaluation,
            cache_dir=config.data.cache_dir,
            progress=preparing,
        )
        autocast = config.precision == "bf16"
        return model, image_rows(images, spec, self.device, autocast=autocast)

    def step_epoch(self) -> Row:
        """Train one epoch, evaluate it, and return its row of numbers."""
        started = time.perf_counter()
        trained = self.train_epoch()
        return self.finish_epoch(trained, started, time.perf_counter() - started)

    def finish_epoch(
        self, trained: tuple[float, float], started: float, train_seconds: float
    ) -> Row:
        """Evaluate an epoch that has been trained, and return its row of numbers.

        Parameters are those of `complete_epoch`.
        """
        row = self.complete_epoch(
            self.logits(self.partition.validation),
            trained,
            lambda: copy.deepcopy(architectures.trained_state(self.model)),
            learning_rate=self.learning_rate,
            started=started,
            train_seconds=train_seconds,
        )
        if self.finished and self.best:
            ended = time.perf_counter()
            row |= self.evaluate_test(self.best["weights"])
            row["test_seconds"] = time.perf_counter() - ended
        self.history.append(row)
        return row

    @property
    def learning_rate(self) -> float:
        """Of the head, at the last step."""
        return max(float(group["lr"]) for group in self.optimiser.param_groups)

    def logits(self, rows: np.ndarray) -> torch.Tensor:
        """Of the images of `rows` (n,), as the model is now: (n, C) float32 on the CPU."""
        return predict(
            self.model,
            self.inputs,
            rows=torch.from_numpy(rows),
            autocast=self.config.precision == "bf16",
        )

    def evaluate_test(self, weights: dict[str, torch.Tensor]) -> Row:
        """Keep the probabilities of the test images; their scores, or nothing without a test set.

        Parameters
        ----------
        weights
            What was trained, at the epoch that the validation images chose. The model is as before
            afterwards.
        """
        if not len(self.partition.test):
            return {}
        now = copy.deepcopy(architectures.trained_state(self.model))
        self.model.load_state_dict(weights, strict=False)
        logits = self.logits(self.partition.test)
        self.model.load_state_dict(now, strict=False)
        return self.keep_test(logits)

    def train_epoch(self) -> tuple[float, float]:
        """One pass over the training images; mean loss and accuracy while the weights moved.

        Both are of the images as they are shown, by their own labels: with mixup, a part of the loss
        is of the images that they are mixed with.
        """
        n, size = len(self.partition.train), self.config.batch_size
        steps = math.ceil(n / size)
        order, generator = self.order_of_epoch()
        torch.manual_seed(generator.initial_seed())  # for dropout, if an architecture has it
        batches = self.inputs.batches(torch.from_numpy(self.partition.train)[order], size)
        if self.config.augment:
            ways = (torch.rand(n, 3, generator=generator) < 0.5).to(self.device)
            batches = map(flip_and_rotate, batches, ways.split(size))
        labels = torch.from_numpy(self.partition.train_labels)[order].to(self.device)
        logits = torch.empty(n, len(self.selection.class_names), device=self.device)
        architectures.set_training(self.model)
        shares = self._shares(generator.initial_seed(), steps)
        train_batch = self.captured or self.train_batch
        rows = zip(batches, labels.split(size), logits.split(size), shares, strict=True)
        for step, (batch, batch_labels, batch_logits, share) in enumerate(rows, start=1):
            set_learning_rates(
                self.optimiser,
                self.config,
                self.epoch * steps + step,
                self.config.max_epochs * steps,
            )
            if share is None:
                batch_logits.copy_(train_batch(batch, batch_labels))
            else:
                targets = functional.one_hot(batch_labels, logits.shape[1]).float()
                batch_logits.copy_(train_batch(mix(batch, share), mix(targets, share)))
            if self.progress:
                self.progress(step, steps)
        return self.training_scores(logits, labels)

    def train_batch(self, batch: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """One step of training; the logits (B, C) of the batch before it.

        Parameters
        ----------
        targets
            Labels (B,), or shares of the classes (B, C).
        """
        logits = self.forward_backward(batch, targets)
        self.optimiser.step()
        return logits

    def order_of_epoch(self) -> tuple[torch.Tensor, torch.Generator]:
        """Positions (n,) of the training images in the order of the epoch to come.

        And the generator, from which all else follows that is random in that epoch.
        """
        generator = torch.Generator().manual_seed(_epoch_seed(self.config.seed, self.epoch + 1))
        return torch.randperm(len(self.partition.train), generator=generator), generator

    def training_scores(self, logits: torch.Tensor, labels: torch.Tensor) -> tuple[float, float]:
        """Mean loss (nats) and accuracy (0–1) of an epoch's training images.

        Parameters
        ----------
        logits
            Shape (n, C), in the order in which they were trained on.
        labels
            Shape (n,).

        Raises
        ------
        NonFiniteLossError
            Names the epoch and the step.
        """
        size = self.config.batch_size
        losses = functional.cross_entropy(logits, labels, reduction="none").double().cpu()  # (n,)
        if not losses.isfinite().all():
            first = int((~losses.isfinite()).nonzero()[0])
            raise NonFiniteLossError(
                f"training loss is {losses[first]:g} at epoch {self.epoch + 1}, step "
                f"{first // size + 1} of {math.ceil(len(labels) / size)}; try a lower --learning-rate or "
                "--precision fp32"
            )
        return losses.mean().item(), (logits.argmax(1) == labels).double().mean().item()

    def _shares(self, seed: int, steps: int) -> Sequence[float | None]:
        """What each batch of an epoch keeps of its own images (mixup); None: they are not mixed."""
        alpha = self.config.mixup
        if not alpha or self.partition.n_labels < MIXUP_LABELS:
            return [None] * steps
        return np.random.default_rng(seed).beta(alpha, alpha, steps).tolist()

    def state_dict(self) -> dict[str, Any]:
        """All that the next epoch depends on; small if little is trained."""
        return {
            "model": architectures.trained_state(self.model),
            "optimiser": self.optimiser.state_dict(),
            **self.progress_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from the `state_dict` of a run with the same configuration."""
        self.load_trained(state)
        self.load_progress(state)

    def load_trained(self, state: dict[str, Any]) -> None:
        """Take on the ``model`` and the ``optimiser`` of a `state_dict`, and not its progress."""
        self.model.load_state_dict(state["model"], strict=False)
        self.optimiser.load_state_dict(state["optimiser"])
        settle(self.optimiser, captured=self.captured is not None)
        if self.captured is not None:
            self.captured.forget()


def open_as_planned(data: DataConfig) -> Survey:
    """The survey, if it is still the one that the run was planned with; else `DataError`."""
    survey = open_as_configured(data)
    if survey.sha256 != data.sha256:
        raise DataError(
            f"{data.path} has SHA-256 {survey.sha256}, expected {data.sha256}: images or "
            "labels changed since the run was planned, or this node has others. Give every node the same "
            "ones."
        )
    return survey


def _epoch_seed(seed: int, epoch: int) -> int:
    """A seed that differs for every (seed, epoch)."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0] >> 1)
