"""A sweep on a real Ray cluster of two nodes, one of which is lost."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from helpers.surveys import ROOT
from helpers.sweeps import assert_same_epochs, manifest, rows_of

from analysis.results.load import read

ENVIRONMENT = os.environ | {"RAY_AUTH_MODE": "disabled", "COLUMNS": "200"}
RAY = [str(Path(sys.executable).with_name("ray")), "start", "--disable-usage-stats", "--block"]
EPOCHS = 80  # enough for a node to be lost in the middle


class Cluster:
    """Raylets on this machine, each in a process group of its own."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self.nodes: list[subprocess.Popen] = []
        port = self.address.split(":")[1]
        self.add("--head", "--port", port, "--num-cpus", "0", "--include-dashboard=false")

    def add(self, *flags: str) -> subprocess.Popen:
        node = subprocess.Popen(
            [*RAY, "--node-ip-address=127.0.0.1", *flags],
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.nodes.append(node)
        assert any("Ray runtime started" in line for line in node.stdout)
        return node

    def add_worker(self) -> subprocess.Popen:
        return self.add("--address", self.address, "--num-cpus", "1")

    def lose(self, node: subprocess.Popen) -> None:
        os.killpg(node.pid, signal.SIGKILL)
        node.wait()

    def close(self) -> None:
        for node in reversed(self.nodes):
            if node.poll() is None:
                self.lose(node)
            node.stdout.close()


@pytest.fixture(scope="module")
def cluster():
    made = Cluster()
    yield made
    made.close()


@pytest.fixture(scope="module")
def sweep(cluster, command):
    """Start a sweep on the cluster; its process."""

    def start(storage, *flags, cwd=ROOT, **files) -> subprocess.Popen:
        return subprocess.Popen(
            command(storage, "--address", cluster.address, *flags, **files),
            cwd=cwd,
            env=ENVIRONMENT | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def pid_of(trial: Path) -> int:
    """A trial's process, as soon as Tune has logged an epoch; the table shows it before."""
    while not (trial / "result.json").exists() or rows_of(trial).empty:
        time.sleep(0.2)
    return int(rows_of(trial)["pid"].iloc[-1])


def nodes_with_trials(cluster: Cluster, experiment: Path) -> set[int]:
    """Index of each node that runs a trial: the trial's process descends from the node's."""
    pids = {pid_of(folder) for folder in experiment.glob("*-s?")}
    return {
        index
        for index, node in enumerate(cluster.nodes)
        for child in psutil.Process(node.pid).children(recursive=True)
        if child.pid in pids
    }


def wait_for(process, text: str) -> str:
    for line in process.stdout:
        if text in line:
            return line
    raise AssertionError(f"ended without {text!r}: {process.stderr.read()}")


@pytest.mark.parametrize("gpus", [0, 1])
def test_cluster_without_what_a_trial_asks_for(sweep, tmp_path, gpus):
    with sweep(tmp_path, "--fractions", 1, "--gpus", gpus) as process:
        _, message = process.communicate()
    assert process.returncode == 2
    assert f"a trial asks for 1 CPU, {gpus} GPU" in message
    assert re.search(r"node [\d.]+ \(\w{8}\)", message)
    assert ": 0 CPU, 0 GPU" in message
    assert "--wait-for-resources" in message


def test_trials_of_a_lost_node_resume_elsewhere(cluster, sweep, tmp_path):
    flags = ("--fractions", 1, "--inits", "scratch", "--seeds", 0, 1, "--learning-rate", 1e-4)
    with sweep(
        tmp_path, *flags, "--max-epochs", EPOCHS, "--name", "lost", "--wait-for-resources"
    ) as process:
        assert "waiting for one to join" in wait_for(process, "no node of")
        cluster.add_worker(), cluster.add_worker()
        wait_for(process, f"epoch {EPOCHS // 10}/")  # of either
        assert nodes_with_trials(cluster, tmp_path / "lost" / "run-0") == {1, 2}
        cluster.lose(cluster.nodes[2])
        wait_for(process, "taken up again from its last checkpoint")
        rest, errors = process.communicate()
    assert process.returncode == 0, errors
    assert "2 of 2 trials finished" in rest
    found = read(tmp_path / "lost")
    assert found.trials["status"].tolist() == ["complete"] * 2
    for cell in manifest(tmp_path, "lost").cells:
        assert_same_epochs(found.epochs[found.epochs["trial"] == cell.id], cell.config)


def test_data_that_a_node_cannot_see(cluster, sweep, survey_path, tmp_path):
    """A path below ``/proc/self/cwd`` is another one in every process."""
    with sweep(
        tmp_path,
        *("--fractions", 1, "--name", "unseen"),
        cwd=survey_path.parent,
        data=f"/proc/self/cwd/{survey_path.name}",
    ) as process:
        _, message = process.communicate()
    assert process.returncode == 2
    assert "not every node can run the trials" in message
    assert f"/proc/self/cwd/{survey_path.name} does not exist" in message
    assert re.search(r"node [\d.]+ \(\w{8}\)", message)
    assert "Traceback" not in message
    assert not (tmp_path / "unseen").exists()


def test_a_bug_on_a_node_keeps_its_traceback(tmp_path):
    """What a node reports of the user's is one line; anything else is not turned into one."""
    script = """
import ray, sys
from sweep import preflight
from trainable.errors import DataError

def wrong(user):
    raise DataError("the user's") if user else ValueError("a bug")

ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
preflight._look = lambda *arguments: wrong(True)
try:
    preflight.check([{"cpu": 1}], [], None, preflight.Folder(sys.argv[1]))
except preflight.ResourcesError as error:
    print(error)
preflight._preprocess = lambda runs: wrong(False)
preflight.prepare([{"cpu": 1}], [])
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "sweep")],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert re.search(r"node [\d.]+ \(\w{8}\): the user's\n", done.stdout)
    assert "in wrong" in done.stderr
    assert "ValueError: a bug" in done.stderr
    assert "ResourcesError" not in done.stderr
