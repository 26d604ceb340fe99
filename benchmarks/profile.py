"""Where the time of our training steps goes.

  python -m benchmarks.profile --init scratch

  python -m benchmarks.profile --images 2000 --init pretrained --protocol authors     on a GPU

First the phases, each between two waits for the device: they add up to more than a step whose parts
overlap, which is timed beside them. A head's closed form is one phase. Then the
operators that take longest, by torch's profiler. (Run it with ``-m``: as a script it would replace
the standard library's ``profile``.)
"""

from __future__ import annotations

import dataclasses
import math
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal
from unittest.mock import patch

import torch
from rich.console import Console
from torch.profiler import ProfilerActivity

from benchmarks.machine import synchronise
from benchmarks.report import terminal_table, wide_console
from benchmarks.workload import Workload, on_its_device
from trainable import run as engine
from trainable.command_line import parse
from trainable.config import TrainingConfig
from trainable.data import batches, pixels
from trainable.errors import EXIT_CODE, UserError
from trainable.forward_backward import use_determinism, use_precision
from trainable.protocol import Init
from trainable.run import TrainingRun

PROGRAM = "python -m benchmarks.profile"
COLUMNS = ("phase", "ms a step", "of the training", "calls")
FORWARD_BACKWARD = "forward and backward: all else"
VALIDATION, REST = "validation", "the rest: order, bookkeeping"
END = object()


@dataclass(frozen=True, kw_only=True)
class ProfileFlags:
    """Which run is profiled."""

    init: Init = "scratch"
    """scratch trains all layers; pretrained what the protocol trains."""
    protocol: Literal["paper", "authors"] = "paper"
    """paper trains the head of a pre-trained network, authors all but its encoder."""
    cache_features: bool = True
    """Whether a linear probe trains its head on cached features."""
    operators: int = 15
    """Lines of the table of operators."""


GROUPS = {"workload": Workload, "run": ProfileFlags}


@dataclass(frozen=True, kw_only=True)
class Profile(Workload, ProfileFlags):
    """What is profiled."""

    def config(self, folder: Path) -> TrainingConfig:
        """The run."""
        config = self.prepare(folder, self.protocol).training_config(self.init, 1.0, 0)
        return dataclasses.replace(config, max_epochs=4, cache_features=self.cache_features)


class Phases:
    """Seconds of each phase, without those of phases within it.

    Parameters
    ----------
    device
        Waited for before and after each phase.

    Attributes
    ----------
    seconds : dict of str to float
    calls : dict of str to int
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.calls: defaultdict[str, int] = defaultdict(int)
        self._open: list[str] = []
        self._inner: list[float] = []  # of each open phase: seconds spent in phases within it

    @contextmanager
    def phase(self, name: str) -> Generator[None]:
        """Time what is done within; the validation is one phase, whatever it does."""
        if VALIDATION in self._open:
            yield
            return
        synchronise(self.device)
        start = time.perf_counter()
        self._open.append(name)
        self._inner.append(0.0)
        try:
            yield
        finally:
            synchronise(self.device)
            seconds = time.perf_counter() - start
            self._open.pop()
            self.seconds[name] += seconds - self._inner.pop()
            self.calls[name] += 1
            if self._inner:
                self._inner[-1] += seconds

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function` as a phase."""

        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            with self.phase(name):
                return function(*args, **kwargs)

        return call

    def timed_steps(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """A generator function, each of whose steps is a phase."""

        @wraps(function)
        def generate(*args: Any, **kwargs: Any) -> Iterator[Any]:
            steps = function(*args, **kwargs)
            while True:
                with self.phase(name):
                    item = next(steps, END)
                if item is END:
                    return
                yield item

        return generate


def phases_of_an_epoch(run: TrainingRun) -> tuple[Phases, float]:
    """The phases of one epoch, and its seconds with all of them."""
    phases = Phases(run.device)
    patches: list[tuple[Any, str, Callable[..., Any]]] = [
        (batches.Rows, "batches", phases.timed_steps("gather", batches.Rows.batches)),
        (pixels.Normaliser, "__call__", phases.timed("normalise", pixels.Normaliser.__call__)),
        (run, "forward_backward", phases.timed(FORWARD_BACKWARD, run.forward_backward)),
        (torch.autograd, "backward", phases.timed("backward", torch.autograd.backward)),
        (run.model, "forward", phases.timed("forward", run.model.forward)),
        (run.optimiser, "step", phases.timed("optimiser", run.optimiser.step)),
        (engine, "predict", phases.timed(VALIDATION, engine.predict)),
    ]
    with ExitStack() as stack:
        for place, name, replacement in patches:
            stack.enter_context(patch.object(place, name, replacement))
        synchronise(run.device)
        start = time.perf_counter()
        run.step_epoch()
        synchronise(run.device)
    return phases, time.perf_counter() - start


def phase_rows(phases: Phases, whole: float, steps: int) -> list[tuple[str, ...]]:
    """A row for each phase and one for the rest of the epoch."""
    seconds = dict(phases.seconds) | {REST: whole - sum(phases.seconds.values())}
    training = whole - phases.seconds[VALIDATION]
    rows = [
        (name, f"{1e3 * value / steps:,.3f}", f"{value / training:.1%}", f"{phases.calls[name]:,}")
        for name, value in seconds.items()
        if name != VALIDATION
    ]
    return [*rows, (VALIDATION, f"{1e3 * phases.seconds[VALIDATION] / steps:,.3f}", "", "")]


def operators_of_an_epoch(run: TrainingRun, limit: int) -> str:
    """Torch's table of the operators that take longest."""
    activities = [ProfilerActivity.CPU]
    if run.device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as profiler:
        run.step_epoch()
    order = f"self_{run.device.type}_time_total"
    return profiler.key_averages().table(sort_by=order, row_limit=limit, max_name_column_width=40)


def show(profile: Profile, console: Console) -> None:
    """Run four epochs: one to warm up, one timed whole, one in phases, one by operator."""
    with TemporaryDirectory() as folder:
        use_precision(profile.suited_precision)
        use_determinism(profile.deterministic, str(profile.torch_device))
        run = TrainingRun(profile.config(Path(folder)), device=profile.torch_device)
        run.step_epoch()
        row = run.step_epoch()
        steps = math.ceil(row["n_train"] / run.config.batch_size)
        milliseconds = 1e3 * row["n_train"] / row["images_per_second"] / steps
        phases, whole = phases_of_an_epoch(run)
        console.print(
            f"{run.config.trained} trained, {steps} steps an epoch: {milliseconds:.3f} ms each, "
            f"{row['images_per_second']:,.0f} images/s",
            highlight=False,
            soft_wrap=True,
        )
        console.print(terminal_table(phase_rows(phases, whole, steps), COLUMNS))
        table = operators_of_an_epoch(run, profile.operators)
        console.print(table, highlight=False, soft_wrap=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    try:
        profile = parse(
            Profile,
            GROUPS,
            arguments,
            prog=PROGRAM,
            description="Where the time of our training steps goes.",
        )
        show(on_its_device(profile), wide_console())
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_CODE
    return 0


if __name__ == "__main__":
    sys.exit(main())
