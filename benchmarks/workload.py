"""What is measured on: data, architecture, weights, device and precision."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import h5py
import numpy as np
import torch
import tyro

from trainable import backbones
from trainable.config import Precision
from trainable.settings import Experiment, Settings, prepare

CLASSES = 9  # of the random images, as the paper's
BLOCK = 256  # random images written at a time


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Data, architecture and device."""

    data: str = "mock"
    """mock (rendered once; needs GalSim), galaxy10, or the path of an HDF5 file in its layout."""
    images: int | None = None
    """Take so many images of random bytes instead of --data: what they show does not change the
    work. At least 1,000, so that each class lands on both sides of every split."""
    image_size: int = 256
    """Side of the random images, pixels."""
    arch: Annotated[str, tyro.conf.arg(metavar="{" + ",".join(backbones.ARCHITECTURES) + "}")] = (
        "vit_demo"
    )
    """Architecture."""
    weights: str | None = None
    """Pre-trained weights, as in a sweep; random: drawn here, as good for timing as any."""
    precision: Precision = "fp32"
    """Of our runs; bf16 computes the network in bfloat16, tf32 its products in TensorFloat-32."""
    compile: bool = False
    """Compile our training step."""
    device: str = "cpu"
    """A torch device."""

    def __post_init__(self) -> None:
        backbones.architecture(self.arch)
        if self.images is not None and self.images < 1000:
            raise ValueError(f"--images {self.images}: must be at least 1000")
        if self.image_size < 8:
            raise ValueError(f"--image-size {self.image_size}: must be at least 8 pixels")

    def prepare(self, folder: Path, protocol: str = "paper") -> Experiment:
        """Data and weights at hand; what is drawn, and the runs' caches, go into `folder`.

        Raises
        ------
        DataError, WeightsError
            The message is complete for the user.
        """
        data, weights = self.data, self.weights
        if self.images is not None:
            data = str(random_survey(folder / "random.h5", self.images, self.image_size))
        if weights == "random":
            weights = str(random_weights(folder / "random.pth", self.arch))
        experiment = prepare(
            Settings(
                data=data,
                arch=self.arch,
                weights=weights,
                protocol=protocol,
                split="subset-first",  # as the paper and its presets
                precision=self.precision,
                compile=self.compile,
            )
        )
        return with_cache(experiment, folder / "cache")


def with_cache(experiment: Experiment, folder: Path) -> Experiment:
    """The experiment with another folder for images and features."""
    data = dataclasses.replace(experiment.data, cache_dir=str(folder.absolute()))
    return dataclasses.replace(experiment, data=data)


def random_survey(path: Path, n_images: int, size: int) -> Path:
    """Write images of random bytes in Galaxy10's layout, unless the file is there."""
    if not path.exists():
        random = np.random.default_rng(0)
        with h5py.File(path, "w") as file:
            images = file.create_dataset("images", (n_images, size, size, 3), np.uint8)
            for start in range(0, n_images, BLOCK):
                count = min(BLOCK, n_images - start)
                images[start : start + count] = random.integers(
                    0, 256, (count, size, size, 3), np.uint8
                )
            file["ans"] = (np.arange(n_images) % CLASSES).astype(np.uint8)
    return path


def random_weights(path: Path, arch: str) -> Path:
    """Write the weights of a freshly drawn network, unless the file is there."""
    if not path.exists():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            torch.save(backbones.architecture(arch).build().state_dict(), path)
    return path
