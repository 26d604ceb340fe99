"""Load the exported network with torchvision and safetensors alone.

    from load_torchvision import load
    model, transform = load()
    probabilities = (model(transform(picture)[None]) / temperature).softmax(1)

The temperature stands in ``config.json``.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torchvision
from PIL import Image
from torch import nn
from torchvision import transforms
from torchvision.models import VisionTransformer
from torchvision.models.vision_transformer import ConvStemConfig

HERE = Path(__file__).parent


def vit_demo(num_classes: int = 1000) -> nn.Module:
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
        num_classes=num_classes,
    )


def load(folder: Path = HERE) -> tuple[nn.Module, Callable[[Image.Image], torch.Tensor]]:
    """The network in evaluation mode, and what makes its input (3, S, S) of a picture in RGB."""
    from safetensors.torch import load_file

    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    name, classes = config["architecture"], config["num_classes"]
    if name == "vit_demo":
        model = vit_demo(classes)
    else:
        model = torchvision.models.get_model(
            name, weights=None, num_classes=classes, **config["model_args"]
        )
    model.load_state_dict(load_file(folder / "model.safetensors"))
    how = json.loads((folder / "preprocessing.json").read_text(encoding="utf-8"))
    resize = [how["resize"]] * 2 if how["mode"] == "squash" else how["resize"]
    interpolation = transforms.InterpolationMode(how["interpolation"])
    transform = transforms.Compose(
        [
            transforms.Resize(resize, interpolation=interpolation),
            transforms.CenterCrop(how["size"]),
            transforms.ToTensor(),
            transforms.Normalize(how["mean"], how["std"]),
        ]
    )
    return model.eval(), transform
