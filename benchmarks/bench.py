"""Our runs against the paper's way of training, in turn, in one run.

  python -m benchmarks.bench     `make bench`

measures the GPU if there is one, with ViT-B/16 on as many random images as the paper's, else the CPU,
with a small ViT on the mock survey.

(a) is the paper's eight frozen trials with its numbers of epochs: cold from empty caches of images
and features, warm with both there; heads train together, as in a sweep on one CPU or GPU. (b) is an
epoch from scratch; (c) all nine trials, cold.

Prints a table and appends it to benchmarks/RESULTS.md. The rate of (b) is kept in the user's cache,
where ``python -m sweep.run --dry-run`` finds it. Ray and astroNN are not needed, GalSim only
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
from rich.console import Console

from benchmarks import report, scaling
from benchmarks.machine import matrix_rate, versions
from benchmarks.measure import Measure
from benchmarks.timing import (
    Reference,
    Say,
    fastest_workers,
    time_epochs,
    time_extraction,
    time_trials,
)
from benchmarks.workload import Workload, on_its_device
from trainable import measured_rates
from trainable.command_line import parse
from trainable.config import Precision
from trainable.devices import device_label
from trainable.errors import EXIT_CODE, SettingsError, UserError
from trainable.forward_backward import use_determinism, use_precision
from trainable.measured_rates import Rate
from trainable.prepare import Prepared
from trainable.protocol import Init
from trainable.provenance import git_commit

PROGRAM = "python -m benchmarks.bench"
DESCRIPTION = (
    "Our runs against the paper's way of training, in turn. (a) The paper's eight frozen trials with "
    "its numbers of epochs, cold and warm; (b) an epoch from scratch; (c) all nine trials."
)
SCRATCH = "(b) scratch"
SHARE_ON_GPU = 0.05
"""Of ViT-B/16 in fp32, which the paper's way of training is, all images would take hours."""
What = Literal["frozen", "scratch", "paper", "authors", "features", "growth"]


@dataclass(frozen=True, kw_only=True)
class MeasureFlags:
    """What is measured, and how often."""

    what: tuple[What, ...] = ("frozen", "scratch", "paper")
    """Measurements: see (a) to (c); authors: an epoch; features: the frozen pass; growth: scaling."""
    repeats: int = 5
    """Pairs of ours and the reference; the table has medians."""
    results: Path | None = report.RESULTS
    """File to append to."""


@dataclass(frozen=True, kw_only=True)
class ReferenceFlags:
    """How the paper's way of training is run."""

    reference: bool = True
    """Whether the reference runs at all."""
    reference_epochs: int = 2
    """Epochs of each of the reference's trials that are run; the rest is extrapolated."""
    full: bool = False
    """Run all epochs of the reference's trials, not the first few."""
    reference_share: float | None = None
    """Share of the images that an epoch of the reference visits. None: all, on a GPU a twentieth."""
    reference_precision: Precision = "fp32"
    """Precision of the reference."""
    workers: int | None = None
    """Processes that load the reference's images. None: the fastest of 0, 1, 2, 4, … cores."""


GROUPS = {"workload": Workload, "measurement": MeasureFlags, "reference": ReferenceFlags}


