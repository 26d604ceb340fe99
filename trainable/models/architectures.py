"""Architectures by name, their weights, and which of their parameters train.

`ARCHITECTURES` has the two that are pinned by hand; their parameter counts stand in
``tests/unit/trainable/models/test_architectures.py``. Any other name is one of torchvision's
classifiers (`torchvision_models`) or, behind ``timm:``, of timm's models (`timm_models`).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from trainable.config import TrainingConfig
from trainable.data.preprocess import EvaluationTransform
from trainable.errors import SettingsError, WeightsError
from trainable.exported.load_torchvision import vit_demo
from trainable.models import image_statistics, torchvision_models
from trainable.models.adapters import add_adapters, is_adapter
from trainable.models.attention import use_one_product
from trainable.models.base import Architecture, last_linear, on_meta, replace_head
from trainable.models.weights import State, find_weights, fit, load_backbone, read_nested
from trainable.protocol import (
    IMAGE_SIZE,
    IMAGE_STATISTICS,
    IMAGENET_MEAN,
    IMAGENET_STD,
    LORA_RANK,
    PASSES,
    WEIGHTS,
    Init,
    Trained,
    check_trained,
    last_blocks,
)

__all__ = ["Architecture", "last_linear", "replace_head"]  # of `base`, for whoever names them here

SHIPPED = Path(__file__).parents[1] / "weights_shipped"
TIMM = "timm:"
"""Before the name of one of timm's models."""


def _torchvision_weights(arch: str, name: str) -> dict[str, str]:
    return {name: torchvision.models.get_model_weights(arch)[name].url}


ARCHITECTURES: dict[str, Architecture] = {
    "vit_b_16": Architecture(  # §4.1
        build=torchvision.models.vit_b_16,
        image_size=IMAGE_SIZE,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        evaluation=EvaluationTransform(resize=256),
        head="heads.head",
        encoder="encoder",
        blocks=torchvision_models.blocks,
        layers=torchvision_models.layers,
        undecayed=torchvision_models.undecayed,
        weights=_torchvision_weights("vit_b_16", WEIGHTS),
        default_weights=WEIGHTS,  # §4.1
        adapt=torchvision_models.resample_positions,
        library=torchvision_models.LIBRARY,
    ),
    "vit_demo": Architecture(
        build=vit_demo,
        image_size=32,
        mean=(0.5, 0.5, 0.5),  # not the pre-training set's: that would favour one init
        std=(0.5, 0.5, 0.5),
        evaluation=EvaluationTransform(resize=32, mode="squash"),
        head="heads.head",
        encoder="encoder",
        blocks=torchvision_models.blocks,
        layers=torchvision_models.layers,
        undecayed=torchvision_models.undecayed,
        weights={
            name: SHIPPED / f"vit_demo-{name}.safetensors" for name in ("photographs", "rendered")
        },
        default_weights="photographs",
        near_domain=frozenset({"rendered"}),
        adapt=torchvision_models.resample_positions,
        library=torchvision_models.LIBRARY,
        licence="bsd-3-clause",
    ),
}
"""The architectures that are pinned by hand."""


def architecture(name: str) -> Architecture:
    """The architecture of that name.

    Raises
    ------
    SettingsError
        There is none; the message names those that come close.
    WeightsError
        It is described by a hub that cannot be reached.
    """
    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    if name == IMAGE_STATISTICS:
        return image_statistics.ARCHITECTURE
    if name.startswith(TIMM):
        from trainable.models import timm_models  # a second to import

        return timm_models.architecture(name.removeprefix(TIMM))
    return torchvision_models.architecture(name)


def weights_file(arch: str, weights: str) -> Path:
    """Path of weights for `arch`, fetched if they are not there yet; or `WeightsError`."""
    return find_weights(weights, architecture(arch).weights)


