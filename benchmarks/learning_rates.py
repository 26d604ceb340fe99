"""The best learning rate of each init and of what is trained, by a small search.

  python -m benchmarks.learning_rates     the search behind the demo's protocol

Seeds and split are not those of a sweep by default, so that no sweep is scored on what its learning
rates were chosen on. Choose by the mean of the best validation accuracies at all labels.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from statistics import mean
from typing import cast

import torch
from joblib import Parallel, delayed
from rich.console import Console
from rich.progress import track
from rich.table import Table

from trainable.command_line import parse
from trainable.config import DataFlags, ModelFlags, Settings, TrainingConfig, TrainingFlags
from trainable.errors import EXIT_CODE, NonFiniteLossError, SettingsError, UserError
from trainable.forward_backward import use_precision
from trainable.prepare import prepare
from trainable.protocol import Init, Trained
from trainable.run import TrainingRun

PROGRAM = "python -m benchmarks.learning_rates"
RATES = (5e-5, 1e-4, 2e-4, 3e-4, 5e-4, 1e-3)
HEAD_RATES = (5e-4, 1e-3, 2e-3, 3e-3, 5e-3, 1e-2, 2e-2)
"""Ours, wide enough that the best is not at an end."""
METHODS: tuple[tuple[Init, Trained, tuple[float, ...]], ...] = (
    ("scratch", "all", RATES),
    ("pretrained", "head", HEAD_RATES),
    ("pretrained", "all", RATES),
)
"""Init, what is trained, and the learning rates that are tried."""


@dataclass(frozen=True, kw_only=True)
class SearchFlags:
    """Which runs the search consists of."""

    seeds: tuple[int, ...] = (100, 101)
    """Seeds of the runs of each learning rate; not those of a sweep to come."""
    inits: tuple[Init, ...] = ("scratch", "pretrained")
    """Which of scratch and pretrained."""


GROUPS = {"data": DataFlags, "model": ModelFlags, "training": TrainingFlags, "search": SearchFlags}


@dataclass(frozen=True, kw_only=True)
class Search(Settings, SearchFlags):
    """Data, model and protocol of the runs, and the seeds of the search."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.learning_rate or self.scratch_learning_rate:
            raise SettingsError("--learning-rate: the search has its own, see RATES and HEAD_RATES")
        if len(self.archs) > 1:
            raise SettingsError(f"--arch {' '.join(self.archs)}: search the rates of one at a time")


def best_accuracy(config: TrainingConfig) -> float:
    """Best validation accuracy of a run, on one thread so that several can run at once."""
    torch.set_num_threads(1)
    use_precision(config.precision)
    run = TrainingRun(config)
    with suppress(NonFiniteLossError):  # too high a rate: what it reached before counts
        while not run.finished:
            run.step_epoch()
    return run.best["val_accuracy"] if run.best else 0.0


def runs(search: Search) -> dict[tuple[Init, Trained, float], list[TrainingConfig]]:
    """The runs of every method and rate, one for each seed."""
    experiment = prepare(search)
    return {
        (init, trained, rate): [
            replace(
                experiment.training_config(init, 1.0, seed), trained=trained, learning_rate=rate
            )
            for seed in search.seeds
        ]
        for init, trained, rates in METHODS
        if init in search.inits
        for rate in rates
    }


def run_search(search: Search) -> None:
    """Run the search and print its table."""
    cells = runs(search)
    jobs = [(cell, config) for cell, configs in cells.items() for config in configs]
    pool = Parallel(n_jobs=-1, return_as="generator")
    made = pool(delayed(best_accuracy)(config) for _, config in jobs)
    scores = cast(Iterable[float], made)
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    try:
        run_search(
            parse(
                Search,
                GROUPS,
                arguments,
                prog=PROGRAM,
                description="The best learning rate of each init and of what is trained.",
                default=Search(data="mock", arch=("vit_demo",), protocol="demo", split_seed=100),
            )
        )
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_CODE
    return 0


if __name__ == "__main__":
    sys.exit(main())
