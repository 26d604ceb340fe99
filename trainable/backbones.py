"""Architectures, their weights, and which of their parameters train.

A torchvision classifier enters as one `Architecture` in `ARCHITECTURES`; its parameter counts
belong in ``tests/trainable/test_backbones.py``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlparse

import torch
import torchvision
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import VisionTransformer

from .protocol import IMAGE_SIZE, IMAGENET_MEAN, IMAGENET_STD, Init, Trained

SHIPPED = Path(__file__).parent / "weights"


class WeightsError(ValueError):
    """Weights that cannot be had or do not fit; the message says what to do."""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A classifier that a trial can train."""

    build: Callable[[], nn.Module]
    image_size: int
    """Side of the input, pixels."""
    mean: tuple[float, float, float]
    """Subtracted from an image scaled to 0–1, for both inits alike."""
    std: tuple[float, float, float]
    head: str
    """Dotted name of the last ``Linear``."""
    encoder: str
    """Dotted name of what ``as_run`` freezes."""
    weights: Mapping[str, str | Path] = field(default_factory=dict)
    """Named pre-trained weights: the address of a file, or a shipped file."""
    default_weights: str


def _vit_demo() -> nn.Module:
    """A ViT of 0.8 M parameters that two CPU cores train at about 1,400 images/s."""
    return VisionTransformer(
        image_size=32, patch_size=8, num_layers=6, num_heads=4, hidden_dim=128, mlp_dim=256
    )


def _torchvision_weights(name: str) -> dict[str, str]:
    return {w.name: w.url for w in torchvision.models.get_model_weights(name)}


ARCHITECTURES: dict[str, Architecture] = {
    "vit_b_16": Architecture(  # §4.1
        build=torchvision.models.vit_b_16,
        image_size=IMAGE_SIZE,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        head="heads.head",
        encoder="encoder",
        weights={"IMAGENET1K_V1": _torchvision_weights("vit_b_16")["IMAGENET1K_V1"]},
        default_weights="IMAGENET1K_V1",
    ),
    "vit_demo": Architecture(
        build=_vit_demo,
        image_size=32,
        mean=(0.5, 0.5, 0.5),  # not the pre-training set's: that would favour one init
        std=(0.5, 0.5, 0.5),
        head="heads.head",
        encoder="encoder",
        weights={"photographs": SHIPPED / "vit_demo-photographs.safetensors"},
        default_weights="photographs",
    ),
}


def architecture(name: str) -> Architecture:
    """The registered architecture of that name; `ValueError` names the known ones."""
    if name not in ARCHITECTURES:
        raise ValueError(f"unknown architecture {name!r}; known: {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[name]


def weights_file(arch: str, weights: str) -> Path:
    """Path of a weights file, fetched into torch hub's cache where it is not there yet.

    Parameters
    ----------
    weights
        One of the architecture's names, or the path of a ``.pth``, ``.pt`` or ``.safetensors``.

    Raises
    ------
    WeightsError
        No such name or file, or the download failed.
    """
    known = architecture(arch).weights
    source = known.get(weights, weights)
    if weights in known and isinstance(source, str):
        return _fetch(source)
    path = Path(source).expanduser().absolute()
    if not path.is_file():
        raise WeightsError(
            f"no weights {weights!r} for {arch}: neither a file nor one of the known names "
            f"({', '.join(known)})"
        )
    return path


def _fetch(url: str) -> Path:
    name = os.path.basename(urlparse(url).path)
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    hash_prefix = re.search(r"-([a-f0-9]*)\.", name)  # torch hub's naming: NAME-HASH.pth
    try:
        torch.hub.download_url_to_file(url, str(path), hash_prefix and hash_prefix.group(1))
    except (OSError, RuntimeError) as error:  # URLError is an OSError; a wrong hash RuntimeError
        raise WeightsError(
            f"could not fetch {url}: {error}. Fetch it on another machine and put it at {path}, "
            "give a file with --weights PATH, or try --preset demo, which needs no download."
        ) from error
    return path


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a weights file; pickled code in it is never run."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, SafetensorError, EOFError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read as weights: {error}") from error
    except Exception as error:  # pickle.UnpicklingError and what a crafted file may raise
        raise WeightsError(
            f"{path} holds more than tensors and was not loaded ({type(error).__name__}). "
            "Save it again with torch.save(model.state_dict(), …) or as .safetensors."
        ) from error
    for key in ("state_dict", "model"):  # how training scripts nest it
        state = state.get(key, state) if isinstance(state, dict) else state
    if not (isinstance(state, dict) and all(isinstance(t, torch.Tensor) for t in state.values())):
        raise WeightsError(f"{path} is not a state dict (names → tensors)")
    return state


