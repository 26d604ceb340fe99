"""Recall and F1 of a class as ratios of sums over images, with intervals over images and seeds.

Recall is TP / true and F1 is 2 TP / (true + predicted), both sums over images; so both are a mean
over images whose interval follows from the images, and both are averaged over seeds.

An interval has two parts, added in quadrature:

- the images: percentile bootstrap of the mean over seeds, each class resampled for itself
  (the splits are stratified) with one more image that only one init gets right each way, so that
  few images do not look like certainty (after Agresti & Min 2005);
- the seeds: Student's interval of the seeds' mean, from the variance between seeds less what the
  images already explain of it (the interaction of a two-way random-effects analysis, on
  linearised ratios), pooled over the inits.

A bootstrap that resamples the seeds too is too sure of itself with few of them: simulated with
two, it covers as little as 77 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .draws import RESAMPLES
from .statistics import LEVEL, student_half_width


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """One score of one class and init: sums of `over` divided by sums of `under`, by seed."""

    over: np.ndarray
    """(S, n) float, numerator of each image."""
    under: np.ndarray
    """(S, n) float, denominator of each image."""
    complete: bool = True
    """Every seed is scored on every image, so that seeds and images cross."""

    @property
    def by_seed(self) -> np.ndarray:
        """(S,) the score of each seed."""
        return self.over.sum(axis=1) / self.under.sum(axis=1)

    @property
    def value(self) -> float:
        """Mean over seeds."""
        return float(self.by_seed.mean())

    def seed_variance(self) -> float:
        """Variance between seeds beyond what their images explain; needs two seeds."""
        seeds, n = self.over.shape
        between = float(self.by_seed.var(ddof=1))
        if not self.complete or n < 2:
            return between
        linear = (self.over - self.by_seed[:, None] * self.under) / self.under.mean()  # (S, n)
        rest = linear - linear.mean(axis=0)
        interaction = (rest**2).sum() / ((n - 1) * (seeds - 1))
        return max(0.0, between - interaction / n)


def recall(labels: np.ndarray, predicted: np.ndarray, kind: int) -> Ratio:
    """Share of the images of class `kind` that each seed finds.

    Parameters
    ----------
    labels, predicted
        (n,) and (S, n) int; `predicted` is -1 where a seed is not scored on an image.
    """
    seen = predicted >= 0
    true = (labels == kind) & seen
    return Ratio(
        over=(true & (predicted == kind)).astype(float),
        under=true.astype(float),
        complete=bool(seen.all()),
    )


def f1(labels: np.ndarray, predicted: np.ndarray, kind: int) -> Ratio:
    """Harmonic mean of recall and precision of class `kind`; parameters as in `recall`."""
    seen = predicted >= 0
    true, named = (labels == kind) & seen, predicted == kind
    return Ratio(
        over=2.0 * (true & named), under=1.0 * true + 1.0 * named, complete=bool(seen.all())
    )


class Resampling:
    """Images drawn with replacement, class by class, and two more images of each class.

    Parameters
    ----------
    labels
        (n,) int, 0 to C - 1.
    n_classes
        C.
    """

    def __init__(self, labels: np.ndarray, n_classes: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.n = len(labels)
        extended = np.concatenate([labels, np.repeat(np.arange(n_classes), 2)])
        self.weights = np.empty((RESAMPLES, len(extended)), np.float32)  # how often each is drawn
        for own in (np.flatnonzero(extended == kind) for kind in range(n_classes)):
            chances = np.full(len(own), 1 / len(own))
            self.weights[:, own] = rng.multinomial(len(own), chances, RESAMPLES)

    def means(self, ratio: Ratio, kind: int, *, right_first: bool) -> np.ndarray:
        """(B,) the ratio's mean over seeds on the images drawn.

        Parameters
        ----------
        kind
            The ratio's class, of which it gets two more images: one that all its seeds find,
            one that none finds.
        right_first
            The first of them is the one found; two inits with opposite values are paired so that
            each finds the other's miss.
        """
        unit = ratio.over.max(initial=1.0)  # what a found image adds: 1 to recall, 2 to F1
        first, second = (0, 1) if right_first else (1, 0)
        place = self.n + 2 * kind
        own, found, missed = (
            self.weights[:, : self.n],
            self.weights[:, place + first, None],
            self.weights[:, place + second, None],
        )
        over = own @ ratio.over.T.astype(np.float32) + unit * found  # (B, S)
        under = own @ ratio.under.T.astype(np.float32) + unit * found + missed
        return (over / under).mean(axis=1, dtype=float)


def interval(
    value: float,
    drawn: np.ndarray,
    ratios: Sequence[Ratio],
    pool: Sequence[Ratio] | None = None,
    level: float = LEVEL,
) -> tuple[float, float]:
    """Both ends of the interval of `value`, the sum or difference of the `ratios`' values.

    Parameters
    ----------
    drawn
        (B,) `value` over resampled images.
    ratios
        Those that `value` is made of; their seeds are independent of each other.
    pool
        Those whose seeds tell how much a seed matters; the `ratios` unless given.
    """
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    seeds = seeds_half_width(ratios, ratios if pool is None else pool, level)
    low, high = min(low, value), max(high, value)
    return float(value - np.hypot(value - low, seeds)), float(value + np.hypot(high - value, seeds))


def seeds_half_width(ratios: Sequence[Ratio], pool: Sequence[Ratio], level: float = LEVEL) -> float:
    """Half of Student's interval over the seeds; 0 where nothing in `pool` has two of them."""
    known = [(r.seed_variance(), len(r.over)) for r in pool if len(r.over) > 1]
    return student_half_width(known, [len(r.over) for r in ratios], level)