@dataclass(frozen=True, kw_only=True)
class Bench(Workload, MeasureFlags, ReferenceFlags):
    """All flags of ``python -m benchmarks.bench``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.repeats < 1 or self.reference_epochs < 1:
            raise SettingsError("--repeats and --reference-epochs must be at least 1")
        if self.reference_share is not None and not 0 < self.reference_share <= 1:
            raise SettingsError(f"--reference-share {self.reference_share:g}: must be in (0, 1]")


def experiments(bench: Bench, folder: Path) -> dict[str, tuple[Prepared, Init]]:
    """For each kind of training that is measured: its experiment and init."""
    paper = bench.prepare(folder)
    kinds: dict[str, tuple[Prepared, Init]] = {}
    if {"frozen", "paper"} & set(bench.what):
        kinds["head"] = paper, "pretrained"
    if {"scratch", "paper", "features"} & set(bench.what):
        kinds["all"] = paper, "scratch"
    if "authors" in bench.what:
        kinds["non_encoder"] = bench.prepare(folder, "authors"), "pretrained"
    return kinds


def make_reference(
    bench: Bench, kinds: dict[str, tuple[Prepared, Init]], say: Say
) -> Reference | None:
    """The reference with its workers chosen; None if it is not to run."""
    if not bench.reference:
        return None
    device = bench.torch_device
    workers: dict[str, int] = {}
    for trained, (experiment, init) in kinds.items():
        if bench.workers is None:
            config = experiment.training_config(init, 1.0, 0)
            workers[trained] = fastest_workers(config, device, bench.reference_precision)
        else:
            workers[trained] = bench.workers
        say(f"reference, {trained} trained: {workers[trained]} workers")
    return Reference(
        device=device,
        precision=bench.reference_precision,
        epochs=None if bench.full else bench.reference_epochs,
        share=bench.reference_share or (SHARE_ON_GPU if bench.gpus else 1.0),
        workers=workers,
    )


def measure(
    bench: Bench,
    kinds: dict[str, tuple[Prepared, Init]],
    reference: Reference | None,
    say: Say,
) -> list[Measure]:
    """All that is asked for, but growth."""
    device, repeats = bench.torch_device, bench.repeats
    measures: list[Measure] = []
    for what, trained, name in (
        ("scratch", "all", SCRATCH),
        ("authors", "non_encoder", "authors"),
    ):
        if what in bench.what:
            experiment, init = kinds[trained]
            measures += time_epochs(
                experiment,
                reference,
                init=init,
                name=name,
                device=device,
                repeats=repeats,
                say=say,
            )
    if "features" in bench.what:
        measures += time_extraction(kinds["all"][0], device=device, repeats=repeats, say=say)
    if "head" in kinds:
        measures += time_trials(
            kinds["head"][0],
            reference,
            baseline="paper" in bench.what,
            device=device,
            repeats=repeats,
            say=say,
        )
    return sorted(measures, key=lambda m: m.name)


def facts(bench: Bench, reference: Reference | None, rate: float, command: str) -> dict[str, str]:
    """How it was measured, for the section of RESULTS.md."""
    random = f"random images of {bench.image_size} pixels"
    data = bench.data if bench.images is None else f"{bench.images:,} {random}"
    compiled = ", compiled" if bench.compile == "on" else ""
    compiled += ", deterministic" if bench.deterministic else ""
    lines = {
        "command": f"`{command}`",
        "commit": git_commit() or "unknown",
        "device": device_label(bench.torch_device),
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


def measured(bench: Bench, measures: Sequence[Measure]) -> list[Rate]:
    """The rate of training the network as a whole, if it was measured."""
    assert bench.arch is not None
    return [
        Rate(
            device=device_label(bench.torch_device),
            on_gpu=bool(bench.gpus),
            arch=bench.arch,
            precision=bench.suited_precision + (", compiled" if bench.compile == "on" else ""),
            tflops=measure.flops_per_second / 1e12,
            date=str(datetime.date.today()),
        )
        for measure in measures
        if measure.name == f"{SCRATCH} epoch" and measure.flops_per_second
    ]


def run(bench: Bench, command: str, console: Console) -> None:
    """Measure, print, append."""
    use_determinism(bench.deterministic, str(bench.torch_device))
    use_precision(bench.suited_precision)
    say = partial(console.print, style="dim", highlight=False, soft_wrap=True)
    tables: list[str] = []
    measures: list[Measure] = []
    reference = None
    with TemporaryDirectory() as folder:
        kinds = experiments(bench, Path(folder))  # first: it tells what the user did wrong
        rate = matrix_rate(bench.torch_device, bench.suited_precision)
        if kinds:
            reference = make_reference(bench, kinds, say)
            measures = measure(bench, kinds, reference, say)
            rows = [report.cells(m, rate) for m in measures]
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
    for found in measured(bench, measures):
        measured_rates.keep(found)
        say(f"kept for --dry-run: {found.text}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    console = report.wide_console()
    try:
        bench = parse(Bench, GROUPS, arguments, prog=PROGRAM, description=DESCRIPTION)
        run(on_its_device(bench), shlex.join([*PROGRAM.split(), *arguments]), console)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_CODE
    return 0


if __name__ == "__main__":
    sys.exit(main())
