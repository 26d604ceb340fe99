"""What the analysis reads of a sweep that Ray Tune ran."""

import subprocess
import sys

import numpy as np
import pytest
from helpers.surveys import ROOT
from ray import tune

from analysis.results.load import from_result_grid, read
from trainable.manifest import Manifest

# Ray leaves sockets and pipes of its workers to the garbage collector, and warns of its own past.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def results(sweep_folder):
    return read(sweep_folder)


def test_one_row_per_cell_with_its_status(results):
    status = dict(zip(results.trials["trial"], results.trials["status"], strict=True))
    assert status == {
        "scratch-50-s0": "complete",
        "scratch-50-s1": "not started",
        "scratch-100-s0": "complete",
        "pretrained-50-s0": "complete",
        "pretrained-50-s1": "failed",
        "pretrained-100-s0": "complete",
    }
    assert len(results.complete) == 4


def test_error_text_of_the_failed_trial(results):
    failed = results.missing.set_index("trial").loc["pretrained-50-s1"]
    assert failed["error"] == "RuntimeError: the disk is full (made up)"
    assert failed["epochs"] == 2


def test_epochs_once_and_in_order(results):
    for trial, epochs in results.epochs.groupby("trial"):
        n = results.trials.set_index("trial").loc[trial, "epochs"]
        assert epochs["epoch"].tolist() == list(range(1, n + 1))
    assert results.notes == ()


def test_predictions_and_record(results):
    stored = results.predictions("scratch-100-s0")
    assert stored.probabilities.shape == (120, 6)
    assert (np.diff(stored.rows) > 0).all()
    best = results.trials.set_index("trial").loc["scratch-100-s0", "best_val_accuracy"]
    assert stored.correct.mean() == pytest.approx(best)
    assert results.record("scratch-100-s0")["device"] == "cpu"
    assert results.predictions("scratch-50-s1") is None
    assert results.record("scratch-50-s1") is None


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_rays_own_result_grid_gives_the_same(results, sweep_folder):
    from helpers.toy_trial import ToyTrial

    grid = tune.Tuner.restore(str(sweep_folder / "run-0"), ToyTrial).get_results()
    again = from_result_grid(Manifest.read(sweep_folder), grid)
    assert len(grid) == 5
    assert again.trials.equals(results.trials)
    assert again.epochs.equals(results.epochs)
    assert again.notes == results.notes
    assert (again.examples == results.examples).all()


def test_ray_is_not_needed(sweep_folder):
    code = (
        "import sys; sys.modules['ray'] = None\n"
        "from analysis.results.load import read\n"
        "print(len(read(sys.argv[1]).complete))"
    )
    command = [sys.executable, "-c", code, str(sweep_folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "4"
