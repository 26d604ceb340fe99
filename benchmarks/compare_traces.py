"""Whether two sweeps computed the same, digit by digit, times aside.

  python -m benchmarks.compare_traces ray_results/before ray_results/after

Compares ``report/trials.csv`` and ``report/epochs.csv``, which ``python -m analysis.report`` writes, as
text: every column but measured times. Exits with 0 if they are equal, with 1 if they differ, after
naming the differences, and with 2 if there is nothing to compare.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Annotated

import tyro

from trainable.errors import EXIT_CODE, SweepError, UserError

FILES = ("trials.csv", "epochs.csv")
TIMES = ("seconds", "per_second")
"""Endings of the columns with measured times, which no two runs share."""
SHOWN = 10
"""Differences that are printed of each file."""


@dataclass(frozen=True, kw_only=True)
class CompareTraces:
    """Compare the reports of two sweeps, digit by digit, times aside."""

    sweeps: Annotated[
        tuple[Path, Path], tyro.conf.Positional, tyro.conf.arg(metavar="BEFORE AFTER")
    ]
    """Two folders of sweeps whose reports are written."""


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a table without its times, every cell as it is written."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError as error:
        sweep = path.parents[1]
        raise SweepError(
            f"{path} does not exist: write it by python -m analysis.report {sweep}"
        ) from error
    if not rows:
        raise SweepError(f"{path} has no rows: the sweep has no results to compare")
    return [{k: v for k, v in row.items() if not k.endswith(TIMES)} for row in rows]


def differences(before: list[dict[str, str]], after: list[dict[str, str]]) -> list[str]:
    """What differs, a line for each row; the rows are expected in one order."""
    found: list[str] = []
    for number, (old, new) in enumerate(zip_longest(before, after), start=1):
        if old is None or new is None:
            found.append(f"row {number}: only {'after' if old is None else 'before'}")
        elif old != new:
            columns = [c for c in dict.fromkeys([*old, *new]) if old.get(c) != new.get(c)]
            values = "; ".join(f"{c}: {old.get(c)} before, {new.get(c)} after" for c in columns)
            found.append(f"row {number}: {values}")
    return found


def compare(before: Path, after: Path) -> bool:
    """Print what differs between the reports of two sweeps; True if nothing does."""
    same = True
    for name in FILES:
        old, new = (read(sweep / "report" / name) for sweep in (before, after))
        found = differences(old, new)
        print(f"{name}: {len(old)} rows, {f'{len(found)} differ' if found else 'equal'}")
        for line in found[:SHOWN]:
            print(f"  {line}")
        same = same and not found
    return same


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    chosen = tyro.cli(CompareTraces, args=arguments, prog="python -m benchmarks.compare_traces")
    try:
        return 0 if compare(*chosen.sweeps) else 1
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_CODE


if __name__ == "__main__":
    sys.exit(main())
