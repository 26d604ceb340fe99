"""The images of a pre-training: photographs from a folder or CIFAR-10, or rendered galaxies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torchvision
from rich.progress import Progress, track
from torch.nn import functional

from trainable.data.cache import cache_root
from trainable.data.dataset import open_survey
from trainable.data.preprocess import transform_images
from trainable.mock.catalogue import MockSurvey
from trainable.mock.survey import cached

ImageSet = tuple[torch.Tensor, torch.Tensor, list[str]]
"""Images (N, S, S, 3) uint8, labels (N,) int64, class names."""
RENDERED_SEED = 1_000_003
"""A seed of no survey that a sweep draws by itself: no galaxy is seen in both."""


def load_folder(root: Path, size: int) -> ImageSet:
    """All images of ``root/CLASS/*``, at `size` pixels."""
    transform = transform_images("resize", size)
    folder = torchvision.datasets.ImageFolder(
        str(root), transform=lambda image: np.asarray(transform(image))
    )
    images = np.stack([folder[i][0] for i in track(range(len(folder)), f"reading {root.name}")])
    return torch.from_numpy(images), torch.tensor(folder.targets), folder.classes


def load_cifar10(train: bool, size: int) -> ImageSet:
    """CIFAR-10 through torchvision, fetched into the cache on first use."""
    transform = transform_images("resize", size)
    data = torchvision.datasets.CIFAR10(
        str(cache_root() / "cifar10"),
        train=train,
        download=True,
        transform=lambda image: np.asarray(transform(image)),
    )
    images = np.stack([data[i][0] for i in track(range(len(data)), "reading CIFAR-10")])
    return torch.from_numpy(images), torch.tensor(data.targets), data.classes


def load_rendered(n_images: int, size: int, seed: int) -> ImageSet:
    """Galaxies of the mock survey's ten classes, without its wrong labels; drawn once."""
    settings = MockSurvey(n_images=n_images, image_size=size, seed=seed, label_noise=0.0)
    with Progress() as progress:
        task = progress.add_task("drawing galaxies", total=n_images)
        path = cached(
            settings, cache_root(), progress=lambda done, _: progress.update(task, completed=done)
        )
    survey = open_survey(path)
    images = np.stack(survey.read_images(np.arange(n_images)))
    return torch.from_numpy(images), torch.from_numpy(survey.labels), list(survey.class_names)


def load_images(data: str, size: int, *, rendered: int) -> tuple[ImageSet, ImageSet]:
    """Images to train and to test on, at `size` pixels.

    Parameters
    ----------
    data
        ``cifar10``, ``rendered``, or a folder that holds ``train/CLASS/`` and ``test/CLASS/``.
    rendered
        Galaxies to draw for training, and a tenth as many for testing.
    """
    if data == "cifar10":
        return load_cifar10(True, size), load_cifar10(False, size)
    if data == "rendered":
        train = load_rendered(rendered, size, RENDERED_SEED)
        return train, load_rendered(rendered // 10, size, RENDERED_SEED + 1)
    return load_folder(Path(data) / "train", size), load_folder(Path(data) / "test", size)


def augment(images: torch.Tensor, generator: torch.Generator, pad: int) -> torch.Tensor:
    """Random crops of the padded images, half of them flipped left to right.

    Each image has its own crop; torchvision's transforms would take one for the whole batch.

    Parameters
    ----------
    images
        Shape (B, S, S, 3), uint8; the result has the same.
    pad
        Pixels added on each side, black.
    """
    batch, size = images.shape[:2]
    padded = functional.pad(images, (0, 0, pad, pad, pad, pad))
    shift = torch.randint(0, 2 * pad + 1, (2, batch, 1), generator=generator)
    steps = torch.arange(size)
    rows, columns = shift[0] + steps, shift[1] + steps  # (B, S) each
    flipped = torch.rand(batch, 1, generator=generator) < 0.5
    columns = torch.where(flipped, columns.flip(1), columns)
    index = torch.arange(batch)[:, None, None], rows[:, :, None], columns[:, None, :]
    return padded[tuple(i.to(images.device) for i in index)]
