"""How often the statements of the report's section on backbones hold, in simulations with known truth.

    PYTHONPATH=tests:. python -m helpers.backbone_coverage

Writes the table of the documentation's page on statistics: how often the intervals of all methods hold
together, how often a method is wrongly said to need more labels than another, how often one that
needs twice as many is found, and how often no method seems more or less accurate than the best of equal ones.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import tyro
from helpers import simulation
from helpers.surveys import ROOT

from analysis.stats.backbones import Comparison, Method, compare
from analysis.stats.bootstrap import RESAMPLES
from analysis.stats.methods_at_equal_labels import at_equal_labels

FRACTIONS = (0.05, 0.1, 0.25, 0.5, 1.0)
TARGET = 0.65
NEEDED = 0.2
"""Fraction at which the methods reach it, but for one that needs twice as much."""
SLOPE = 0.2 / np.log(20)
"""Of the accuracy over the logarithm of the fraction: 20 points from 5% to 100%."""


class Found(NamedTuple):
    """What one simulation shows."""

    all_cover: bool
    """The intervals of all methods cover the true fractions."""
    wrong: bool
    """Some method is said to need more labels than one that needs as many or more."""
    detected: bool
    """The method that needs twice as many is said to need more than some other."""


@dataclass(frozen=True, kw_only=True)
class Simulations:
    """Measure how often statements about several methods hold."""

    repeats: int = 200
    """Simulations of each row."""
    resamples: int = 500
    """Resamples of the images in each comparison of labels; the report takes 2,000. Those of accuracies take as
    many as the report: 500 do not tell the tails of many intervals that hold together."""
    out: Path = ROOT / "docs" / "statistics"
    """Folder for the table."""


def made_up(
    random: np.random.Generator, *, methods: int, n_val: int, n_seeds: int, twice: bool
) -> list[Method]:
    """A made-up sweep: all methods need `NEEDED`, the last one twice that if asked for."""
    needed = np.full(methods, NEEDED)
    needed[-1] *= 2 if twice else 1
    truth = TARGET + SLOPE * (np.log(FRACTIONS) - np.log(needed)[:, None])
    made = simulation.cells(
        random,
        truth.ravel(),
        n_val=n_val,
        n_seeds=n_seeds,
        own_ease=0.2,
        inits=np.repeat(np.arange(methods), len(FRACTIONS)),
    )
    made = np.array(made, dtype=object).reshape(methods, len(FRACTIONS))
    return [
        Method(
            name=str(number),
            example=None,
            is_control=False,
            cells=tuple(
                replace(cell, fraction=f) for cell, f in zip(cells, FRACTIONS, strict=True)
            ),
        )
        for number, cells in enumerate(made)
    ]


def comparison(random: np.random.Generator, *, resamples: int, **setting) -> Comparison:
    """All methods of a sweep, `setting` as of `made_up`."""
    return compare(made_up(random, **setting), TARGET, resamples=resamples)


def accuracies_hold(random: np.random.Generator, *, resamples: int, **setting) -> bool:
    """Whether no method of equally accurate ones seems more accurate than the best, or less, anywhere.

    At one number of labels, the most: intervals hold together for all methods there.
    """
    methods = made_up(random, twice=False, **setting)
    last = [replace(method, cells=method.cells[-1:]) for method in methods]
    best = max(last, key=lambda method: method.cells[0].accuracy)
    (found,) = at_equal_labels(best, last, resamples=resamples)
    return not any(estimate.sign for estimate in found.differences.values())


def found(random: np.random.Generator, *, methods: int, **setting) -> Found:
    """What one simulation shows; `setting` as of `comparison`, with the last method twice."""
    alike = comparison(random, methods=methods, twice=False, **setting)
    two = comparison(random, methods=methods, twice=True, **setting)
    last = str(methods - 1)
    truth = {n.method.name: NEEDED * (2 if n.method.name == last else 1) for n in two.needed}
    return Found(
        all_cover=all(
            n.crossing.low <= truth[n.method.name] <= n.crossing.high for n in two.needed
        ),
        wrong=any(n.more_than for n in alike.needed),
        detected=any(n.more_than for n in two.needed if n.method.name == last),
    )


def shares(repeats: int, **setting) -> tuple[float, float, float]:
    """Shares of the simulations of which each field of `Found` is true."""
    every = [found(np.random.default_rng(number), **setting) for number in range(repeats)]
    return tuple(np.mean(every, axis=0).tolist())


def table(settings: Simulations) -> pd.DataFrame:
    """A row for each setting."""
    rows = []
    for methods, n_val, n_seeds in (
        *((2, 1000, n) for n in (3, 5)),
        *((6, 1000, n) for n in (3, 5, 20)),
        (6, 300, 5),
        (12, 1000, 5),
    ):
        setting = {"methods": methods, "n_val": n_val, "n_seeds": n_seeds}
        found_in = shares(settings.repeats, **setting, resamples=settings.resamples)
        generators = map(np.random.default_rng, range(settings.repeats))
        hold = [accuracies_hold(random, **setting, resamples=RESAMPLES) for random in generators]
        found_in = (*found_in, float(np.mean(hold)))
        texts = [
            f"{100 * p:.1f} ± {100 * np.sqrt(p * (1 - p) / settings.repeats):.1f}" for p in found_in
        ]
        rows.append(
            {
                "methods": methods,
                "test images": f"{n_val:,}",
                "seeds": n_seeds,
                "all intervals cover, %": texts[0],
                "wrongly said to need more, %": texts[1],
                "twice as many is found, %": texts[2],
                "no accuracy differs, %": texts[3],
                "simulations": settings.repeats,
            }
        )
        print(rows[-1], flush=True)
    return pd.DataFrame(rows)


def main(settings: Simulations) -> None:
    """Write the table."""
    text = table(settings).to_markdown(index=False, disable_numparse=True)
    print(text)
    settings.out.mkdir(parents=True, exist_ok=True)
    (settings.out / "coverage_backbones.md").write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Simulations, description=__doc__)))
