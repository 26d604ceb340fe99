"""What is there: driver, libraries, GPU, host."""

from __future__ import annotations

import datetime
import time
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from benchmarks.gpu_check.lines import Line
from benchmarks.gpu_check.setup import Setup
from benchmarks.machine import synchronise
from trainable.devices import BF16_FROM, compiler_missing, device_label, driver_version
from trainable.machine import usable_cpus
from trainable.provenance import git_commit, versions

COPIED = 1 << 28
"""Bytes that are copied to the GPU while the copy is timed."""
COPIES = 5
"""Of which the fastest counts."""


def record(device: torch.device, command: str) -> dict[str, Any]:
    """Where the results come from, for ``gpu-check.json``."""
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "command": command,
        "commit": git_commit(),
        "device": device_label(device),
        "driver": driver_version(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "triton": triton_version(),
        "versions": versions(),
    }


def triton_version() -> str | None:
    """Version of Triton; None if it is not installed."""
    try:
        return version("triton")
    except PackageNotFoundError:
        return None


def facts(setup: Setup) -> list[Line]:
    """The machine, as far as its speed depends on it."""
    lines = [
        Line(name="device", value=device_label(setup.device)),
        Line(
            name="driver",
            value=driver_version(),
            note=f"torch is built for {built_for()}" if driver_version() else "none is loaded",
        ),
        Line(name="Triton", value=triton_version(), note="" if triton_version() else "missing"),
        Line(name="compiler", value="missing" if compiler_missing() else "found",
             note=compiler_missing() or ""),
        Line(name="cores", value=float(usable_cpus())),
    ]  # fmt: skip
    if not setup.gpus:
        return lines
    capability = setup.gpus[0].capability
    free, total = torch.cuda.mem_get_info(setup.device)
    return [
        *lines,
        Line(
            name="bf16",
            value="yes" if capability >= BF16_FROM else "imitated",
            note="compute capability " + ".".join(map(str, capability)),
        ),
        Line(
            name="free memory",
            value=free / 1e9,
            unit="GB",
            note=f"of {total / 1e9:.0f} GB; others use the rest",
        ),
        Line(
            name="copies from pinned memory",
            value=copy_rate(setup.device) / 1e9,
            unit="GB/s",
        ),
    ]


def built_for() -> str:
    """CUDA and cuDNN of this torch."""
    if torch.version.cuda is None:
        return "no GPU"
    return f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"


def copy_rate(device: torch.device) -> float:
    """Bytes per second from pinned memory of the host to a GPU."""
    pinned = torch.empty(COPIED, dtype=torch.uint8, pin_memory=True)
    target = torch.empty(COPIED, dtype=torch.uint8, device=device)
    seconds: list[float] = []
    for _ in range(COPIES):
        synchronise(device)
        start = time.perf_counter()
        target.copy_(pinned, non_blocking=True)
        synchronise(device)
        seconds.append(time.perf_counter() - start)
    return COPIED / min(seconds)
