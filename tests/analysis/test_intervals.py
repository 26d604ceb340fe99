import numpy as np
import pytest
import simulation
import synthetic

from analysis.draws import draw
from analysis.intervals import PLUS_FOUR, accuracies
from analysis.statistics import wilson


def test_one_seed_is_wilsons(make_results):
    frame = accuracies(make_results(synthetic.grid((0.5, 1.0), (0,))))
    for row in frame.itertuples():
        expected = wilson(row.accuracy, 248)
        assert (row.n, row.low, row.high) == (1, expected.low, expected.high)
        assert "the seed's share is not in it" in row.how


def test_several_seeds(full_grid):
    frame = accuracies(full_grid)
    assert frame["init"].tolist() == ["scratch"] * 4 + ["pretrained"] * 4
    assert frame["n_train"].tolist() == [99, 248, 496, 992] * 2
    assert (frame["low"] < frame["accuracy"]).all()
    assert (frame["accuracy"] < frame["high"]).all()
    assert set(frame["how"]) == {"over 248 validation images and 3 seeds"}


def test_a_cell_of_one_seed_among_others_is_wilsons(make_results):
    cells = [c for c in synthetic.grid((0.5, 1.0), (0, 1)) if c["id"] != "scratch-100-s1"]
    frame = accuracies(make_results(cells)).set_index(["init", "fraction"])
    assert "Wilson" in frame.loc[("scratch", 1.0), "how"]
    assert "2 seeds" in frame.loc[("scratch", 0.5), "how"]


def test_perfect_accuracy_and_nothing_complete(make_results):
    frame = accuracies(make_results(synthetic.grid((0.5, 1.0), (0, 1)), lambda *_: 1.0))
    assert (frame["high"] == 1).all()
    assert frame["low"].between(0.9, 0.999).all()
    cells = synthetic.grid((1.0,), (0,))
    none = make_results(cells, status={cell["id"]: ("not started", "") for cell in cells})
    assert accuracies(none).empty


@pytest.mark.parametrize("resample", [False, True])
def test_intervals_cover_the_truth(resample):
    """Four cells of one init share their variance between seeds."""
    truth, covered = (0.6, 0.66, 0.7, 0.72), []
    for number in range(80):
        random = np.random.default_rng(number)
        made = simulation.runs(random, truth, n_val=250, n_seeds=3, resample=resample)
        means = draw(made, extra=np.tile(PLUS_FOUR, (4, 1)), resamples=600).means
        low, high = np.quantile(means, (0.025, 0.975), axis=0)
        covered.append((low <= truth) & (truth <= high))
    low, high = simulation.allowed(80)  # as if one cell, since the four share their images
    assert low <= np.mean(covered) <= high
