"""A GPU that is not there, and what would make the host wait for it.

It is torch's meta device: tensors with shape, type and place, but without data. (Tensors without data
on cuda exist too; but going backward through one, torch asks for a driver.) Autocast, which torch does
not know on it, is replaced by parameters that are in bfloat16 themselves.
"""

from __future__ import annotations

from contextlib import ExitStack, nullcontext, suppress
from typing import Any

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from trainable.data.batches import Rows, image_rows
from trainable.forward_backward import make_forward_backward
from trainable.models.architectures import ARCHITECTURES, Head
from trainable.run import TrainingRun

GPU = "meta"
WAITS = {
    torch.ops.aten._local_scalar_dense.default,  # item, and bool, int and float of a tensor
    torch.ops.aten.nonzero.default,  # a result whose shape is on the GPU
    torch.ops.aten.masked_select.default,
    torch.ops.aten.equal.default,
}
INDEXING = {torch.ops.aten.index.Tensor, torch.ops.aten.index_put_.default}
"""Wait if a mask takes the place of indices."""


CONSTANTS = {torch.tensor, torch.as_tensor, torch.asarray, torch.Tensor.new_tensor}
"""What makes a tensor of Python's numbers; on this device torch drops them instead of copying."""


class HostWaitedError(AssertionError):
    """The host copied to or from the GPU, or asked for a value that is there."""


class _NoConstants(TorchFunctionMode):
    """Raises `HostWaitedError` if a tensor on a GPU is made of numbers of the host."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in CONSTANTS and result.device.type == GPU:
            raise HostWaitedError(f"{func} copies numbers of the host to the GPU")
        return result


class _NoCopies(TorchDispatchMode):
    """Raises `HostWaitedError` for operations that copy to or from a GPU, or read a value back.

    A tensor without dimensions on the CPU is passed to a kernel as a number, which waits for nothing.
    """

    operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
        masks = func in INDEXING and any(t.dtype == torch.bool for t in given[1:])
        if GPU in {t.device.type for t in given} and (func in WAITS or masks):
            raise HostWaitedError(f"{func} waits for the GPU")
        devices = {t.device.type for t in given if t.ndim}
        result = func(*args, **(kwargs or {}))
        devices |= {t.device.type for t in tree_leaves(result) if isinstance(t, torch.Tensor)}
        if devices == {"cpu", GPU}:
            raise HostWaitedError(f"{func} copies between host and GPU")
        self.operations += GPU in devices
        return result


class NoHostCopies:
    """Within it, whatever makes the host wait for a GPU raises `HostWaitedError`."""

    def __enter__(self) -> NoHostCopies:
        self._modes, self._copies = ExitStack(), _NoCopies()
        self._modes.enter_context(_NoConstants())
        self._modes.enter_context(self._copies)
        return self

    def __exit__(self, *_: object) -> None:
        self._modes.close()

    @property
    def operations(self) -> int:
        """How many operations on the GPU it has seen."""
        return self._copies.operations


def move_to_fake_gpu(run: TrainingRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a run that was made on the CPU parameters and images on a GPU."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    run.device, config = torch.device(GPU), run.config
    autocast = config.precision == "bf16"
    dtype = torch.bfloat16 if autocast else torch.float32
    for module in run.model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            moved = nn.Parameter(torch.empty_like(parameter, device=GPU, dtype=dtype))
            setattr(module, name, moved.requires_grad_(parameter.requires_grad))
    array = run.inputs.array
    if isinstance(run.model, Head):
        run.inputs = Rows(array, GPU, resident=True)
    else:
        spec = ARCHITECTURES[config.arch]
        run.inputs = image_rows(array, spec, GPU, autocast=autocast, resident=True)
    run.optimiser = torch.optim.AdamW(
        [p for p in run.model.parameters() if p.requires_grad],
        lr=config.learning_rate,  # not fused: that one does not know this device
    )
    run.forward_backward = make_forward_backward(run.model, config, run.device)


class _Watched(Exception):
    """The last step is done."""


def watch_steps(run: TrainingRun) -> NoHostCopies:
    """Train all batches of an epoch but the first under `NoHostCopies`.

    An epoch begins with copies of its order and labels; its first step may make the optimiser's state.
    """
    watching, steps = NoHostCopies(), ExitStack()

    def progress(step: int, of: int) -> None:
        if step == 1:
            steps.enter_context(watching)
        if step == of:
            raise _Watched

    run.progress = progress
    with steps, suppress(_Watched):
        run.train_epoch()
    return watching
