"""LoRA: adapters of low rank beside the frozen weights of a network, by peft.

Hu et al. 2022, "LoRA: Low-Rank Adaptation of Large Language Models": a layer's weights W become
W + B·A with A of r rows and B, which starts at zero, of r columns; A and B alone are trained.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import nn

from trainable.errors import SettingsError
from trainable.models.base import Architecture, on_meta

ADAPTER = "lora_"
"""In the name of every parameter that peft adds."""


def is_adapter(name: str) -> bool:
    """Whether a parameter of that name was added by `add_adapters`."""
    return any(part.startswith(ADAPTER) for part in name.split("."))


def add_adapters(model: nn.Module, spec: Architecture, rank: int) -> None:
    """Put adapters beside the layers of `adapted_layers`; the output stays what it was.

    The product of A and B counts as it is: the factor α/r of the paper is 1.

    Raises
    ------
    SettingsError
        peft is not installed, or no layer can have adapters.
    """
    try:
        from peft import (  # pyright: ignore[reportMissingImports] - an extra
            LoraConfig,
            inject_adapter_in_model,
        )
    except ImportError as error:
        raise SettingsError(
            "'lora' needs peft, which is not installed: pip install 'vit-label-sweep[lora]'"
        ) from error
    layers = adapted_layers(spec)
    if not layers:
        raise SettingsError("'lora': this architecture has no layer that peft can adapt; train all")
    targets = "|".join(map(re.escape, layers))  # peft takes a pattern for the whole of a name
    config = LoraConfig(r=rank, lora_alpha=rank, target_modules=targets)
    inject_adapter_in_model(config, model)


def adapted_layers(spec: Architecture) -> list[str]:
    """Dotted names of the layers that get adapters.

    Every ``Linear`` but the head; if those are not the majority, as in a convolutional network, every
    convolution that is not grouped as well. Only layers whose ``forward`` is called: peft changes
    that, and some networks (torchvision's Swin) take the weights of a layer and compute with them
    themselves. Not torch's ``MultiheadAttention``: peft adds B·A to its frozen weights and takes it
    away again in every step, so that they drift by rounding and a resumed run is another one. Of
    torchvision's Vision Transformers that leaves the MLPs; timm's have adapters in attention, too.
    """
    model = on_meta(spec.build)
    called: set[nn.Module] = set()

    def note(module: nn.Module, *_: Any) -> None:
        called.add(module)

    for module in model.modules():
        module.register_forward_hook(note)
    model(torch.empty(1, 3, spec.image_size, spec.image_size, device="meta"))
    layers = {n: m for n, m in model.named_modules() if m in called and n != spec.head}
    # exact types: a subclass may compute something else, to which no product can be added
    dense = [n for n, m in layers.items() if type(m) is nn.Linear]
    plain = [n for n, m in layers.items() if type(m) is nn.Conv2d and m.groups == 1]
    return dense if len(dense) > len(plain) else dense + plain
