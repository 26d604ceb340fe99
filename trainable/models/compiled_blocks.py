"""The repeated blocks of a network, compiled once for all of them and for all runs of a process.

A Vision Transformer has one block many times. Torch compiles the code of the block, not a block, so that
the twelve of a ViT-B/16 cost one compilation, and the next run of the process none.
"""

from __future__ import annotations

import functools
import logging
from typing import Any, cast

import torch
from torch import nn
from torch.nn import functional

LOG = logging.getLogger(__name__)


def compile_blocks(
    model: nn.Module, batch_size: int, device: torch.device, *, training: bool = True
) -> bool:
    """Have the blocks of `model` compiled when they first see a whole batch.

    Smaller batches are not worth a compilation of their own, and run as they are. So does all, after one
    warning, if nothing can be compiled for the device.

    Parameters
    ----------
    training
        Whether it is training that is compiled, or what is computed without gradients; never both.

    Returns
    -------
    bool
        Whether there is anything that will be compiled.
    """
    blocks = repeated_blocks(model)
    if not blocks or why_not_compiled(device.type):
        return False
    for block in blocks:
        block.__class__ = _compiled(type(block), batch_size, training)
    return True


def repeated_blocks(model: nn.Module) -> list[nn.Module]:
    """The parts of `model` that stand in a row of two or more of one class, themselves of parts."""
    found: list[nn.Module] = []
    for row in model.modules():
        if isinstance(row, nn.Sequential | nn.ModuleList):
            blocks = list(cast("nn.Sequential", row))
            if len(blocks) > 1 and len({type(b) for b in blocks}) == 1 and [*blocks[0].children()]:
                found += blocks
    inside = {part for block in found for part in block.modules() if part is not block}
    return [block for block in found if block not in inside]


@functools.cache  # for as long as the process lives: this is what keeps the compilation
def _compiled(kind: type[nn.Module], batch_size: int, training: bool) -> type[nn.Module]:
    """A subclass of `kind` whose forward pass is compiled for whole batches, with gradients or without."""
    compiled = torch.compile(kind.forward, dynamic=False)

    def forward(self: nn.Module, batch: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        whole = torch.is_grad_enabled() == training and len(batch) == batch_size
        return (compiled if whole else kind.forward)(self, batch, *args, **kwargs)

    return type(f"Compiled{kind.__name__}", (kind,), {"forward": forward})


@functools.cache  # the warning appears once
def why_not_compiled(device_type: str) -> str | None:
    """Why nothing can be compiled for a device, found by trying; None if it can."""
    try:
        torch.compile(_something_small)(torch.ones(8, device=device_type)).sum().item()
    except RuntimeError as error:  # of which torch's errors of compilers are kinds
        reason = next(filter(None, map(str.strip, str(error).splitlines())), type(error).__name__)
        LOG.warning("training is not compiled: %s", reason)
        return reason
    return None


def _something_small(x: torch.Tensor) -> torch.Tensor:
    return functional.gelu(x) + 1
