"""Backbones of timm: any of its classification models, of its registry, a hub, or a local folder.

A model is built without its classifier; a ``Linear`` takes its place, so that what a head trains on is
what timm calls the pooled features before it (``forward_head(…, pre_logits=True)``).
"""

from __future__ import annotations

import difflib
import functools
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import timm
import torch
from timm.models import get_arch_pretrained_cfgs, get_pretrained_cfg, group_parameters
from torch import nn

from trainable.data.preprocess import EvaluationTransform
from trainable.errors import SettingsError, WeightsError
from trainable.models.base import Architecture, on_meta
from trainable.models.weights import HUB, State, fetch_from_hub, fit, read_weights

LIBRARY = f"timm {timm.__version__}"
LOCAL = "local-dir:"
"""Before the path of a folder with ``config.json`` and weights, as timm's ``save_for_hf`` writes it."""
LOCAL_FILES = ("model.safetensors", "pytorch_model.bin", "pytorch_model.pth", "model.pth")
"""Weights in such a folder; the first that is there counts, as in timm's loading."""


WITHOUT_BLOCKS = "train head or all of it, by another --protocol than modern"


class TimmClassifier(nn.Module):
    """A backbone of timm and a last layer.

    Parameters
    ----------
    backbone
        Built with ``num_classes=0``.
    """

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(cast("Any", backbone).head_hidden_size, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (B, C) of images (B, 3, S, S)."""
        backbone = cast("Any", self.backbone)
        features = backbone.forward_head(backbone.forward_features(images), pre_logits=True)
        return self.head(features)  # (B, D)


@functools.cache
def architecture(name: str) -> Architecture:
    """The architecture ``timm:name``.

    Parameters
    ----------
    name
        Of timm's registry, perhaps with a tag (``vit_base_patch16_224.dino``); ``hf-hub:OWNER/NAME``;
        or ``local-dir:PATH``.

    Raises
    ------
    SettingsError
        There is no such model, or its input is not square and of three channels.
    WeightsError
        A model of a hub is neither in the cache nor can it be fetched.
    """
    name = _checked(name)
    bare = cast("Any", on_meta(lambda: timm.create_model(name, num_classes=0)))
    config: dict[str, Any] = bare.pretrained_cfg
    known = get_pretrained_cfg(config["architecture"])
    if known is None or not known.classifier:
        raise SettingsError(f"timm:{name} is an encoder of something else than a classifier")
    channels, height, width = config["input_size"]
    if channels != 3 or height != width:
        raise SettingsError(
            f"timm:{name} takes images of {height} × {width} pixels with {channels} channels; "
            "expected square ones with 3"
        )
    if config["crop_mode"] not in ("center", "squash"):
        raise SettingsError(
            f"timm:{name} frames its images by {config['crop_mode']!r}; expected 'center' or 'squash'"
        )
    weights = _weights(name, config)
    return Architecture(
        build=functools.partial(_build, name),
        image_size=height,
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        evaluation=evaluation_of(config),
        transform="evaluation",
        head="head",
        encoder=None,
        blocks=_blocks,
        layers=_layers,
        undecayed=_undecayed,
        weights=weights,
        default_weights=next(iter(weights), None),
        backbone="backbone",
        file_heads=_names(config.get("classifier")),
        read=functools.partial(_read, name),
        adapt=_adapt,
        library=LIBRARY,
        licence=config.get("license"),
    )


def evaluation_of(config: dict[str, Any]) -> EvaluationTransform:
    """The evaluation transform of timm for a pre-trained configuration."""
    return EvaluationTransform(
        resize=int(config["input_size"][-1] / config["crop_pct"]),
        interpolation=config["interpolation"],
        mode=config["crop_mode"],
    )


def _build(name: str) -> nn.Module:
    return TimmClassifier(timm.create_model(name, num_classes=0))


def _names(value: str | Iterable[str] | None) -> tuple[str, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)


def _checked(name: str) -> str:
    """The name, if there is such a model; otherwise `SettingsError` or `WeightsError`."""
    name = re.sub("^hf_hub:", HUB, name)
    if name.startswith(HUB):
        path = fetch_from_hub(name.removeprefix(HUB), ["config.json"])
        _check_config(path, f"timm:{name}")
        return name
    if name.startswith(LOCAL):
        folder = Path(name.removeprefix(LOCAL)).expanduser().absolute()
        _check_config(folder / "config.json", f"timm:{name}")
        return f"{LOCAL}{folder}"
    plain, _, tag = name.partition(".")
    if not timm.is_model(plain):
        close = difflib.get_close_matches(plain, timm.list_models(), n=3)
        raise SettingsError(
            f"timm {timm.__version__} has no model {plain!r}"
            f"{'; close to it are ' + ', '.join(close) if close else ''}. --list-archs PATTERN lists "
            f"those that it has; timm:{HUB}OWNER/NAME is one of a hub, timm:{LOCAL}PATH one in a folder"
        )
    if tag and name not in (known := get_arch_pretrained_cfgs(plain)):
        tags = ", ".join(known) or "none"
        raise SettingsError(f"timm has no weights {tag!r} for {plain}; it has {tags}")
    return name


def _check_config(path: Path, name: str) -> None:
    """`SettingsError` if a file is not the ``config.json`` of one of timm's models."""
    try:
        config = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"{name}: {path} cannot be read ({error}); expected the folder or repository of a model "
            "that timm's save_for_hf or push_to_hf_hub wrote"
        ) from error
    found = config.get("architecture") if isinstance(config, dict) else None
    if not (isinstance(found, str) and timm.is_model(found)):
        raise SettingsError(
            f"{name}: its architecture is {found!r}, which is no model of timm {timm.__version__}: "
            "only repositories and folders that timm wrote can be used"
        )


