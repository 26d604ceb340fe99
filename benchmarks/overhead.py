"""How much of a sweep is not training.

  python -m benchmarks.overhead              demo grid with more seeds; minutes
  python -m benchmarks.overhead --sweep="--gpus 1 --preset paper" --slots 1

Runs `python -m sweep.run` as a user does and compares the time that its trials spent in epochs with
what the machine had: slots times the wall time from the command to its end. All else is not training:
scoring on the test set, which has a column of its own, and overhead: imports, Ray, preprocessing and
features, checkpoints, slots that are idle because no trial is left.
The data are there when it starts; preprocessed images and features are not.

Prints a table and appends it to benchmarks/RESULTS.md. Nothing else should run on the machine.
"""

from __future__ import annotations

import datetime
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import report
from benchmarks.machine import versions
from trainable.command_line import parse
from trainable.devices import choose_device, device_label
from trainable.errors import EXIT_CODE, SettingsError, UserError
from trainable.machine import usable_cpus
from trainable.provenance import git_commit

PROGRAM = "python -m benchmarks.overhead"
COLUMNS = (
    *("", "trials", "epochs", "wall, s", "training per slot, s", "scoring per slot, s"),
    *("not training", "neither"),
)


@dataclass(frozen=True, kw_only=True)
class Overhead:
    """Which sweep, and how often."""

    sweep: str = "--preset demo --seeds 0 1 2 3 4 5 6 7"
    """Flags of `python -m sweep.run`, in one string."""
    slots: int = usable_cpus()
    """Trials that may run at once."""
    repeats: int = 1
    """Sweeps, one after the other, each from nothing."""
    results: Path | None = report.RESULTS
    """File to append to."""

    def __post_init__(self) -> None:
        if self.slots < 1 or self.repeats < 1:
            raise SettingsError("--slots and --repeats must be at least 1")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One sweep."""

    trials: int
    epochs: int
    trained: float
    """Seconds in epochs, over all trials."""
    scored: float
    """Seconds in scoring the test set, over all trials."""
    wall: float
    slots: int

    @property
    def share(self) -> float:
        """The share of the slots' time that was not training."""
        return 1 - self.trained / (self.slots * self.wall)

    @property
    def overhead(self) -> float:
        """The share of the slots' time that was neither training nor scoring."""
        return self.share - self.scored / (self.slots * self.wall)

    def cells(self, name: str) -> tuple[str, ...]:
        """One row of the table."""
        seconds = (self.wall, self.trained / self.slots, self.scored / self.slots)
        shares = (f"{self.share:.1%}", f"{self.overhead:.1%}")
        return name, str(self.trials), f"{self.epochs:,}", *(f"{s:,.0f}" for s in seconds), *shares


def epochs_of_trials(sweep: Path) -> list[list[dict[str, float]]]:
    """The rows of each trial's epochs, from its last checkpoint."""
    trials = sorted({path.parent for path in sweep.glob("run-*/*/checkpoint_*")})
    last = [max(trial.glob("checkpoint_*")) / "epochs.json" for trial in trials]
    return [json.loads(path.read_text()) for path in last]


def measure(flags: Sequence[str], slots: int) -> Measured:
    """Run a sweep in a folder of its own, its caches too, on data that a dry run has fetched.

    Raises
    ------
    SettingsError
        The sweep's flags have a mistake that its user can mend; with its message.
    RuntimeError
        The sweep failed; with the end of its output.
    """
    with TemporaryDirectory() as folder:
        own = ("--storage-path", folder, "--name", "sweep")
        environment = os.environ | {"SWEEP_CACHE_DIR": f"{folder}/cache"}
        command = [sys.executable, "-m", "sweep.run", *flags, *own]
        _run([*command, "--dry-run"], environment)
        start = time.perf_counter()
        _run(command, environment)
        wall = time.perf_counter() - start
        trials = epochs_of_trials(Path(folder) / "sweep")
    rows = [row for trial in trials for row in trial]
    return Measured(
        trials=len(trials),
        epochs=len(rows),
        trained=sum(row["epoch_seconds"] for row in rows),
        scored=sum(row.get("test_seconds", 0) for row in rows),
        wall=wall,
        slots=slots,
    )


def _run(command: list[str], environment: dict[str, str]) -> None:
    process = subprocess.run(command, env=environment, capture_output=True, text=True)
    if process.returncode == EXIT_CODE:
        raise SettingsError(process.stderr.strip().removeprefix("error: "))
    if process.returncode:
        said = (process.stdout + process.stderr)[-2000:]
        raise RuntimeError(f"{shlex.join(command)} ended with {process.returncode}:\n{said}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        overhead = parse(
            Overhead,
            {"measurement": Overhead},
            arguments,
            prog=PROGRAM,
            description="How much of a sweep is not training.",
        )
        flags = shlex.split(overhead.sweep)
        found = [measure(flags, overhead.slots) for _ in range(overhead.repeats)]
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_CODE
    rows = [one.cells(f"sweep {number}") for number, one in enumerate(found, 1)]
    report.wide_console().print(report.terminal_table(rows, COLUMNS))
    if overhead.results:
        facts = {
            "command": f"`{shlex.join([*PROGRAM.split(), *arguments])}`",
            "commit": git_commit() or "unknown",
            "device": device_label(choose_device(None)),
            "versions": versions(),
            "the sweep": f"`python -m sweep.run {overhead.sweep}`, {overhead.slots} trials at once",
        }
        title = f"{datetime.date.today()}: what of a sweep is not training"
        report.append_section(
            overhead.results, title, facts, [report.markdown_table(rows, COLUMNS)]
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
