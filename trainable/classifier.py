"""A finished trial as a classifier: from pictures to features, and from features to probabilities.

It is made of what the trial's checkpoint holds, and of the weights that it started from if those are
part of it: a probe's checkpoint is its last layer alone. Pickled code is never run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from trainable.config import Precision, TrainingConfig
from trainable.data.batches import image_rows, predict
from trainable.data.cache import checksum, known_checksum
from trainable.data.preprocess import transform_images
from trainable.errors import CheckpointError
from trainable.models import architectures
from trainable.models.base import Architecture
from trainable.protocol import Transform

WEIGHTS_FILE = "best.safetensors"
PICKLES = (b"PK\x03\x04", b"\x80")
"""How files begin that ``torch.save`` writes: a ZIP archive with a pickle in it, or a pickle."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Classifier:
    """A network that is not trained any more, in evaluation mode."""

    arch: str
    transform: Transform
    precision: Precision
    backbone: nn.Module
    """From images (B, 3, S, S), normalised, to features (B, D)."""
    head: nn.Linear | None
    """From features to logits (B, C); None: a backbone alone."""
    class_names: tuple[str, ...]
    """C names; none of a backbone alone."""
    backbone_id: str
    """Equal for two classifiers whose backbones and frames are the same."""
    identity: str
    """SHA-256 of all that its outputs follow from."""
    config: TrainingConfig | None = None
    """Of the trial."""

    @property
    def spec(self) -> Architecture:
        """The architecture."""
        return architectures.architecture(self.arch)

    @property
    def size(self) -> int:
        """S, side of the network's input, pixels."""
        return self.spec.image_size

    @property
    def frame(self) -> Callable[[Image.Image], Image.Image]:
        """The transform of a picture to S × S pixels, as in training."""
        return transform_images(self.transform, self.size, self.spec.evaluation)

    def features(
        self, images: NDArray[np.uint8], device: torch.device, precision: Precision
    ) -> torch.Tensor:
        """Features of framed images.

        Parameters
        ----------
        images
            Shape (n, S, S, 3), uint8.
        device
            Where the backbone is.

        Returns
        -------
        torch.Tensor
            Shape (n, D), float32, on the CPU.
        """
        autocast = precision == "bf16"
        inputs = image_rows(images, self.spec, device, autocast=autocast, resident=False)
        return predict(self.backbone, inputs, autocast=autocast)

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        """Logits (n, C) float32 of features (n, D) on the CPU; ValueError of a backbone alone."""
        if self.head is None:
            raise ValueError("a backbone alone has no classes")
        with torch.inference_mode():
            return self.head(features)


def load_classifier(
    checkpoint: Path, config: TrainingConfig, precision: Precision | None = None
) -> Classifier:
    """The classifier that a trial ended with.

    Parameters
    ----------
    checkpoint
        The trial's folder ``checkpoint_…``.
    config
        Of the trial, with the locations at which data and weights are now.
    precision
        None: that of the trial.

    Raises
    ------
    CheckpointError
        A file is missing, damaged, of another network, or holds pickled code.
    WeightsError
        The weights that the trial started from cannot be found or read.
    """
    names = tuple(_read_record(checkpoint)["class_names"])
    trained = read_trained(checkpoint / WEIGHTS_FILE)
    # of a network that is trained as a whole, nothing is left of what it started from
    whole = config.trained == "all"
    built = replace(config, init="scratch", weights=None) if whole else config
    model = architectures.build_for(built, len(names))
    _require_fit(checkpoint, config, architectures.trained_state(model), trained)
    model.load_state_dict(trained, strict=False)
    spec = architectures.architecture(config.arch)
    head = architectures.last_linear(model, spec.head)
    model.set_submodule(spec.head, nn.Identity())
    digest = checksum(checkpoint / WEIGHTS_FILE)
    backbone_id = _frozen_id(config) if config.trained in ("head", "probe") else digest
    frame = f"{config.transform} {spec.image_size}"
    return Classifier(
        arch=config.arch,
        transform=config.transform,
        precision=precision or config.precision,
        backbone=model.eval(),
        head=head.eval(),
        class_names=names,
        backbone_id=f"{config.arch} {backbone_id} {frame}",
        identity=f"{config.arch} {backbone_id} {digest} {frame}",
        config=config,
    )


def load_backbone(
    arch: str, weights: str | None, transform: Transform | None, precision: Precision
) -> Classifier:
    """A pre-trained backbone alone, for features.

    Parameters
    ----------
    weights
        A name or the path of a file; None: the architecture's default.
    transform
        None: ``resize``, or the architecture's own.

    Raises
    ------
    SettingsError, WeightsError
        The architecture or the weights cannot be used.
    """
    spec = architectures.architecture(arch)
    chosen = weights or spec.default_weights
    model = architectures.build(
        arch, num_classes=2, init="pretrained", weights=chosen, trained="head", seed=0
    )
    model.set_submodule(spec.head, nn.Identity())
    framed = transform or spec.transform or "resize"
    found = known_checksum(architectures.weights_file(arch, chosen)) if chosen else ""
    identity = f"{arch} {found} {framed} {spec.image_size}"
    return Classifier(
        arch=arch,
        transform=framed,
        precision=precision,
        backbone=model.eval(),
        head=None,
        class_names=(),
        backbone_id=identity,
        identity=identity,
    )


def read_trained(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint's safetensors; `CheckpointError` if they cannot be read."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        if path.is_file() and _is_pickle(path):
            raise CheckpointError(
                f"{path} holds pickled Python code, which is never run; expected safetensors, as the "
                "trial wrote them. Take the trial's own checkpoint"
            ) from error
        raise CheckpointError(
            f"{path} is missing or damaged ({error}): choose another trial with --trial, or train "
            "this one again"
        ) from error


def _is_pickle(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4).startswith(PICKLES)


def _read_record(checkpoint: Path) -> dict[str, Any]:
    path = checkpoint / "record.json"
    try:
        record = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} is missing or damaged ({error}): choose another trial with --trial, or train "
            "this one again"
        ) from error
    return record


def _require_fit(
    checkpoint: Path,
    config: TrainingConfig,
    expected: Mapping[str, torch.Tensor],
    given: Mapping[str, torch.Tensor],
) -> None:
    """Refuse tensors whose names or shapes are not those that the trial trains."""
    for name in (*expected, *given):
        here = given[name].shape if name in given else None
        wanted = expected[name].shape if name in expected else None
        if here != wanted:
            raise CheckpointError(
                f"{checkpoint / WEIGHTS_FILE} is not of {config.arch} with {config.trained!r} "
                f"trained: {name} is {_shape(here)}, expected {_shape(wanted)}. It may be of a "
                "network with another number of channels or classes; take the trial's own checkpoint"
            )


def _shape(shape: torch.Size | None) -> str:
    return "not there" if shape is None else str(tuple(shape))


def _frozen_id(config: TrainingConfig) -> str:
    """What tells frozen backbones of one architecture apart."""
    if config.weights is None:
        return f"seed {config.seed}"
    return known_checksum(architectures.weights_file(config.arch, config.weights))
