"""A folder of packages in which only numpy, torch, torchvision and what they depend on are installed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

KEPT = ("numpy", "torch", "torchvision")
ROOT = Path(__file__).parents[2]


def with_requirements(names: Iterable[str]) -> list[Distribution]:
    """Some distributions and, in turn, all that they require without an extra."""
    found: dict[str, Distribution] = {}
    remaining = list(names)
    while remaining:
        try:
            one = distribution(remaining.pop())
        except PackageNotFoundError:  # of another platform
            continue
        if one.name not in found:
            found[one.name] = one
            lines = (line for line in one.requires or [] if "extra ==" not in line)
            remaining += [re.split(r"[^\w.-]", line)[0] for line in lines]
    return list(found.values())


def install_few(folder: Path) -> Path:
    """Link them into a folder."""
    for one in with_requirements(KEPT):
        for name in {file.parts[0] for file in one.files or []} - {"..", "__pycache__"}:
            if not (folder / name).exists():
                (folder / name).symlink_to(one.locate_file(name))
    return folder


def run_with_few(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run Python in the project's folder, where it finds the packages of `folder` alone.

    Parameters
    ----------
    folder
        As `install_few` made it.
    command
        Arguments of the interpreter.
    """
    environment = os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
    return subprocess.run(
        [sys.executable, "-S", *command],  # without what is installed beside it
        cwd=ROOT, env=environment, capture_output=True, text=True,
    )  # fmt: skip
