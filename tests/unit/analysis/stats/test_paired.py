"""Paired differences: intervals that hold as often as they say."""

import numpy as np
import pytest

from analysis.stats.label_efficiency import BELOW, NEVER
from analysis.stats.paired import labels_needed, paired_differences


def draw(random, *, gain=0.0, budgets=3, repeats=10, images=120):
    """Right or wrong of two ways whose repeats and images vary, the one `gain` probits better."""
    difficulty = random.normal(0, 1.5, images)
    start = random.normal(0, 0.3, repeats)
    shared = random.normal(0, 0.6, (budgets, repeats, images))
    sides = []
    for shift in (gain, 0.0):
        own = np.cumsum(random.normal(0, 0.2, (budgets, repeats)), axis=0)
        noise = shared + random.normal(0, 0.8, shared.shape)
        sides.append(difficulty + (start + own)[:, :, None] + noise + shift > 0)
    return sides


def test_intervals_hold_together():
    random = np.random.default_rng(0)
    missed = 0
    for _ in range(120):
        estimates = paired_differences(*draw(random), resamples=150)
        missed += any(estimate.sign for estimate in estimates)
    assert missed <= 13  # 5% is 6; more than 13 has a chance of 0.4%


def test_a_difference_is_found_and_has_its_sign():
    a, b = draw(np.random.default_rng(1), gain=0.6)
    found = paired_differences(a, b, resamples=400)
    assert [estimate.sign for estimate in found] == [1, 1, 1]
    for estimate, one, other in zip(found, a, b, strict=True):
        assert estimate.value == pytest.approx(one.mean() - other.mean())
        assert estimate.low < estimate.value < estimate.high
    back = paired_differences(b, a, resamples=400)
    assert [estimate.sign for estimate in back] == [-1, -1, -1]


def test_several_budgets_and_a_higher_level_widen_the_interval():
    a, b = draw(np.random.default_rng(2))
    width = lambda estimate: estimate.high - estimate.low  # noqa: E731
    alone = paired_differences(a[:1], b[:1])[0]
    together = paired_differences(a, b)[0]
    stricter = paired_differences(a, b, level=0.99)[0]
    assert width(alone) < width(together) < width(stricter)


def test_what_repeats_share_does_not_widen_it():
    a, b = draw(np.random.default_rng(3))
    shuffled = b[:, ::-1]
    assert paired_differences(a, a)[0].se < paired_differences(a, shuffled)[0].se


def test_equal_predictions_are_no_certainty():
    same = np.ones((1, 5, 20), bool)
    (found,) = paired_differences(same, same)
    assert found.value == 0
    assert found.low < 0 < found.high


def test_one_repeat_is_refused():
    with pytest.raises(ValueError, match="at least 2"):
        paired_differences(np.ones((1, 1, 5), bool), np.ones((1, 1, 5), bool))


def test_labels_needed():
    """Random gains 10 points with each doubling, the other way is one doubling ahead."""
    rates = np.array([0.3, 0.4, 0.5, 0.6])
    images = np.arange(1000) / 1000
    right = lambda rates: np.tile(images < rates[:, None, None], (1, 6, 1))  # noqa: E731
    found = labels_needed((10, 20, 40, 80), right(rates + 0.1), right(rates))
    assert found[0].value == pytest.approx(20, rel=0.01)
    assert found[2].value == pytest.approx(80, rel=0.01)
    assert found[3].value == NEVER
    assert found[1].low == found[1].high == 40  # the same images are right: nothing to draw
    others = right(rates)[:, :, np.random.default_rng(0).permutation(1000)]
    found = labels_needed((10, 20, 40, 80), right(rates + 0.1), others)
    assert 25 < found[1].low < 40 < found[1].high < 60
    assert labels_needed((10, 20), right(rates[:2] - 0.1), right(rates[:2]))[0].value == BELOW
