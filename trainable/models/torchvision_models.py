"""torchvision's classifiers by name, without an entry each."""

from __future__ import annotations

import difflib
import functools
import math
import re
from typing import Any, cast

import torch
import torchvision
from torch import nn
from torchvision.models import VisionTransformer, WeightsEnum

from trainable.data.preprocess import EvaluationTransform
from trainable.errors import SettingsError
from trainable.models.base import Architecture, on_meta
from trainable.models.weights import State

LIBRARY = f"torchvision {torchvision.__version__}"
LEFT_OUT = {
    "googlenet": "its training has outputs besides the logits",
    "inception_v3": "its training has outputs besides the logits",
    "squeezenet1_0": "its last layer is a convolution",
    "squeezenet1_1": "its last layer is a convolution",
}
"""Classifiers that no trial can train as it trains all others."""
LICENCES = {"https://github.com/facebookresearch/SWAG/blob/main/LICENSE": "cc-by-nc-4.0"}
"""The only ones that torchvision names, and by address."""

BLOCKS: dict[str, tuple[str, bool]] = {
    "VisionTransformer": (r"encoder\.layers\.encoder_layer_(\d+)\.", False),
    "ResNet": (r"layer(\d+)\.", False),
    "ConvNeXt": (r"features\.([1357])\.", False),
    "SwinTransformer": (r"features\.([1357])\.", False),
    "EfficientNet": (r"features\.([1-9]\d*)\.", True),
    "MobileNetV2": (r"features\.([1-9]\d*)\.", True),
    "MobileNetV3": (r"features\.([1-9]\d*)\.", True),
    "MNASNet": (r"layers\.(8|9|1[0-3])\.", False),
    "RegNet": (r"trunk_output\.block(\d+)\.", False),
    "DenseNet": (r"features\.denseblock(\d+)\.", False),
    "ShuffleNetV2": (r"stage(\d+)\.", False),
    "MaxVit": (r"blocks\.(\d+)\.", False),
}
"""Class of a model → the number of a block or stage in the names of its parameters, and whether the
last number is no stage but the convolution after all of them."""


def names() -> list[str]:
    """Classifiers that can be trained."""
    known = torchvision.models.list_models(module=torchvision.models)
    return [name for name in known if name not in LEFT_OUT]


@functools.cache
def architecture(name: str) -> Architecture:
    """The architecture of a torchvision classifier.

    Parameters
    ----------
    name
        As `torchvision.models.get_model` takes it, perhaps with a dot and the name of weights other
        than the best ones (``resnet50.IMAGENET1K_V1``); size, normalisation and framing are those of
        the weights.

    Raises
    ------
    SettingsError
        There is no such classifier, or no such weights of it.
    """
    plain, _, tag = name.partition(".")
    if plain in LEFT_OUT:
        raise SettingsError(f"{plain} cannot be used: {LEFT_OUT[plain]}; try timm:{plain}")
    if plain not in names():
        close = difflib.get_close_matches(name, ["vit_demo", *names()], n=3)
        raise SettingsError(
            f"unknown architecture {name!r}; known: vit_b_16, vit_demo, the other classifiers of "
            f"torchvision{' (' + ', '.join(close) + ')' if close else ''} and timm:NAME; --list-archs "
            "PATTERN lists them"
        )
    weights = _weights(plain, tag) if tag else default_weights(plain)
    evaluation = weights.transforms()
    size: int = evaluation.crop_size[0]
    build = functools.partial(_build, plain, size)
    model = on_meta(build)
    head = [key for key, module in model.named_modules() if isinstance(module, nn.Linear)][-1]
    vit = isinstance(model, VisionTransformer)
    return Architecture(
        build=build,
        image_size=size,
        mean=tuple(evaluation.mean),
        std=tuple(evaluation.std),
        evaluation=EvaluationTransform(
            resize=evaluation.resize_size[0], interpolation=evaluation.interpolation.value
        ),
        transform="evaluation",
        head=head,
        encoder="encoder" if vit else None,
        blocks=blocks if type(model).__name__ in BLOCKS else None,
        layers=layers if type(model).__name__ in BLOCKS else None,
        undecayed=undecayed,
        weights={weights.name: weights.url},
        default_weights=weights.name,
        adapt=resample_positions if vit else None,
        library=LIBRARY,
        licence=licence(weights),
    )


def default_weights(name: str) -> WeightsEnum:
    """The weights that torchvision calls the best of a classifier."""
    return cast("Any", torchvision.models.get_model_weights(name)).DEFAULT


def licence(weights: WeightsEnum) -> str | None:
    """The licence of weights, if torchvision names it."""
    return LICENCES.get(weights.meta.get("license", ""))


def _weights(plain: str, tag: str) -> WeightsEnum:
    known = torchvision.models.get_model_weights(plain)
    if tag not in known.__members__:
        raise SettingsError(
            f"torchvision has no weights {tag!r} for {plain}; it has {', '.join(known.__members__)}"
        )
    return known[tag]


def _build(plain: str, size: int) -> nn.Module:
    sized: dict[str, Any] = {"image_size": size} if plain.startswith("vit_") else {}
    return torchvision.models.get_model(plain, weights=None, **sized)


def blocks(model: nn.Module) -> list[list[str]]:
    """Parameters of a classifier by block or stage, first to last.

    They are registered in the order of the forward pass, so that what lies between two blocks is
    counted to the one before, and what follows the last to the last.
    """
    pattern, ends = BLOCKS[type(model).__name__]
    found: dict[str, list[str]] = {}
    current: list[str] | None = None
    for name, _ in model.named_parameters():
        if match := re.match(pattern, name):
            current = found.setdefault(match[1], [])
        if current is not None:
            current.append(name)
    groups = list(found.values())
    if ends:
        *groups, last, rest = groups
        groups.append(last + rest)
    return groups


def layers(model: nn.Module) -> list[list[str]]:
    """Parameters before the first block or stage, and those of each; the last has all that follows."""
    groups = blocks(model)
    inside = {name for group in groups for name in group}
    return [[name for name, _ in model.named_parameters() if name not in inside], *groups]


def undecayed(_: nn.Module) -> tuple[str, ...]:
    """Patterns of embeddings, of which torchvision's references take weight decay off, too."""
    return ("class_token", "*pos_embedding", "*relative_position_bias_table")


def resample_positions(state: State, model: nn.Module) -> State:
    """Positional embeddings of a torchvision ViT for the size of the model's input.

    By timm's function; the class token's stays as it is. ValueError if the patches of the given ones
    are no square.
    """
    from timm.layers.pos_embed import resample_abs_pos_embed

    name = "encoder.pos_embedding"
    given, wanted = state[name], model.state_dict()[name].shape[1]  # (1, T, D)
    old, new = math.isqrt(given.shape[1] - 1), math.isqrt(wanted - 1)
    if old**2 + 1 != given.shape[1] or new**2 + 1 != wanted:
        raise ValueError(f"{given.shape[1]} or {wanted} tokens are no square and a class token")
    resampled: torch.Tensor = resample_abs_pos_embed(given, [new, new], [old, old])
    return {**state, name: resampled}
