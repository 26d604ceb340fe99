"""Does a pre-trained ViT beat training from scratch, and from how many labels on? A sweep tells.

Runs {scratch, pretrained} × fractions of the training images as one Ray Tune sweep:

  python -m sweep.run --gpus 1 --preset paper   the paper's nine trials, on one GPU

  python -m sweep.run --preset demo             minutes on a CPU, nothing to fetch

  python -m sweep.run --resume NAME             resume after an interruption

then  python -m analysis.report ray_results/NAME  draws the figures and gives the answer.
"""

from __future__ import annotations

import dataclasses
import errno
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import tyro
from rich.console import Console
from rich.progress import Progress

from sweep.grid import GROUPS, PRESETS, Preset, SweepConfig
from trainable.command_line import parse as parse_flags
from trainable.errors import EXIT_CODE, SweepError, UserError

if TYPE_CHECKING:  # torch and Ray: --help answers without them
    from sweep.orchestrate import Outcome, Sweep
    from sweep.storage import Folder

PROGRAM = "python -m sweep.run"
STDOUT, STDERR = 1, 2  # descriptors
WIDE = 160
"""Characters of a line of the plan if the output is not a terminal."""
INCOMPLETE, INTERRUPTED = 1, 130  # 130: what a shell reports after SIGINT


@dataclasses.dataclass(frozen=True)
class _Start:
    """The flags that decide what the others default to."""

    preset: Preset = "grid"
    resume: str | None = None
    storage_path: str = SweepConfig.storage_path
    fractions: tuple[float, ...] | None = None
    budgets: tuple[int, ...] | None = None


def parse(arguments: Sequence[str]) -> tuple[SweepConfig, Folder | None]:
    """The configuration, and the folder of the sweep to resume, if any.

    Flags override the preset, or the settings of the sweep that is resumed.
    """
    start, _ = tyro.cli(_Start, args=arguments, return_unknown_args=True, add_help=False)
    folder, default = None, PRESETS[start.preset]
    if start.preset == "demo" and (start.fractions or start.budgets):
        # its fewer budgets for scratch are of its own ones, and only for the sake of time
        default = dataclasses.replace(default, scratch_fractions=None)
    if start.resume and not {"-h", "--help"} & set(arguments):
        folder, default = find_sweep(start.resume, start.storage_path)
    config = parse_flags(
        SweepConfig, GROUPS, arguments, prog=PROGRAM, description=__doc__ or "", default=default
    )
    return config, folder


def find_sweep(name_or_path: str, storage_path: str) -> tuple[Folder, SweepConfig]:
    """The folder of a sweep that is there, and its settings as defaults for resuming it."""
    from sweep.orchestrate import read_manifest
    from sweep.storage import Folder

    folder = Folder(storage_path).child(name_or_path)
    if "/" in name_or_path:
        folder = Folder(name_or_path)
    elif not folder.exists():
        elsewhere = Folder(name_or_path)
        if not elsewhere.exists():
            raise SweepError(
                f"there is no sweep {name_or_path!r}, neither {folder} nor {elsewhere}; give the "
                "name of a folder in --storage-path, or a path"
            )
        folder = elsewhere
    earlier = SweepConfig.from_settings(read_manifest(folder).settings)
    # where it is now: it may have been moved
    parent = folder.location.rstrip("/").rpartition("/")[0]
    default = dataclasses.replace(
        earlier, storage_path=parent, dry_run=False, pilot=None, replace=False, resume=None
    )
    return folder, default


def finish(outcome: Outcome, sweep: Sweep, console: Console) -> int:
    """Say how it ended and what to type next; the exit code."""
    console.print(f"\n{len(outcome.finished)} of {len(sweep.manifest.cells)} trials finished")
    for cell, error in outcome.failed.items():
        console.print(f"failed: {cell}: {error}", style="red", markup=False, soft_wrap=True)
    if outcome.failed:
        console.print("each failed trial's folder has the traceback in its error.txt")
    if outcome.finished:
        report = f"python -m analysis.report {shlex.quote(as_typed(sweep.folder.location))}"
        show_command(console, "figures, tables and the answer", report)
    if outcome.failed or outcome.unfinished:
        show_command(console, RESUME_LABEL, resume_command(sweep))
    if outcome.failed:
        return INCOMPLETE
    return INTERRUPTED if outcome.unfinished else 0


RESUME_LABEL = "to resume where it stopped"


