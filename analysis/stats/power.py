"""What a sweep can find: the smallest difference that it detects, known before it runs.

Two trained models disagree on some images and seeds differ, so the measured difference between two
methods varies. With S seeds of each init on N scored images, its variance at one budget is

    v_images / N + Σ (v_seeds + v_both / N) / S    (the sum is over the two inits)

with `v_images`, by how much the expected difference varies from image to image; `v_seeds`, the
variance between seeds of the accuracy on all images that there could be, which includes the draw of
the labelled images if each seed draws its own; `v_both`, which images a seed happens to get right.
All three follow from how much seeds vary and how often trained models disagree (`Variation`).

The test is that of `analysis.stats.comparisons`: it sees the first part in the images and the rest
in the seeds, and has Student's t with Welch's and Satterthwaite's degrees of freedom. What three
seeds tell of the variance between seeds is anything from a fortieth of the true one to almost four
times as much, so the power is averaged over it. The usual formula, (t + t₀.₈) times the expected
standard error, leaves this out and promises too much with few seeds: 5.2 points instead of 6.3
if 3 seeds vary by 2 points (scratch) and 1 point (pre-trained) on 3,000 images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.interpolate import RegularGridInterpolator
from scipy.optimize import brentq
from scipy.special import ndtr, polygamma

from analysis.stats.bootstrap import draw
from analysis.stats.comparisons import Pair, joint_level
from analysis.stats.estimates import LEVEL, POWER
from analysis.stats.seed_predictions import CellRuns, SeedPredictions
from analysis.stats.seed_variances import (
    LEAST_NUMBERS,
    OWN_VARIANCE,
    fitted_exponent,
    log_variances,
    seed_pools,
)

SWEEPS = 4096
"""Sweeps whose estimated variances the power is averaged over; with other draws, the smallest
detectable difference changes by less than 1%."""
LEAST = 1e-12
"""Variance between seeds that differ in nothing, for which t would have no degrees of freedom."""
INVERSE_DF = np.array([0.001, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 1 / 3, 0.4, 0.5, 0.7, 1.0])
"""1 / degrees of freedom for which half-widths are tabulated."""
MOST_SEEDS = 1000
MOST_IMAGES = 10_000_000
"""Where the search for a sweep that finds a difference ends."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """How much the trained models of one init differ from each other at one budget."""

    seeds: float
    """Standard deviation between seeds of the accuracy on all images that there could be, 0–1."""
    disagreement: float
    """Share of images on which exactly one of two seeds is right, 0–1."""


@dataclass(frozen=True, kw_only=True)
class Variation:
    """What makes the difference between the inits at one budget uncertain."""

    pretrained: Spread
    scratch: Spread
    discordance: float
    """Share of images on which exactly one of a pre-trained model and one from scratch is right,
    0–1."""

    @property
    def over_images(self) -> float:
        """Variance over images of the expected difference, without differences below a few points.

        What two models of different inits disagree on more often than two of one init.
        """
        within = (self.pretrained.disagreement + self.scratch.disagreement) / 2
        return max(self.discordance - within, 0.0)


def _typical(
    scratch: float, of_scratch: float, pretrained: float, of_pretrained: float, discordance: float
) -> Variation:
    return Variation(
        scratch=Spread(seeds=scratch, disagreement=of_scratch),
        pretrained=Spread(seeds=pretrained, disagreement=of_pretrained),
        discordance=discordance,
    )


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Both inits at one number of labels."""

    n_labels: int
    images: float
    """Images that every trial is scored on; infinite for the limit."""
    n_pretrained: int
    """Seeds."""
    n_scratch: int
    """Seeds."""
    variation: Variation

    @property
    def seeds(self) -> tuple[int, int]:
        """Of the pre-trained trials and of those from scratch."""
        return self.n_pretrained, self.n_scratch

    @property
    def between_seeds(self) -> tuple[float, float]:
        """Variance of a measured accuracy between seeds, of each init."""
        pretrained, scratch = (
            spread.seeds**2 + spread.disagreement / 2 / self.images
            for spread in (self.variation.pretrained, self.variation.scratch)
        )
        return pretrained, scratch

    def of_size(self, seeds: int, images: float) -> Budget:
        """The budget with at least so many seeds of each init, and another number of images."""
        pretrained, scratch = (max(planned, seeds) for planned in self.seeds)
        return replace(self, n_pretrained=pretrained, n_scratch=scratch, images=images)


