"""The pre-trained trials against the baseline, and at equal labels: the answer in numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from .crossing import ROUNDING, monotone
from .frames import BASELINE_FRACTION, Results
from .statistics import Arm, accuracy_difference, arm

COLUMNS = (
    "fraction",
    "n_train",
    "pretrained",
    "scratch",
    "difference",
    "low",
    "high",
    "p",
    "sign",
    "n_pretrained",
    "n_scratch",
    "how",
)


@dataclass(frozen=True, kw_only=True)
class Crossing:
    """Where the pre-trained model reaches the baseline."""

    fraction: float | None
    """The smallest fraction tested at which its fitted accuracy is the baseline's or more."""
    below: tuple[float, ...] = ()
    """Fractions whose interval lies wholly below the baseline."""
    level: tuple[float, ...] = ()
    """Fractions whose interval includes no difference."""
    above: tuple[float, ...] = ()
    """Fractions whose interval lies wholly above the baseline."""

    @property
    def why_none(self) -> str:
        """Why there is no such fraction."""
        tested = self.below or self.level or self.above
        return "not reached at any fraction tested" if tested else "not tested"


def against_baseline(results: Results) -> pd.DataFrame:
    """Every pre-trained cell against scratch on all labels; empty where one side is missing."""
    baseline = arm(results, "scratch", BASELINE_FRACTION)
    return _compared(results, lambda _: baseline)


def at_equal_labels(results: Results) -> pd.DataFrame:
    """Every pre-trained cell against scratch at the same fraction, where both are complete."""
    return _compared(results, lambda fraction: arm(results, "scratch", fraction))


def _compared(results: Results, other: Callable[[float], Arm | None]) -> pd.DataFrame:
    rows = []
    complete = results.complete
    for fraction in sorted(complete.loc[complete["init"] == "pretrained", "fraction"].unique()):
        ours, theirs = arm(results, "pretrained", fraction), other(fraction)
        if ours is None or theirs is None:
            continue
        difference = accuracy_difference(ours, theirs)
        rows.append(
            {
                "fraction": float(fraction),
                "n_train": ours.n_train,
                "pretrained": ours.accuracy,
                "scratch": theirs.accuracy,
                "difference": difference.value,
                "low": difference.low,
                "high": difference.high,
                "p": difference.p,
                "sign": difference.sign,
                "n_pretrained": ours.n,
                "n_scratch": theirs.n,
                "how": difference.how,
            }
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def crossing(compared: pd.DataFrame) -> Crossing:
    """The smallest fraction tested that reaches the baseline, from `against_baseline`.

    Reaches it by the fit of `crossing.monotone`: chance ups and downs are evened out.

    Parameters
    ----------
    compared
        Columns ``fraction``, ``difference`` (mean, 0–1) and ``sign`` (-1, 0 or 1: where the
        interval lies), by ascending fraction.
    """
    if compared.empty:
        return Crossing(fraction=None)
    fit = monotone(compared["difference"].to_numpy(dtype=float))
    reached = compared.loc[fit >= -ROUNDING, "fraction"]
    fraction = None if reached.empty else float(reached.min())
    below, level, above = (
        tuple(map(float, compared.loc[compared["sign"] == sign, "fraction"])) for sign in (-1, 0, 1)
    )
    return Crossing(
        fraction=fraction,
        below=below,
        level=level,
        above=above,
    )
