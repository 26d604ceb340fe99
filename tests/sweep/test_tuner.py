"""How trials share GPUs, and what Ray opens on this machine."""

import subprocess
import sys

import pytest
from surveys import ROOT

from sweep.space import SweepConfig
from sweep.tuner import resources

LISTENING = """
import ipaddress, psutil
from sweep.space import SweepConfig
from sweep.tuner import start_ray
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


@pytest.mark.parametrize(
    ("gpus", "share", "trained", "cache", "expected"),
    [
        (0, 1.0, "all", True, {"cpu": 1}),
        (1, 1.0, "head", True, {"cpu": 1, "gpu": 1.0}),
        (1, 0.5, "all", True, {"cpu": 1, "gpu": 0.5}),
        (1, "auto", "all", True, {"cpu": 1, "gpu": 1.0}),
        (1, "auto", "as_run", True, {"cpu": 1, "gpu": 1.0}),
        (1, "auto", "head", True, {"cpu": 1, "gpu": 0.1}),
        (1, "auto", "head", False, {"cpu": 1, "gpu": 1.0}),
    ],
)
def test_share_of_a_gpu(gpus, share, trained, cache, expected):
    config = SweepConfig(gpus=gpus, gpus_per_trial=share)
    assert resources(config, {"trained": trained, "cache_features": cache}) == expected
