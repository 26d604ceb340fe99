"""Features: a frozen backbone's output for each image, computed once for all trials of a node.

They are the input of the head. A linear probe sees its images only through these numbers, so its
trials train the head alone, on rows of the cache, and give the losses of the whole network.

Likewise the last K blocks, on *tokens*: what the frozen blocks below give for each image.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from trainable.config import TrainingConfig
from trainable.data.batches import Rows, image_rows, outputs
from trainable.data.cache import cache_root, cached_array, checksum, known_checksum
from trainable.data.dataset import Survey
from trainable.data.preprocess import cached_images, image_key
from trainable.models import architectures, attention, base, cut
from trainable.models.base import last_linear, on_meta

BLOCK = 1024
"""Images whose features are written at a time, at most."""
BLOCK_BYTES = 1 << 26
"""Bytes of tokens that are, at most."""


def features_folder(cache_dir: str | Path | None) -> Path:
    """The folder in which a node keeps them."""
    return cache_root(cache_dir) / "features"


def fresh_head(config: TrainingConfig, num_classes: int, width: int) -> architectures.Head:
    """The head that the run's whole model would have; both inits draw the same one.

    It is drawn after the network, which is not made for that if the node's cache has the state that this
    leaves the generator in. A dropout before the head is off, as it is if the whole model computes: see
    `set_training`.

    Parameters
    ----------
    width
        Of the features that it will see.
    """
    spec = architectures.architecture(config.arch)

    def states() -> Iterator[np.ndarray]:
        yield architectures.generator_after(config.arch, config.seed).numpy()

    state = cached_array(
        cache_root(config.data.cache_dir) / "generators",
        {
            "arch": config.arch,
            "code": _code(),
            "library": spec.library,
            "seed": config.seed,
            "torch": torch.__version__,
        },
        shape=tuple(torch.get_rng_state().shape),
        dtype=np.uint8,
        blocks=states,
    )
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(torch.from_numpy(np.array(state)))
        return architectures.Head(spec.head, nn.Linear(width, num_classes))


def backbone(config: TrainingConfig) -> nn.Module:
    """A run's model without its head: from images (B, 3, S, S) to features (B, D)."""
    model = architectures.build_for(config, num_classes=2)
    model.set_submodule(architectures.architecture(config.arch).head, nn.Identity())
    return model


def cached_features(
    survey: Survey,
    config: TrainingConfig,
    *,
    device: str | torch.device,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """The head's input for every image of a survey, as a read-only memory map.

    The first process to ask makes it, on `device`; others wait, then map it.

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
    device = torch.device(device)

    def blocks() -> Iterator[np.ndarray]:
        for features in _outputs(backbone(config), survey, config, device, BLOCK, progress):
            yield features.numpy()

    return cached_array(
        features_folder(config.data.cache_dir),
        feature_key(survey, config, device),
        shape=(len(survey.labels), _width(config.arch)),
        dtype=np.float32,
        blocks=blocks,
        progress=progress,
    )


@cache
def _width(arch: str) -> int:
    """Of the head's input; a network is made for it, if without memory, which takes longer than a small fit."""
    spec = architectures.architecture(arch)
    return last_linear(on_meta(spec.build), spec.head).in_features


def cached_tokens(
    survey: Survey,
    config: TrainingConfig,
    below: nn.Module,
    shape: tuple[int, ...],
    *,
    device: str | torch.device,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """What the frozen part of a network gives for every image, as a read-only memory map.

    Runs that compute in float32 have it in float32: bfloat16 would change their losses. In one of the
    small ViT's last two blocks on 346 galaxies of SDSS float32 gave the very losses of the whole network,
    over all 8 epochs; bfloat16 was 0.002% off in the first and up to 0.1% later.

    Parameters
    ----------
    config
        Of any run that trains the part above.
    below
        The frozen part, in evaluation mode whatever its mode is.
    shape
        Of what it gives of one image.
    progress
        Called with (images done, images in all).

    Returns
    -------
    numpy.memmap
        Shape (N, *shape), float32; of runs with ``bf16`` int16, the bits of bfloat16. See `token_rows`.
    """
    device, halved = torch.device(device), config.precision == "bf16"

    def blocks() -> Iterator[np.ndarray]:
        size = max(1, min(BLOCK, BLOCK_BYTES // (4 * math.prod(shape))))
        for tokens in _outputs(below, survey, config, device, size, progress):
            yield (tokens.bfloat16().view(torch.int16) if halved else tokens).numpy()

    return cached_array(
        features_folder(config.data.cache_dir),
        feature_key(survey, config, device)
        | {"below": config.trained, "cut": checksum(inspect.getfile(cut))},
        shape=(len(survey.labels), *shape),
        dtype=np.int16 if halved else np.float32,
        blocks=blocks,
        progress=progress,
    )


def token_rows(tokens: np.ndarray, device: str | torch.device) -> Rows:
    """The array of `cached_tokens` as inputs, float32, of the part of the network that is trained."""
    if tokens.dtype == np.float32:
        return Rows(tokens, device)
    return Rows(tokens, device, prepare=lambda bits: bits.view(torch.bfloat16).float())


def _outputs(
    model: nn.Module,
    survey: Survey,
    config: TrainingConfig,
    device: torch.device,
    size: int,
    progress: Callable[[int, int], None] | None,
) -> Iterator[torch.Tensor]:
    """Outputs of `model` for all images, at most `size` at a time: float32 on the CPU."""
    spec = architectures.architecture(config.arch)
    images = cached_images(
        survey,
        transform=config.transform,
        size=spec.image_size,
        evaluation=spec.evaluation,
        cache_dir=config.data.cache_dir,
        progress=progress,
    )
    autocast = config.precision == "bf16"
    # not resident: each is needed once
    inputs = image_rows(images, spec, device, autocast=autocast, resident=False)
    model.to(device)
    yield from outputs(model, inputs, at_most=size, autocast=autocast)


def feature_key(survey: Survey, config: TrainingConfig, device: torch.device) -> dict[str, Any]:
    """Everything that a feature depends on; trials with one key share a cache.

    The backbone's tensors are those of a weights file, or follow from the seed, so they are
    identified without loading them. An architecture is code, which may change under its name.
    """
    spec = architectures.architecture(config.arch)
    if not spec.has_parameters:
        backbone = checksum(inspect.getfile(spec.build))
    elif config.weights is None:
        backbone = f"seed {config.seed}"
    else:
        backbone = known_checksum(architectures.weights_file(config.arch, config.weights))
    return {
        **image_key(
            survey, transform=config.transform, size=spec.image_size, evaluation=spec.evaluation
        ),
        "mean": spec.mean,
        "std": spec.std,
        "arch": config.arch,
        "code": _code(),
        "library": spec.library,
        "backbone": backbone,
        "precision": config.precision,
        "device": device.type,
        "torch": torch.__version__,
    }


def _code() -> list[str]:
    """Checksums of the files that a network is made by."""
    return [checksum(inspect.getfile(module)) for module in (architectures, attention, base)]
