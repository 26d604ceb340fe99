"""The paper's way of training, written plainly: the reference that `bench` compares our runs with.

All images of the file are read into memory. PIL resizes each image again in every epoch (§3.1) in
the workers of a ``DataLoader``; every batch passes through the whole network, frozen or not; losses
are fetched after each step; each epoch ends with a validation.

Split, weights, head, batch size and learning rate are those of the `TrainingConfig` that
`TrainingRun` gets, and the same batch order gives the same losses
(``tests/unit/benchmarks/test_paper_loop.py``). The reference has every speed-up that keeps it plain:
workers stay alive between epochs, they inherit the images without a copy, memory is pinned for a
GPU, and `bench` takes the number of workers that is fastest.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset, RandomSampler, Sampler, SequentialSampler
from torchvision import transforms

from benchmarks.machine import float32_products
from trainable.config import Precision, TrainingConfig
from trainable.data.class_selection import select
from trainable.data.dataset import open_as_configured
from trainable.data.splits import planned
from trainable.models import architectures
from trainable.models.attention import use_torchs_way
from trainable.protocol import Transform

Order = Callable[[int], Sequence[int]]
"""From the epoch, counted from 1, to the order of the training images: positions in the split."""


class Galaxies(Dataset[tuple[torch.Tensor, int]]):
    """Transformed images and their labels.

    Parameters
    ----------
    images
        N, each (H, W, 3) uint8: all of the survey.
    rows, labels
        Shape (n,): the images that belong to this set, and their classes.
    transform
        From a PIL image to a tensor (3, S, S).
    """

    def __init__(
        self,
        images: Sequence[np.ndarray],
        rows: np.ndarray,
        labels: np.ndarray,
        transform: Callable[[Image.Image], torch.Tensor],
    ) -> None:
        self.images, self.rows, self.labels, self.transform = images, rows, labels, transform

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        image = Image.fromarray(self.images[self.rows[index]])
        return self.transform(image), int(self.labels[index])


def transforms_of(name: Transform, spec: architectures.Architecture) -> transforms.Compose:
    """From a PIL image to a normalised tensor."""
    if name == "resize":
        resize = [transforms.Resize((spec.image_size, spec.image_size))]
    elif name == "evaluation":
        resize = [spec.evaluation.to_size(spec.image_size)]
    else:
        smaller = round(spec.image_size * 256 / 224)
        resize = [transforms.Resize(smaller), transforms.CenterCrop(spec.image_size)]
    return transforms.Compose(
        [*resize, transforms.ToTensor(), transforms.Normalize(spec.mean, spec.std)]
    )


class EpochOrder(Sampler[int]):
    """A sampler of given orders, one for each epoch."""

    def __init__(self, order: Order) -> None:
        self.order, self.epoch = order, 0

    def __iter__(self) -> Iterator[int]:
        """The order of the next epoch."""
        self.epoch += 1
        return iter([int(position) for position in self.order(self.epoch)])


class PaperLoop:
    """A training run as the paper describes it, stepped one epoch at a time.

    Parameters
    ----------
    config
        The run; its stopper and its ``precision`` are not used.
    device
        Where the model trains.
    workers
        Processes that load images; 0 loads them in this one.
    precision
        As in `TrainingConfig`; the paper names none, and fp32 is torch's default: full matrix
        products, TensorFloat-32 in convolutions if a GPU has it.
    share
        Of the images of each set that an epoch visits, in (0, 1]: a measurement at full size takes
        long.
    order
        Order of the training images in each epoch; None shuffles them.
    """

    def __init__(
        self,
        config: TrainingConfig,
        *,
        device: str | torch.device = "cpu",
        workers: int = 0,
        precision: Precision = "fp32",
        share: float = 1.0,
        order: Order | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.precision: Precision = precision
        spec = architectures.architecture(config.arch)
        survey = open_as_configured(config.data)
        selection = select(survey, config.data.drop_labels, config.data.merge_labels)
        split = planned(survey, selection, config)
        images = survey.read_images(np.arange(len(survey.labels)))
        transform = transforms_of(config.transform, spec)
        n_train, n_val = (math.ceil(share * len(x)) for x in (split.train, split.validation))
        self.train = Galaxies(images, split.train[:n_train], split.train_labels, transform)
        self.validation = Galaxies(
            images, split.validation[:n_val], split.validation_labels, transform
        )
        if order:
            sampler: Sampler[int] = EpochOrder(order)
        else:
            shuffling = torch.Generator().manual_seed(config.seed)
            sampler = RandomSampler(self.train, generator=shuffling)

        def loader(images: Galaxies, sampler: Sampler[int]) -> DataLoader[Any]:
            return DataLoader(
                images,
                batch_size=config.batch_size,
                sampler=sampler,
                num_workers=workers,
                persistent_workers=workers > 0,
                pin_memory=self.device.type == "cuda",
                multiprocessing_context="fork" if workers else None,  # images are not copied
            )

        self.train_loader = loader(self.train, sampler)
        self.validation_loader = loader(self.validation, SequentialSampler(self.validation))
        self.model = architectures.build_for(config, len(selection.class_names)).to(self.device)
        use_torchs_way(self.model)
        self.criterion = nn.CrossEntropyLoss()
        self.optimiser = torch.optim.AdamW(
            [p for p in self.model.parameters() if p.requires_grad],
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
        )

    def step_epoch(self) -> dict[str, float]:
        """Train one epoch and validate; losses, accuracies and seconds of both."""
        with float32_products(self.precision):  # whatever another run of this process has set
            start = time.perf_counter()
            train_loss, train_accuracy = self._train()
            trained = time.perf_counter()
            val_loss, val_accuracy = self._validate()
            end = time.perf_counter()
        return {
            "train_loss": train_loss,
            "train_accuracy": train_accuracy,
            "val_loss": val_loss,
            "val_accuracy": val_accuracy,
            "train_seconds": trained - start,
            "epoch_seconds": end - start,
        }

    def _train(self) -> tuple[float, float]:
        self.model.train()
        total, correct = 0.0, 0
        for images, labels in self.train_loader:
            images, labels = images.to(self.device), labels.to(self.device)
            self.optimiser.zero_grad()
            logits = self._forward(images)
            loss = self.criterion(logits, labels)
            loss.backward()
            self.optimiser.step()
            total += loss.item() * len(labels)
            correct += (logits.argmax(1) == labels).sum().item()
        return total / len(self.train), correct / len(self.train)

    def _validate(self) -> tuple[float, float]:
        self.model.eval()
        total, correct = 0.0, 0
        with torch.no_grad():
            for images, labels in self.validation_loader:
                images, labels = images.to(self.device), labels.to(self.device)
                logits = self._forward(images)
                total += self.criterion(logits, labels).item() * len(labels)
                correct += (logits.argmax(1) == labels).sum().item()
        return total / len(self.validation), correct / len(self.validation)

    def _forward(self, images: torch.Tensor) -> torch.Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            return self.model(images).float()
