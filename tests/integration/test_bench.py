"""``python -m benchmarks.bench``, as a user starts them."""

import subprocess
import sys

import pytest
import torch
from helpers.surveys import ROOT, write_survey

from analysis.paper import TRIALS
from benchmarks import bench, scaling, timing
from trainable.devices import device_label
from trainable.measured_rates import latest


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    """80 images of 16 pixels in three classes."""
    return write_survey(tmp_path_factory.mktemp("bench") / "s.h5", counts=(28, 26, 26), size=16)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Rates are kept there, and no test after this one finds them."""
    monkeypatch.setenv("SWEEP_CACHE_DIR", str(tmp_path / "cache"))


def test_smoke(survey, weights_path, tmp_path, capsys, monkeypatch):
    """All of the default, as the command line runs it; a table, and a section of the results."""
    short = [trial for trial in TRIALS if trial.fraction in (0.4, 1.0)]
    frozen = tuple(trial for trial in short if trial.init == "pretrained")
    monkeypatch.setattr(timing, "FROZEN", frozen)
    results = tmp_path / "R.md"
    results.write_text("# Measured\n")
    arguments = [
        "--data", str(survey), "--weights", str(weights_path), "--repeats", "2", "--workers", "0",
        "--reference-share", "0.5", "--results", str(results),
    ]  # fmt: skip
    assert bench.main(arguments) == 0
    section = results.read_text()
    assert section.startswith("# Measured\n\n## 20")
    assert "2 epochs of each trial run on 50% of their images, the rest extrapolated" in section
    rows = [
        [c.strip() for c in line.split("|")[1:-1]] for line in section.splitlines() if "|" in line
    ]
    names = ["(a) frozen, cold", "(a) frozen, warm", "(b) scratch epoch", "(b) scratch training"]
    assert [row[0] for row in rows[2:]] == [*names, "(c) nine trials"]
    images = {row[0]: float(row[4].replace(",", "")) * float(row[1]) for row in rows[2:]}
    passes = 16 * 32 + 50 * 80
    assert images["(a) frozen, cold"] == pytest.approx(passes, rel=0.05)
    assert images["(c) nine trials"] == pytest.approx(passes + 26 * 80, rel=0.05)
    assert all(float(row[5]) > 0 for row in rows[2:] if row[0] != "(a) frozen, warm")
    assert "(c) nine trials" in capsys.readouterr().out
    rate = latest(device_label(torch.device("cpu")), "vit_demo")
    assert rate is not None
    epoch = next(row for row in rows if row[0] == "(b) scratch epoch")
    assert rate.tflops == pytest.approx(float(epoch[5]), rel=0.01)


def test_other_measures(tmp_path):
    """authors, the features, and random images and weights; without the reference."""
    results = tmp_path / "R.md"
    arguments = [
        "--images", "1100", "--image-size", "8", "--weights", "random", "--repeats", "1",
        "--no-reference", "--what", "authors", "features", "--results", str(results),
    ]  # fmt: skip
    assert bench.main(arguments) == 0
    section = results.read_text()
    assert "1,100 random images of 8 pixels" in section
    assert "- reference:" not in section
    assert [line.split("|")[1].strip() for line in section.splitlines() if "| " in line][2:] == [
        "authors epoch", "authors training", "features",
    ]  # fmt: skip


HELD_FOR_A_WHILE = """
import time, torch
from benchmarks.machine import SAMPLING_SECONDS, PeakMemory
with PeakMemory() as memory:
    held = torch.ones(64_000_000)  # 256 MB
    time.sleep(20 * SAMPLING_SECONDS)
    del held
print(memory.peak - memory.before)
"""


def test_peak_memory_sees_what_was_held_for_a_while():
    """In a fresh process: one of long standing has free memory of its own to give out."""
    done = subprocess.run(
        [sys.executable, "-c", HELD_FOR_A_WHILE], cwd=ROOT, capture_output=True, check=True
    )
    assert 200e6 < int(done.stdout) < 320e6


@pytest.mark.slow
def test_growth_is_measured_in_a_process_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(scaling, "COUNTS", (1000,))
    results = tmp_path / "R.md"
    flags = ["--what", "growth", "--image-size", "8", "--weights", "random", "--repeats", "2"]
    assert bench.main([*flags, "--results", str(results)]) == 0
    rows = [line.split("|")[1:4] for line in results.read_text().splitlines() if "epoch," in line]
    works = ["epoch, linear probe", "epoch, from scratch"]
    found = [(row[0].strip(), row[1].strip()) for row in rows if len(row) == 3]
    assert found == [(work, "1,000") for work in works]
    assert "growth: random images of 8 pixels" in results.read_text()


def test_nothing_needs_ray():
    """Nor GalSim or astroNN: a machine with a GPU may lack them."""
    code = (
        "import sys; sys.modules |= dict.fromkeys(['ray', 'galsim', 'astroNN'])\n"
        "import benchmarks.bench, benchmarks.profile, cProfile; print('imported')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("imported\n", "")
