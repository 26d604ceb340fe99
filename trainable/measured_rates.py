"""Rates of training that `benchmarks.bench` has measured, kept in the user's cache for later plans."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trainable.data.cache import cache_root, writing_to
from trainable.files import write_atomically

FILE = "rates.json"


@dataclass(frozen=True, kw_only=True)
class Rate:
    """What a device sustained in training a network as a whole."""

    device: str
    """As `trainable.devices.device_label` names it."""
    on_gpu: bool
    arch: str
    precision: str
    tflops: float
    """TFLOP/s, of an epoch with its validation."""
    date: str
    """ISO 8601."""

    @property
    def text(self) -> str:
        """Where the rate comes from, for a person."""
        return (
            f"{self.tflops:.3g} TFLOP/s, measured on {self.date} by make bench with {self.arch} in "
            f"{self.precision} on {self.device}"
        )


def path() -> Path:
    """The file of all rates, which need not be there."""
    return cache_root() / FILE


def keep(rate: Rate) -> None:
    """Keep a rate as the newest; it replaces one of the same device, network and precision.

    Raises
    ------
    SettingsError
        The cache folder cannot be written.
    """
    kind = (rate.device, rate.arch, rate.precision)
    others = [r for r in _read() if (r.device, r.arch, r.precision) != kind]
    with writing_to(path().parent):
        path().parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path(), json.dumps([asdict(r) for r in [*others, rate]], indent=1))


def latest(device: str, arch: str) -> Rate | None:
    """The newest rate of a device: with that network or, if there is none, with another one."""
    own = [rate for rate in _read() if rate.device == device]
    same = [rate for rate in own if rate.arch == arch]
    return next(reversed(same or own), None)


def _read() -> list[Rate]:
    """All rates, the oldest first; none if the file is missing, corrupt or of another version."""
    try:
        values: Any = json.loads(path().read_bytes())
        return [Rate(**value) for value in values]
    except (OSError, ValueError, TypeError):
        return []
