"""Numbers as the reader sees them: one way to print a share, points, a time, an enumeration."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import PurePath
from typing import TypeGuard

import pandas as pd

NONE = "–"
MINUS = "−"


def known(value: float | None) -> TypeGuard[float]:
    """Whether there is a number to print: neither None nor NaN nor NA."""
    return value is not None and not pd.isna(value)


def percent(share: float | None, digits: int = 1) -> str:
    """0.695 → "69.5%"."""
    return f"{share * 100:.{digits}f}%" if known(share) else NONE


def fraction(value: float) -> str:
    """0.4 → "40%", 0.025 → "2.5%", 0.08347 → "8.35%"."""
    return f"{value * 100:.3g}%"


def cell_name(init: str, share: float) -> str:
    """A cell of the grid: "scratch 100%"."""
    return f"{init} {fraction(share)}"


def weights(name: str | None) -> str:
    """The name of weights, of a file without its folder: "/data/clip.safetensors" → "clip.safetensors"."""
    return PurePath(name).name if name else "none"


def number(value: float | None, digits: int = 2, signed: bool = False) -> str:
    """A number with a true minus sign."""
    if not known(value):
        return NONE
    return f"{value:{'+' if signed else ''}.{digits}f}".replace("-", MINUS)


def points(difference: float | None, digits: int = 1) -> str:
    """0.0604 → "+6.0"; percentage points."""
    return number(difference * 100 if known(difference) else None, digits, signed=True)


def duration(seconds: float | None) -> str:
    """Seconds, minutes or hours, whichever reads best."""
    if not known(seconds):
        return NONE
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"


def seeds(n: int | Iterable[int]) -> str:
    """3 → "n = 3 seeds"; (1, 3) → "n = 1–3 seeds"."""
    counts = set(n) if isinstance(n, Iterable) else {n}
    low, high = min(counts), max(counts)
    span = f"{low}" if low == high else f"{low}–{high}"
    return f"n = {span} seed{'' if high == 1 else 's'}"


def with_spread(mean: float | None, std: float | None, digits: int = 2) -> str:
    """Mean and standard deviation: "69.49 ± 0.50"; for one seed the mean alone."""
    return number(mean, digits) + (f" ± {number(std, digits)}" if known(std) else "")


def two_digits(mean: float | None, std: float | None = None) -> str:
    """Of a small number at least two significant digits: "123.40", "1.20 ± 0.31", "0.0012"."""
    if not known(mean) or not 0 < mean < 0.1:
        return with_spread(mean, std)
    return with_spread(mean, std, 1 - math.floor(math.log10(mean)))


def capital(text: str) -> str:
    """A text that begins with a capital letter."""
    return text[:1].upper() + text[1:]


def listed(items: Iterable[str]) -> str:
    """An enumeration: "a, b and c"; empty for none."""
    *others, last = list(items) or [""]
    return f"{', '.join(others)} and {last}" if others else last