def detectable(budgets: Sequence[Budget], level: float = LEVEL) -> list[float | None]:
    """The true difference at each budget that a sweep finds with a chance of `POWER`, 0–1.

    None if neither init has a second seed.

    Parameters
    ----------
    budgets
        All that the sweep compares; if several, their intervals are simultaneous.
    level
        Of the intervals.
    """
    with_intervals = [budget for budget in budgets if max(budget.seeds) > 1]
    if not with_intervals:
        return [None] * len(budgets)
    found = iter(_detectable(with_intervals, level))
    return [next(found) if max(budget.seeds) > 1 else None for budget in budgets]


def _detectable(budgets: Sequence[Budget], level: float) -> list[float]:
    errors, half_widths = _sweeps(budgets, level)
    return [_difference(error, half) for error, half in zip(errors, half_widths.T, strict=True)]


def _difference(error: float, half_widths: NDArray[np.float64]) -> float:
    """The true difference that is found with a chance of `POWER`; parameters of `_chance`."""
    most = float(half_widths.max()) + 5 * error
    found = brentq(lambda d: _chance(d, error, half_widths) - POWER, 0.0, most)
    return float(cast("float", found))


def _chance(difference: float, error: float, half_widths: NDArray[np.float64]) -> float:
    """Share of sweeps whose interval excludes 0.

    Parameters
    ----------
    difference
        The true one.
    error
        The true standard error.
    half_widths
        (M,) of the intervals, as sweeps estimate them.
    """
    above, below = (ndtr((sign * difference - half_widths) / error) for sign in (1, -1))
    return float(above.mean() + below.mean())


