"""Self-attention by one product for queries, keys and values; torch alone.

Torch's ``nn.MultiheadAttention`` copies the three apart and takes detours through other memory
orders: on a GPU, where a network in bfloat16 waits for its memory, that costs more than the attention
itself, and on a CPU a tenth of a step. The parameters, and what is computed, are the same but for
rounding; so are weights files.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import nn
from torch.nn import functional


class SelfAttention(nn.MultiheadAttention):
    """Torch's layer with a shorter way for what a block of a Vision Transformer asks of it.

    Made of a layer that is there, by `use_one_product`. Whatever else is asked (attention weights,
    masks, other keys than queries) is answered by torch's own way.
    """

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride] - as a block calls it
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, **asked: Any
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Attention of `query` (B, T, D) to itself, and no attention weights.

        Parameters
        ----------
        **asked
            As for ``nn.MultiheadAttention``.
        """
        if query is key is value and asked == {"need_weights": False}:
            return self.one_product(query), None
        return super().forward(query, key, value, **asked)

    def one_product(self, tokens: torch.Tensor) -> torch.Tensor:
        """Attention of `tokens` (B, T, D) to themselves, of the same shape."""
        batch, length, width = tokens.shape
        projected = functional.linear(tokens, self.in_proj_weight, self.in_proj_bias)
        apart = projected.view(batch, length, 3, self.num_heads, width // self.num_heads)
        query, key, value = apart.permute(2, 0, 3, 1, 4).unbind()  # (B, heads, T, D / heads) each
        attended = functional.scaled_dot_product_attention(
            query, key, value, dropout_p=self.dropout if self.training else 0.0
        )
        return self.out_proj(attended.transpose(1, 2).reshape(batch, length, width))


def use_one_product(model: nn.Module) -> None:
    """Give the attention layers of `model` the shorter way; parameters and names stay."""
    for layer in model.modules():
        plain = type(layer) is nn.MultiheadAttention
        if plain and layer.batch_first and not extended(layer):
            layer.__class__ = SelfAttention


def use_torchs_way(model: nn.Module) -> None:
    """Undo `use_one_product`: the layers are torch's own again."""
    for layer in model.modules():
        if type(layer) is SelfAttention:
            cast("nn.Module", layer).__class__ = nn.MultiheadAttention


def extended(layer: nn.MultiheadAttention) -> bool:
    """Whether a layer has keys of its own, or of other widths than its queries."""
    widths = layer.kdim != layer.embed_dim or layer.vdim != layer.embed_dim
    return widths or layer.bias_k is not None or layer.add_zero_attn
