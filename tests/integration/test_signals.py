"""A sweep that is told to end: in seconds, with exit code 130 and the command that resumes it."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time

import psutil
import pytest
from helpers.surveys import ROOT
from helpers.sweeps import assert_same_epochs, manifest, saved_rows, started, truncate, wait_for

SECONDS = 20
"""Far below the minute that Ray waits for its own processes; batch systems kill after 30 to 90 s."""


def to_group(process, number):
    os.killpg(process.pid, number)


def to_ray_first(process, number):
    """As a batch system does that goes through a job's processes: the driver is the last."""
    for child in psutil.Process(process.pid).children(recursive=True):
        child.send_signal(number)
    time.sleep(0.03)  # when Ray notices that its processes are gone, it ends the driver with code 1
    process.send_signal(number)


def to_driver(process, number):
    process.send_signal(number)


@pytest.mark.parametrize(
    ("send", "number"),
    [
        (to_ray_first, signal.SIGTERM),
        pytest.param(to_group, signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param(to_driver, signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param(to_group, signal.SIGINT, marks=pytest.mark.slow),
        pytest.param(to_ray_first, signal.SIGINT, marks=pytest.mark.slow),
    ],
)
def test_interrupted_and_corrupt_sweep_resumes_to_the_same_result(command, tmp_path, send, number):
    flags = ("--inits", "scratch", "--fractions", 1, "--max-epochs", 60, "--name", "cut")
    flags += ("--checkpoint-seconds", 0)  # one for each epoch
    with started(command(tmp_path, *flags)) as process:
        wait_for(process, "epoch 6/")
        family = psutil.Process(process.pid).children(recursive=True)
        send(process, number)
        output = process.stdout.read()
    assert process.returncode == 130, output
    last_line = output.splitlines()[-1].strip()
    assert last_line == f"python -m sweep.run --resume cut --storage-path {tmp_path}"
    _, left = psutil.wait_procs(family, timeout=SECONDS)
    assert left == []

    (cell,) = manifest(tmp_path, "cut").cells
    trial = tmp_path / "cut" / "run-0" / cell.id
    truncate(max(trial.glob("checkpoint_*")) / "state.pt")
    truncate(trial / "result.json")
    again = subprocess.run(
        [sys.executable, *shlex.split(last_line)[1:]], cwd=ROOT, capture_output=True, text=True
    )
    assert again.returncode == 0, again.stdout + again.stderr
    assert_same_epochs(saved_rows(trial), cell.config)


def test_before_any_trial(command, tmp_path):
    with started(
        command(tmp_path, "--fractions", 1, "--name", "early"), stderr=subprocess.PIPE
    ) as process:
        while not psutil.Process(process.pid).memory_info().rss > 100e6:  # it is at its imports
            time.sleep(0.05)
        process.terminate()
        _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "interrupted before any trial had started"
    assert not (tmp_path / "early").exists()


DRIVER = """
import ctypes, signal, subprocess, sys
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # a test run under nohup has it ignored
from sweep.signals import EndOnSignal
with EndOnSignal(130, (1, "too early")) as ending:
    ending.last_words = (1, "last words")
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    print(child.pid, flush=True)
    ctypes.CDLL(None).sleep(60)  # a call that Python cannot interrupt
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_ends_at_once_with_its_last_words_and_its_children(number):
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        child = psutil.Process(int(process.stdout.readline()))
        process.send_signal(number)
        output, _ = process.communicate(timeout=20)
    assert process.returncode == 130
    assert output == "last words"
    psutil.wait_procs([child], timeout=20)
    assert not child.is_running()


def test_what_nohup_ignores_stays_ignored():
    code = (
        "import signal\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "from sweep.signals import EndOnSignal\n"
        "with EndOnSignal(130, (1, 'ended')):\n"
        "    signal.raise_signal(signal.SIGHUP)\n"
        "print('done')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "done\n")
