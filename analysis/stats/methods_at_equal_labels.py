"""How much more accurate one method is than all others, at each number of labels that it was tested with.

Methods are those of `backbones`. Which of them is compared with the others is chosen after the fact, as the one
that needs the fewest labels, so that an interval is meant to hold together with those of all pairs of methods at
the same number of labels (as Tukey's do; Hsu 1996, Multiple Comparisons, chapter 5). How confident a single one has to
be for that is found from the methods' joint draws, and never less than the Bonferroni correction allows;
the interval itself is `estimates.accuracy_difference`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from analysis.stats.backbones import Method, draws_of, share_that_holds_together
from analysis.stats.bootstrap import RESAMPLES, Draws
from analysis.stats.comparisons import joint_level
from analysis.stats.estimates import LEVEL, Estimate, accuracy_difference
from analysis.stats.seed_predictions import CellRuns
from analysis.stats.seed_variances import OWN_VARIANCE


@dataclass(frozen=True, kw_only=True)
class AtLabels:
    """All methods that were tested with one number of labels."""

    n_labels: int
    cells: Mapping[str, CellRuns]
    """Name of a method → its trials."""
    differences: Mapping[str, Estimate]
    """Name of a method → accuracy of the reference minus its own; the reference has none."""
    level: float
    """Of each interval, so that those of all pairs hold together with `LEVEL`. Higher with few seeds, as the
    simultaneous intervals of `comparisons` are, by which it holds in simulations."""


def at_equal_labels(
    reference: Method, methods: Sequence[Method], *, resamples: int = RESAMPLES
) -> list[AtLabels]:
    """The reference against all others, by ascending number of labels.

    Parameters
    ----------
    reference
        One of `methods`.
    resamples
        Of the images.
    """
    draws = [draws_of(method, number, resamples) for number, method in enumerate(methods)]
    found: list[AtLabels] = []
    for own in reference.cells:
        places = {
            number: place
            for number, method in enumerate(methods)
            for place, fraction in enumerate(method.fractions)
            if np.isclose(fraction, own.fraction)
        }
        cells = {methods[k].name: methods[k].cells[place] for k, place in places.items()}
        pooled = any(cell.n < OWN_VARIANCE for cell in cells.values())
        level = level_of_each(
            [_column(draws[k], place) for k, place in places.items()],
            joint_level(LEVEL, len(cells) - 1, pooled=pooled),
        )
        differences = {
            name: accuracy_difference(own, cell, resamples=resamples, level=level)
            for name, cell in cells.items()
            if name != reference.name
        }
        found.append(
            AtLabels(n_labels=own.n_labels, cells=cells, differences=differences, level=level)
        )
    return found


def _column(drawn: Draws | None, place: int) -> NDArray[np.float64] | None:
    return None if drawn is None else drawn.means[:, place]


def level_of_each(draws: Sequence[NDArray[np.float64] | None], level: float = LEVEL) -> float:
    """How confident the interval of each difference must be for those of all pairs to hold together.

    Parameters
    ----------
    draws
        Of the K accuracies, (B,) each and drawn together; None: not known.
    level
        Of all intervals together.
    """
    known = [drawn for drawn in draws if drawn is not None]
    n_pairs = len(known) * (len(known) - 1) // 2
    if n_pairs < 2:
        return level
    pairs = np.stack([a - b for a, b in combinations(known, 2)], axis=1)
    tail = share_that_holds_together(pairs, level)
    return min(max(1 - 2 * tail, level), 1 - (1 - level) / n_pairs)
