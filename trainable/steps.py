"""Gradients of one batch: through the whole model, compiled or not, or of a head alone.

Each of the functions made here takes a batch on the device and its labels (B,), leaves the mean
cross-entropy's gradients in ``.grad`` of what is trained, and returns the logits (B, C) float32.
Attention takes torch's fused kernels, but for short sequences on a CPU, where plain products are
faster: torchvision's blocks ask for no attention weights.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from .backbones import Head
from .config import RunConfig

SHORT = (
    64  # tokens; a step of vit_demo, which has 17, takes 6 % less by plain products on two cores
)
Gradients = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def gradients(model: nn.Module, config: RunConfig, device: torch.device) -> Gradients:
    """The function that suits the run."""
    if isinstance(model, Head):
        return of_head(model, config.precision == "bf16")
    return through_model(model, config, device)


def through_model(model: nn.Module, config: RunConfig, device: torch.device) -> Gradients:
    """Autograd; with ``config.compile`` compiled, and on a GPU replayed as a CUDA graph."""

    def forward(batch: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16"):
            logits = model(batch)
        logits = logits.float()
        return functional.cross_entropy(logits, labels), logits

    whole_batch, on_gpu = forward, device.type == "cuda"
    attention = nullcontext if config.compile else attention_kernel(model, device)
    if config.compile:
        torch.compiler.reset()  # of what another trial compiled in this process
        mode = "reduce-overhead" if on_gpu else None
        whole_batch = torch.compile(forward, dynamic=False, mode=mode)

    def step(batch: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        model.zero_grad(set_to_none=True)
        if config.compile and on_gpu:
            torch.compiler.cudagraph_mark_step_begin()  # the last step's outputs are done with
        # the smaller last batch of an epoch is not worth a compilation of its own
        run = whole_batch if len(batch) == config.batch_size else forward
        with attention():
            loss, logits = run(batch, labels)
        loss.backward()
        return logits.detach()

    return step


def attention_kernel(
    model: nn.Module, device: torch.device
) -> Callable[[], AbstractContextManager[None]]:
    """In what a forward pass runs, so that attention takes the kernel that suits `model`."""
    short = getattr(model, "seq_length", SHORT) < SHORT  # torchvision's Vision Transformers tell
    if device.type == "cpu" and short:
        return lambda: sdpa_kernel(SDPBackend.MATH)
    return nullcontext


def of_head(head: Head, autocast: bool) -> Gradients:
    """The closed form for a ``Linear``; autograd would take most of so small a step's time."""
    linear = head.get_submodule(head.name)

    @torch.no_grad()
    def step(batch: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        with torch.autocast(batch.device.type, torch.bfloat16, enabled=autocast):
            logits = linear(batch)
        logits = logits.float()
        error = logits.softmax(1)  # (B, C); less the labels, d loss / d logits
        error -= functional.one_hot(labels, error.shape[1])
        error /= len(labels)
        linear.weight.grad = error.T @ batch
        linear.bias.grad = error.sum(0)
        return logits

    return step


def use_precision(config: RunConfig) -> None:
    """Set torch's global switches: no TensorFloat-32 unless asked for, in convolutions either."""
    tf32 = config.precision == "tf32"
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32
