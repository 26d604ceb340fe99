"""The runs that are checked: random images in memory, and the project's own training on them."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trainable.config import DataConfig, Precision, Settings, TrainingConfig
from trainable.data.batches import Rows, image_rows
from trainable.data.dataset import Survey
from trainable.data.sources.source import Picture
from trainable.data.splits import Partition
from trainable.devices import Gpu, compiler_missing, gpus_behind, suited_precision, suited_to
from trainable.forward_backward import use_precision
from trainable.models.architectures import architecture
from trainable.models.base import last_linear, on_meta
from trainable.models.compiled_blocks import why_not_compiled
from trainable.protocol import PROTOCOLS, Stopping
from trainable.run import Progress, TrainingRun

CLASSES = 9
"""As many as the paper's."""
NEVER = Stopping(rule="paper", delta=1e9, patience=1_000_000)


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What is checked on which device, and how much of it."""

    device: torch.device
    arch: str
    images: int
    """Random images, half of which train and half of which validate."""
    steps: int
    """Steps that must not wait for the host."""
    batch: int
    """Images of a batch that is computed in two ways."""
    head_images: int
    """Images that train a head."""
    extracted: int
    """Images that pass through the frozen backbone while it is timed, at least."""
    rounding: float
    """Relative difference of gradients that bfloat16, or another order of operations, may make."""
    compiles: bool
    """Whether ways that have to be compiled first are checked."""
    side: int
    """Of the matrices whose product is timed."""

    @cached_property
    def pixels(self) -> NDArray[np.uint8]:
        """Shape (N, S, S, 3): random images of the size that the network takes."""
        size = architecture(self.arch).image_size
        return np.random.default_rng(0).integers(0, 256, (self.images, size, size, 3), np.uint8)

    @property
    def gpus(self) -> tuple[Gpu, ...]:
        """The GPU, if the device is one."""
        return gpus_behind(self.device)

    @property
    def precision(self) -> Precision:
        """What ``--precision auto`` means here."""
        return suited_precision(self.gpus, "auto")

    @property
    def compiled(self) -> bool:
        """What ``--compile auto`` means here."""
        return suited_to(self.gpus, Settings()).compile == "on" and self.why_not_compiled() is None

    def why_not_compiled(self) -> str | None:
        """Why nothing is compiled here; None if it is."""
        if not self.compiles:
            return "left out of this form of the check"
        missing = compiler_missing() if self.gpus else None
        return missing or why_not_compiled(self.device.type)

    def config(self, **overrides: Any) -> TrainingConfig:
        """A run from scratch by the paper's protocol that nothing stops early.

        Parameters
        ----------
        **overrides
            Fields of `TrainingConfig`.
        """
        config = TrainingConfig.of(
            PROTOCOLS["paper"],
            init="scratch",
            fraction=1.0,
            seed=0,
            data=DataConfig(path="random images", sha256="", split="fixed"),
            arch=self.arch,
            weights=None,
        )
        return replace(config, **{"max_epochs": 1_000_000, "stopping": NEVER} | overrides)

    def fast(self) -> TrainingConfig:
        """With what ``--precision auto`` and ``--compile auto`` mean here."""
        return self.config(precision=self.precision, compile=self.compiled)

    def rows(self, config: TrainingConfig, *, resident: bool, device: str | None = None) -> Rows:
        """The images as inputs, on another device if one is named."""
        return image_rows(
            self.pixels,
            architecture(self.arch),
            device or self.device,
            autocast=config.precision == "bf16",
            resident=resident,
        )

    def run(
        self,
        config: TrainingConfig,
        *,
        train: int | None = None,
        resident: bool = True,
        device: str | None = None,
        progress: Progress | None = None,
    ) -> TrainingRun:
        """A run before its first epoch.

        Parameters
        ----------
        train
            Images to train on, and to validate with; None: half of them each.
        device
            Another one than the check's.
        """
        return TrainingRun(
            config,
            device=device or self.device,
            progress=progress,
            survey=labelled(self.images),
            partition=halves(self.images, train),
            inputs=self.rows(config, resident=resident, device=device),
        )

    def head_runs(self, count: int, **overrides: Any) -> list[TrainingRun]:
        """Runs of heads on the same random features, before their first epoch.

        Parameters
        ----------
        **overrides
            Fields of `TrainingConfig`.
        """
        spec = architecture(self.arch)
        width = last_linear(on_meta(spec.build), spec.head).in_features
        n = 2 * self.head_images
        features = np.random.default_rng(0).standard_normal((n, width), np.float32)
        inputs = Rows(features, self.device)
        config = self.config(
            precision=self.precision, compile=self.compiled, trained="head", **overrides
        )
        with TemporaryDirectory() as folder:  # nothing is left in the user's cache
            config = replace(config, data=replace(config.data, cache_dir=folder))
            return [
                TrainingRun(
                    replace(config, seed=seed),
                    device=self.device,
                    survey=labelled(n),
                    partition=halves(n),
                    inputs=inputs,
                )
                for seed in range(count)
            ]


@dataclass(frozen=True)
class Unread:
    """Images of which the runs are given the inputs."""

    @property
    def key(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def pictures(self, rows: NDArray[np.int64]) -> Iterator[Picture]:
        """They are nowhere."""
        raise NotImplementedError(f"{len(rows)} images that exist as inputs alone")


def labelled(images: int) -> Survey:
    """A survey of so many images with labels that take turns."""
    return Survey(
        path=Path("random images"),
        sha256="",
        images=Unread(),
        image_sizes=np.ones((images, 2), np.int64),
        labels=np.arange(images) % CLASSES,
        class_names=tuple(map(str, range(CLASSES))),
        right_ascension=None,
        declination=None,
        pixel_scale=None,
    )


def halves(images: int, train: int | None = None) -> Partition:
    """The first images train, the last ones validate.

    Parameters
    ----------
    train
        How many of each; None: half of them.
    """
    rows, count = np.arange(images), train or images // 2
    first, last = rows[:count], rows[images - count :]
    return Partition(
        train=first,
        train_labels=first % CLASSES,
        validation=last,
        validation_labels=last % CLASSES,
    )


@contextmanager
def switched_to(precision: Precision) -> Generator[None]:
    """Torch's switches as a trial of that precision sets them; then as they were."""
    products, convolutions = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    use_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(products)
        torch.backends.cudnn.allow_tf32 = convolutions
