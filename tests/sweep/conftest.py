"""Real sweeps in processes of their own, as a user starts them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from surveys import ROOT
from sweeps import SECRET


@pytest.fixture(scope="session")
def command(survey_path, weights_path):
    """``command(storage, *flags)``: the argument list of a small sweep."""

    def build(storage, *flags, data=survey_path, weights=weights_path) -> list[str]:
        seeds = () if "--seeds" in flags else ("--seeds", "0")
        return [
            *(sys.executable, "-m", "sweep.run", "--preset", "demo", "--data", str(data)),
            *("--weights", str(weights), "--storage-path", str(storage), *seeds),
            *map(str, flags),
        ]

    return build


@pytest.fixture(scope="session")
def sweep_run(command):
    """Run a small sweep to its end; the completed process."""

    def run(storage, *flags, **files) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(storage, *flags, **files),
            cwd=ROOT,
            env=os.environ | {"COLUMNS": "200", "WANDB_API_KEY": SECRET},
            capture_output=True,
            text=True,
            timeout=240,
        )

    return run


@pytest.fixture(scope="session")
def finished(sweep_run, tmp_path_factory):
    """Storage with the finished sweep ``small`` of four trials, and its process."""
    storage = tmp_path_factory.mktemp("storage")
    process = sweep_run(storage, "--fractions", 0.5, 1, "--max-epochs", 3, "--name", "small")
    assert process.returncode == 0, process.stderr
    return storage, process
