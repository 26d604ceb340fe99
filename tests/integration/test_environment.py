"""Machines as people have them: long temporary folders, no home, one CPU, little memory."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time

import psutil
import pytest
from helpers.surveys import ROOT
from helpers.sweeps import assert_same_epochs, manifest, saved_rows, started, wait_for

LISTENING = """
import psutil
from sweep.grid import SweepConfig
from sweep.ray_session import start_ray
start_ray(SweepConfig(gpus=0))
me = psutil.Process()
for process in [me, *me.children(recursive=True)]:
    for connection in process.net_connections(kind="inet"):
        if connection.status == psutil.CONN_LISTEN:
            print(process.name(), connection.laddr.ip.removeprefix("::ffff:"))
"""


def test_a_local_sweep_listens_on_loopback_alone():
    done = subprocess.run(
        [sys.executable, "-c", LISTENING], cwd=ROOT, capture_output=True, text=True, check=True
    )
    listening = [line.split() for line in done.stdout.splitlines()]
    assert any(name.startswith("raylet") for name, _ in listening)
    assert {address for _, address in listening} <= {"127.0.0.1", "::1"}


def test_one_cpu_no_home_and_a_long_temporary_folder(command, tmp_path):
    """The user has no entry in the password database, as in many containers."""
    unnamed = ["unshare", "--user", "--map-user=54321", "--map-group=54321"]
    if shutil.which("unshare") is None or subprocess.run([*unnamed, "true"]).returncode:
        pytest.skip("needs the right to make a user namespace")
    temporary = tmp_path / ("long-" * 25)
    temporary.mkdir()
    environment = {k: v for k, v in os.environ.items() if k != "HOME"} | {"TMPDIR": str(temporary)}
    flags = ("--fractions", 1, "--max-epochs", 2, "--name", "bare")
    done = subprocess.run(
        [*unnamed, "taskset", "-c", "0", *command(tmp_path, *flags)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    told = [line.split() for line in done.stdout.splitlines() if re.match(r"\w+-100-s0 ", line)]
    states = [(cell, state) for cell, state, *_ in told if state in ("starts", "ended")]
    assert states == [  # one after the other, on the one CPU
        ("scratch-100-s0", "starts"),
        ("scratch-100-s0", "ended"),
        ("pretrained-100-s0", "starts"),
        ("pretrained-100-s0", "ended"),
    ]


@pytest.mark.slow
def test_memory_that_another_process_takes(command, tmp_path):
    """Ray ends a trial; the sweep waits until there is room and ends as if nothing had been."""
    machine = psutil.virtual_memory()
    spare = 4e9
    limit = (machine.total - machine.available + spare) / machine.total
    flags = ("--inits", "scratch", "--fractions", 1, "--max-epochs", 200, "--name", "short")
    environment = {"RAY_memory_usage_threshold": f"{limit:.3f}"}
    with started(command(tmp_path, *flags), env=environment) as process:
        wait_for(process, "epoch 20/")
        with subprocess.Popen(
            [sys.executable, "-c", f"x = b'1' * {int(spare)}; input()"], stdin=subprocess.PIPE
        ) as other:
            line = wait_for(process, "short of memory")
            time.sleep(6)
            other.communicate(b"\n")
        output, _ = process.communicate()
    assert line.startswith("scratch-100-s0: ended by Ray while it used ")
    assert "Traceback" not in output
    assert process.returncode == 0, output
    (cell,) = manifest(tmp_path, "short").cells
    assert_same_epochs(saved_rows(tmp_path / "short" / "run-0" / cell.id), cell.config)
