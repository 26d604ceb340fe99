"""How often simulated sweeps find the difference that a plan says is found in 80% of them.

    PYTHONPATH=tests:. python -m helpers.power_simulation

Writes the table of the documentation's page on statistics. Trials are made up, the intervals are
those of the report.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import tyro
from helpers import simulation
from helpers.surveys import ROOT

from analysis.stats.comparisons import simultaneous
from analysis.stats.estimates import accuracy_difference
from analysis.stats.power import Budget, Spread, Variation, detectable, disagreement

OWN_EASE = 0.15
"""Share of what makes an image easy that is an init's own: two models of different inits then
disagree on 5% more of the images than two of one init."""
LABELS = (100, 300, 1000, 3000)
SETTINGS = (
    # images, seeds, s.d. between seeds in points at each budget: pre-trained and scratch
    (302, 3, ((1,), (2,))),
    (302, 5, ((1,), (2,))),
    (302, 8, ((1,), (2,))),
    (3000, 3, ((1,), (2,))),
    (3000, 5, ((1,), (2,))),
    (3000, 8, ((1,), (2,))),
    (3000, 3, ((1,), (5,))),
    (302, 3, ((1, 1, 1, 1), (2, 2, 2, 2))),
    (3000, 5, ((1, 1, 1, 1), (2, 2, 2, 2))),
    (1000, 3, ((5, 1.5, 1, 0.5), (4, 3, 2, 1))),
    (1000, 5, ((5, 1.5, 1, 0.5), (4, 3, 2, 1))),
    (1000, 10, ((5, 1.5, 1, 0.5), (4, 3, 2, 1))),
)

Points = tuple[tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True, kw_only=True)
class Simulations:
    """Measure the power of simulated sweeps."""

    repeats: int = 1000
    """Sweeps of each row."""
    resamples: int = 300
    """Resamples of the images in each interval; the report takes 2,000."""
    out: Path = ROOT / "docs" / "statistics" / "power.md"


def spreads(points: Points) -> np.ndarray:
    """(2, K) of `simulation.pairs`, for s.d. in points."""
    truth = np.linspace(0.55, 0.75, len(points[0])) if len(points[0]) > 1 else [0.55]
    return np.array(
        [[simulation.spread_of(p, t) for p, t in zip(of, truth, strict=True)] for of in points]
    )


def budgets(images: int, seeds: int, points: Points) -> list[Budget]:
    """The plan of simulated sweeps, with the disagreement that many of their models have."""
    count = len(points[0])
    many = simulation.pairs(
        np.random.default_rng(0),
        count,
        n_val=20_000,
        n_seeds=20,
        seeds=spreads(points),
        own_ease=OWN_EASE,
    )
    return [
        Budget(
            n_labels=labels,
            images=images,
            n_pretrained=seeds,
            n_scratch=seeds,
            variation=Variation(
                pretrained=Spread(seeds=p / 100, disagreement=disagreement(*[a.predictions] * 2)),
                scratch=Spread(seeds=s / 100, disagreement=disagreement(*[b.predictions] * 2)),
                discordance=disagreement(a.predictions, b.predictions),
            ),
        )
        for labels, p, s, (a, b) in zip(LABELS[:count], *points, many, strict=True)
    ]


def found(
    planned: list[Budget], points: Points, repeats: int, resamples: int, row: int = 0
) -> np.ndarray:
    """(K,) Share of sweeps that find the difference printed for their plan at each budget.

    Parameters
    ----------
    row
        Of the table: each has other sweeps, so that rows do not share their luck.
    """
    gains = np.array(detectable(planned))
    clear = np.zeros(len(planned))
    for number in range(repeats):
        pairs = simulation.pairs(
            np.random.default_rng((row, number)),
            len(planned),
            n_val=int(planned[0].images),
            n_seeds=planned[0].n_scratch,
            seeds=spreads(points),
            gain=gains,
            own_ease=OWN_EASE,
            labels=LABELS,
        )
        singles = [accuracy_difference(*pair, resamples=resamples) for pair in pairs]
        estimates = simultaneous(pairs, singles, resamples=resamples)
        clear += [estimate.sign == 1 for estimate in estimates]
    return clear / repeats


def table(settings: Simulations) -> pd.DataFrame:
    """A row for each setting."""
    rows = []
    for row, (images, seeds, points) in enumerate(SETTINGS):
        planned = budgets(images, seeds, points)
        shares = found(planned, points, settings.repeats, settings.resamples, row)
        errors = np.sqrt(shares * (1 - shares) / settings.repeats)
        rows.append(
            {
                "test images": f"{images:,}",
                "seeds": seeds,
                "s.d. pre-trained, points": "; ".join(f"{p:g}" for p in points[0]),
                "s.d. scratch, points": "; ".join(f"{p:g}" for p in points[1]),
                "printed, points": "; ".join(f"{100 * d:.1f}" for d in detectable(planned)),
                "found, %": "; ".join(
                    f"{100 * p:.0f} ± {100 * e:.0f}" for p, e in zip(shares, errors, strict=True)
                ),
                "sweeps": settings.repeats,
            }
        )
    return pd.DataFrame(rows)


def main(settings: Simulations) -> None:
    """Write the table."""
    text = table(settings).to_markdown(index=False, disable_numparse=True)
    print(text)
    settings.out.write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Simulations, description=__doc__)))
