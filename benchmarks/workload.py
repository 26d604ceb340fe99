"""The work that is measured: data, architecture, weights, device and precision."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import h5py
import numpy as np
import torch

from trainable.config import CompileChoice, Precision, PrecisionChoice, Settings
from trainable.data.sources.known_files import PAPERS_IMAGES
from trainable.devices import Gpu, choose_device, gpus_behind, suited_precision, suited_to
from trainable.errors import SettingsError
from trainable.models import architectures
from trainable.prepare import Prepared, prepare
from trainable.protocol import DROPPED_LABEL, ProtocolName

W = TypeVar("W", bound="Workload")

CLASSES = 9
"""Classes of the random images, as many as the paper's."""
BLOCK = 256
"""Random images written at a time."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Data, architecture, precision and device."""

    data: str | None = None
    """mock (rendered; needs GalSim), galaxy10, or an HDF5 file. None: mock, on a GPU random images."""
    images: int | None = None
    """Number of images of random bytes to use instead of --data, at least 1000; as much work."""
    image_size: int = 256
    """Side of the random images, pixels."""
    arch: str | None = None
    """Architecture. None: vit_demo, on a GPU vit_b_16 with random weights."""
    weights: str | None = None
    """Pre-trained weights, as in a sweep; random: drawn here, as good for timing as any."""
    precision: PrecisionChoice = "auto"
    """Precision of our runs, as in a sweep."""
    compile: CompileChoice = "auto"
    """Compile the network's blocks, as in a sweep."""
    deterministic: bool = False
    """Have equal runs of ours on a GPU be equal bit for bit."""
    device: str | None = None
    """Device of torch, e.g. cpu or cuda. None: the GPU if there is one, else the CPU."""

    def __post_init__(self) -> None:
        if self.arch is not None:
            architectures.architecture(self.arch)
        if self.images is not None and self.images < 1000:  # each class on both sides of a split
            raise SettingsError(f"--images {self.images}: must be at least 1000")
        if self.image_size < 8:
            raise SettingsError(f"--image-size {self.image_size}: must be at least 8 pixels")

    @property
    def torch_device(self) -> torch.device:
        """The device that is measured; `SettingsError` if it is not there."""
        return choose_device(self.device)

    @property
    def gpus(self) -> tuple[Gpu, ...]:
        """The GPU that is measured, if it is one."""
        return gpus_behind(self.torch_device)

    @property
    def suited_precision(self) -> Precision:
        """The precision of our runs, with ``auto`` replaced by what it means here."""
        return suited_precision(self.gpus, self.precision)

    def prepare(self, folder: Path, protocol: ProtocolName = "paper") -> Prepared:
        """Data and weights, found and checked; what is drawn, and the runs' caches, go into `folder`.

        Of a workload whose defaults are chosen: see `on_its_device`.

        Raises
        ------
        DataError, WeightsError
            The message is complete for the user.
        """
        assert self.arch is not None
        data, weights = self.data, self.weights
        if self.images is not None:
            data = str(random_survey(folder / "random.h5", self.images, self.image_size))
        assert data is not None
        if weights == "random":
            weights = str(random_weights(folder / "random.pth", self.arch))
        experiment = prepare(
            Settings(
                data=data,
                arch=(self.arch,),
                weights=() if weights is None else (weights,),
                protocol=protocol,
                # too rare in the mock survey's labelled images for half of them to validate on
                drop_labels=(DROPPED_LABEL,) if data == "mock" else None,
                split="subset-first",  # as the paper and its presets
                precision=self.precision,
                compile=self.compile,
                deterministic=self.deterministic,
            ),
            gpus=self.gpus,
        )
        return with_cache(experiment, folder / "cache")


def on_its_device(workload: W) -> W:
    """The workload with what suits its device in the place of every ``None`` and ``auto``.

    A GPU is measured with what it is there for, the paper's network at the paper's size, for which
    neither a renderer nor a download is needed.

    Raises
    ------
    SettingsError
        The device is not there.
    """
    on_gpu = bool(workload.gpus)
    arch, weights, data, images = (
        workload.arch, workload.weights, workload.data, workload.images
    )  # fmt: skip
    if arch is None:
        arch = "vit_b_16" if on_gpu else "vit_demo"
        weights = weights or ("random" if on_gpu else None)
    if data is None and images is None:
        data, images = (None, PAPERS_IMAGES) if on_gpu else ("mock", None)
    wanted = Settings(
        precision=workload.precision,
        compile=workload.compile,
        deterministic=workload.deterministic,
    )
    speed = suited_to(workload.gpus, wanted)
    return dataclasses.replace(
        workload,
        arch=arch,
        weights=weights,
        data=data,
        images=images,
        precision=speed.precision,
        compile=speed.compile,
        device=str(workload.torch_device),
    )


def with_cache(experiment: Prepared, folder: Path) -> Prepared:
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
            torch.save(architectures.architecture(arch).build().state_dict(), path)
    return path
