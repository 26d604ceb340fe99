"""When a sweep that looks at its result after each round of seeds may end.

Who looks after 3, 4, … 10 seeds and stops as soon as a 95% interval excludes 0 finds a difference
where there is none in 13 to 18% of sweeps. So each look has intervals of a higher level: what all looks
together may miss is spent look by look (Lan & DeMets 1983, Biometrika 70, 659), by the spending
function α log(1 + (e - 1) t) that is close to Pocock's boundaries, with t the share of the seeds that
have run. It spends more on early looks than that of O'Brien and Fleming, which hardly ever stops at
three seeds. The boundaries are those of a normal sum of independent seeds; images that all looks
share make the looks more alike, so that less is missed. The levels are then those of Student's t with the
degrees of freedom of each look (Jennison & Turnbull 2000, chapter 11).

The intervals of all looks hold together, whatever ends a sweep (*repeated confidence intervals*,
Jennison & Turnbull 1989, J. R. Stat. Soc. B 51, 305): so it may end, too, when a difference is known to be
too small to matter, and budgets may end one by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, cast

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

from analysis.stats.estimates import Estimate

ALPHA = 0.035
"""What all looks together spend. Ours: t with few degrees of freedom, and Welch's, which are estimated,
stop up to 7% of simulated comparisons without a difference if 5% is spent, and up to 5.6% if 3.5% is
(one budget, 3 to 10 seeds, normally distributed accuracies)."""
NODES, WEIGHTS = np.polynomial.legendre.leggauss(128)

Decision = Literal["different", "alike"]


@dataclass(frozen=True, kw_only=True)
class Looks:
    """The looks that were planned before the first."""

    seeds: tuple[int, ...]
    """Seeds of each cell at each look, ascending."""

    @property
    def levels(self) -> tuple[float, ...]:
        """Level of the intervals at each look, e.g. 0.985."""
        return tuple(1 - alpha for alpha in nominal(self.seeds))

    def reached(self, n_seeds: int) -> int:
        """Number of the look, from 0, at which cells have so many seeds, or the next; else the last."""
        return next((k for k, n in enumerate(self.seeds) if n >= n_seeds), len(self.seeds) - 1)


def planned(first: int, most: int) -> Looks:
    """A look after the first seeds, and one after each further seed up to the most."""
    return Looks(seeds=tuple(range(first, most + 1)))


def looks_of(settings: Mapping[str, Any]) -> Looks | None:
    """Those of a sweep, from its manifest's settings; None if it was not to end by a look."""
    if not settings.get("until_decided"):
        return None
    return planned(len(set(settings["seeds"])), settings["max_seeds"])


def decision(estimate: Estimate, detect: float) -> Decision | None:
    """What an interval decides, if anything.

    Parameters
    ----------
    detect
        The smallest difference that matters, 0–1.
    """
    if estimate.low is None or estimate.high is None:
        return None
    if estimate.sign:
        return "different"
    return "alike" if -detect < estimate.low and estimate.high < detect else None


def spent(share: float) -> float:
    """What may have been missed by the look at which this share of the seeds has run."""
    return ALPHA * float(np.log1p((np.e - 1) * share))


@cache
def nominal(seeds: tuple[int, ...]) -> tuple[float, ...]:
    """What the interval of each look may miss alone, so that all looks together miss `ALPHA`.

    By integrating the density of the sum of the seeds that have not stopped, from look to look
    (Armitage, McPherson & Rowe 1969, J. R. Stat. Soc. A 132, 235).
    """
    found: list[float] = []
    already = before = 0.0
    nodes, mass = np.zeros(1), np.ones(1)  # of the sum before the first look
    for n in seeds:
        now = spent(n / seeds[-1])
        step, root = np.sqrt(n - before), np.sqrt(n)

        def stops(
            z: float,
            *,
            nodes: np.ndarray = nodes,
            mass: np.ndarray = mass,
            step: float = step,
            root: float = root,
        ) -> float:
            beyond = norm.sf((z * root - nodes) / step) + norm.cdf((-z * root - nodes) / step)
            return float(mass @ beyond)

        z = cast("float", brentq(lambda z, part=now - already: stops(z) - part, 0.0, 20.0))
        found.append(2 * float(norm.sf(z)))
        after = z * root * NODES
        density = norm.pdf((after - nodes[:, None]) / step) / step
        nodes, mass = after, mass @ density * WEIGHTS * z * root
        already, before = now, n
    return tuple(found)
