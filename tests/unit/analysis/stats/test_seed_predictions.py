import numpy as np
import pytest
from helpers import synthetic

from analysis.stats.seed_predictions import at_largest, cell_runs, described, same_images


def test_all_seeds_of_the_largest_shared_fraction(full_grid):
    by_init = at_largest(full_grid)
    assert list(by_init) == ["scratch", "pretrained"]
    for init, predictions in by_init.items():
        assert predictions.fraction == 1
        assert predictions.trials == tuple(f"{init}-100-s{seed}" for seed in range(3))
        accuracies = full_grid.of(init, 1.0)["accuracy"]
        assert np.allclose(predictions.correct.mean(axis=1), accuracies)
    assert same_images(by_init)
    assert by_init["scratch"].label == "scratch at 100%, n = 3 seeds"
    assert described(by_init) == "Scratch and pretrained at 100%, n = 3 seeds"


def test_inits_meet_at_a_fraction_that_both_have(make_results):
    cells = synthetic.grid((0.5,), (0,), inits=("scratch",)) + synthetic.grid(
        (0.5, 1.0), (0,), inits=("pretrained",)
    )
    assert {predictions.fraction for predictions in at_largest(make_results(cells)).values()} == {
        0.5
    }


def test_inits_without_a_shared_fraction_keep_their_own(make_results):
    cells = [synthetic.cell("scratch", 1.0, 0), synthetic.cell("pretrained", 0.5, 0)]
    by_init = at_largest(make_results(cells))
    assert {init: predictions.fraction for init, predictions in by_init.items()} == {
        "scratch": 1.0,
        "pretrained": 0.5,
    }
    assert described(by_init) == ("Scratch at 100%, n = 1 seed and pretrained at 50%, n = 1 seed")
    assert not same_images(by_init)


def test_one_init_alone(make_results):
    by_init = at_largest(make_results(synthetic.grid((1.0,), (0,), inits=("scratch",))))
    assert list(by_init) == ["scratch"]
    assert not same_images(by_init)


def test_seeds_with_other_validation_images(make_results, tmp_path):
    results = make_results(synthetic.grid((1.0,), (0, 1)))
    path = tmp_path / "scratch-100-s1" / "predictions.npz"
    stored = dict(np.load(path))
    stored["rows"] = stored["rows"] + 3  # the first image is another one, and so is the last
    np.savez(path, **stored)
    predictions = at_largest(results)["scratch"]
    assert len(predictions.rows) == 249
    assert predictions.seen.sum(axis=1).tolist() == [248, 248]
    assert (predictions.predicted == -1).sum() == 2
    assert not same_images(at_largest(results))


def test_nothing_stored_no_stack(make_results):
    results = make_results(synthetic.grid((1.0,), (0,)))
    results.trials["checkpoint"] = None
    assert at_largest(results) == {}


def test_cell_runs(full_grid):
    one = cell_runs(full_grid, "pretrained", 0.5)
    assert one.n == 3
    assert one.predictions.correct.shape == (3, 248)
    assert one.predictions.correct.mean(axis=1) == pytest.approx(one.accuracies)
    assert cell_runs(full_grid, "pretrained", 0.3) is None
    assert one.label == "pretrained at 50%"