def _weights(name: str, config: dict[str, Any]) -> dict[str, str | Path]:
    """The pre-trained weights of a model: at most one, what its configuration describes."""
    if name.startswith(LOCAL):
        folder = Path(name.removeprefix(LOCAL))
        found = next((folder / file for file in LOCAL_FILES if (folder / file).is_file()), None)
        return {found.name: found} if found else {}
    if name.startswith(HUB):
        return {name.removeprefix(HUB): name}
    return weights_of(config)


def weights_of(config: Mapping[str, Any]) -> dict[str, str | Path]:
    """The weights of an entry of timm's registry: their tag → where they are; nothing without any."""
    tag: str = config.get("tag") or "pretrained"
    if repository := config.get("hf_hub_id"):
        return {tag: f"{HUB}{repository}"}
    return {tag: config["url"]} if config.get("url") else {}


def _read(name: str, path: Path) -> State:
    """The tensors of a model's own weights, by timm's loading if they have another layout."""
    state = read_weights(path)
    bare = on_meta(lambda: timm.create_model(name, num_classes=0))
    classifiers = _names(cast("Any", bare).pretrained_cfg.get("classifier"))
    try:
        return fit(bare, state, None, file_heads=classifiers).state
    except WeightsError:
        first, second = (_read_by_timm(name, path, seed) for seed in (0, 1))
    # timm loads what it finds; what is drawn at random again was not in the file
    if missing := [k for k, tensor in first.items() if not torch.equal(tensor, second[k])]:
        raise WeightsError(
            f"{path} is not of {name}: timm's loading leaves {len(missing)} weights as they were "
            f"drawn, {missing[0]} among them"
        )
    return first


def _read_by_timm(name: str, path: Path, seed: int) -> State:
    source = {"file": str(path), "source": None, "hf_hub_id": None, "url": None}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            model = timm.create_model(
                name, pretrained=True, num_classes=0, pretrained_cfg_overlay=source
            )
        except RuntimeError as error:  # torch's, of tensors of another shape
            reason = str(error).splitlines()[-1].strip()
            raise WeightsError(f"{path} is not of {name}: {reason}") from error
    return model.state_dict()


def _adapt(state: State, model: nn.Module) -> State:
    """What timm makes of a checkpoint for a family of models, before it loads it.

    The original layouts of many of its models under timm's names, and positional embeddings and
    patches resampled for the size of the model's input.
    """
    module = sys.modules[type(model).__module__]
    convert: Callable[[State, nn.Module], State] | None
    convert = getattr(module, "checkpoint_filter_fn", None)
    return state if convert is None else convert(state, model)


def _blocks(model: nn.Module) -> list[list[str]]:
    """Parameters of a `TimmClassifier` by block or stage, as timm groups its layers."""
    (_, *blocks), rest = _groups(model, coarse=True)  # the first: the stem
    if blocks:
        blocks[-1] += rest  # what follows the last block
    return blocks


def _layers(model: nn.Module) -> list[list[str]]:
    """Parameters of a `TimmClassifier` by layer, as timm's ``param_groups_layer_decay`` takes them."""
    return _groups(model, coarse=False)[0]


def _groups(model: nn.Module, *, coarse: bool) -> tuple[list[list[str]], list[str]]:
    """The groups that timm makes of the parameters of a `TimmClassifier`, and what is behind all.

    Parameters
    ----------
    coarse
        By stage; else by block.
    """
    backbone = cast("Any", model).backbone
    if not hasattr(backbone, "group_matcher"):
        raise SettingsError(f"timm names no blocks of {type(backbone).__name__}: {WITHOUT_BLOCKS}")
    try:
        matcher = backbone.group_matcher(coarse=coarse)
    except AssertionError as error:
        raise SettingsError(
            f"timm names no stages of {type(backbone).__name__}: {WITHOUT_BLOCKS}"
        ) from error
    groups = [*group_parameters(backbone, matcher).values()]
    named = [[f"backbone.{name}" for name in group] for group in groups]
    if len(named) > 2 and not _is_numbered(matcher, groups[-1][0]):
        return named[:-1], named[-1]
    return named, []


def _undecayed(model: nn.Module) -> list[str]:
    """Patterns of parameters that the family's authors take weight decay off."""
    backbone = cast("Any", model).backbone
    patterns = backbone.no_weight_decay() if hasattr(backbone, "no_weight_decay") else ()
    return [f"backbone.{pattern}" for pattern in patterns]


def _is_numbered(matcher: Any, name: str) -> bool:
    """Whether a matcher of timm's puts a parameter into one of its groups, or behind them all."""
    if callable(matcher):
        order = matcher(name)
        return order != float("inf") and order != (float("inf"),)
    patterns = [
        entry if isinstance(entry, str) else entry[0]
        for entries in matcher.values()
        if entries is not None
        for entry in ([entries] if isinstance(entries, str) else entries)
    ]
    return any(re.match(pattern, name) for pattern in patterns)
