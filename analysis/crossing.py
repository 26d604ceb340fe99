"""How many labels are enough: where the pre-trained model's accuracy reaches that of scratch.

The pre-trained cells' mean accuracies over the logarithm of the labels are fitted by a curve
that never falls (isotonic regression, linear between the points tested). Where it reaches the
accuracy of scratch on all labels is the crossing fraction; where it reaches scratch at another
fraction says how many labels pre-training saves there. Intervals are 95 % bootstrap intervals
over images and seeds (`draws`), the same resamples for all cells and the baseline.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import isotonic_regression

from . import words
from .draws import draw, stack
from .frames import BASELINE_FRACTION, Results
from .statistics import Arm, arm, percentiles

BELOW = 0.0
"""A place at or below the smallest fraction tested."""
NEVER = float("inf")
"""No place: the accuracy is not reached at any fraction tested."""
ROUNDING = 1e-9  # accuracies that differ by less are equal


@dataclass(frozen=True, kw_only=True)
class Place:
    """The smallest fraction at which pre-training reaches an accuracy: 0–1, `BELOW` or `NEVER`."""

    value: float
    low: float | None
    """None without an interval; `how` says why."""
    high: float | None
    tested: tuple[float, ...]
    """The pre-trained fractions it rests on, ascending."""
    how: str

    @property
    def words(self) -> str:
        """Where it is, without the interval."""
        return self._named(self.value)

    @property
    def interval(self) -> str:
        """The 95 % interval in words, or that there is none."""
        if self.low is None or self.high is None:
            return f"no interval: {self.how}"
        low, high = (self._named(end) for end in (self.low, self.high))
        if self.low == self.high == self.value:
            return "so in the whole 95 % interval"
        if self.low == self.high:
            return f"{low}, in the whole 95 % interval"
        return f"95 % interval from {low} to {high}"

    def _named(self, place: float) -> str:
        if place == BELOW:
            return f"at or below {words.fraction(self.tested[0])}, the smallest fraction tested"
        if place == NEVER:
            return f"not reached at {words.fraction(self.tested[-1])}, the largest fraction tested"
        return words.percent(place, 0 if place >= 0.1 else 1)


@dataclass(frozen=True, kw_only=True)
class Saving:
    """What pre-training needs for the accuracy that scratch has at one fraction."""

    fraction: float
    """Of scratch."""
    n_train: int
    accuracy: float
    """Of scratch there, mean over seeds."""
    place: Place

    @property
    def words(self) -> str:
        """How many times fewer labels that is, with its interval: "4.4 [3.3 to 6.1]"."""
        value, low, high = self.place.value, self.place.low, self.place.high
        if low is None or high is None:
            return f"{self._times(value)} ({self.place.interval})"
        if low == high == value:
            return f"{self._times(value)} (whole interval)"
        return f"{self._times(value)} [{self._times(high)} to {self._times(low)}]"

    def _times(self, place: float) -> str:
        if place == NEVER:
            return f"below {self.fraction / self.place.tested[-1]:.2g}"
        if place == BELOW:
            return f"{self.fraction / self.place.tested[0]:.2g} or more"
        return f"{self.fraction / place:.2g}"


@dataclass(frozen=True, kw_only=True)
class Enough:
    """The answer to "how many labels are enough?"; empty where no cells can be compared."""

    savings: tuple[Saving, ...] = ()
    """By ascending fraction of scratch."""

    @property
    def crossing(self) -> Place | None:
        """Where the baseline is reached; None without a baseline or pre-trained cells."""
        places = (s.place for s in self.savings if np.isclose(s.fraction, BASELINE_FRACTION))
        return next(places, None)


def monotone(accuracies: np.ndarray) -> np.ndarray:
    """Isotonic fits.

    Parameters
    ----------
    accuracies
        (..., C) by ascending fraction.

    Returns
    -------
    numpy.ndarray
        Of the same shape, never falling along the last axis.
    """
    flat = np.reshape(accuracies, (-1, np.shape(accuracies)[-1]))
    return np.stack([isotonic_regression(row).x for row in flat]).reshape(np.shape(accuracies))


def reach(fractions: Sequence[float], curves: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Where curves first reach their targets, linear in the logarithm of the fraction.

    Parameters
    ----------
    fractions
        (C,) ascending.
    curves
        (B, C), never falling.
    targets
        (B,).

    Returns
    -------
    numpy.ndarray
        (B,) fractions, `BELOW` or `NEVER`.
    """
    reached = curves >= targets[:, None] - ROUNDING
    after = reached.argmax(axis=1)
    before = np.maximum(after - 1, 0)
    each, logs = np.arange(len(curves)), np.log(fractions)
    rise = curves[each, after] - curves[each, before]
    share = (targets - curves[each, before]) / np.where(rise > 0, rise, 1)
    between = np.exp(logs[before] + np.clip(share, 0, 1) * (logs[after] - logs[before]))
    return np.where(reached[:, 0], BELOW, np.where(reached.any(axis=1), between, NEVER))


def enough(results: Results) -> Enough:
    """The crossing and the savings at all fractions of scratch, from the complete trials."""
    cells = results.complete[["init", "fraction"]].drop_duplicates()
    tested = {
        init: sorted(map(float, cells.loc[cells["init"] == init, "fraction"]))
        for init in ("pretrained", "scratch")
    }
    ours, theirs = ([arm(results, init, f) for f in own] for init, own in tested.items())
    if not ours or not theirs:
        return Enough()
    savings = (
        Saving(fraction=fraction, n_train=other.n_train, accuracy=other.accuracy, place=place)
        for fraction, other, place in zip(
            tested["scratch"], theirs, places(tested["pretrained"], ours, theirs), strict=True
        )
    )
    return Enough(savings=tuple(savings))


def places(fractions: Sequence[float], ours: Sequence[Arm], theirs: Sequence[Arm]) -> list[Place]:
    """Where the curve of `ours` reaches each of `theirs`.

    Parameters
    ----------
    fractions
        Of `ours`, ascending.
    """
    fit = monotone(np.array([a.accuracy for a in ours]))[None]
    drawn, how = _drawn(ours, theirs)
    curves = None if drawn is None else monotone(drawn[:, : len(ours)])
    found = []
    for number, other in enumerate(theirs):
        value = reach(fractions, fit, np.array([other.accuracy]))[0]
        low = high = None
        if curves is not None:
            low, high = percentiles(reach(fractions, curves, drawn[:, len(ours) + number]))
        found.append(
            Place(value=float(value), low=low, high=high, tested=tuple(fractions), how=how)
        )
    return found


def _drawn(ours: Sequence[Arm], theirs: Sequence[Arm]) -> tuple[np.ndarray | None, str]:
    """(B, cells) accuracies, pre-trained first, and how they were drawn or why not."""
    runs = stack([*ours, *theirs])
    if runs is None:
        return None, "not all trials have stored predictions"
    sides = np.repeat([0, 1], [len(ours), len(theirs)])
    drawn = draw(runs, pools=sides, extra=np.eye(2)[sides])
    how = f"bootstrap over {runs.seen.shape[1]:,} validation images"
    seeds = words.seeds([a.n for a in (*ours, *theirs)])
    how += f" and {seeds}" if drawn.with_seeds else f"; {seeds}, so without its share"
    return drawn.means, how
