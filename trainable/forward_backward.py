"""The forward and backward pass of one batch: through a whole model, compiled or not, or a head alone.

`make_forward_backward` returns a function that takes a batch on the device and its labels: (B,)
int64, or (B, C) float32, the share of each class. It leaves the gradients of the mean cross-entropy,
with the label smoothing of the run, in ``.grad`` of what is trained and returns the logits (B, C),
float32, detached.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from trainable.config import Precision, TrainingConfig
from trainable.errors import SettingsError
from trainable.models.architectures import Head
from trainable.models.compiled_blocks import compile_blocks

WORKSPACE, WORKSPACE_SIZE = "CUBLAS_WORKSPACE_CONFIG", ":4096:8"
"""Variable of the environment with which cuBLAS gives bit-equal products, and its value: eight buffers of
4,096 KiB (NVIDIA, "cuBLAS", section "Results Reproducibility")."""
NOT_DETERMINISTIC = "does not have a deterministic implementation"
"""In torch's error of an operator that cannot be used if all must be deterministic."""

ForwardBackward = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(batch, labels) → logits, with the gradients left in ``.grad``."""


def make_forward_backward(
    model: nn.Module, config: TrainingConfig, device: torch.device
) -> ForwardBackward:
    """The function that suits the run."""
    if isinstance(model, Head):
        return head_forward_backward(
            model, autocast=config.precision == "bf16", smoothing=config.label_smoothing
        )
    step = model_forward_backward(model, config, device)
    return naming_operators(step, config.arch) if config.deterministic else step


def model_forward_backward(
    model: nn.Module, config: TrainingConfig, device: torch.device
) -> ForwardBackward:
    """Autograd through the whole model; with ``config.compile`` its blocks are compiled."""
    if config.compile:
        compile_blocks(model, config.batch_size, device)

    def forward_backward(batch: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        model.zero_grad(set_to_none=True)
        autocast = torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16")
        with autocast:
            logits = model(batch)
        logits = logits.float()
        smoothing = config.label_smoothing
        functional.cross_entropy(logits, labels, label_smoothing=smoothing).backward()
        return logits.detach()

    return forward_backward


def naming_operators(step: ForwardBackward, arch: str) -> ForwardBackward:
    """`step`, with a `SettingsError` for an operator of which torch has no deterministic kernel."""

    def named(batch: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        try:
            return step(batch, labels)
        except RuntimeError as error:
            if NOT_DETERMINISTIC not in str(error):
                raise
            operator = str(error).partition(" ")[0]
            raise SettingsError(
                f"--deterministic: torch has no deterministic way on this device for {operator}, which "
                f"{arch} uses; leave out the flag, or choose another --arch"
            ) from error

    return named


def head_forward_backward(head: Head, *, autocast: bool, smoothing: float = 0.0) -> ForwardBackward:
    """The closed form for a ``Linear``; autograd would take most of so small a step's time."""
    linear = head.linear

    @torch.no_grad()
    def forward_backward(batch: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        with torch.autocast(batch.device.type, torch.bfloat16, enabled=autocast):
            logits = linear(batch)
        logits = logits.float()
        error = logits.softmax(1)  # (B, C); minus the shares of the classes: d loss / d logits
        shares = labels if labels.ndim == 2 else functional.one_hot(labels, error.shape[1])
        error -= shares if not smoothing else shares * (1 - smoothing) + smoothing / error.shape[1]
        error /= len(labels)
        linear.weight.grad = error.T @ batch
        linear.bias.grad = error.sum(0)
        return logits

    return forward_backward


def use_precision(precision: Precision) -> None:
    """Set torch's switches of the whole process: TensorFloat-32 only if it is asked for.

    Called by whatever starts a process or a trial, and by nothing below it. bf16 is no such switch;
    it is in the forward pass alone.
    """
    tf32 = precision == "tf32"
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32  # convolutions


def use_determinism(deterministic: bool, device: str) -> None:
    """Set torch's switches of the whole process, so that equal runs on a GPU are equal bit for bit.

    Torch then takes a deterministic kernel for each operator, also for attention, where cuDNN's, which has
    none, is left out and the backward pass of the others adds up in one order; an operator that has no such
    kernel is refused when it is used. On a CPU nothing is switched: results there are bit-equal anyway, on one
    machine with the same number of threads.

    Called as `use_precision` is, and before CUDA starts in the process: cuBLAS reads its variable of the
    environment once.

    Parameters
    ----------
    device
        Name of the device that the process will train on, e.g. ``cuda:0``.
    """
    on = deterministic and device.startswith("cuda")
    if on:
        os.environ[WORKSPACE] = WORKSPACE_SIZE
    torch.use_deterministic_algorithms(on)
    # torch would fill every new tensor with NaN, to show that one is read before it is written
    torch.utils.deterministic.fill_uninitialized_memory = not on  # pyright: ignore[reportAttributeAccessIssue] - a property
