"""Architectures, their weights, and which of their parameters train.

A torchvision classifier enters as one `Architecture` in `ARCHITECTURES`; its parameter counts
belong in ``tests/trainable/test_backbones.py``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import VisionTransformer
from torchvision.models.vision_transformer import ConvStemConfig

from .config import RunConfig
from .protocol import IMAGE_SIZE, IMAGENET_MEAN, IMAGENET_STD, WEIGHTS, Init, Trained
from .weights import WeightsError, find_weights, load_backbone, read_weights

SHIPPED = Path(__file__).parent / "shipped"


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
    near_domain: frozenset[str] = frozenset()
    """Of `weights`, those that saw images made to look like a survey's: never without that word."""

    def weights_label(self, weights: str) -> str:
        """What weights are called wherever they are shown."""
        return f"{weights} (near-domain pre-training)" if weights in self.near_domain else weights


def _vit_demo() -> nn.Module:
    """A ViT of 0.7 M parameters and 29 MFLOP an image, for two CPU cores.

    Its patches of 8 pixels are embedded by four small convolutions instead of one large one, which
    takes the place of two of six blocks and learns from far fewer images (Xiao et al. 2021). Group
    normalisation, as it does the same in training and in evaluation.
    """
    stem = [
        ConvStemConfig(
            out_channels=channels,
            kernel_size=3,
            stride=stride,
            norm_layer=functools.partial(nn.GroupNorm, 8),
        )
        for channels, stride in ((32, 2), (64, 2), (64, 1), (128, 2))
    ]
    return VisionTransformer(
        image_size=32,
        patch_size=8,
        num_layers=4,
        num_heads=4,
        hidden_dim=128,
        mlp_dim=256,
        conv_stem_configs=stem,
    )


def _torchvision_weights(arch: str, name: str) -> dict[str, str]:
    return {name: torchvision.models.get_model_weights(arch)[name].url}


ARCHITECTURES: dict[str, Architecture] = {
    "vit_b_16": Architecture(  # §4.1
        build=torchvision.models.vit_b_16,
        image_size=IMAGE_SIZE,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        head="heads.head",
        encoder="encoder",
        weights=_torchvision_weights("vit_b_16", WEIGHTS),
        default_weights=WEIGHTS,  # §4.1
    ),
    "vit_demo": Architecture(
        build=_vit_demo,
        image_size=32,
        mean=(0.5, 0.5, 0.5),  # not the pre-training set's: that would favour one init
        std=(0.5, 0.5, 0.5),
        head="heads.head",
        encoder="encoder",
        weights={
            name: SHIPPED / f"vit_demo-{name}.safetensors" for name in ("photographs", "rendered")
        },
        default_weights="photographs",
        near_domain=frozenset({"rendered"}),
    ),
}


def architecture(name: str) -> Architecture:
    """The registered architecture of that name; `ValueError` names the known ones."""
    if name not in ARCHITECTURES:
        raise ValueError(f"unknown architecture {name!r}; known: {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[name]


def weights_file(arch: str, weights: str) -> Path:
    """Path of weights for `arch`, fetched where they are not there yet; or `WeightsError`."""
    return find_weights(weights, architecture(arch).weights)


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


def build_for(config: RunConfig, num_classes: int) -> nn.Module:
    """The model of a run."""
    return build(
        config.arch,
        num_classes=num_classes,
        init=config.init,
        weights=config.weights,
        trained=config.trained,
        seed=config.seed,
    )


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


def set_training(module: nn.Module, default: bool = True) -> None:
    """Training mode for what is trained; frozen parts, BatchNorm statistics too, stay put."""
    parameters = list(module.parameters())
    module.training = any(p.requires_grad for p in parameters) if parameters else default
    for child in module.children():
        set_training(child, module.training)


RANDOM = (nn.modules.dropout._DropoutNd, torchvision.ops.StochasticDepth)


def draws_random_numbers(model: nn.Module) -> bool:
    """Whether a forward pass, with the modes that `set_training` gives, depends on chance."""
    return any(m.training and m.p > 0 for m in model.modules() if isinstance(m, RANDOM))


class Head(nn.Module):
    """The last ``Linear`` alone, under the name that it has in the whole model."""

    def __init__(self, name: str, linear: nn.Linear) -> None:
        super().__init__()
        *path, last = name.split(".")
        parent: nn.Module = self
        for part in path:
            parent.add_module(part, nn.Module())
            parent = parent.get_submodule(part)
        parent.add_module(last, linear)
        self.name = name

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Logits (B, C) of `features` (B, D)."""
        return self.get_submodule(self.name)(features)


def trained_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """Parameters that are trained, and the buffers of modules that hold such parameters."""
    state = {}
    for prefix, module in model.named_modules():
        own = [(n, p) for n, p in module.named_parameters(recurse=False) if p.requires_grad]
        tensors = own + (list(module.named_buffers(recurse=False)) if own else [])
        state |= {f"{prefix}.{name}" if prefix else name: t.detach() for name, t in tensors}
    return state


@dataclass(frozen=True, kw_only=True)
class Size:
    """What a model costs, computed without allocating it."""

    parameters: int
    trained_parameters: int
    forward_flops: int
    """Floating-point operations of one image's forward pass (a multiply-add counts two)."""


@functools.cache
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
