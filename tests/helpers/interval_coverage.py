"""How often the report's 95% intervals cover the true value, in simulations in which it is known.

    PYTHONPATH=tests:. python -m helpers.interval_coverage

Writes the tables of the documentation's page on statistics. An interval of the right width covers
the true value in 95% of the simulations.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pandas as pd
import tyro
from helpers import simulation
from helpers.surveys import ROOT

from analysis.stats.comparisons import simultaneous
from analysis.stats.estimates import accuracy_difference
from analysis.stats.label_efficiency import BELOW, NEVER, crossing_points

ACCURACIES = (0.72, 0.69)
FRACTIONS = (0.05, 0.1, 0.25, 0.5, 1.0)
CURVE = np.interp(np.log(FRACTIONS), np.log([0.05, 1.0]), [0.55, 0.75])  # straight in log labels
CROSSING = 0.2
BASELINE = float(np.interp(np.log(CROSSING), np.log([0.05, 1.0]), [0.55, 0.75]))
LABELS = (100, 200, 500, 1000, 2000)
SCRATCH = np.interp(np.log(FRACTIONS), np.log([0.05, 1.0]), [0.45, BASELINE])
SAVINGS = np.where(  # the true crossing of each scratch cell; the fewest are below all tested
    CURVE[0] > SCRATCH, 0.0, np.exp(np.interp(SCRATCH, CURVE, np.log(FRACTIONS)))
)
UNEQUAL = ((0.2, 5), (5, 0.2))
"""Standard deviations between seeds in points, of the pre-trained and of scratch."""
SPREADS = {
    1: simulation.SEEDS,
    20: (simulation.SEEDS * 20**0.5, simulation.SEEDS),
}
"""Ratio of the inits' variances between seeds → the spread between seeds of each."""

Share = Callable[[np.random.Generator], bool | tuple[float, ...]]
"""What one simulation finds: whether an interval covers the true value, or is clear of 0, or the
share of several that do."""
Table = Literal["difference", "unequal", "one_seed", "sweeps", "crossing", "crossing_unequal"]


@dataclass(frozen=True, kw_only=True)
class Simulations:
    """Measure the coverage of intervals."""

    repeats: int = 1000
    """Simulations of each row."""
    resamples: int = 500
    """Resamples of the images in each interval; the report takes 2,000."""
    out: Path = ROOT / "docs" / "statistics"
    """Folder for the tables."""
    tables: tuple[Table, ...] = get_args(Table)
    """Which of them to write."""


def difference(
    random: np.random.Generator,
    *,
    n_val: int,
    n_seeds: int,
    resample: bool = False,
    ratio: int = 1,
    resamples: int,
) -> bool:
    """Whether the interval of a difference between two accuracies covers it."""
    a, b = simulation.cells(
        random,
        ACCURACIES,
        n_val=n_val,
        n_seeds=n_seeds,
        resample=resample,
        seeds=SPREADS[ratio],
    )
    estimate = accuracy_difference(a, b, resamples=resamples)
    return estimate.low <= ACCURACIES[0] - ACCURACIES[1] <= estimate.high


def one_seed(random: np.random.Generator, *, points: float, resamples: int) -> bool:
    """Whether the interval of two trained models covers the difference between the methods."""
    spread = points * simulation.SEEDS / simulation.in_points(ACCURACIES[0])
    a, b = simulation.cells(random, ACCURACIES, n_val=3500, n_seeds=1, seeds=spread)
    low, high = accuracy_difference(a, b, resamples=resamples).models
    return low <= ACCURACIES[0] - ACCURACIES[1] <= high


def clear(
    random: np.random.Generator,
    *,
    fractions: int,
    n_seeds: int,
    ratio: int = 1,
    falls: float = 1,
    n_val: int = 300,
    resamples: int,
) -> tuple[bool, bool]:
    """Whether any fraction of a sweep without a difference is clear of 0: single, simultaneous.

    Parameters
    ----------
    falls
        How many times more seeds differ with the fewest labels than with the most.
    """
    of_fraction = np.geomspace(falls, 1, fractions)
    of_init = np.broadcast_to(SPREADS[ratio], 2)
    pairs = simulation.pairs(
        random,
        fractions,
        n_val=n_val,
        n_seeds=n_seeds,
        seeds=of_init[:, None] * of_fraction,
        labels=np.geomspace(50, 1000, fractions).round().astype(int).tolist(),
    )
    singles = [accuracy_difference(*pair, resamples=resamples) for pair in pairs]
    together = simultaneous(pairs, singles, resamples=resamples)
    return any(e.sign for e in singles), any(e.sign for e in together)


def crossing(
    random: np.random.Generator, *, n_val: int, n_seeds: int, resample: bool = False
) -> bool:
    """Whether the interval of the fraction at which a curve reaches the baseline covers it."""
    truth = [*CURVE, BASELINE]
    *cells, baseline = simulation.cells(
        random, truth, n_val=n_val, n_seeds=n_seeds, resample=resample
    )
    cells = [replace(cell, fraction=f) for cell, f in zip(cells, FRACTIONS, strict=True)]
    (found,) = crossing_points(cells, [baseline])
    return found.low <= CROSSING <= found.high


