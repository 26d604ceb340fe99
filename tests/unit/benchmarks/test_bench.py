import numpy as np
import pytest
import torch
from helpers.surveys import write_survey

from analysis.paper import TRIALS
from benchmarks import bench, report, timing, workload
from benchmarks.bench import Bench
from benchmarks.machine import matrix_rate
from benchmarks.measure import Measure, extrapolate
from benchmarks.scaling import Point, growth, summary
from benchmarks.workload import on_its_device
from trainable import devices
from trainable.config import Settings
from trainable.devices import Gpu
from trainable.models.architectures import size
from trainable.prepare import prepare
from trainable.protocol import PAPER_FRACTIONS


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    """Large enough for the paper's smallest subset to have each class on both sides."""
    return write_survey(tmp_path_factory.mktemp("bench") / "s.h5", counts=(60, 50, 50), size=16)


@pytest.fixture(scope="module")
def experiment(survey, weights_path):
    return prepare(
        Settings(
            data=str(survey), arch=("vit_demo",), weights=(str(weights_path),), split="subset-first"
        )
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
        assert 96 < seconds < 126  # the rest is the start, as long as a busy machine takes
        assert len(steps) == run


def test_images_of_the_trials_are_counted(experiment):
    """The paper's subset, first; then 80/20 of it."""
    config = timing.trial_config(experiment, timing.FROZEN[0])  # 40%, 16 epochs
    assert timing.images_seen(config, experiment) == (51, 13)


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
    monkeypatch.setattr(timing, "usable_cpus", lambda: 6)
    tried = {}

    class Loop:
        def __init__(self, config, *, workers, **_):
            self.workers = workers

        def step_epoch(self):
            tried[self.workers] = abs(self.workers - 4) + 1.0
            return {"epoch_seconds": tried[self.workers]}

    monkeypatch.setattr(timing, "PaperLoop", Loop)
    config = experiment.training_config("scratch", 1.0, 0)
    assert timing.fastest_workers(config, torch.device("cpu"), "fp32") == 4
    assert sorted(tried) == [0, 1, 2, 4, 6]


def test_users_mistakes_are_named(capsys):
    assert bench.main(["--images", "10"]) == 2
    assert "--images 10: must be at least 1000" in capsys.readouterr().err
    assert bench.main(["--data", "nowhere.h5"]) == 2
    assert "nowhere.h5 does not exist" in capsys.readouterr().err


@pytest.fixture
def gpu(monkeypatch):
    """A CPU that is taken for a GPU."""
    h100 = Gpu(name="NVIDIA H100", capability=(9, 0), memory=80 << 30)
    monkeypatch.setattr(workload, "gpus_behind", lambda device: (h100,))
    monkeypatch.setattr(devices, "compiler_missing", lambda: None)


def test_a_cpu_is_measured_with_the_demo():
    found = on_its_device(Bench())
    assert (found.arch, found.weights, found.data, found.images) == ("vit_demo", None, "mock", None)
    assert (found.precision, found.compile, found.device) == ("fp32", "off", "cpu")


def test_a_gpu_is_measured_with_the_papers_network_by_default(gpu):
    """Without a renderer or a download, as a sweep would train there."""
    found = on_its_device(Bench())
    assert (found.arch, found.weights, found.data) == ("vit_b_16", "random", None)
    assert found.images == 17_402
    assert (found.precision, found.compile) == ("bf16", "on")
    asked = on_its_device(Bench(arch="vit_demo", data="mock", precision="fp32", compile="off"))
    assert (asked.arch, asked.weights, asked.data, asked.images) == (
        "vit_demo", None, "mock", None,
    )  # fmt: skip
    assert (asked.precision, asked.compile) == ("fp32", "off")


def test_a_device_that_is_not_there(capsys):
    assert bench.main(["--device", "warp-drive"]) == 2
    assert "--device warp-drive: this machine has no such device" in capsys.readouterr().err


def test_the_rate_of_training_from_scratch_is_kept():
    demo = on_its_device(Bench())
    scratch = Measure(name="(b) scratch epoch", ours=(2.0, 4.0, 4.0), images=10, flops=8e12)
    other = Measure(name="(a) frozen, cold", ours=(2.0,), images=10, flops=8e12)
    (rate,) = bench.measured(demo, [other, scratch])
    assert (rate.tflops, rate.arch, rate.precision, rate.on_gpu) == (2, "vit_demo", "fp32", False)
    assert rate.device.endswith("cores")
    assert bench.measured(demo, [other]) == []


def test_matrix_rate_is_of_the_device():
    assert 1e8 < matrix_rate(torch.device("cpu"), "fp32", repeats=1) < 1e15


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
