"""How often the 95% interval of a difference in another metric than accuracy covers the true one.

    PYTHONPATH=tests:. python -m helpers.metric_coverage

Writes a table of the documentation's page on statistics. The images are of three classes of unequal
size, of varying ease; the seeds are of varying luck; the true values follow from the model.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import tyro
from helpers.simulation import NOISE, SEEDS, skill
from helpers.surveys import ROOT
from scipy import stats

from analysis.metrics import metric_named
from analysis.stats.estimates import accuracy_difference
from analysis.stats.seed_predictions import CellRuns, SeedPredictions

SIZES = np.array([0.6, 0.3, 0.1])
"""Share of the images that are of each class."""
ACCURACIES = np.array([[0.85, 0.7, 0.5], [0.85, 0.65, 0.4]])
"""Of each class, by two methods."""
SCALE = np.sqrt(1 + NOISE**2 + SEEDS**2)


@dataclass(frozen=True, kw_only=True)
class Simulations:
    """Measure the coverage of intervals of other metrics than accuracy."""

    metrics: tuple[str, ...] = ("balanced_accuracy", "macro_f1")
    repeats: int = 500
    """Simulations of each row; a fifth of it for scikit-learn's scorers, which are slow."""
    resamples: int = 500
    """Resamples of the images in each interval; the report takes 2,000 (scorers: 250)."""
    out: Path = ROOT / "docs" / "statistics"
    """Folder for the table."""


def true_class(margin: np.ndarray) -> np.ndarray:
    """Probability of the true class by how clear an image is; a third at 0."""
    return 1 / (1 + (len(SIZES) - 1) * np.exp(-2 * margin))


def cells(random: np.random.Generator, name: str, *, n_val: int, n_seeds: int) -> list[CellRuns]:
    """Two cells of these accuracies on one set of images."""
    n_classes, metric = len(SIZES), metric_named(name, len(SIZES))
    labels = random.choice(n_classes, n_val, p=SIZES)
    ease, mistaken = random.normal(size=n_val), random.integers(1, n_classes, n_val)
    made = []
    for number, accuracies in enumerate(ACCURACIES):
        luck = random.normal(0, SEEDS, (n_seeds, 1))
        margin = skill(accuracies)[labels] + luck + ease + random.normal(0, NOISE, (n_seeds, n_val))
        chance = true_class(margin)
        probabilities = np.repeat((1 - chance)[..., None] / (n_classes - 1), n_classes, axis=2)
        seed, image = np.indices(chance.shape)
        taken = (labels + mistaken) % n_classes
        more = np.where(margin < 0, 0.2 * (1 - chance), 0)  # another class is the most probable one
        probabilities -= (more / (n_classes - 2))[..., None]
        probabilities[seed, image, taken] += more * (1 + 1 / (n_classes - 2))
        probabilities[seed, image, labels] = chance
        made.append(
            CellRuns(
                init=("pretrained", "scratch")[number],
                fraction=1.0,
                n_labels=100,
                seeds=tuple(range(n_seeds)),
                accuracies=tuple(metric.value(labels, p) for p in probabilities),
                n_scored=(n_val,) * n_seeds,
                predictions=SeedPredictions(
                    init=("pretrained", "scratch")[number],
                    fraction=1.0,
                    trials=tuple(f"{number}-s{seed}" for seed in range(n_seeds)),
                    rows=np.arange(n_val),
                    labels=labels,
                    probabilities=probabilities,
                    seen=np.ones((n_seeds, n_val), dtype=bool),
                ),
                metric=metric,
            )
        )
    return made


def true_difference(name: str) -> float:
    """Of the two methods, over all images and seeds."""
    return float(np.subtract(*(_true_value(name, accuracies) for accuracies in ACCURACIES)))


def _true_value(name: str, accuracies: np.ndarray) -> float:
    if name == "balanced_accuracy":
        return float(accuracies.mean())
    right, wrong = SIZES * accuracies, SIZES * (1 - accuracies)
    if name == "macro_f1":
        named = right + (wrong.sum() - wrong) / (len(SIZES) - 1)
        return float(np.mean(2 * right / (SIZES + named)))
    normal = stats.norm.ppf((np.arange(100_000) + 0.5) / 100_000) * SCALE  # quantiles
    losses = np.log(true_class(skill(accuracies)[:, None] + normal)).mean(axis=1)
    return float(SIZES @ losses)


def covers(random: np.random.Generator, name: str, *, resamples: int, **size: int) -> bool:
    """Whether the interval of one simulation covers the true difference."""
    found = accuracy_difference(*cells(random, name, **size), resamples=resamples)
    return found.low <= true_difference(name) <= found.high


def main(settings: Simulations) -> None:
    """Write the table."""
    rows = []
    for name in settings.metrics:
        counted = metric_named(name, len(SIZES)).from_counts is not None
        repeats = settings.repeats if counted else settings.repeats // 5
        for n_val, n_seeds in ((300, 3), (1000, 3), (1000, 5)) if counted else ((300, 3),):
            found = [
                covers(
                    np.random.default_rng(number),
                    name,
                    n_val=n_val,
                    n_seeds=n_seeds,
                    resamples=settings.resamples,
                )
                for number in range(repeats)
            ]
            share = float(np.mean(found))
            error = np.sqrt(share * (1 - share) / repeats)
            rows.append(
                {
                    "metric": name,
                    "test images": f"{n_val:,}",
                    "seeds": n_seeds,
                    "coverage, %": f"{100 * share:.1f} ± {100 * error:.1f}",
                    "simulations": repeats,
                }
            )
    text = pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True)
    print(text)
    (settings.out / "coverage_metrics.md").write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Simulations, description=__doc__)))
