"""The images and weights behind a sweep, if they are still at hand.

The one module of the results that loads what a trial trained on; everything else works on the
files that trials left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn
from torchvision.models import VisionTransformer

from analysis.results.schema import CorruptFile, Results
from trainable.config import TrainingConfig
from trainable.data.dataset import Survey, open_as_configured
from trainable.data.pixels import normalise
from trainable.data.preprocess import transform_images
from trainable.errors import DataError, WeightsError
from trainable.manifest import Manifest
from trainable.models.architectures import architecture, build_for
from trainable.models.attention_rollout import class_token_maps
from trainable.models.weights import read_weights
from trainable.protocol import Transform

TOLERANCE = 0.03
"""Probabilities that a model recomputes may differ so much from the stored ones (bf16 does)."""


class NotAtHand(Exception):
    """Images or weights are missing or are others; the message is a clause for a sentence."""


def survey_of(manifest: Manifest) -> Survey:
    """The data of the sweep, opened as its trials did, if they are there and the same.

    Raises
    ------
    NotAtHand
        They are not.
    """
    as_trained = manifest.cells[0].config.data
    try:
        survey = open_as_configured(replace(as_trained, path=manifest.data.path))
    except DataError as error:
        raise NotAtHand(str(error)) from error
    if survey.sha256 != manifest.data.sha256:
        raise NotAtHand(
            f"{survey.path} has SHA-256 {survey.sha256[:12]}…, the sweep's has "
            f"{manifest.data.sha256[:12]}…"
        )
    return survey


def trained_model(results: Results, trial: str) -> tuple[nn.Module, TrainingConfig]:
    """The model of a trial at its best epoch; `NotAtHand` if its parts are not there."""
    folder = results.checkpoint(trial)
    try:
        record = results.record(trial)
    except CorruptFile as error:
        raise NotAtHand(str(error)) from error
    if folder is None or record is None or not record.get("config"):
        raise NotAtHand(f"{trial} has no record of its configuration")
    config = TrainingConfig.from_dict(record["config"])
    if config.trained == "all":  # all its weights are its own: none to start from are needed
        config = replace(config, init="scratch", weights=None)
    try:
        model = build_for(config, len(results.manifest.data.class_names))
        _load(model, folder / "best.safetensors")
    except (WeightsError, DataError) as error:
        raise NotAtHand(f"the model of {trial} cannot be built again: {error}") from error
    return model, config


def _load(model: nn.Module, path: Path) -> None:
    """Put the trained tensors of a trial into its model; `WeightsError` if they do not fit."""
    state = read_weights(path)
    try:
        unknown = model.load_state_dict(state, strict=False).unexpected_keys
    except RuntimeError as error:  # torch's, of a tensor of another shape
        which = str(error).splitlines()[-1].strip()  # one line for each tensor
        raise WeightsError(f"{path} does not fit the architecture: {which}") from error
    if unknown:
        raise WeightsError(f"{path} is of another model: it has {unknown[0]}")


def as_framed(
    images: Sequence[NDArray[np.uint8]],
    transform: Transform,
    size: int,
    arch: str | None = None,
) -> NDArray[np.uint8]:
    """Images, (H, W, 3) uint8 each, as the transform frames them: (n, `size`, `size`, 3) uint8.

    Parameters
    ----------
    arch
        Whose own transform ``evaluation`` is, in the proportion that it has at the network's size.
    """
    own = None
    if arch is not None:
        spec = architecture(arch)
        own = replace(
            spec.evaluation, resize=round(spec.evaluation.resize * size / spec.image_size)
        )
    prepare = transform_images(transform, size, own)
    return np.stack([np.asarray(prepare(Image.fromarray(image))) for image in images])


def attention_maps(
    results: Results,
    trial: str,
    images: Sequence[NDArray[np.uint8]],
    stored: NDArray[np.floating[Any]],
) -> tuple[NDArray[np.float32], TrainingConfig]:
    """Attention-rollout maps of a trial's best epoch, and its configuration.

    Parameters
    ----------
    images
        n, each (H, W, 3) uint8, as in the data.
    stored
        (n, C) float, the probabilities that the trial stored of them; a model that now gives
        others is not the one that was trained.

    Returns
    -------
    maps : numpy.ndarray
        (n, G, G) float, each summing to 1.
    config : TrainingConfig
        Of the trial; it says how its images are framed.

    Raises
    ------
    NotAtHand
        No such model, or other weights than it was trained with.
    """
    model, config = trained_model(results, trial)
    if not isinstance(model, VisionTransformer):
        raise NotAtHand(
            f"attention rollout needs a torchvision VisionTransformer, not {type(model).__name__}"
        )
    spec = architecture(config.arch)
    framed = torch.from_numpy(as_framed(images, config.transform, spec.image_size, config.arch))
    maps, probabilities = class_token_maps(model, normalise(framed, spec.mean, spec.std))
    gap = float(np.abs(probabilities.numpy() - stored).max())
    if gap > TOLERANCE:
        raise NotAtHand(
            f"with the weights at hand {trial} gives probabilities up to {gap:.2f} off those it "
            "stored, so they are not the weights it was trained from"
        )
    return maps.numpy(), config