def resume_command(sweep: Sweep) -> str:
    """The command that resumes a sweep."""
    storage, _, name = sweep.folder.location.rstrip("/").rpartition("/")
    elsewhere = storage != str(Path(SweepConfig.storage_path).absolute())
    where = f" --storage-path {shlex.quote(storage)}" if elsewhere else ""
    return f"{PROGRAM} --resume {shlex.quote(name)}{where}"


def as_typed(location: str) -> str:
    """A path relative to this folder if it is below it; others and URIs as they are."""
    here = Path.cwd()
    return (
        str(Path(location).relative_to(here)) if Path(location).is_relative_to(here) else location
    )


def show_command(console: Console, label: str, command: str) -> None:
    """What to type, on a line of its own that can be copied."""
    console.print(f"{label}:\n  {command}", highlight=False, markup=False, soft_wrap=True)


def prepare(arguments: list[str], console: Console) -> tuple[Sweep | None, int]:
    """All that comes before Ray, and no sweep but an exit code after ``--dry-run``.

    Raises
    ------
    UserError
        What the user has to mend.
    """
    config, resumed = parse(arguments)
    if config.list_archs is not None:
        from trainable.models.catalogue import listing

        print(listing(config.list_archs, config.cache_dir))
        return None, 0
    from sweep import orchestrate
    from sweep.dry_run import measured_rate, plan
    from sweep.power_table import power_table, read_pilot

    pilot = read_pilot(config.pilot) if config.pilot else None
    command = shlex.join([*PROGRAM.split(), *arguments])
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("preparing data and weights", total=None)

        def show(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        def say(message: str) -> None:
            console.print(message, soft_wrap=True, markup=False)

        sweep = orchestrate.lay_out(config, resumed, command, show, say)
        if config.until_decided:
            from sweep.rounds import require_all_seeds

            require_all_seeds(sweep)
        for note in sweep.prepared.notes:
            say(note)
        if not config.dry_run:
            progress.update(task, description="preprocessing images")
            orchestrate.build_caches(sweep, show)
            return sweep, 0
    here = sweep.prepared.survey.path.exists()
    if not console.is_terminal:
        console = Console(width=WIDE)
    console.print(
        plan(
            sweep.manifest,
            config.tflops,
            sweep.cannot_run,
            file_is_here=here,
            measured=measured_rate(config),
        )
    )
    power = power_table(sweep.manifest, config.detect, pilot)
    if power is not None:
        console.print(power)
    return None, EXIT_CODE if sweep.cannot_run else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    from sweep.signals import EndOnSignal

    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if "SWEEP_CACHE_DIR" in os.environ:  # trials run in folders of their own
        os.environ["SWEEP_CACHE_DIR"] = str(Path(os.environ["SWEEP_CACHE_DIR"]).absolute())
    before = "interrupted before any trial had started"
    with EndOnSignal(INTERRUPTED, (STDERR, f"{before}\n")) as ending:
        console = Console()
        try:
            sweep, code = prepare(arguments, console)
            if sweep is None:
                return code
            from sweep import orchestrate

            def say(message: str) -> None:
                console.print(message, soft_wrap=True, markup=False)

            sweep = orchestrate.start(sweep, say)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            return EXIT_CODE
        except KeyboardInterrupt:
            print(before, file=sys.stderr)
            return INTERRUPTED
        words = f"\n{RESUME_LABEL}:\n  {resume_command(sweep)}\n"
        ending.last_words = (STDOUT, words)
        return run(sweep, console)


def run(sweep: Sweep, console: Console) -> int:
    """Run the trials of a sweep that Ray has been started for; the exit code."""
    import ray

    from sweep import orchestrate

    def say(message: str) -> None:
        console.print(message, soft_wrap=True, markup=False)

    show_command(console, "if it is interrupted, whatever by, it resumes by", resume_command(sweep))
    try:
        if sweep.config.until_decided:
            from sweep import rounds

            outcome, sweep = rounds.execute(sweep, say)
        else:
            outcome = orchestrate.execute(sweep, say)
        code = finish(outcome, sweep, console)
        ray.shutdown()
    except KeyboardInterrupt:  # Tune took the first one and saved its state; this is a second
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ray still has to stop its processes
        show_command(console, RESUME_LABEL, resume_command(sweep))
        return INTERRUPTED
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        print(f"error: no space left for {sweep.folder}: {error}", file=sys.stderr)
        show_command(console, RESUME_LABEL, resume_command(sweep))
        return INCOMPLETE
    return code


if __name__ == "__main__":
    sys.exit(main())
