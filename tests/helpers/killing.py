"""Kill a sweep again and again and compare it with its trials run alone, without Ray.

    PYTHONPATH=tests:. python -m helpers.killing --kills 20

Each time at a random moment after the trials have begun, and in turn: SIGKILL to the whole process
group, SIGKILL to the driver alone, Ctrl-C twice, SIGTERM to the group. Prints what was found and exits with 1 if anything
differs.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from helpers.surveys import ROOT, write_survey
from helpers.sweeps import SAME, expected_rows, manifest

COLUMNS = ["trial", "epoch", *SAME]
EPOCH = re.compile(r"^\S+  epoch \d+/")
RESUME = "  python -m sweep.run --resume killed"
FLAGS = [
    *("--preset", "demo", "--fractions", "0.5", "1", "--learning-rate", "0.001", "--seeds", "0"),
    *("--trained", "head", "--checkpoint-seconds", "0"),  # many of them to be cut short
]


@dataclass(frozen=True, kw_only=True)
class Killing:
    """Settings of one such trial of strength."""

    kills: int = 20
    max_epochs: int = 60
    """Of each trial: enough that some are running whenever the kill comes."""
    within: float = 8.0
    """A kill comes at most this many seconds after the first epoch that is seen."""
    seed: int = 0
    """Of the moments."""


def start(storage: Path, *flags: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "sweep.run", "--storage-path", str(storage), *flags],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def kill_group(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGKILL)


def interrupt_twice(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)
    time.sleep(1)
    process.send_signal(signal.SIGINT)


def terminate_group(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGTERM)


WAYS: dict[Callable[[subprocess.Popen[str]], None], int] = {  # and the exit code of each
    kill_group: -signal.SIGKILL,
    subprocess.Popen.kill: -signal.SIGKILL,
    interrupt_twice: 130,
    terminate_group: 130,
}


def kill(process: subprocess.Popen[str], moment: float, way: Callable) -> bool:
    """End a sweep some time after its first tenth of a trial; False if it had ended by itself."""
    with process:
        first = next((line for line in process.stdout if EPOCH.match(line)), "")
        if not first:
            return False
        time.sleep(moment)
        if process.poll() is None:
            way(process)
        output = first + process.stdout.read()
    if process.returncode == 130 and not output.splitlines()[-1].startswith(RESUME):
        raise RuntimeError(f"the last line is not the command that resumes:\n{output}")
    return process.returncode == WAYS[way]


def finish(storage: Path, *flags: str) -> None:
    with start(storage, *flags) as process:
        output = process.stdout.read()
    if process.returncode:
        raise RuntimeError(f"exit code {process.returncode}:\n{output}")


def epochs(sweep: Path) -> pd.DataFrame:
    """Each epoch of each trial, as the report reads them."""
    from analysis.results.load import read

    results = read(sweep)
    if list(results.trials["status"]) != ["complete"] * len(results.trials):
        raise RuntimeError(f"not complete: {results.trials[['trial', 'status', 'error']]}")
    return results.epochs[COLUMNS]


def undisturbed(sweep: Path) -> pd.DataFrame:
    """The same trials, each in one go."""
    cells = manifest(sweep.parent, sweep.name).cells
    return pd.concat([expected_rows(c.config).assign(trial=c.id)[COLUMNS] for c in cells])


def repeated(sweep: Path) -> int:
    """Epochs that Tune logged again because a kill had lost them."""
    count = 0
    for log in sweep.glob("run-*/*/result.json"):
        logged = re.findall(r'"epoch": (\d+)', log.read_text())
        count += len(logged) - len(set(logged))
    return count


def compare(settings: Killing, folder: Path, data: Path) -> dict[str, object]:
    """Run the sweep under fire, then its trials in peace; what was found."""
    random.seed(settings.seed)
    flags = [*FLAGS, "--data", str(data), "--max-epochs", str(settings.max_epochs)]
    killed, attempt = 0, ["--name", "killed", *flags]
    while killed < settings.kills:
        way = list(WAYS)[killed % len(WAYS)]
        if not kill(start(folder, *attempt), random.uniform(0, settings.within), way):
            break
        killed += 1
        print(f"kill {killed} of {settings.kills}", flush=True)
        attempt = ["--resume", "killed"]
    finish(folder, "--resume", "killed")
    found = epochs(folder / "killed").sort_values(["trial", "epoch"], ignore_index=True)
    expected = undisturbed(folder / "killed").sort_values(["trial", "epoch"], ignore_index=True)
    in_order = found.groupby("trial")["epoch"].apply(
        lambda e: list(e) == list(range(1, len(e) + 1))
    )
    return {
        "kills": killed,
        "epochs": len(found),
        "trials": found["trial"].nunique(),
        "equal to the undisturbed trials, bit for bit": found.equals(expected),
        "each epoch once and in order": bool(in_order.all()),
        "epochs trained again": repeated(folder / "killed"),
    }


def main(settings: Killing) -> int:
    with tempfile.TemporaryDirectory() as folder:
        data = write_survey(Path(folder) / "survey.h5", counts=(400, 300, 300))
        os.environ["SWEEP_CACHE_DIR"] = f"{folder}/cache"
        torch.set_num_threads(1)  # as a trial of a sweep has
        found = compare(settings, Path(folder), data)
    for what, value in found.items():
        print(f"{what}: {value}")
    good = all(value for value in found.values() if isinstance(value, bool))
    return 0 if good and found["epochs trained again"] <= 2 * found["kills"] else 1


if __name__ == "__main__":
    import tyro

    sys.path.insert(0, str(ROOT))
    sys.exit(main(tyro.cli(Killing, description=__doc__)))