def build(
    arch: str,
    *,
    num_classes: int,
    init: Init,
    weights: str | None,
    trained: Trained,
    seed: int,
    lora_rank: int = LORA_RANK,
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
    use_one_product(model)
    if init == "pretrained":
        if weights is None:
            raise WeightsError(no_weights(arch))
        load_backbone(
            model.get_submodule(spec.backbone),
            _read(spec, weights)[0],
            None if spec.backbone else spec.head,
            file_heads=spec.file_heads,
            adapt=spec.adapt,
        )
    if trained == "lora":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            add_adapters(model, spec, lora_rank)
    choose_trained(model, spec, trained)
    return model


def generator_after(arch: str, seed: int) -> torch.Tensor:
    """State of the CPU's generator when `build` draws the head: all parameters before it are drawn.

    The global random state is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        architecture(arch).build()
        return torch.get_rng_state()


def no_weights(arch: str) -> str:
    """What to tell who wants to start from pre-trained weights and has none chosen."""
    spec = architecture(arch)
    known = f"e.g. {spec.default_weights!r}" if spec.default_weights else "none are known"
    return (
        f"init 'pretrained' needs weights, and {arch} has none chosen ({known}): name a file with "
        "--weights PATH, or use --inits scratch"
    )


def _read(spec: Architecture, weights: str) -> tuple[State, tuple[str, ...]]:
    """Tensors of weights, and the keys of the file under which they lie."""
    path = find_weights(weights, spec.weights)
    return (spec.read(path), ()) if weights in spec.weights else read_nested(path)


def fit_of_weights(arch: str, weights: str | None) -> tuple[str, ...]:
    """What is done to make the tensors of a weights file fit, a clause each, for the record.

    Nothing is, to weights that the architecture knows by name.
    """
    spec = architecture(arch)
    if weights is None or weights in spec.weights:
        return ()
    state, keys = _read(spec, weights)
    fitted = fit(
        on_meta(spec.build).get_submodule(spec.backbone),
        state,
        None if spec.backbone else spec.head,
        file_heads=spec.file_heads,
        adapt=spec.adapt,
    )
    return (*(f"tensors under the key {key!r}" for key in keys), *fitted.notes)


def build_for(config: TrainingConfig, num_classes: int) -> nn.Module:
    """The model of a run."""
    return build(
        config.arch,
        num_classes=num_classes,
        init=config.init,
        weights=config.weights,
        trained=config.trained,
        seed=config.seed,
        lora_rank=config.lora_rank,
    )


def choose_trained(model: nn.Module, spec: Architecture, trained: Trained) -> None:
    """Set ``requires_grad`` to what is trained.

    Raises
    ------
    SettingsError
        The architecture has no such part.
    """
    is_trained = _part(model, spec, trained)
    for name, parameter in model.named_parameters():
        parameter.requires_grad = is_trained(name)


def _part(model: nn.Module, spec: Architecture, trained: Trained) -> Callable[[str], bool]:
    """Whether a parameter of that name is trained."""
    check_trained(trained)
    head = f"{spec.head}."
    if trained == "all":
        return lambda _: True
    if trained in ("head", "probe"):
        return lambda name: name.startswith(head)
    if trained == "lora":
        return lambda name: name.startswith(head) or is_adapter(name)
    if trained == "non_encoder":
        if spec.encoder is None:
            raise SettingsError(
                "'non_encoder' is what the paper's notebooks train of a torchvision Vision "
                "Transformer; this architecture has no such part: train last_1, head or all"
            )
        encoder = f"{spec.encoder}."
        return lambda name: not name.startswith(encoder)
    if spec.blocks is None:
        raise SettingsError(f"{trained!r}: no blocks of this architecture are known; train all")
    number, blocks = last_blocks(trained) or 0, spec.blocks(model)
    if number > len(blocks):
        raise SettingsError(
            f"{trained!r}: this architecture has {len(blocks)} blocks or stages; train last_1 to "
            f"last_{len(blocks)}, or all"
        )
    names = {name for block in blocks[-number:] for name in block}
    return lambda name: name.startswith(head) or name in names


def set_training(module: nn.Module) -> None:
    """Training mode for what is trained; frozen parts, BatchNorm statistics too, stay put.

    If a ``Linear`` alone is trained, all else is as in evaluation, a dropout before it, too: a linear
    probe is trained on what the frozen network gives, whether that is cached or computed each time.
    """
    trained = [
        m for m in module.modules() if any(p.requires_grad for p in m.parameters(recurse=False))
    ]
    if len(trained) == 1 and isinstance(trained[0], nn.Linear):
        module.eval()
    else:
        _set_training(module, default=True)


def _set_training(module: nn.Module, default: bool) -> None:
    parameters = list(module.parameters())
    module.training = any(p.requires_grad for p in parameters) if parameters else default
    for child in module.children():
        _set_training(child, module.training)


def layers_of(model: nn.Module, arch: str) -> list[list[str]]:
    """Names of all parameters of `model` by layer, as layer-wise decay counts layers.

    Returns
    -------
    list
        What is before all blocks, each block or stage from the first to the last, and the head.

    Raises
    ------
    SettingsError
        The blocks of that architecture are not known.
    """
    spec = architecture(arch)
    if spec.layers is None:
        raise SettingsError(
            f"layer-wise decay of the learning rate, as in protocol 'modern': no blocks of {arch} are "
            "known; take another --arch, or another --protocol"
        )
    head = f"{spec.head}."
    groups = [[n for n in group if not n.startswith(head)] for group in spec.layers(model)]
    inside = {name for group in groups for name in group}
    return [*groups, [name for name, _ in model.named_parameters() if name not in inside]]


@functools.cache
def check_layers(arch: str) -> None:
    """`SettingsError` if the blocks of an architecture are not known, as of `layers_of`."""
    layers_of(on_meta(architecture(arch).build), arch)


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

    @property
    def linear(self) -> nn.Linear:
        """The layer itself."""
        return last_linear(self, self.name)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Logits (B, C) of `features` (B, D)."""
        return self.linear(features)


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
    backward_flops: int
    """Of its backward pass, which ends below what is trained. Counted, unless `PASSES` has it."""


@functools.cache
def size(arch: str, *, num_classes: int, trained: Trained, lora_rank: int = LORA_RANK) -> Size:
    """Parameter counts and cost of a model."""
    spec = architecture(arch)

    def make() -> nn.Module:
        model = spec.build()
        replace_head(model, spec.head, num_classes)
        return model

    model = on_meta(make)
    if trained == "lora":
        with torch.device("meta"):
            add_adapters(model, spec, lora_rank)
    choose_trained(model, spec, trained)
    images = torch.empty(1, 3, spec.image_size, spec.image_size, device="meta")
    with FlopCounterMode(display=False) as forward:
        logits = model(images)
    forward_flops = forward.get_total_flops()
    if trained in PASSES:
        backward_flops = (PASSES[trained] - 1) * forward_flops
    else:
        formula = {torch.ops.aten.convolution_backward: _convolution_backward}
        with FlopCounterMode(display=False, custom_mapping=formula) as backward:
            logits.sum().backward()
        backward_flops = backward.get_total_flops()
    return Size(
        parameters=sum(p.numel() for p in model.parameters()),
        trained_parameters=sum(p.numel() for p in model.parameters() if p.requires_grad),
        forward_flops=forward_flops,
        backward_flops=backward_flops,
    )


def _convolution_backward(
    grad: Sequence[int], _images: Any, weight: Sequence[int], *arguments: Any, **_: Any
) -> int:
    """Operations of a convolution's backward pass, of shapes; torch's own ignores the groups.

    Parameters
    ----------
    grad
        (B, O, H, W), of the output.
    weight
        (O, I / groups, h, w).
    arguments
        The rest, of which the last says whether the images and the weight need a gradient. Each
        costs what the forward pass does.
    """
    forward = 2 * math.prod(grad) * math.prod(weight[1:])
    return forward * sum(map(bool, arguments[-1][:2]))
