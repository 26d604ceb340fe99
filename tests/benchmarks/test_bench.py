import subprocess
import sys

import numpy as np
import pytest
import torch
from surveys import ROOT, write_survey

from analysis.paper import TRIALS
from benchmarks import bench, report, scaling, timing
from benchmarks.machine import matrix_rate
from benchmarks.measure import Measure, epoch_flops, extrapolate
from benchmarks.scaling import Point, growth, summary
from trainable.backbones import size
from trainable.protocol import PAPER_FRACTIONS
from trainable.settings import Settings, prepare


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    """Large enough for the paper's smallest subset to have each class on both sides."""
    return write_survey(tmp_path_factory.mktemp("bench") / "s.h5", counts=(60, 50, 50), size=16)


@pytest.fixture(scope="module")
def experiment(survey, weights_path):
    return prepare(
        Settings(data=str(survey), arch="vit_demo", weights=str(weights_path), split="subset-first")
    )


def test_ratios_are_of_pairs():
    """Of the pairs' ratios, 2 4 10, the median; not the ratio of the medians, 5."""
    measure = Measure(
        name="x", ours=(5.0, 1.0, 2.0), reference=(10.0, 10.0, 8.0), images=40, flops=4e12
    )
    assert measure.ratios == (2.0, 10.0, 4.0)
    assert report.cells(measure, 8e12) == (
        "x", "2.00", "10.00", "4 (2–10)", "20", "2", "25.0%",
    )  # fmt: skip


def test_measures_without_a_reference_or_operations_say_so():
    measure = Measure(name="x", ours=(2.0,), images=10, flops=None)
    assert report.cells(measure, 1e12) == ("x", "2.00", "–", "–", "5", "–", "–")


@pytest.mark.parametrize(
    ("seconds", "epochs", "expected"),
    [([9, 2, 4], 10, 30), ([9, 2, 4], 3, 15), ([5], 7, 35), ([9, 2, 4], 2, 11)],
)
def test_extrapolation(seconds, epochs, expected):
    assert extrapolate(seconds, epochs) == expected


def test_operations_of_an_epoch():
    """By kind of training, in forward passes: n_train × (3, 2 or 1) + n_val."""
    assert [epoch_flops(10, t, 80, 20) for t in ("all", "as_run", "head")] == [2600, 1800, 1000]


def test_trials_are_the_papers(experiment):
    """Fractions, and epochs of table 2, without an early stop."""
    assert tuple(trial.fraction for trial in timing.FROZEN) == PAPER_FRACTIONS
    for trial in TRIALS:
        config = timing.trial_config(experiment, trial)
        assert (config.fraction, config.max_epochs) == (trial.fraction, trial.epochs)
        assert config.trained == ("all" if trial.init == "scratch" else "head")
        assert config.stopping.patience == trial.epochs


def test_all_of_a_trial_is_run_or_extrapolated(experiment, monkeypatch):
    """Two epochs of 3 s, each on half of the images, stand for sixteen of 6 s."""
    steps = []
    monkeypatch.setattr(
        timing.PaperLoop, "step_epoch", lambda self: steps.append(1) or {"epoch_seconds": 3.0}
    )
    config = timing.trial_config(experiment, timing.FROZEN[0])
    common = {
        "device": torch.device("cpu"), "precision": "fp32", "share": 0.5, "workers": {"head": 0},
    }  # fmt: skip
    for epochs, run in ((2, 2), (None, 16)):
        steps.clear()
        seconds = timing.Reference(epochs=epochs, **common).seconds(config)
        assert 96 < seconds < 97  # the rest is the start
        assert len(steps) == run


def test_images_of_the_trials_are_counted(experiment):
    """The paper's subset, first; then 80/20 of it."""
    config = timing.trial_config(experiment, timing.FROZEN[0])  # 40 %, 16 epochs
    assert timing.images_seen(config, experiment) == (51, 13)


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
    passes = 16 * 64 + 50 * 160
    assert images["(a) frozen, cold"] == pytest.approx(passes, rel=0.05)
    assert images["(c) nine trials"] == pytest.approx(passes + 26 * 160, rel=0.05)
    assert all(float(row[5]) > 0 for row in rows[2:] if row[0] != "(a) frozen, warm")
    assert "(c) nine trials" in capsys.readouterr().out


