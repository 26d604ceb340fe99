"""What a frozen backbone makes of each image, computed once for all trials of a node.

A linear probe sees its images only through these numbers, so its trials train the head alone, on
rows of the cache, and give the losses that the whole network would give.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from . import backbones
from .batches import image_rows, predict
from .cache import cache_root, cached_array, checksum, known_checksum
from .config import RunConfig
from .galaxy10 import Survey
from .preprocess import cached_images, image_key

BLOCK = 1024  # images whose features are written at a time


def features_folder(cache_dir: str | Path | None) -> Path:
    """Where a node keeps them."""
    return cache_root(cache_dir) / "features"


def fresh_head(config: RunConfig, num_classes: int) -> backbones.Head | None:
    """The head that the run's whole model would have; both inits draw the same one.

    None where no cache can stand for the backbone: it draws random numbers in training
    (a dropout right before the head).
    """
    spec = backbones.architecture(config.arch)
    model = backbones.build_for(replace(config, init="scratch", weights=None), num_classes)
    backbones.set_training(model)
    if backbones.draws_random_numbers(model):
        return None
    return backbones.Head(spec.head, model.get_submodule(spec.head))


def cached_features(
    survey: Survey,
    config: RunConfig,
    *,
    device: str | torch.device,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """The head's input for every image of a survey, as a read-only memory map.

    Made on `device` by whoever comes first; others wait, then map it.

    Parameters
    ----------
    config
        Of any run that trains the head alone; neither fraction, split nor classes matter.
    progress
        Called with (images done, images in all).

    Returns
    -------
    numpy.memmap
        Shape (N, D), float32, in the order of the survey.
    """
    device, spec = torch.device(device), backbones.architecture(config.arch)
    with torch.device("meta"):
        width = spec.build().get_submodule(spec.head).in_features

    def blocks() -> Iterator[np.ndarray]:
        images = cached_images(
            survey,
            transform=config.transform,
            size=spec.image_size,
            cache_dir=config.data.cache_dir,
            progress=progress,
        )
        inputs = image_rows(images, spec, device, resident=False)  # each is needed once
        model = backbones.build_for(config, num_classes=2)
        model.set_submodule(spec.head, nn.Identity())
        model.to(device)
        for rows in torch.arange(len(images)).split(BLOCK):
            yield predict(model, inputs, rows=rows, autocast=config.precision == "bf16").numpy()

    return cached_array(
        features_folder(config.data.cache_dir),
        feature_key(survey, config, device),
        shape=(len(survey.labels), width),
        dtype=np.float32,
        blocks=blocks,
        progress=progress,
    )


def feature_key(survey: Survey, config: RunConfig, device: torch.device) -> dict[str, Any]:
    """What a feature depends on; trials with one key share a cache.

    The backbone's tensors are those of a weights file, or follow from the seed; neither takes
    loading them. An architecture is code, which may change under its name.
    """
    spec = backbones.architecture(config.arch)
    if config.init == "pretrained":
        backbone = known_checksum(backbones.weights_file(config.arch, config.weights))
    else:
        backbone = f"seed {config.seed}"
    return {
        **image_key(survey, transform=config.transform, size=spec.image_size),
        "mean": spec.mean,
        "std": spec.std,
        "arch": config.arch,
        "code": checksum(backbones.__file__),
        "backbone": backbone,
        "precision": config.precision,
        "device": device.type,
        "torch": torch.__version__,
    }
