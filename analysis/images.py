"""The images and weights behind a sweep, where they are still at hand.

The one module of the analysis that loads what a trial trained on; everything else works on the
results alone.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from trainable.backbones import architecture, build_for
from trainable.config import RunConfig
from trainable.galaxy10 import DataError, Survey, open_survey
from trainable.preprocess import normalise, transform_images
from trainable.rollout import class_token_maps
from trainable.weights import read_weights

from .frames import Results

TOLERANCE = 0.03
"""Probabilities that a model recomputes may differ so much from the stored ones (bf16 does)."""


class NotAtHand(Exception):
    """Images or weights are missing or are others; the message is a clause for the reader."""


def survey_of(manifest: dict[str, Any]) -> Survey:
    """The data file of the sweep, if it is there and the same; else `NotAtHand`."""
    try:
        survey = open_survey(manifest["data"]["path"])
    except DataError as error:
        raise NotAtHand(str(error)) from error
    if survey.sha256 != manifest["data"]["sha256"]:
        raise NotAtHand(
            f"{survey.path} has SHA-256 {survey.sha256[:12]}…, the sweep's file has "
            f"{manifest['data']['sha256'][:12]}…"
        )
    return survey


def trained_model(results: Results, trial: str) -> tuple[nn.Module, RunConfig]:
    """The model of a trial at its best epoch; `NotAtHand` where its parts are not there."""
    record = results.record(trial)
    folder = results.trials.loc[results.trials["trial"] == trial, "checkpoint"].item()
    if record is None or not record.get("config"):
        raise NotAtHand(f"{trial} has no record of its configuration")
    try:
        config = RunConfig.from_dict(record["config"])
        if config.trained == "all":  # all its weights are its own: none to start from are needed
            config = replace(config, init="scratch", weights=None)
        model = build_for(config, len(results.manifest["data"]["class_names"]))
        state = read_weights(Path(folder) / "best.safetensors")
        unknown = model.load_state_dict(state, strict=False).unexpected_keys
    except (TypeError, KeyError, ValueError, RuntimeError) as error:
        raise NotAtHand(f"the model of {trial} cannot be built again: {error}") from error
    if unknown:
        raise NotAtHand(f"the weights of {trial} are of another model: it has no {unknown[0]}")
    return model, config


def as_framed(images: np.ndarray, transform: str, size: int) -> np.ndarray:
    """Images (n, S, S, 3) uint8 as the transform frames them, at `size` pixels a side."""
    prepare = transform_images(transform, size)
    return np.stack([np.asarray(prepare(Image.fromarray(image))) for image in images])


def attention_maps(
    results: Results, trial: str, images: np.ndarray, stored: np.ndarray
) -> tuple[np.ndarray, str]:
    """Attention-rollout maps of a trial's best epoch, and how it frames its images.

    Parameters
    ----------
    images
        (n, S, S, 3) uint8, as in the data file.
    stored
        (n, C) float, what the trial said of them; a model that now says something else is not
        the one that was trained.

    Returns
    -------
    maps : numpy.ndarray
        (n, G, G) float, each summing to 1.
    transform : str
        Of the trial's images.

    Raises
    ------
    NotAtHand
        No such model, or other weights than it was trained with.
    """
    model, config = trained_model(results, trial)
    spec = architecture(config.arch)
    framed = torch.from_numpy(as_framed(images, config.transform, spec.image_size))
    try:
        maps, probabilities = class_token_maps(model, normalise(framed, spec.mean, spec.std))
    except ValueError as error:
        raise NotAtHand(str(error)) from error
    gap = float(np.abs(probabilities.numpy() - stored).max())
    if gap > TOLERANCE:
        raise NotAtHand(
            f"with the weights at hand {trial} gives probabilities up to {gap:.2f} off those it "
            "stored, so they are not the weights it was trained from"
        )
    return maps.numpy(), config.transform