def load_backbone(model: nn.Module, state: Mapping[str, torch.Tensor], head: str) -> None:
    """Put pre-trained tensors into `model`, all but those of its head.

    Raises
    ------
    WeightsError
        Keys or shapes differ; the message lists them.
    """
    own = {k: v for k, v in model.state_dict().items() if not k.startswith(f"{head}.")}
    given = {k: v for k, v in state.items() if not k.startswith(f"{head}.")}
    problems = [f"missing {k} {tuple(own[k].shape)}" for k in own.keys() - given.keys()]
    problems += [f"unexpected {k} {tuple(given[k].shape)}" for k in given.keys() - own.keys()]
    problems += [
        f"{k} is {tuple(given[k].shape)}, expected {tuple(own[k].shape)}"
        for k in own.keys() & given.keys()
        if own[k].shape != given[k].shape
    ]
    if problems:
        shown = "; ".join(sorted(problems)[:8])
        more = f"; and {len(problems) - 8} more" if len(problems) > 8 else ""
        raise WeightsError(f"the weights are of another architecture: {shown}{more}")
    model.load_state_dict(given, strict=False)


def build(
    arch: str, *, num_classes: int, init: Init, weights: str | None, trained: Trained, seed: int
) -> nn.Module:
    """A model ready to train: same arguments, same parameters.

    The head is a fresh ``Linear`` with torch's default init for both inits (notebooks;
    torchvision's own head starts at zero). The global random state is left as it was.
    """
    spec = architecture(arch)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = spec.build()
        replace_head(model, spec.head, num_classes)
    if init == "pretrained":
        if weights is None:
            raise WeightsError(f"init 'pretrained' needs weights, e.g. {spec.default_weights!r}")
        load_backbone(model, read_weights(weights_file(arch, weights)), spec.head)
    choose_trained(model, spec, trained)
    return model


def replace_head(model: nn.Module, head: str, num_classes: int) -> None:
    """Give `model` a fresh last layer."""
    parent, _, name = head.rpartition(".")
    old = model.get_submodule(head)
    setattr(model.get_submodule(parent), name, nn.Linear(old.in_features, num_classes))


def choose_trained(model: nn.Module, spec: Architecture, trained: Trained) -> None:
    """Set ``requires_grad`` to what the protocol trains."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad = {
            "all": True,
            "head": name.startswith(f"{spec.head}."),
            "as_run": not name.startswith(f"{spec.encoder}."),
        }[trained]


@dataclass(frozen=True, kw_only=True)
class Size:
    """What a model costs, computed without allocating it."""

    parameters: int
    trained_parameters: int
    forward_flops: int
    """Floating-point operations of one image's forward pass (a multiply-add counts two)."""


def size(arch: str, *, num_classes: int, trained: Trained) -> Size:
    """Parameter counts and forward cost of a model."""
    spec = architecture(arch)
    with torch.device("meta"):
        model = spec.build()
        replace_head(model, spec.head, num_classes)
        images = torch.empty(1, 3, spec.image_size, spec.image_size)
    choose_trained(model, spec, trained)
    with FlopCounterMode(display=False) as counter:
        model(images)
    return Size(
        parameters=sum(p.numel() for p in model.parameters()),
        trained_parameters=sum(p.numel() for p in model.parameters() if p.requires_grad),
        forward_flops=counter.get_total_flops(),
    )
