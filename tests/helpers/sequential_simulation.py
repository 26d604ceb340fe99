"""How often a sweep that ends by its result ends falsely, and what it saves.

    PYTHONPATH=tests:. python -m helpers.sequential_simulation

writes the table of simulated sweeps of the documentation's page on statistics, and with
``--sweeps ray_results/NAME …``, sweeps with 20 seeds or more of an init, those of real ones: each
init's seeds in two groups, between which there is no difference, and both inits against each other.
Looks, decisions and intervals are those of ``--until-decided``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import tyro
from helpers import simulation
from helpers.surveys import ROOT

from analysis.results.load import read
from analysis.stats.comparisons import Pair, at_last_looks, pairs_at_equal_labels
from analysis.stats.seed_predictions import CellRuns
from analysis.stats.sequential import decision, planned

DETECT = 0.02
FIRST, MOST = 3, 10
LABELS = (100, 300, 1000, 3000)
OWN_EASE = 0.15
SETTINGS = (
    # budgets, s.d. between seeds of pre-trained and scratch in points, difference in points
    (1, (1, 2), 0),
    (1, (1, 5), 0),
    (4, (1, 2), 0),
    (4, ((5, 1.5, 1, 0.5), (4, 3, 2, 1)), 0),
    (1, (1, 2), 4),
    (1, (1, 2), 8),
    (4, (1, 2), 4),
    (4, (1, 2), 8),
)


@dataclass(frozen=True, kw_only=True)
class Simulations:
    """Measure sweeps that end by their result."""

    repeats: int = 400
    """Simulated sweeps of each row, and orders of the seeds of real ones."""
    resamples: int = 200
    """Resamples of the images in each interval; the report takes 2,000."""
    sweeps: tuple[Path, ...] = ()
    """Sweeps with 20 seeds or more of an init; then simulated ones are left out."""
    out: Path = ROOT / "docs" / "statistics"


@dataclass(frozen=True, kw_only=True)
class Found:
    """What many sweeps ended with; shares are of sweeps."""

    false_stops: float
    """At least one budget is called different on the wrong side, or where there is no difference."""
    different: float
    """All budgets are called different, on the right side."""
    alike: float
    """All budgets are decided, at least one as too small to matter."""
    trials: float
    """Mean number that ran."""
    most_trials: int
    """With the most seeds everywhere."""
    excess: float
    """Mean of the differences called different beyond the true one, points."""


def sweep(
    pairs: Sequence[Pair], *, most: int = MOST, detect: float = DETECT, resamples: int
) -> tuple[list[Pair], list[float | None]]:
    """Play one sweep in rounds.

    Parameters
    ----------
    pairs
        With `most` seeds each.

    Returns
    -------
    pairs
        With the seeds that ran.
    differences
        Of each pair that is called different, its difference; 0 if it is too small to matter; None
        if it is undecided.
    """
    looks = planned(FIRST, most)
    seeds = [FIRST] * len(pairs)
    while True:
        run = [(a.first(n), b.first(n)) for (a, b), n in zip(pairs, seeds, strict=True)]
        _, estimates = at_last_looks(run, looks, resamples=resamples)
        decisions = [decision(estimate, detect) for estimate in estimates]
        more = [d is None and n < most for d, n in zip(decisions, seeds, strict=True)]
        if not any(more):
            break
        seeds = [n + further for n, further in zip(seeds, more, strict=True)]
    return run, [
        None if d is None else e.value if d == "different" else 0.0
        for d, e in zip(decisions, estimates, strict=True)
    ]


def simulated(
    repeats: int,
    *,
    budgets: int,
    points: tuple,
    gain: float,
    n_val: int = 400,
    most: int = MOST,
    resamples: int,
) -> Found:
    """Sweeps whose true differences are `gain` (0–1) at every budget."""
    spreads = simulation.spread_of(np.array(points, dtype=float))
    made = (
        simulation.pairs(
            np.random.default_rng(number),
            budgets,
            n_val=n_val,
            n_seeds=most,
            seeds=spreads,
            gain=gain,
            own_ease=OWN_EASE,
            labels=LABELS,
        )
        for number in range(repeats)
    )
    return summary([sweep(p, most=most, resamples=resamples) for p in made], gain, most)


def summary(
    played: Sequence[tuple[list[Pair], list[float | None]]], gain: float, most: int
) -> Found:
    """Shares and means of sweeps that were played."""
    ended = [differences for _, differences in played]
    wrong = [any(d and (not gain or d * gain < 0) for d in of) for of in ended]
    right = [all(d and d * gain > 0 for d in of) for of in ended]
    alike = [all(d is not None for d in of) and 0.0 in of for of in ended]
    excess = [abs(d) - abs(gain) for of in ended for d in of if d]
    return Found(
        false_stops=float(np.mean(wrong)),
        different=float(np.mean(right)),
        alike=float(np.mean(alike)),
        trials=float(np.mean([sum(cell.n for pair in run for cell in pair) for run, _ in played])),
        most_trials=2 * most * len(ended[0]),
        excess=100 * float(np.mean(excess)) if excess else 0.0,
    )


def in_another_order(cell: CellRuns, order: np.ndarray) -> CellRuns:
    """The cell with the seeds of these positions, in this order."""
    stored = cell.predictions
    return replace(
        cell,
        seeds=tuple(range(len(order))),  # a seed is paired with that of the same round
        accuracies=tuple(cell.accuracies[n] for n in order),
        n_scored=tuple(cell.n_scored[n] for n in order),
        predictions=replace(
            stored,
            trials=tuple(stored.trials[n] for n in order),
            probabilities=stored.probabilities[order],
            seen=stored.seen[order],
        ),
    )


def without_difference(cells: Sequence[CellRuns], settings: Simulations) -> Found:
    """One init against itself: its seeds in two groups, many times."""
    played = []
    for number in range(settings.repeats):
        random = np.random.default_rng(number)
        pairs = []
        for cell in cells:
            order = random.permutation(cell.n)[: 2 * MOST]
            a, b = (in_another_order(cell, half) for half in np.split(order, 2))
            pairs.append((replace(a, init="pretrained"), replace(b, init="scratch")))
        played.append(sweep(pairs, resamples=settings.resamples))
    return summary(played, 0.0, MOST)


def against_each_other(pairs: Sequence[Pair], settings: Simulations) -> Found:
    """Both inits, their seeds in another order each time."""
    played = []
    for number in range(settings.repeats):
        random = np.random.default_rng(number)
        drawn = [
            tuple(in_another_order(cell, random.permutation(cell.n)[:MOST]) for cell in pair)
            for pair in pairs
        ]
        played.append(sweep(drawn, resamples=settings.resamples))
    gain = float(np.mean([a.accuracy - b.accuracy for a, b in pairs]))
    return summary(played, gain, MOST)


def percent(share: float, repeats: int) -> str:
    """With the standard error of the count."""
    return f"{100 * share:.1f} ± {100 * np.sqrt(share * (1 - share) / repeats):.1f}"


def saved(found: Found) -> str:
    """Trials that were spared, of those with the most seeds everywhere."""
    return f"{100 * (1 - found.trials / found.most_trials):.0f}"


def simulated_table(settings: Simulations) -> pd.DataFrame:
    """A row for each setting."""
    rows = []
    for budgets, points, gain in SETTINGS:
        found = simulated(
            settings.repeats,
            budgets=budgets,
            points=points,
            gain=gain / 100,
            resamples=settings.resamples,
        )
        shown = ["; ".join(f"{p:g}" for p in np.atleast_1d(of)) for of in points]
        rows.append(
            {
                "budgets": budgets,
                "s.d. pre-trained, points": shown[0],
                "s.d. scratch, points": shown[1],
                "true difference, points": gain,
                "false stops, %": percent(found.false_stops, settings.repeats),
                "all different, %": percent(found.different, settings.repeats),
                "trials saved, %": saved(found),
                "found too large by, points": f"{found.excess:.1f}" if gain else "",
                "sweeps": settings.repeats,
            }
        )
    return pd.DataFrame(rows)


def real_table(settings: Simulations) -> pd.DataFrame:
    """Rows for each sweep: one init against itself, and both against each other."""
    rows = []
    for folder in settings.sweeps:
        results = read(folder).main
        pairs = pairs_at_equal_labels(results)
        for init, cells in (
            ("pretrained", [a for a, _ in pairs]),
            ("scratch", [b for _, b in pairs]),
        ):
            if min(cell.n for cell in cells) < 2 * MOST:
                continue
            found = without_difference(cells, settings)
            rows.append(
                {
                    "sweep": results.manifest.name,
                    "compared": f"{init} with itself",
                    "budgets": len(cells),
                    "seeds": min(cell.n for cell in cells),
                    "false stops, %": percent(found.false_stops, settings.repeats),
                    "trials saved, %": saved(found),
                    "orders of the seeds": settings.repeats,
                }
            )
        found = against_each_other(pairs, settings)
        rows.append(
            {
                "sweep": results.manifest.name,
                "compared": "pretrained with scratch",
                "budgets": len(pairs),
                "seeds": min(cell.n for pair in pairs for cell in pair),
                "false stops, %": "",
                "trials saved, %": saved(found),
                "orders of the seeds": settings.repeats,
            }
        )
    return pd.DataFrame(rows)


def main(settings: Simulations) -> None:
    """Write the table."""
    settings.out.mkdir(parents=True, exist_ok=True)
    name, make = (
        ("sequential_real", real_table) if settings.sweeps else ("sequential", simulated_table)
    )
    text = make(settings).to_markdown(index=False, disable_numparse=True)
    print(text)
    (settings.out / f"{name}.md").write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Simulations, description=__doc__)))
