"""All checks by name, how large they are, and how one is run."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable

import torch

from benchmarks.gpu_check import correctness, machine_facts, speed
from benchmarks.gpu_check.lines import Line
from benchmarks.gpu_check.setup import Setup
from trainable.errors import TrainingError

CHECKS: dict[str, Callable[[Setup], list[Line]]] = {
    "machine": machine_facts.facts,
    "waits": correctness.no_waits,
    "cpu": correctness.against_cpu,
    "eager": correctness.against_eager,
    "replayed": correctness.replayed,
    "streams": correctness.streams,
    "resume": correctness.resumption,
    "memory": correctness.memory,
    "attention": correctness.attention,
    "rates": speed.rates,
}


def full(device: torch.device) -> Setup:
    """The paper's network on a GPU; minutes."""
    return Setup(
        device=device,
        arch="vit_b_16",
        images=4096,
        steps=20,
        batch=8,
        rounding=2e-2,  # 1.4e-2 in bf16 on a CPU
        head_images=16_384,
        extracted=16_384,
        compiles=True,
        side=8192,
    )


def small(device: torch.device) -> Setup:
    """The demo's network; seconds on a CPU."""
    return Setup(
        device=device,
        arch="vit_demo",
        images=128,
        steps=3,
        batch=8,
        rounding=1e-1,  # 5.7e-2
        head_images=128,
        extracted=128,
        compiles=device.type == "cuda",
        side=256,
    )


def not_run(name: str) -> Line:
    """The line of a check that is left out for want of a GPU: what it would have found out."""
    return Line(name=name, note=(inspect.getdoc(CHECKS[name]) or "").partition("\n")[0])


def run_check(name: str, setup: Setup) -> list[Line]:
    """The lines of a check; one that fails if torch ends it with an error.

    The checks after it still run: a machine with a GPU may not be at hand again soon.
    """
    try:
        return CHECKS[name](setup)
    except (RuntimeError, TrainingError):  # of CUDA, of its memory, of a wait, of a compiler
        return [Line(name=name, error=traceback.format_exc())]
