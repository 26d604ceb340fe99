"""Attention rollout: which patches the class token of a Vision Transformer draws on.

Abnar & Zuidema 2020, "Quantifying Attention Flow in Transformers", §3: the attention of each
layer, averaged over its heads, plus the identity for the residual connection, its rows made to
sum to 1 again, multiplied from the first layer to the last. It follows attention alone, not the
values or the MLPs, so it says where information may come from, not what decides the class.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torchvision.models import VisionTransformer


@contextmanager
def recorded_attention(model: VisionTransformer) -> Generator[list[torch.Tensor]]:
    """A list to which every forward pass within adds the attention of each layer, (B, T, T).

    The mean over heads; row = the token that attends. The model's output does not change.
    """
    attention: list[torch.Tensor] = []

    def ask(
        _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return args, kwargs | {"need_weights": True, "average_attn_weights": True}

    def keep(_module: nn.Module, _args: Any, output: tuple[torch.Tensor, torch.Tensor]) -> None:
        attention.append(output[1].detach())

    layers = [m for m in model.modules() if isinstance(m, nn.MultiheadAttention)]
    hooks = [layer.register_forward_pre_hook(ask, with_kwargs=True) for layer in layers]
    hooks += [layer.register_forward_hook(keep) for layer in layers]
    try:
        yield attention
    finally:
        for hook in hooks:
            hook.remove()


def rollout(attention: Sequence[torch.Tensor]) -> torch.Tensor:
    """Attention of the last layer's tokens to the input's, through all layers.

    Parameters
    ----------
    attention
        (B, T, T) of each layer, first to last; rows sum to 1.

    Returns
    -------
    torch.Tensor
        (B, T, T); rows sum to 1.
    """
    tokens = attention[0].shape[-1]
    result = identity = torch.eye(tokens, device=attention[0].device)
    for layer in attention:
        mixed = layer + identity
        result = mixed / mixed.sum(dim=-1, keepdim=True) @ result
    return result


@torch.no_grad()
def class_token_maps(model: nn.Module, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The patches that the class token draws on, and the probabilities of the classes.

    Parameters
    ----------
    model
        A torchvision `VisionTransformer`, with any stem and any number of layers.
    images
        (B, 3, S, S) float, normalised.

    Returns
    -------
    maps : torch.Tensor
        (B, G, G) float, G patches a side; each sums to 1, without the class token's own share.
    probabilities : torch.Tensor
        (B, C) float.

    Raises
    ------
    ValueError
        For any other model.
    """
    if not isinstance(model, VisionTransformer):
        raise ValueError(
            f"attention rollout needs a torchvision VisionTransformer, not {type(model).__name__}"
        )
    training = model.training
    model.eval()
    with recorded_attention(model) as attention:
        probabilities = model(images).softmax(dim=1)
    model.train(training)
    patches = rollout(attention)[:, 0, 1:]  # (B, G·G)
    side = math.isqrt(patches.shape[1])
    maps = patches / patches.sum(dim=1, keepdim=True)
    return maps.view(-1, side, side), probabilities
