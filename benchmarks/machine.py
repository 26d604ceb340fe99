"""The machine: its name, the rate of its matrix products, the memory that a process holds."""

from __future__ import annotations

import platform
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import torch

from trainable.config import Precision

SIDE = {"cpu": 2048, "cuda": 8192}
"""Side of the matrices whose product is timed; it fills each device."""
PACKAGES = ("torch", "torchvision", "numpy", "pillow", "h5py")
STATUS = Path("/proc/self/status")
SAMPLING_SECONDS = 0.01


def synchronise(device: torch.device) -> None:
    """Wait until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def matrix_rate(
    device: torch.device, precision: Precision, repeats: int = 10, *, side: int | None = None
) -> float:
    """FLOP/s of a large square matrix product of random numbers, the best of `repeats`.

    Parameters
    ----------
    side
        Of the matrices; None: one that fills the device.
    """
    side = side or SIDE[device.type]
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    best = float("inf")
    with float32_products(precision):
        for _ in range(2):
            torch.mm(a, b)
        for _ in range(repeats):
            synchronise(device)
            start = time.perf_counter()
            torch.mm(a, b)
            synchronise(device)
            best = min(best, time.perf_counter() - start)
    return 2 * side**3 / best


@contextmanager
def float32_products(precision: Precision) -> Generator[None]:
    """Torch's global switches as it starts with them, or with TensorFloat-32; then as they were."""
    products, convolutions = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = True  # torch's own default
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(products)
        torch.backends.cudnn.allow_tf32 = convolutions


def versions() -> str:
    """Python and the libraries that a timing depends on."""
    return ", ".join(
        [f"python {platform.python_version()}", *(f"{name} {version(name)}" for name in PACKAGES)]
    )


def own_memory() -> int:
    """Bytes of memory that are this process's alone: no mapped file counts. Linux only."""
    fields = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
    return sum(1024 * int(fields[name].split()[0]) for name in ("RssAnon", "RssShmem"))


class PeakMemory:
    """The most of `own_memory` within a ``with`` block, sampled.

    Attributes
    ----------
    before, peak : int
        Bytes at the start, and at most.
    """

    def __enter__(self) -> PeakMemory:
        self.before = self.peak = own_memory()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._done.wait(SAMPLING_SECONDS):
            self.peak = max(self.peak, own_memory())

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self.peak = max(self.peak, own_memory())
