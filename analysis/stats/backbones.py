"""Which backbone needs the fewest labels for an accuracy: all methods of a sweep, compared at once.

A method is an architecture, what it starts from and what of it is trained; controls are methods whose
network nothing has trained. The labels that one needs are where its isotonic fit (see
`label_efficiency`) reaches the accuracy asked for. All methods are drawn over the same resamples of
the images, each over its own seeds, so that intervals can be corrected for how many methods there are:

- The intervals of K methods hold together in 95% of sweeps. In each draw the most extreme rank of any
  method is taken, and all intervals end at the rank that is not passed in 95% of the draws (the ranks of
  Beran 1988, J. Am. Stat. Assoc. 83, 679, of each side alone).
- "Needs more labels than" is a statement about pairs, of which the one with the fewest is chosen
  after the fact. So the lower bounds of all K (K - 1) ordered pairs hold together, as in Tukey's
  comparisons of all pairs; methods that no other is shown to need fewer labels than are the candidates
  for the fewest (Hsu 1996, Multiple Comparisons, chapters 4 and 5).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from analysis import formatting
from analysis.results.schema import Results
from analysis.stats.bootstrap import RESAMPLES, Draws, draw, why_none
from analysis.stats.estimates import LEVEL
from analysis.stats.label_efficiency import (
    BELOW,
    NEVER,
    ROUNDING,
    CrossingPoint,
    first_fraction_reaching,
    isotonic_fit,
    tested_cells,
)
from analysis.stats.seed_predictions import CellRuns
from analysis.stats.seed_variances import seed_pools
from trainable.manifest import Cell
from trainable.protocol import IMAGE_STATISTICS, INITS, UNTRAINED

PARTS = {
    "all": "all layers",
    "head": "last layer",
    "non_encoder": "all but encoder",
    "probe": "linear probe",
}
"""What is trained, in words; what is not here speaks for itself (``last_2``)."""
STEP = 0.05
"""Accuracies that are asked for unless one is given are multiples of this."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """An architecture, what it starts from and what of it is trained, at every number of labels."""

    name: str
    """Unique among the methods of a sweep."""
    example: Cell
    """One of its trials; all share its settings, but for labels and seed."""
    is_control: bool
    cells: tuple[CellRuns, ...]
    """Those with complete trials, by ascending number of labels; one or more."""

    @property
    def arch(self) -> str:
        """The architecture."""
        return self.example.config.arch

    @property
    def fractions(self) -> list[float]:
        """(C,) Tested, ascending."""
        return [cell.fraction for cell in self.cells]

    @property
    def fit(self) -> NDArray[np.float64]:
        """(C,) Isotonic fit of the mean accuracies."""
        return isotonic_fit([cell.accuracy for cell in self.cells])


@dataclass(frozen=True, kw_only=True)
class Needed:
    """The labels that one method needs, beside those of the others."""

    method: Method
    crossing: CrossingPoint
    """With one of K simultaneous intervals."""
    more_than: tuple[str, ...]
    """Names of the methods that it is shown to need more labels than; none without intervals."""
    times: float | None
    """How many times the labels of the one with the fewest; None if either number is not known."""
    times_low: float | None
    """At least so many times, together with all other such statements; None if nothing is shown."""

    @property
    def is_candidate(self) -> bool:
        """No method is shown to need fewer labels."""
        return not self.more_than


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All methods at one accuracy."""

    target: float
    """The accuracy asked for, 0–1."""
    chosen: bool
    """It was given, not chosen from these results."""
    needed: tuple[Needed, ...]
    """By ascending number of labels that are known to be enough."""

    @property
    def fewest(self) -> Needed | None:
        """The one that needs the fewest labels, of those that are no controls; None: none is enough."""
        of_networks = (n for n in self.needed if not n.method.is_control)
        first = next(of_networks, None)
        return None if first is None or first.crossing.value == NEVER else first


def methods_of(results: Results) -> list[Method]:
    """All methods of a sweep that have complete trials: networks, then controls.

    Training from scratch by several protocols that prescribe the same is one method.
    """
    found: dict[frozenset[str], Method] = {}
    for arch in results.archs:
        for protocol in (*results.protocols, UNTRAINED.name):
            part = results.of_arch(arch).only(protocol)
            for init in reversed(INITS):
                names = part.complete.loc[part.complete["init"] == init, "trial"].tolist()
                cells = tested_cells(part, init) if names else []
                if cells and frozenset(names) not in found:
                    example = part.cell(names[0])
                    found[frozenset(names)] = Method(
                        name=_name(example),
                        example=example,
                        is_control=protocol == UNTRAINED.name,
                        cells=tuple(cells),
                    )
    methods = list(found.values())
    names = [method.name for method in methods]
    told_apart = (
        replace(method, name=f"{method.name[:-1]}, {method.example.protocols[0]})")
        if names.count(method.name) > 1
        else method
        for method in methods
    )
    return sorted(told_apart, key=lambda method: method.is_control)


