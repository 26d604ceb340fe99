"""Our runs against the paper's way of training, in turn, in one run.

  python -m benchmarks.bench     `make bench`: small ViT, mock survey, CPU; minutes

  python -m benchmarks.bench --arch vit_b_16 --weights random --images 17402 --device cuda \\
      --precision bf16 --reference-share 0.05

(a) is the paper's eight frozen trials with its numbers of epochs: cold from empty caches of images
and features, warm with both there; (b) an epoch from scratch; (c) all nine trials, cold.

Prints a table and appends it to benchmarks/RESULTS.md. Ray and astroNN are not needed, GalSim only
for the mock survey. Nothing else should run on the machine.
"""

from __future__ import annotations

import datetime
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import torch
import tyro
from rich.console import Console

from trainable.config import Precision
from trainable.protocol import Init
from trainable.record import git_commit
from trainable.settings import Experiment

from . import report, scaling
from .machine import device_label, matrix_rate, versions
from .measure import Measure
from .timing import Reference, Say, fastest_workers, time_epochs, time_extraction, time_trials
from .workload import Workload

PROGRAM = "python -m benchmarks.bench"
What = Literal["frozen", "scratch", "paper", "as_run", "features", "growth"]


@dataclass(frozen=True, kw_only=True)
class Bench(Workload):
    """What is measured, and how often."""

    what: tuple[What, ...] = ("frozen", "scratch", "paper")
    """frozen: the paper's eight frozen trials with its numbers of epochs. scratch: an epoch from
    scratch. paper: all nine trials. as_run: an epoch of fine-tuning as the authors ran it.
    features: the frozen pass alone. growth: time and memory at 2,000 and 20,000 random images."""
    repeats: int = 5
    """Pairs of ours and the reference; the table has medians."""
    full: bool = False
    """Run all epochs of the reference's trials, not the first few."""
    reference_epochs: int = 2
    """Epochs of each of the reference's trials that are run; the rest is extrapolated."""
    reference_share: float = 1.0
    """Share of the images that an epoch of the reference visits; its time is scaled."""
    reference_precision: Precision = "fp32"
    """Of the reference."""
    reference: bool = True
    """Whether the reference runs at all."""
    workers: int | None = None
    """Processes that load the reference's images. None: the fastest of 0, 1, 2, 4, … cores."""
    results: Path | None = report.RESULTS
    """File to append to."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.repeats < 1 or self.reference_epochs < 1:
            raise ValueError("--repeats and --reference-epochs must be at least 1")
        if not 0 < self.reference_share <= 1:
            raise ValueError(f"--reference-share {self.reference_share:g}: must be in (0, 1]")


def experiments(bench: Bench, folder: Path) -> dict[str, tuple[Experiment, Init]]:
    """For each kind of training that is measured: its experiment and init."""
    paper = bench.prepare(folder)
    kinds: dict[str, tuple[Experiment, Init]] = {}
    if {"frozen", "paper"} & set(bench.what):
        kinds["head"] = paper, "pretrained"
    if {"scratch", "paper", "features"} & set(bench.what):
        kinds["all"] = paper, "scratch"
    if "as_run" in bench.what:
        kinds["as_run"] = bench.prepare(folder, "as_run"), "pretrained"
    return kinds


def make_reference(
    bench: Bench, kinds: dict[str, tuple[Experiment, Init]], say: Say
) -> Reference | None:
    """The reference with its workers chosen; None where it is not to run."""
    if not bench.reference:
        return None
    device, workers = torch.device(bench.device), {}
    for trained, (experiment, init) in kinds.items():
        workers[trained] = bench.workers
        if bench.workers is None:
            config = experiment.run_config(init, 1.0, 0)
            workers[trained] = fastest_workers(config, device, bench.reference_precision)
        say(f"reference, {trained} trained: {workers[trained]} workers")
    return Reference(
        device=device,
        precision=bench.reference_precision,
        epochs=None if bench.full else bench.reference_epochs,
        share=bench.reference_share,
        workers=workers,
    )


def measure(
    bench: Bench,
    kinds: dict[str, tuple[Experiment, Init]],
    reference: Reference | None,
    say: Say,
) -> list[Measure]:
    """All that is asked for, but growth."""
    common = {"device": torch.device(bench.device), "repeats": bench.repeats, "say": say}
    measures: list[Measure] = []
    for what, trained, name in (("scratch", "all", "(b) scratch"), ("as_run", "as_run", "as_run")):
        if what in bench.what:
            experiment, init = kinds[trained]
            measures += time_epochs(experiment, reference, init=init, name=name, **common)
    if "features" in bench.what:
        measures += time_extraction(kinds["all"][0], **common)
    if "head" in kinds:
        baseline = "paper" in bench.what
        measures += time_trials(kinds["head"][0], reference, baseline=baseline, **common)
    return sorted(measures, key=lambda m: m.name)


def facts(bench: Bench, reference: Reference | None, rate: float, command: str) -> dict[str, str]:
    """How it was measured, for the section of RESULTS.md."""
    random = f"random images of {bench.image_size} pixels"
    data = bench.data if bench.images is None else f"{bench.images:,} {random}"
    compiled = ", compiled" if bench.compile else ""
    lines = {
        "command": f"`{command}`",
        "commit": git_commit() or "unknown",
        "device": device_label(torch.device(bench.device)),
        "versions": f"{versions()}; {torch.get_num_threads()} threads of torch",
        "work": f"{bench.arch}, {bench.precision}{compiled}, {data}",
        "repeats": f"{bench.repeats}, of which medians",
        "the limit": f"{rate / 1e12:,.3g} TFLOP/s, the best of ten large {bench.precision} matrix "
        "products on this device",
    }
    if "growth" in bench.what:
        lines["growth"] = f"{random}; medians of the seconds, the highest peaks of the memory"
    if reference:
        epochs = "all epochs" if bench.full else f"{bench.reference_epochs} epochs of each trial"
        workers = ", ".join(f"{n} ({trained} trained)" for trained, n in reference.workers.items())
        lines["reference"] = (
            f"{reference.precision}; {epochs} run on {reference.share:.0%} of their images, the "
            f"rest extrapolated; loading processes: {workers}"
        )
    return lines


def run(bench: Bench, command: str, console: Console) -> None:
    """Measure, print, append."""
    rate = matrix_rate(torch.device(bench.device), bench.precision)
    say = partial(console.print, style="dim", highlight=False, soft_wrap=True)
    tables, reference = [], None
    with TemporaryDirectory() as folder:
        kinds = experiments(bench, Path(folder))
        if kinds:
            reference = make_reference(bench, kinds, say)
            rows = [report.cells(m, rate) for m in measure(bench, kinds, reference, say)]
            console.print(report.terminal_table(rows))
            tables.append(report.markdown_table(rows))
    if "growth" in bench.what:
        points = scaling.measure_growth(bench, scaling.COUNTS, bench.repeats)
        rows = [point.cells() for point in points]
        console.print(report.terminal_table(rows, scaling.COLUMNS))
        tables += [report.markdown_table(rows, scaling.COLUMNS), scaling.summary(points)]
        console.print(tables[-1], highlight=False, soft_wrap=True)
    described = facts(bench, reference, rate, command)
    for name, value in described.items():
        console.print(f"{name}: {value}", style="dim", highlight=False, soft_wrap=True)
    if bench.results:
        title = f"{datetime.date.today()}: {', '.join(bench.what)}"
        report.append_section(bench.results, title, described, tables)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    console = report.wide_console()
    try:
        bench = tyro.cli(Bench, args=arguments, prog=PROGRAM, description=__doc__)
        run(bench, shlex.join([*PROGRAM.split(), *arguments]), console)
    except ValueError as error:  # of the user's making: settings, data, weights
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
