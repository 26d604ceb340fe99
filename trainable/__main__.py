"""``python -m trainable``: one training run without Ray, with the files a sweep's trial writes."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainable.command_line import parse
from trainable.config import (
    MAX_SEED,
    DataFlags,
    ModelFlags,
    Settings,
    SourceFlags,
    TrainingConfig,
    TrainingFlags,
)
from trainable.errors import EXIT_CODE, INCOMPLETE, SettingsError, TrainingError, UserError
from trainable.files import write_atomically
from trainable.protocol import Init

# What needs torch is imported where it is used, so that --help and a wrong flag take no seconds.
if TYPE_CHECKING:
    from trainable.run import Run

PROGRAM = "python -m trainable"
DESCRIPTION = "One training run without Ray, with the files that a sweep's trial writes."


@dataclass(frozen=True, kw_only=True)
class RunFlags:
    """Which run, where it trains and where it writes."""

    init: Init = "pretrained"
    """scratch or pretrained."""
    fraction: float = 1.0
    """Label budget as a share of the pool (--split budget) or of the training images, in (0, 1]."""
    seed: int = 0
    """Seed of the initialisation and the batch order."""
    device: str | None = None
    """Device of torch, e.g. cpu or cuda:1. None: cuda if there is one."""
    out: Path = Path("ray_results/single")
    """Folder to write; refused if it holds a run, unless --resume."""
    resume: bool = False
    """Resume from the checkpoint in --out."""


@dataclass(frozen=True, kw_only=True)
class SingleRun(Settings, RunFlags):
    """All flags of ``python -m trainable``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.fraction <= 1:
            raise SettingsError(f"--fraction {self.fraction:g}: must be in (0, 1]; 40% is 0.4")
        if len(self.variants) > 1:
            raise SettingsError(
                f"--trained {' '.join(self.trained or ())}: a single run trains one of them; a sweep "
                "(python -m sweep.run) compares several"
            )
        if len(self.archs) > 1:
            raise SettingsError(
                f"--arch {' '.join(self.archs)}: a single run trains one of them; a sweep "
                "(python -m sweep.run) compares several"
            )
        if not 0 <= self.seed <= MAX_SEED:
            raise SettingsError(f"--seed {self.seed}: must be from 0 to 2**32 - 1")


GROUPS = {
    "data": DataFlags,
    "images": SourceFlags,
    "model": ModelFlags,
    "training": TrainingFlags,
    "run": RunFlags,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments
        None: those of the process.

    Returns
    -------
    int
        Exit code: 0 if the run is complete, 1 if it ended early, 2 if the user has something to
        mend, 130 if it was interrupted.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    single = None
    try:
        single = parse(SingleRun, GROUPS, arguments, prog=PROGRAM, description=DESCRIPTION)
        run = train(single)
    except TrainingError as error:
        print(f"error: {error}", file=sys.stderr)
        return INCOMPLETE
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_CODE
    except KeyboardInterrupt:
        print(how_to_continue(single, arguments))
        return 130
    assert run.best is not None, "a run has at least one epoch"
    tested = run.history[-1].get("test_accuracy")
    print(
        ("" if tested is None else f"test accuracy {tested:.4f}; ")
        + f"best val. accuracy {run.best['val_accuracy']:.4f} at epoch {run.best['epoch']} of "
        f"{run.epoch}; results in {single.out}"
    )
    return 0


def how_to_continue(single: SingleRun | None, arguments: Sequence[str]) -> str:
    """The command that takes up an interrupted run."""
    same = [argument for argument in arguments if argument != "--resume"]
    if single is None or not (single.out / "params.json").exists():
        return f"nothing is trained yet; to start again:\n  {PROGRAM} {shlex.join(same)}"
    return f"to resume:\n  {PROGRAM} {shlex.join(same)} --resume"


def train(single: SingleRun) -> Run:
    """Run to the end, writing results and a checkpoint after each epoch."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    from trainable import checkpoint
    from trainable.devices import choose_device, gpus_behind
    from trainable.forward_backward import use_determinism, use_precision
    from trainable.make_run import make_run
    from trainable.prepare import prepare

    use_determinism(single.deterministic, single.device or choose_device(None).type)
    device = choose_device(single.device)
    folder = single.out / "checkpoint"
    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        task = progress.add_task("preparing images", total=None)

        def show(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        prepared = prepare(single, show, gpus_behind(device))
        for note in prepared.notes:
            console.print(note, highlight=False, markup=False, soft_wrap=True)
        config = prepared.training_config(single.init, single.fraction, single.seed)
        check_folder(single, config)
        use_precision(config.precision)
        run = make_run(config, device=device, progress=show, preparing=show)
        writer = checkpoint.Writer(checkpoint.record(run))
        if single.resume:
            checkpoint.load(run, folder)
        while not run.finished:
            progress.update(task, description=f"epoch {run.epoch + 1}/{config.max_epochs}")
            row = run.step_epoch()
            writer.save(run, folder)
            write_results(run, single.out)
            console.print(
                "epoch {epoch:3d}  val. accuracy {val_accuracy:.4f}  val. loss {val_loss:.4f}  "
                "counter {counter}/{patience}  {images_per_second:.0f} images/s".format(**row)
            )
    return run


def write_results(run: Run, out: Path) -> None:
    """Write ``progress.csv``, ``result.json`` and ``params.json``, as Ray Tune does."""
    import pandas as pd

    from trainable.checkpoint import disk_errors

    rows = [row | {"training_iteration": row["epoch"]} for row in run.history]
    contents = {
        "progress.csv": pd.DataFrame(rows).to_csv(index=False),
        "result.json": "".join(f"{json.dumps(row)}\n" for row in rows),
        "params.json": json.dumps({"run": run.config.to_dict()}, indent=1),
    }
    for name, content in contents.items():
        with disk_errors(out / name):
            write_atomically(out / name, content)


def check_folder(single: SingleRun, config: TrainingConfig) -> None:
    """Make sure that ``--out`` and ``--resume`` fit together and to the other flags.

    Raises
    ------
    SettingsError
        They do not. Data that has moved, with the same checksum, is the same data.
    """
    earlier = single.out / "params.json"
    if not earlier.exists():
        if single.resume:
            raise SettingsError(f"--out {single.out} does not hold a run to --resume")
        return
    if not single.resume:
        raise SettingsError(
            f"--out {single.out} holds a run: --resume it, or choose another folder"
        )
    kept = json.loads(earlier.read_text())["run"]
    try:
        was = TrainingConfig.from_dict(kept)
    except (KeyError, TypeError) as error:
        raise SettingsError(
            f"{earlier} is not of this version ({error}): choose another --out"
        ) from error
    before, now = _comparable(was), _comparable(config)
    if differing := [
        f"{key} was {before[key]}, is now {now[key]}" for key in now if before[key] != now[key]
    ]:
        raise SettingsError(f"--resume with other settings: {'; '.join(differing)}")


def _comparable(config: TrainingConfig) -> dict[str, Any]:
    """All settings but the places of data and cache on this machine."""
    values = config.to_dict()
    places = {"path": None, "labels": None, "cache_dir": None}
    return values | {"data": values["data"] | places}


if __name__ == "__main__":
    sys.exit(main())