def _name(example: Cell) -> str:
    run = example.config
    if run.arch == IMAGE_STATISTICS:
        return "image statistics (linear probe)"
    part = PARTS.get(run.trained, run.trained)
    if example.protocols[0] == UNTRAINED.name:
        return f"{run.arch} (untrained, {part})"
    if run.init == "scratch" and run.trained == "all":
        return f"{run.arch} (from scratch)"
    return f"{run.arch} ({'from scratch' if run.init == 'scratch' else 'pre-trained'}, {part})"


def usual_target(methods: Sequence[Method]) -> float | None:
    """The highest multiple of `STEP` that at least half of the methods but controls reach.

    With fewer labels than the most, so that the labels needed lie well within what was tested. None if
    that is none.
    """
    reached = sorted(float(method.fit[-2:][0]) for method in methods if not method.is_control)
    if not reached:
        return None
    middle = reached[len(reached) // 2]  # so many or more reach it: half, or one more
    target = round(math.floor((middle + ROUNDING) / STEP) * STEP, 10)
    return target if 0 < target < 1 else None


def compare(
    methods: Sequence[Method],
    target: float,
    *,
    chosen: bool = True,
    n_pool: int | None = None,
    resamples: int = RESAMPLES,
) -> Comparison:
    """The labels that each method needs for an accuracy, with intervals that hold together.

    Methods of one seed a cell, and those whose predictions are not stored, are compared with none.

    Parameters
    ----------
    target
        0–1.
    chosen
        It was given, not chosen from these results.
    n_pool
        Labels at a fraction of 1, to speak of labels; None: to speak of fractions.
    resamples
        Of the images.
    """
    points = np.array([_reached(m, m.fit[None], target)[0] for m in methods])
    draws = [draws_of(method, number, resamples) for number, method in enumerate(methods)]
    known = [number for number, drawn in enumerate(draws) if drawn is not None]
    lows: dict[int, float] = {}
    highs: dict[int, float] = {}
    if known:
        ends = simultaneous_ends(_all_reached(methods, draws, known, target))
        lows, highs = (dict(zip(known, of_known.tolist(), strict=True)) for of_known in ends)
    with_seeds = [k for k in known if (drawn := draws[k]) is not None and drawn.with_seeds]
    bounds = np.full((len(methods), len(methods)), -np.inf)
    if with_seeds:
        bounds[np.ix_(with_seeds, with_seeds)] = ratios_at_least(
            [methods[k] for k in with_seeds], _all_reached(methods, draws, with_seeds, target)
        )
    fewest = _fewest(methods, points)
    needed = [
        Needed(
            method=method,
            crossing=CrossingPoint(
                value=float(points[number]),
                low=lows.get(number),
                high=highs.get(number),
                tested=tuple(method.fractions),
                how=_how(method, draws[number]),
                of_models=number in known and number not in with_seeds,
                n_pool=n_pool,
            ),
            more_than=tuple(
                other.name for k, other in enumerate(methods) if bounds[number, k] > ROUNDING
            ),
            times=_times(points[number], points[fewest]),
            times_low=float(np.exp(bounds[number, fewest]))
            if bounds[number, fewest] > ROUNDING
            else None,
        )
        for number, method in enumerate(methods)
    ]
    needed.sort(key=lambda n: (_enough(n.method, n.crossing.value), n.method.is_control))
    return Comparison(target=target, chosen=chosen, needed=tuple(needed))


def _fewest(methods: Sequence[Method], points: NDArray[np.float64]) -> int:
    """Index of the method with the fewest labels, a network if there is one."""

    def key(number: int) -> tuple[bool, float]:
        method = methods[number]
        return method.is_control, _enough(method, points[number])

    return min(range(len(methods)), key=key)


def _enough(method: Method, point: float) -> float:
    """The smallest fraction that is known to be enough, by which methods are ordered.

    A method that is accurate enough with the fewest labels that it was tested with may need any number
    below; tested with many labels alone, it is not said to need the fewest.
    """
    return method.fractions[0] if point == BELOW else float(point)


def _times(value: float, fewest: float) -> float | None:
    return None if BELOW in (value, fewest) or NEVER in (value, fewest) else float(value / fewest)


def _reached(method: Method, curves: NDArray[np.float64], target: float) -> NDArray[np.float64]:
    """(B,) Fractions at which the curves of a method, (B, C), reach the target."""
    return first_fraction_reaching(method.fractions, curves, np.full(len(curves), target))


def draws_of(method: Method, number: int, resamples: int = RESAMPLES) -> Draws | None:
    """Accuracies of the cells of a method, over the images that all methods have in common.

    Parameters
    ----------
    number
        Of the method among those that are compared: each has seeds of its own and the same resamples.
    resamples
        Of the images.
    """
    pools, scales = seed_pools(method.cells)
    return draw(method.cells, pools=pools, scales=scales, resamples=resamples, stream=number)


def _how(method: Method, drawn: Draws | None) -> str:
    """How the draws of a method were made, or why there are none."""
    if drawn is None:
        return why_none(method.cells)
    seeds = formatting.seeds([cell.n for cell in method.cells])
    how = f"bootstrap over {drawn.n_images:,} {method.cells[0].scored_on} images"
    if drawn.with_seeds:
        return f"{how} and {seeds}"
    return f"{how}; {seeds}, so without the variance between seeds"


def _all_reached(
    methods: Sequence[Method], draws: Sequence[Draws | None], which: Sequence[int], target: float
) -> NDArray[np.float64]:
    """(B, K) Fractions at which some of the methods reach the target in each draw."""
    drawn = ((methods[k], draws[k]) for k in which)
    return np.stack(
        [_reached(m, isotonic_fit(d.means), target) for m, d in drawn if d is not None], axis=1
    )


def simultaneous_ends(
    draws: NDArray[np.float64], level: float = LEVEL
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ends of intervals that hold together.

    Parameters
    ----------
    draws
        (B, K), drawn together; may be infinite, and equal.

    Returns
    -------
    low, high : numpy.ndarray
        (K,): at least `level` of the draws lie within all K intervals, each of which cuts off as many
        draws on either side.
    """
    share = share_that_holds_together(draws, level)
    return _quantile(draws, share), -_quantile(-draws, share)


def share_that_holds_together(draws: NDArray[np.float64], level: float = LEVEL) -> float:
    """What each of K intervals may cut off at either end, (B, K) draws being given, to hold together.

    The largest share such that at least `level` of the draws lie within all of them.
    """
    within = np.minimum(_share_up_to(draws), _share_up_to(-draws))  # (B, K)
    return _not_passed(within.min(axis=1), level)


def ratios_at_least(
    methods: Sequence[Method], reached: NDArray[np.float64], level: float = LEVEL
) -> NDArray[np.float64]:
    """Lower bounds of how many times more labels each method needs than each other one.

    A method that needs fewer labels than were tested may need any number below, and one that needs more
    any number above: bounds allow for that.

    Parameters
    ----------
    reached
        (B, K), as drawn together.

    Returns
    -------
    numpy.ndarray
        (K, K) Natural logarithm of the labels of the first over those of the second, at least; all
        together with probability `level`. Minus infinity if nothing is known, and on the diagonal.
    """
    smallest = np.array([method.fractions[0] for method in methods])
    largest = np.array([method.fractions[-1] for method in methods])
    with np.errstate(divide="ignore"):  # BELOW: any number of labels
        least = np.log(np.where(reached == NEVER, largest, reached))
    most = np.log(np.where(reached == BELOW, smallest, reached))
    first, second = np.nonzero(~np.eye(len(methods), dtype=bool))
    bounds = np.full((len(methods), len(methods)), -np.inf)
    if len(first):
        pairs = least[:, first] - most[:, second]  # (B, K (K - 1))
        share = _not_passed(_share_up_to(pairs).min(axis=1), level)
        bounds[first, second] = _quantile(pairs, share)
    return bounds


def _share_up_to(draws: NDArray[np.float64]) -> NDArray[np.float64]:
    """(B, K) Share of each column that is at most as large as each of its values."""
    ordered = np.sort(draws, axis=0)
    counts = [
        np.searchsorted(own, column, side="right")
        for own, column in zip(ordered.T, draws.T, strict=True)
    ]
    return np.stack(counts, axis=1) / len(draws)


def _not_passed(shares: NDArray[np.float64], level: float) -> float:
    """The largest share such that `level` of `shares`, (B,), are as large or larger."""
    return float(np.sort(shares)[math.floor((1 - level) * len(shares) + ROUNDING)])


def _quantile(draws: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """(K,) The smallest draw of each column that a share of the column is at most as large as."""
    count = max(math.ceil(share * len(draws) - ROUNDING), 1)
    return np.sort(draws, axis=0)[count - 1]
