"""The best learning rate of each init and of what is trained, by a small search.

  python -m benchmarks.learning_rates     the search behind the demo's protocol

Seeds and split are not those of a sweep by default, so that no sweep is scored on what its learning
rates were chosen on. Choose by the mean of the best validation accuracies at all labels.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from statistics import mean
from typing import Annotated

import torch
import tyro
from joblib import Parallel, delayed
from rich.console import Console
from rich.progress import track
from rich.table import Table

from trainable.backbones import ARCHITECTURES
from trainable.config import RunConfig
from trainable.engine import NonFiniteLossError, Run
from trainable.protocol import Init, ProtocolName, Trained
from trainable.settings import Settings, prepare

# ours, wide enough that the best is not at an end
RATES = (5e-5, 1e-4, 2e-4, 3e-4, 5e-4, 1e-3)
HEAD_RATES = (5e-4, 1e-3, 2e-3, 3e-3, 5e-3, 1e-2, 2e-2)
ARMS: tuple[tuple[Init, Trained, tuple[float, ...]], ...] = (
    ("scratch", "all", RATES),
    ("pretrained", "head", HEAD_RATES),
    ("pretrained", "all", RATES),
)


@dataclass(frozen=True, kw_only=True)
class Search(Settings):
    """Data, model and protocol of the runs, and the seeds of the search."""

    data: str = "mock"
    arch: Annotated[str, tyro.conf.arg(metavar="{" + ",".join(ARCHITECTURES) + "}")] = "vit_demo"
    protocol: ProtocolName = "demo"
    split_seed: int = 100
    seeds: tuple[int, ...] = (100, 101)
    """Runs for each learning rate; not the seeds of a sweep to come."""
    inits: tuple[Init, ...] = ("scratch", "pretrained")
    """Which of scratch and pretrained."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.learning_rate or self.scratch_learning_rate:
            raise ValueError("--learning-rate: the search has its own, see RATES and HEAD_RATES")


def best_accuracy(config: RunConfig) -> float:
    """Best validation accuracy of a run, on one thread so that runs can go side by side."""
    torch.set_num_threads(1)
    run = Run(config)
    with suppress(NonFiniteLossError):  # too high a rate: what it reached before counts
        while not run.finished:
            run.step_epoch()
    return run.best["val_accuracy"] if run.best else 0.0


def runs(search: Search) -> dict[tuple[Init, Trained, float], list[RunConfig]]:
    """The runs of every arm and rate, one for each seed."""
    experiment = prepare(search)
    return {
        (init, trained, rate): [
            replace(experiment.run_config(init, 1.0, seed), trained=trained, learning_rate=rate)
            for seed in search.seeds
        ]
        for init, trained, rates in ARMS
        if init in search.inits
        for rate in rates
    }


def main(search: Search) -> None:
    """Run the search and print its table."""
    cells = runs(search)
    jobs = [(cell, config) for cell, configs in cells.items() for config in configs]
    pool = Parallel(n_jobs=-1, return_as="generator")
    scores = pool(delayed(best_accuracy)(config) for _, config in jobs)
    found: dict[tuple[Init, Trained, float], list[float]] = {}
    for (cell, _), score in zip(jobs, track(scores, "runs", total=len(jobs)), strict=True):
        found.setdefault(cell, []).append(score)
    table = Table(title=f"best validation accuracy, seeds {', '.join(map(str, search.seeds))}")
    for name in ("init", "trains", "learning rate", "mean %", "each %"):
        table.add_column(name)
    for (init, trained, rate), values in found.items():
        best = max(mean(v) for (i, t, _), v in found.items() if (i, t) == (init, trained))
        table.add_row(
            init,
            trained,
            f"{rate:g}",
            f"{100 * mean(values):.1f}",
            ", ".join(f"{100 * value:.1f}" for value in values),
            style="bold" if mean(values) == best else None,
        )
    Console().print(table)


if __name__ == "__main__":
    try:
        main(tyro.cli(Search, description=__doc__))
    except ValueError as error:
        sys.exit(f"error: {error}")
