"""``python -m trainable``: one training run without Ray, with the files a sweep's trial writes."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
import tyro
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from . import checkpoint
from .config import RunConfig
from .engine import NonFiniteLossError, Run
from .protocol import Init
from .settings import Settings, prepare


@dataclass(frozen=True, kw_only=True)
class SingleRun(Settings):
    """One training run without Ray."""

    init: Init = "pretrained"
    """scratch or pretrained."""
    fraction: float = 1.0
    """Share of the training images, in (0, 1]."""
    seed: int = 0
    """Of the initialisation and the batch order."""
    out: Path = Path("ray_results/single")
    """Folder to write; refused when it holds a run, unless --resume."""
    resume: bool = False
    """Go on from the checkpoint in --out."""
    device: str = "cuda" if torch.cuda.is_available() else "cpu"
    """A torch device."""


def write_results(run: Run, out: Path) -> None:
    """``progress.csv``, ``result.json`` and ``params.json``, as Ray Tune writes them."""
    pd.DataFrame(run.history).assign(training_iteration=lambda rows: rows.epoch).to_csv(
        out / "progress.csv", index=False
    )
    lines = (json.dumps(row | {"training_iteration": row["epoch"]}) for row in run.history)
    (out / "result.json").write_text("".join(f"{line}\n" for line in lines))
    (out / "params.json").write_text(json.dumps({"run": run.config.to_dict()}, indent=1))


def check_folder(single: SingleRun, config: RunConfig) -> None:
    """`ValueError` where ``--out`` and ``--resume`` do not fit together."""
    earlier = single.out / "params.json"
    if not earlier.exists():
        if single.resume:
            raise ValueError(f"--out {single.out} does not hold a run to --resume")
        return
    if not single.resume:
        raise ValueError(f"--out {single.out} holds a run: --resume it, or choose another folder")
    kept = json.loads(earlier.read_text())["run"]  # an older one may lack settings: their defaults
    was, now = RunConfig.from_dict(kept).to_dict(), config.to_dict()
    if differing := [
        f"{key} was {was[key]}, is now {now[key]}" for key in was if was[key] != now[key]
    ]:
        raise ValueError(f"--resume with other settings: {'; '.join(differing)}")


def train(single: SingleRun, console: Console) -> Run:
    """Run to the end, writing results and a checkpoint after each epoch."""
    folder = single.out / "checkpoint"
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        task = progress.add_task("preparing images", total=None)

        def show(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        config = prepare(single, show).run_config(single.init, single.fraction, single.seed)
        check_folder(single, config)
        run = Run(config, device=single.device, progress=show, preparing=show)
        provenance = checkpoint.record(run)
        if single.resume:
            checkpoint.load(run, folder)
        while not run.finished:
            progress.update(task, description=f"epoch {run.epoch + 1}/{config.max_epochs}")
            row = run.step_epoch()
            checkpoint.save(run, folder, provenance)
            write_results(run, single.out)
            console.print(
                "epoch {epoch:3d}  val. accuracy {val_accuracy:.4f}  val. loss {val_loss:.4f}  "
                "counter {counter}/{patience}  {images_per_second:.0f} images/s".format(**row)
            )
    return run


def main() -> int:
    """Parse the command line, train, say where the results are."""
    single = tyro.cli(SingleRun, prog="python -m trainable", description=__doc__)
    console = Console()
    try:
        run = train(single, console)
    except ValueError as error:  # of the user's making: DataError, WeightsError, settings
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        command = shlex.join(a for a in sys.argv[1:] if a != "--resume")
        console.print(f"go on with:\n  python -m trainable {command} --resume", soft_wrap=True)
        return 130
    except (NonFiniteLossError, checkpoint.CheckpointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    console.print(
        f"best val. accuracy {run.best['val_accuracy']:.4f} at epoch {run.best['epoch']} of "
        f"{run.epoch}; results in {single.out}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