def crossing_unequal(
    random: np.random.Generator,
    *,
    points: tuple[float, float],
    n_val: int,
    n_seeds: int,
    resamples: int,
) -> tuple[bool, float, bool]:
    """Of a sweep of both inits at five budgets, whether intervals cover what they should.

    Returns
    -------
    crossing : bool
        The interval of the crossing covers it.
    savings : float
        Share of the intervals of all crossings, one for each budget of scratch, that cover them.
    open : bool
        The interval of the crossing is open: an end lies outside the budgets tested.
    """
    spreads = [
        simulation.spread_of(of, truth)
        for of, curve in zip(points, (CURVE, SCRATCH), strict=True)
        for truth in curve
    ]
    made = simulation.cells(random, [*CURVE, *SCRATCH], n_val=n_val, n_seeds=n_seeds, seeds=spreads)
    budgets = [*zip(FRACTIONS, LABELS, strict=True)] * 2
    cells = [
        replace(
            cell, fraction=f, n_labels=n, init="pretrained" if k < len(FRACTIONS) else "scratch"
        )
        for k, (cell, (f, n)) in enumerate(zip(made, budgets, strict=True))
    ]
    half = len(FRACTIONS)
    found = crossing_points(cells[:half], cells[half:], resamples=resamples)
    covered = [p.low <= truth <= p.high for p, truth in zip(found, SAVINGS, strict=True)]
    last = found[-1]
    return covered[-1], float(np.mean(covered)), last.low == BELOW or last.high == NEVER


def percent(one: Share, repeats: int) -> list[str]:
    """Share of the simulations, with its standard error, of each thing that one finds."""
    found = np.array([np.atleast_1d(one(np.random.default_rng(n))) for n in range(repeats)])
    shares = found.mean(axis=0)
    errors = found.std(axis=0) / np.sqrt(repeats)
    return [f"{100 * p:.1f} ± {100 * e:.1f}" for p, e in zip(shares, errors, strict=True)]


def coverage(
    covers: Callable[..., bool], settings: list[tuple[int, int, bool]], repeats: int
) -> pd.DataFrame:
    """A row for each setting: images, seeds, split, coverage."""
    rows = []
    for n_val, n_seeds, resample in settings:
        one = partial(covers, n_val=n_val, n_seeds=n_seeds, resample=resample)
        rows.append(
            {
                "test images": f"{n_val:,}",
                "seeds": n_seeds,
                "split": "varies with the seed" if resample else "fixed",
                "coverage, %": percent(one, repeats)[0],
                "simulations": repeats,
            }
        )
    return pd.DataFrame(rows)


def table(name: Table, settings: Simulations) -> pd.DataFrame:
    """One of the tables."""
    repeats, resamples = settings.repeats, settings.resamples
    fixed = [(n, s, False) for n in (100, 1000, 3500) for s in (2, 3, 5, 10)]
    if name == "difference":
        own = [(n, s, True) for n in (250, 1000) for s in (2, 3, 5)]
        return coverage(partial(difference, resamples=resamples), [*fixed, *own], repeats)
    if name == "unequal":
        own = [(250, 3, True)]
        one = partial(difference, resamples=resamples, ratio=20)
        return coverage(one, [*fixed, *own], repeats)
    if name == "crossing":
        few = [(300, 2), (300, 3), (300, 5), (1000, 3), (3000, 3)]
        return coverage(crossing, [*((n, s, False) for n, s in few), (300, 3, True)], repeats)
    rows = []
    if name == "crossing_unequal":
        for points in UNEQUAL:
            for n_seeds in (1, 2, 3, 5, 10):
                for n_val in (100, 1000, 3500):
                    one = partial(
                        crossing_unequal,
                        points=points,
                        n_val=n_val,
                        n_seeds=n_seeds,
                        resamples=resamples,
                    )
                    of_crossing, of_savings, is_open = percent(one, repeats)
                    rows.append(
                        {
                            "s.d. pre-trained, points": points[0],
                            "s.d. scratch, points": points[1],
                            "seeds": n_seeds,
                            "test images": f"{n_val:,}",
                            "coverage of the crossing, %": of_crossing,
                            "of all savings, %": of_savings,
                            "crossing open at an end, %": is_open,
                        }
                    )
    elif name == "one_seed":
        for points in (0, 1, 2.5, 5):
            one = partial(one_seed, points=points, resamples=resamples)
            (share,) = percent(one, repeats)
            rows.append({"s.d. between seeds, points": points, "coverage, %": share})
    else:
        alike = [(5, 3, 1, 1), (8, 3, 1, 1), (5, 3, 20, 1), (8, 3, 20, 1)]
        for fractions, n_seeds, ratio, falls in [*alike, *((5, n, 1, 4) for n in (3, 5, 8))]:
            one = partial(
                clear,
                fractions=fractions,
                n_seeds=n_seeds,
                ratio=ratio,
                falls=falls,
                resamples=resamples,
            )
            single, together = percent(one, repeats)
            rows.append(
                {
                    "fractions": fractions,
                    "seeds": n_seeds,
                    "ratio of the inits' variances": ratio,
                    "s.d. with the fewest over the most labels": falls,
                    "single intervals, %": single,
                    "simultaneous intervals, %": together,
                }
            )
    return pd.DataFrame(rows).assign(simulations=repeats)


def main(settings: Simulations) -> None:
    """Write the tables."""
    settings.out.mkdir(parents=True, exist_ok=True)
    for name in settings.tables:
        text = table(name, settings).to_markdown(index=False, disable_numparse=True)
        print(text)
        file = "clear_without_difference" if name == "sweeps" else f"coverage_{name}"
        (settings.out / f"{file}.md").write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Simulations, description=__doc__)))
