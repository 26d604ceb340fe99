"""Does a pre-trained Vision Transformer beat training from scratch, and from how many labels on?

Runs {scratch, pretrained} × fractions of the training images as one Ray Tune sweep:

  python -m sweep.run --gpus 1 --preset paper   the paper's nine trials, on one GPU

  python -m sweep.run --preset demo             minutes on a CPU, nothing to fetch

  python -m sweep.run --resume NAME             go on after an interruption

then ``python -m analysis.report ray_results/NAME`` draws the figures and gives the answer.
"""

from __future__ import annotations

import dataclasses
import errno
import shlex
import signal
import sys
from collections.abc import Sequence

import ray
import tyro
from rich.console import Console
from rich.progress import Progress

from . import launch
from .manifest import Manifest
from .plan import plan
from .space import PRESETS, Preset, SweepConfig
from .storage import Folder

PROGRAM = "python -m sweep.run"
USER_ERROR, INCOMPLETE, INTERRUPTED = 2, 1, 130  # 130: what a shell reports after SIGINT


@dataclasses.dataclass(frozen=True)
class _Start:
    """The flags that decide what the others default to."""

    preset: Preset = "grid"
    resume: str | None = None
    storage_path: str = SweepConfig.storage_path


def parse(arguments: Sequence[str]) -> tuple[SweepConfig, Folder | None]:
    """The configuration, and the folder of the sweep to go on with, if any.

    Flags override the preset, or the settings of the sweep that is resumed.
    """
    start, _ = tyro.cli(_Start, args=arguments, return_unknown_args=True, add_help=False)
    folder, default = None, PRESETS[start.preset]
    if start.resume:
        folder = Folder(start.storage_path).child(start.resume)
        if "/" in start.resume or not folder.exists():
            folder = Folder(start.resume)
        default = dataclasses.replace(
            Manifest.load(folder).sweep_config(), dry_run=False, replace=False
        )
    config = tyro.cli(
        SweepConfig, args=arguments, default=default, prog=PROGRAM, description=__doc__
    )
    return config, folder


def finish(outcome: launch.Outcome, sweep: launch.Sweep, console: Console) -> int:
    """Say how it ended and what to type next; the exit code."""
    name, storage = sweep.manifest.name, sweep.config.storage_path
    console.print(f"\n{len(outcome.finished)} of {len(sweep.manifest.cells)} trials finished")
    for cell, error in outcome.failed.items():
        console.print(f"failed: {cell}: {error}", style="red", markup=False, soft_wrap=True)
    if outcome.failed:
        console.print("each failed trial's folder has the traceback in its error.txt")
    if outcome.finished:
        folder = shlex.quote(f"{storage.rstrip('/')}/{name}")
        show_command(
            console, "figures, tables and the answer", f"python -m analysis.report {folder}"
        )
    if outcome.failed or outcome.unfinished:
        show_resume(sweep, console)
    if outcome.unfinished:
        return INTERRUPTED
    return INCOMPLETE if outcome.failed else 0


def show_resume(sweep: launch.Sweep, console: Console) -> None:
    """The command that goes on with the sweep, as the last line."""
    name, storage = sweep.manifest.name, sweep.config.storage_path
    where = "" if storage == SweepConfig.storage_path else f" --storage-path {shlex.quote(storage)}"
    show_command(
        console, "to go on where it stopped", f"{PROGRAM} --resume {shlex.quote(name)}{where}"
    )


def show_command(console: Console, label: str, command: str) -> None:
    """What to type, on a line of its own that can be copied."""
    console.print(f"{label}:\n  {command}", highlight=False, markup=False, soft_wrap=True)


def prepare(arguments: list[str], console: Console) -> launch.Sweep | None:
    """All that comes before Ray; None after ``--dry-run``. `ValueError` is the user's to mend."""
    config, resumed = parse(arguments)
    command = shlex.join([*PROGRAM.split(), *arguments])
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("preparing data and weights", total=None)

        def show(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        sweep = launch.lay_out(config, resumed, command, show)
        if not config.dry_run:
            progress.update(task, description="preprocessing images")
            launch.build_caches(sweep, show)
            return sweep
    console.print(plan(sweep.manifest, config.tflops))
    return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    console = Console()
    try:
        sweep = prepare(arguments, console)
        if sweep is None:
            return 0
        launch.start(sweep, lambda message: console.print(message, soft_wrap=True))
        # what a batch system or a container sends is as good as Ctrl-C
        signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        print("interrupted before any trial had started", file=sys.stderr)
        return INTERRUPTED
    try:
        code = finish(launch.execute(sweep), sweep, console)
        ray.shutdown()
    except KeyboardInterrupt:  # Tune took the first one and saved its state; this is a second
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ray still has to stop its processes
        show_resume(sweep, console)
        return INTERRUPTED
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        print(f"error: no space left for {sweep.folder}: {error}", file=sys.stderr)
        show_resume(sweep, console)
        return INCOMPLETE
    return code


if __name__ == "__main__":
    sys.exit(main())
