"""One measured quantity, and what is computed from its repeats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median

from trainable.protocol import PASSES, Trained


@dataclass(frozen=True, kw_only=True)
class Measure:
    """Seconds for one piece of work, ours and the reference's, repeat by repeat."""

    name: str
    ours: tuple[float, ...]
    """Seconds of each repeat."""
    reference: tuple[float, ...] = ()
    """Those of the reference, measured right after; empty where it was not run."""
    images: int
    """Images that the work trains on or validates with, counted once an epoch."""
    flops: float | None
    """Floating-point operations that our way of doing it takes; None where they are negligible."""

    def __post_init__(self) -> None:
        assert self.ours
        assert len(self.reference) in (0, len(self.ours))

    @property
    def ratios(self) -> tuple[float, ...]:
        """Reference ÷ ours of each pair."""
        return tuple(r / o for r, o in zip(self.reference, self.ours, strict=False))

    @property
    def images_per_second(self) -> float:
        """Of ours, by the median."""
        return self.images / median(self.ours)

    @property
    def flops_per_second(self) -> float | None:
        """Sustained by ours, by the median."""
        return None if self.flops is None else self.flops / median(self.ours)

    def share_of(self, rate: float) -> float | None:
        """Of the device's matrix `rate` (FLOP/s), what ours sustained."""
        return None if self.flops is None else self.flops_per_second / rate


def extrapolate(seconds: Sequence[float], epochs: int) -> float:
    """Seconds of a run of `epochs` from those of its first ones.

    Where not all were run, the first is left out: loading processes start in it.
    """
    if len(seconds) >= epochs:
        return sum(seconds[:epochs])
    return epochs * fmean(seconds[1:] or seconds)


def epoch_flops(forward_flops: int, trained: Trained, n_train: int, n_val: int) -> float:
    """Floating-point operations of training on `n_train` images and validating with `n_val`."""
    return float(forward_flops * (PASSES[trained] * n_train + n_val))
