"""Whether training on this machine's GPU is right, and as fast as it should be.

  python -m benchmarks.gpu_check                  `make gpu-check`: ViT-B/16 on the GPU; minutes

  python -m benchmarks.gpu_check --small --device cpu      the same code with a small network

Needs numpy, torch >= 2.11 and torchvision >= 0.26 alone: no Ray, no data, no network. Prints a line for
each value, PASS or FAIL if it has a limit, and writes gpu-check.json. Without a GPU it says so. Exit
code 1 if a line is FAIL, else 0.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.gpu_check.checks import CHECKS, full, not_run, run_check, small
from benchmarks.gpu_check.lines import Line, as_json
from benchmarks.gpu_check.machine_facts import record
from trainable.devices import build_and_driver, choose_device
from trainable.errors import EXIT_CODE, SettingsError, UserError
from trainable.files import write_atomically
from trainable.forward_backward import WORKSPACE, WORKSPACE_SIZE

PROGRAM = "python -m benchmarks.gpu_check"
FAILED = 1
"""Exit code if a line is FAIL."""
LEAST = {"torch": (2, 11), "torchvision": (0, 26)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    asked = parser().parse_args(arguments)
    # read when CUDA starts; without, deterministic products are an error
    os.environ.setdefault(WORKSPACE, WORKSPACE_SIZE)
    try:
        require_versions()
        device = choose_device(asked.device)
        names = checked_names(asked.only)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_CODE
    lines: list[Line] = []
    facts = record(device, shlex.join([*PROGRAM.split(), *arguments]))
    measure = device.type == "cuda" or asked.device is not None
    if not measure:
        print(
            f"There is no GPU that torch can use, so this is left unchecked. {build_and_driver()}"
        )
    setup = (small if asked.small else full)(device)
    for name in names:
        found = run_check(name, setup) if measure or name == "machine" else [not_run(name)]
        for line in found:
            print(line.text(), flush=True)
        lines += found
        write_atomically(asked.out, as_json(lines, facts, complete=name == names[-1]))
    counts = [f"{sum(x.status == s for x in lines)} {s}" for s in ("PASS", "FAIL", "NOT RUN")]
    print(f"{', '.join(counts)}; written to {asked.out}")
    return FAILED if any(line.status == "FAIL" for line in lines) else 0


def parser() -> argparse.ArgumentParser:
    """The flags. By the standard library, as nothing else need be installed."""
    flags = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Whether training on this machine's GPU is right, and as fast as it should be.",
    )
    flags.add_argument("--device", help="Device of torch, e.g. cuda:1. Default: the GPU.")
    flags.add_argument(
        "--small", action="store_true", help="A small network and few images; no floors apply."
    )
    flags.add_argument("--only", nargs="+", metavar="CHECK", help=f"Some of: {', '.join(CHECKS)}.")
    flags.add_argument(
        "--out", type=Path, default=Path("gpu-check.json"), help="File that is written."
    )
    return flags


def checked_names(only: Sequence[str] | None) -> list[str]:
    """The checks that are asked for, in their order."""
    if unknown := sorted(set(only or ()) - set(CHECKS)):
        raise SettingsError(f"--only {' '.join(unknown)}: must be some of {', '.join(CHECKS)}")
    return [name for name in CHECKS if only is None or name in only]


def require_versions() -> None:
    """`SettingsError` if torch or torchvision is older than this was written for."""
    import torchvision

    for name, there in (("torch", torch.__version__), ("torchvision", torchvision.__version__)):
        if tuple(map(int, there.split("+")[0].split(".")[:2])) < LEAST[name]:
            least = ".".join(map(str, LEAST[name]))
            raise SettingsError(f"{name} {there} is here; the check needs {least} or newer")


if __name__ == "__main__":
    sys.exit(main())
