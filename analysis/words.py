"""Numbers as the reader sees them: one way to print a share, points, a time, an interval."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pandas as pd

from .statistics import Estimate

NONE = "–"
MINUS = "−"


def known(value: object) -> bool:
    """Whether there is a number to print."""
    return value is not None and not pd.isna(value)


def percent(share: float | None, digits: int = 1) -> str:
    """0.695 → "69.5 %"."""
    return f"{share * 100:.{digits}f} %" if known(share) else NONE


def fraction(value: float) -> str:
    """0.4 → "40 %", 0.025 → "2.5 %"."""
    return f"{value * 100:.4g} %"


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
    counts = {n} if isinstance(n, int | np.integer) else set(n)
    low, high = min(counts), max(counts)
    span = f"{low}" if low == high else f"{low}–{high}"
    return f"n = {span} seed{'' if high == 1 else 's'}"


def with_spread(mean: float | None, std: float | None, digits: int = 2) -> str:
    """ "69.49 ± 0.50", or the mean alone for one seed."""
    return number(mean, digits) + (f" ± {number(std, digits)}" if known(std) else "")


def two_digits(mean: float | None, std: float | None = None) -> str:
    """ "123.40", "1.20 ± 0.31" or "0.0012": of a small number at least two significant digits."""
    small = known(mean) and 0 < mean < 0.1
    return with_spread(mean, std, 1 - math.floor(math.log10(mean)) if small else 2)


def in_points(difference: Estimate, unit: str = " points") -> str:
    """ "+6.0 points [+4.2, +7.9]" or "+6.0 points (no interval: …)"; a table may drop the unit."""
    text = f"{points(difference.value)}{unit}"
    if difference.low is None:
        return f"{text} ({difference.how})"
    return f"{text} [{points(difference.low)}, {points(difference.high)}]{p_value(difference.p)}"


def p_value(p: float | None) -> str:
    """0.0123 → ", McNemar's p = 0.012"; nothing without one."""
    if not known(p):
        return ""
    size = "< 0.001" if p < 0.001 else f"= {p:.3f}" if p < 0.9995 else "= 1"
    return f", McNemar's p {size}"


def listed(items: Iterable[str]) -> str:
    """ "a, b and c"."""
    items = list(items)
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
