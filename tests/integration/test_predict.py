"""A catalogue by a process that is killed, and by the workers of a Ray cluster."""

import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pyarrow.parquet as pq
import pytest
from helpers.surveys import ROOT, write_survey
from helpers.trained import small_sweep


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    """600 images."""
    return write_survey(tmp_path_factory.mktemp("many") / "s.h5", counts=(200, 200, 200))


@pytest.fixture(scope="module")
def trained(survey, weights_path, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ray_results") / "probes"
    flags = {"trained": ("probe",), "inits": ("pretrained",), "fractions": (0.1,)}
    small_sweep(folder, survey, weights_path, **flags)
    return folder


@pytest.fixture
def command(trained, survey, tmp_path):
    def build(out, *flags):
        files = ["--from", trained, "--images", survey, "--out", tmp_path / out]
        return [
            *(sys.executable, "-m", "sweep.predict", *map(str, files)),
            *("--shard-images", "10", "--embeddings", *flags),
        ]

    return build


def run(command):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def test_killed_twice_is_equal_to_the_undisturbed_catalogue(command, tmp_path):
    done = run(command("whole.parquet"))
    assert done.returncode == 0, done.stderr
    parts = tmp_path / "killed.parquet.parts"
    there = 0
    for _ in range(2):
        process = subprocess.Popen(command("killed.parquet"), cwd=ROOT, stderr=subprocess.DEVNULL)
        while process.poll() is None and len(list(parts.glob("part-*"))) < there + 5:
            time.sleep(0.001)
        assert process.poll() is None, "it was done before it could be killed"
        process.send_signal(signal.SIGKILL)
        process.wait()
        there = len(list(parts.glob("part-*")))
        assert there < 60
        assert not (tmp_path / "killed.parquet").exists()
    done = run(command("killed.parquet"))
    assert done.returncode == 0, done.stderr
    assert f"resuming: {there} of 60 parts are there already" in done.stderr
    whole, killed = (pq.read_table(tmp_path / f"{n}.parquet") for n in ("whole", "killed"))
    assert killed.equals(whole)
    assert whole["row"].to_pylist() == list(range(600))


def test_ray_cluster_gives_the_same_catalogue(command, tmp_path):
    done = run(command("one.parquet"))
    assert done.returncode == 0, done.stderr
    flags = ("--address", "local", "--workers", "2", "--worker-gpus", "0")
    done = run(command("many.parquet", *flags))
    assert done.returncode == 0, done.stderr
    one, many = (pd.read_parquet(tmp_path / f"{n}.parquet") for n in ("one", "many"))
    pd.testing.assert_frame_equal(one, many, rtol=1e-5)