def _sweeps(budgets: Sequence[Budget], level: float) -> tuple[list[float], NDArray[np.float64]]:
    """The standard error of each of K differences, and (M, K) half-widths of their intervals.

    What `bootstrap.draw` estimates of the variances between seeds of all 2K cells, in M sweeps.
    """
    seeds = np.array([budget.seeds for budget in budgets]).ravel()  # (2K,), a budget's two together
    images = np.array([budget.images for budget in budgets])
    variance = np.array([budget.between_seeds for budget in budgets]).ravel()
    variance = np.maximum(variance, LEAST)
    both = np.array(
        [
            spread.disagreement / 2 / budget.images
            for budget in budgets
            for spread in (budget.variation.pretrained, budget.variation.scratch)
        ]
    )
    over_images = np.array([budget.variation.over_images for budget in budgets]) / images
    contrast = np.kron(np.eye(len(budgets)), [1, 1]) / seeds  # (K, 2K), of variances
    freedom = seeds - 1
    random = np.random.default_rng(0)
    chance = random.chisquare(np.maximum(freedom, 1), (SWEEPS, len(freedom)))
    own = variance * chance / np.maximum(freedom, 1)  # without a second seed no one looks at it
    in_images = over_images + contrast @ both

    def half_widths(mixing: NDArray[np.float64], count: int, level: float) -> NDArray[np.float64]:
        """(M, K), if comparisons take these mixtures, (M or 1, 2K, 2K), of the cells' variances."""
        in_own = contrast @ mixing  # (M or 1, K, 2K): each difference in the cells' own variances
        estimated = (mixing @ own[..., None])[..., 0]
        parts = in_own * estimated[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            squares = np.where(freedom > 0, parts**2 / freedom, 0).sum(axis=2)
        df = parts.sum(axis=2) ** 2 / squares
        between = (in_own @ own[..., None])[..., 0]
        rest = np.maximum(between - in_own @ both * df / (df + 2), 0)
        se = np.sqrt(in_images + rest)
        return se * _critical(rest / se**2, df, count, level)

    errors = np.sqrt(over_images + contrast @ variance).tolist()
    every = len(budgets)
    other = np.kron(np.eye(every), [[0, 1], [1, 0]])  # whose spread a cell of one seed borrows
    alone = np.where(freedom[:, None] > 0, np.eye(2 * every), other)[None]
    if every == 1:
        return errors, half_widths(alone, 1, level)
    pooled = bool((seeds < OWN_VARIANCE).any())
    labels = np.log([budget.n_labels for budget in budgets for _ in budget.seeds])
    together = half_widths(
        _mixing(seeds, own, labels), every, joint_level(level, every, pooled=pooled)
    )
    if not pooled:
        return errors, together
    return errors, np.maximum(together, half_widths(alone, 1, level))


def _mixing(
    seeds: NDArray[np.integer[Any]], own: NDArray[np.float64], labels: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(M or 1, 2K, 2K): from the cells' own variances to those that comparisons take for them.

    By `seed_variances.seed_pools`.

    Parameters
    ----------
    seeds, labels
        (2K,) Of each cell: seeds, logarithm of the labels.
    own
        (M, 2K) Each cell's variance between seeds, as M sweeps estimate it.
    """
    cells = np.arange(len(seeds))
    pools = np.where(seeds >= OWN_VARIANCE, cells + 2, cells % 2)
    freedom = seeds - 1
    several = freedom > 0
    scales = np.ones((1, len(seeds)))
    if (pools < 2).any() and len(set(labels[several].tolist())) >= LEAST_NUMBERS:
        exponents = fitted_exponent(
            labels[several],
            log_variances(own[:, several], freedom[several]),
            (cells % 2 == 1)[several],
            1 / polygamma(1, freedom[several] / 2),
        )
        fall = np.exp(exponents[:, None] * (labels - labels.mean()))
        scales = np.where(pools < 2, fall, 1.0)
    same = pools[:, None] == pools
    if not (same @ freedom).all():  # a cell of one seed borrows the spread of the others
        same = np.ones_like(same)
    weight = same * freedom
    weight = weight / weight.sum(axis=1, keepdims=True)
    return weight * scales[:, :, None] / scales[:, None]


def _critical(
    share: NDArray[np.float64], df: NDArray[np.float64], count: int, level: float
) -> NDArray[np.float64]:
    """Half the width of one of `count` intervals, in standard errors.

    Parameters
    ----------
    level
        Chance that all of them hold.
    share
        Of the variance that is estimated from the seeds, 0–1.
    df
        Degrees of freedom of that part, 1 or more; of the same shape.
    """
    points = np.stack([np.clip(share, 0, 1), np.clip(1 / df, *INVERSE_DF[[0, -1]])], axis=-1)
    return np.exp(_table(count, level)(points))


@cache
def _table(count: int, level: float) -> RegularGridInterpolator:
    """The logarithm of `_critical`, by the share and by 1/df.

    A difference is normal in its images and has Student's t in its seeds; the χ² of t is one for
    all differences, as in `bootstrap.Draws.contrasts`. So all of them lie inside ±c with the chance
    ∫ (2 Φ(c / √(1 - share + share · df/χ²)) - 1)^count.
    """
    shares = np.linspace(0, 1, 21)
    v = (np.arange(400) + 0.5) / 400
    chance, weight = v**3, 3 * v**2 / 400  # more points where χ² is small
    ratio = 1 / (INVERSE_DF[:, None] * stats.chi2.ppf(chance, 1 / INVERSE_DF[:, None]))
    scale = np.sqrt(1 - shares[:, None, None] + shares[:, None, None] * ratio)
    low, high = np.ones(scale.shape[:2]), np.full(scale.shape[:2], 1e5)
    for _ in range(60):
        middle = np.sqrt(low * high)
        inside = (2 * ndtr(middle[..., None] / scale) - 1) ** count @ weight
        low = np.where(inside < level, middle, low)
        high = np.where(inside < level, high, middle)
    return RegularGridInterpolator((shares, INVERSE_DF), np.log(high))


TYPICAL: tuple[tuple[int, Variation], ...] = (
    (100, _typical(0.04, 0.28, 0.05, 0.22, 0.32)),
    (300, _typical(0.03, 0.30, 0.015, 0.20, 0.30)),
    (1000, _typical(0.02, 0.22, 0.01, 0.12, 0.24)),
)
"""By labels, of a network from scratch and of a last layer on a frozen backbone, if each seed draws
its own labelled images. Measured with `vit_demo` on 428 SDSS galaxies of four classes and 300 of the
mock survey's ten classes, 7 to 10 seeds of 86 to 1,711 labels each, and rounded."""


def typical(n_labels: int, *, frozen: bool = True) -> Variation:
    """What to expect without a pilot: of `TYPICAL`, that of the nearest number of labels.

    Parameters
    ----------
    frozen
        The pre-trained backbone is; else its trials are taken to vary as those from scratch do.
    """
    known = nearest(TYPICAL, n_labels)
    return known if frozen else replace(known, pretrained=known.scratch)


def nearest(known: Sequence[tuple[int, Variation]], n_labels: int) -> Variation:
    """The entry whose number of labels is nearest, by its logarithm."""
    return min(known, key=lambda entry: abs(np.log(entry[0] / n_labels)))[1]


def measured(pairs: Sequence[Pair]) -> list[tuple[int, Variation]]:
    """Number of labels → what made each difference of a sweep uncertain.

    Cells share variances between seeds as in the comparisons. Where no cell of an init has a second seed, its seeds are taken to be `typical`.

    Parameters
    ----------
    pairs
        Pre-trained and scratch at each budget, with stored predictions.
    """
    cells = list({(c.init, c.fraction): c for pair in pairs for c in pair}.values())
    pools, scales = seed_pools(cells)
    drawn = draw(cells, pools=pools, scales=scales, resamples=500)
    if drawn is None:
        raise ValueError("measured() needs cells with stored predictions")
    several = {cell.init for cell in cells if cell.n > 1}
    beyond = np.zeros(len(cells))
    if drawn.seeds is not None:
        of_pools = np.maximum(drawn.seeds.variance - drawn.seeds.images, 0)
        beyond = np.sqrt(of_pools[drawn.seeds.pool] * drawn.seeds.scale)
    found: list[tuple[int, Variation]] = []
    for pair in pairs:
        usual = typical(pair[0].n_labels)
        spreads: list[Spread] = []
        for cell, usually in zip(pair, (usual.pretrained, usual.scratch), strict=True):
            of_cell = _predictions(cell)
            number = [(c.init, c.fraction) for c in cells].index((cell.init, cell.fraction))
            within = disagreement(of_cell, of_cell)
            spreads.append(
                Spread(
                    seeds=float(beyond[number]) if cell.init in several else usually.seeds,
                    disagreement=usually.disagreement if within is None else within,
                )
            )
        between = disagreement(*map(_predictions, pair))
        variation = Variation(
            pretrained=spreads[0],
            scratch=spreads[1],
            discordance=usual.discordance if between is None else between,
        )
        found.append((pair[0].n_labels, variation))
    return found


def _predictions(cell: CellRuns) -> SeedPredictions:
    if cell.predictions is None:
        raise ValueError(f"{cell.label} has no stored predictions")
    return cell.predictions


def disagreement(a: SeedPredictions, b: SeedPredictions) -> float | None:
    """Share of images on which exactly one of two trials is right, mean over all pairs of trials.

    Parameters
    ----------
    a, b
        One trial of each pair; if both are one, of two different trials. Only images that both are
        scored on count.

    Returns
    -------
    float or None
        0–1; None if no two trials share an image.
    """
    _, rows_a, rows_b = np.intersect1d(a.rows, b.rows, assume_unique=True, return_indices=True)
    right_a, right_b = (p.correct[:, rows].astype(float) for p, rows in ((a, rows_a), (b, rows_b)))
    seen_a, seen_b = (p.seen[:, rows].astype(float) for p, rows in ((a, rows_a), (b, rows_b)))
    shared = seen_a @ seen_b.T
    one_right = right_a @ seen_b.T + seen_a @ right_b.T - 2 * right_a @ right_b.T
    pairs = shared > 0
    if a is b:
        pairs &= ~np.eye(len(pairs), dtype=bool)
    return float((one_right[pairs] / shared[pairs]).mean()) if pairs.any() else None


@dataclass(frozen=True, kw_only=True)
class Remedy:
    """What lets a sweep find a difference of a given size at one of its budgets."""

    images: int | None
    """Scored images, with the seeds as planned; None if no number of them is enough."""
    seeds: int | None
    """Seeds of each init, with the images as planned; None if no number of them is enough."""
    both: tuple[int, int] | None
    """Seeds and images, both by the same factor more than planned; None if there are none."""


def remedy(budgets: Sequence[Budget], number: int, difference: float) -> Remedy:
    """What lets the sweep find `difference` (0–1) at ``budgets[number]``.

    The other budgets get the same number of seeds, and of images.
    """
    planned = budgets[number]
    now = min(planned.seeds)

    def finds(seeds: int, images: float) -> bool:
        every = [budget.of_size(seeds, images) for budget in budgets]
        errors, half_widths = _sweeps(every, LEVEL)
        return _chance(difference, errors[number], half_widths[:, number]) >= POWER

    def in_proportion(seeds: int) -> int:
        return round(planned.images * seeds / now)

    images = None
    if now > 1 and finds(now, np.inf):
        images = _smallest(lambda n: finds(now, n), round(planned.images), MOST_IMAGES)
    start = max(now, 2)
    both = _smallest(lambda n: finds(n, in_proportion(n)), start, MOST_SEEDS)
    return Remedy(
        images=images,
        seeds=_smallest(lambda n: finds(n, planned.images), start, MOST_SEEDS),
        both=None if both is None else (both, in_proportion(both)),
    )


def _smallest(is_enough: Callable[[int], bool], start: int, most: int) -> int | None:
    """The smallest whole number from `start` to `most` that is enough; None if none is."""
    low, high = start - 1, start
    while not is_enough(high):
        if high >= most:
            return None
        low, high = high, min(2 * high, most)
    while high - low > max(1, high // 100):  # to a hundredth of large numbers
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high
