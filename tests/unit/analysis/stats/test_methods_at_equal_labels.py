"""One method against all others, with intervals that hold together."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import backbone_coverage, simulation

from analysis.stats.backbones import Method
from analysis.stats.estimates import accuracy_difference
from analysis.stats.methods_at_equal_labels import at_equal_labels, level_of_each


class TestLevelOfEach:
    def test_two_methods_are_one_pair(self):
        random = np.random.default_rng(0)
        assert level_of_each(list(random.normal(size=(2, 2000)))) == 0.95

    def test_lies_between_one_interval_and_bonferroni(self):
        draws = np.random.default_rng(0).normal(size=(6, 20_000))
        tukey = 0.9955  # of each of the 15 pairs of 6 means of one variance
        assert level_of_each(list(draws)) == pytest.approx(tukey, abs=0.0008)
        assert level_of_each(list(draws)) <= 1 - 0.05 / 15

    def test_methods_that_vary_together_need_no_correction(self):
        common = np.random.default_rng(0).normal(size=2000)
        draws = [k * common for k in range(1, 5)]
        assert level_of_each(draws) == pytest.approx(0.95, abs=0.002)

    def test_unknown_ones_do_not_count(self):
        random = np.random.default_rng(0)
        assert level_of_each([*random.normal(size=(2, 2000)), None]) == 0.95


@pytest.fixture
def methods():
    """Three: the first is 10 points better than the second; the third has no predictions."""
    random = np.random.default_rng(0)
    made = simulation.cells(random, (0.6, 0.7, 0.5, 0.6), n_val=1000, n_seeds=4)
    cells = [replace(c, fraction=f) for c, f in zip(made, (0.5, 1, 0.5, 1), strict=True)]
    bare = replace(cells[1], predictions=None)
    parts = {"best": cells[:2], "other": cells[2:], "bare": [bare]}
    return [
        Method(name=name, example=None, is_control=False, cells=tuple(own))
        for name, own in parts.items()
    ]


def test_each_number_of_labels_has_those_that_were_tested_with_it(methods):
    few, many = at_equal_labels(methods[0], methods, resamples=200)
    assert set(few.cells) == {"best", "other"}
    assert set(many.cells) == {"best", "other", "bare"}
    assert set(many.differences) == {"other", "bare"}
    assert few.level == 0.95  # one pair
    assert many.level == pytest.approx(0.98)  # few seeds of more than two methods
    alone = accuracy_difference(methods[0].cells[0], methods[1].cells[0], resamples=200)
    assert few.differences["other"] == alone
    assert few.differences["other"].sign == 1


def test_intervals_of_several_methods_hold():
    """A sample of what `helpers.backbone_coverage` measures."""
    setting = {"methods": 4, "n_val": 400, "n_seeds": 3, "resamples": 200}
    held = [
        backbone_coverage.accuracies_hold(np.random.default_rng(k), **setting) for k in range(20)
    ]
    assert np.mean(held) >= simulation.allowed(20)[0]