def test_other_measures(tmp_path):
    """as_run, the features, and random images and weights; without the reference."""
    results = tmp_path / "R.md"
    arguments = [
        "--images", "1100", "--image-size", "8", "--weights", "random", "--repeats", "1",
        "--no-reference", "--what", "as_run", "features", "--results", str(results),
    ]  # fmt: skip
    assert bench.main(arguments) == 0
    section = results.read_text()
    assert "1,100 random images of 8 pixels" in section
    assert "- reference:" not in section
    assert [line.split("|")[1].strip() for line in section.splitlines() if "| " in line][2:] == [
        "as_run epoch", "as_run training", "features",
    ]  # fmt: skip


def test_each_cold_run_starts_without_a_cache(experiment, monkeypatch):
    """And the warm ones use the one that the cold ones left."""
    seen = []

    def note(configs, device):
        for config in configs:
            folder = timing.Path(config.data.cache_dir)
            seen.append((config.data.cache_dir, len(list(folder.glob("features/*.npy")))))
        return real(configs, device)

    real = timing.our_seconds
    monkeypatch.setattr(timing, "our_seconds", note)
    monkeypatch.setattr(timing, "FROZEN", timing.FROZEN[:1])
    timing.time_trials(
        experiment, None, device=torch.device("cpu"), baseline=False, repeats=2, say=print
    )
    assert [n for _, n in seen] == [0, 1, 0, 1]
    assert len({folder for folder, _ in seen}) == 2


def test_reference_keeps_the_fastest_number_of_workers(experiment, monkeypatch):
    monkeypatch.setattr(timing, "cores", lambda: 6)
    tried = {}

    class Loop:
        def __init__(self, config, *, workers, **_):
            self.workers = workers

        def step_epoch(self):
            tried[self.workers] = abs(self.workers - 4) + 1.0
            return {"epoch_seconds": tried[self.workers]}

    monkeypatch.setattr(timing, "PaperLoop", Loop)
    config = experiment.run_config("scratch", 1.0, 0)
    assert timing.fastest_workers(config, torch.device("cpu"), "fp32") == 4
    assert sorted(tried) == [0, 1, 2, 4, 6]


def test_users_mistakes_are_named(capsys):
    with pytest.raises(SystemExit):
        bench.main(["--images", "10"])
    assert "--images 10: must be at least 1000" in capsys.readouterr().err
    assert bench.main(["--data", "nowhere.h5"]) == 2
    assert "nowhere.h5 does not exist" in capsys.readouterr().err


def test_matrix_rate_is_of_the_device():
    assert 1e8 < matrix_rate(torch.device("cpu"), "fp32", repeats=1) < 1e15


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


def test_growth_is_of_the_time_per_image_and_of_the_memory():
    points = [
        Point(work="w", images=n, seconds=s, peak=p, before=50)
        for n, s, p in ((20_000, 33.0, 70), (2_000, 3.0, 60))
    ]
    assert growth(points) == {"w": (pytest.approx(1.1), 10)}
    assert summary(points) == "- w: 1.10 times the time per image, +0 MB at the peak"


def test_sections_are_added_at_the_end(tmp_path):
    path = tmp_path / "R.md"
    for day in ("one", "two"):
        report.append_section(
            path, day, {"device": "d"}, [report.markdown_table([("a", "1")], ("", "s"))]
        )
    section = "\n- device: d\n\n|  | s |\n| --- | ---: |\n| a | 1 |\n"
    assert path.read_text() == f"## one\n{section}\n## two\n{section}"


def test_forward_cost_is_of_the_architecture(experiment):
    """By hand for vit_demo: 17 tokens of 128, MLP 256, 4 layers; stem to 16, 8, 8 and 4 pixels."""
    layer = 17 * (4 * 128 * 128 + 2 * 128 * 256) + 2 * 17 * 17 * 128
    kernels = 9 * np.multiply([3, 32, 64, 64], [32, 64, 64, 128])
    stem = np.dot([16**2, 8**2, 8**2, 4**2], kernels) + 4**2 * 128**2  # and a 1 × 1 at its end
    by_hand = 2 * (stem + 4 * layer + 128 * 3)
    assert timing.forward_flops(experiment) == pytest.approx(by_hand, rel=0.01)
    assert (
        timing.forward_flops(experiment)
        == size("vit_demo", num_classes=3, trained="head").forward_flops
    )


def test_nothing_needs_ray():
    """Nor GalSim or astroNN: a machine with a GPU may lack them."""
    code = (
        "import sys; sys.modules |= dict.fromkeys(['ray', 'galsim', 'astroNN'])\n"
        "import benchmarks.bench, benchmarks.profile, cProfile"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
