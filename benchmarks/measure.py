"""One measured quantity, and what is computed from its repeats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median


@dataclass(frozen=True, kw_only=True)
class Measure:
    """Seconds for one piece of work, ours and the reference's, repeat by repeat."""

    name: str
    ours: tuple[float, ...]
    """Seconds of each repeat."""
    reference: tuple[float, ...] = ()
    """Those of the reference, measured right after; empty if it was not run."""
    images: int
    """Images that the work trains on or validates with, counted once an epoch."""
    flops: float | None
    """Floating-point operations of our way of doing it; None if they are negligible."""

    def __post_init__(self) -> None:
        assert self.ours
        assert len(self.reference) in (0, len(self.ours))

    @property
    def ratios(self) -> tuple[float, ...]:
        """Reference ÷ ours of each pair."""
        return tuple(r / o for r, o in zip(self.reference, self.ours, strict=False))

    @property
    def images_per_second(self) -> float:
        """Images that ours processes in a second, by the median."""
        return self.images / median(self.ours)

    @property
    def flops_per_second(self) -> float | None:
        """Operations that ours sustains, by the median; None if they are negligible."""
        return None if self.flops is None else self.flops / median(self.ours)

    def share_of(self, rate: float) -> float | None:
        """The share of the device's matrix `rate` (FLOP/s) that ours sustains."""
        sustained = self.flops_per_second
        return None if sustained is None else sustained / rate


def extrapolate(seconds: Sequence[float], epochs: int) -> float:
    """Seconds of a run of `epochs` from those of its first ones.

    If not all were run, the first is left out: loading processes start in it.
    """
    if len(seconds) >= epochs:
        return sum(seconds[:epochs])
    return epochs * fmean(seconds[1:] or seconds)
