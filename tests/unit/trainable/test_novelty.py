"""Distances in feature space, and the false alarms that a threshold promises."""

import numpy as np
import pytest

from trainable.novelty import FalseAlarms, measure, unit_length


def features(random, n, width=8, shift=2.0):
    return (random.normal(size=(n, width)) + shift).astype(np.float32)


def test_distance_is_that_to_the_kth_nearest():
    random = np.random.default_rng(0)
    train, queries = features(random, 30), features(random, 5)
    novelty = measure(train, features(random, 40), features(random, 50), wanted=0.1)
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (queries, train))
    expected = np.sort(np.linalg.norm(a[:, None] - b, axis=2), axis=1)[:, 9]
    np.testing.assert_allclose(novelty.distances(queries), expected, atol=1e-5)


@pytest.mark.parametrize("from_validation", [True, False])
def test_false_alarms_are_as_many_as_wanted(from_validation):
    """On average over draws of all images; the split-conformal quantile promises at most 10%."""
    rates = []
    for seed in range(60):
        random = np.random.default_rng(seed)
        validation = features(random, 60) if from_validation else None
        novelty = measure(features(random, 60), validation, features(random, 200), wanted=0.1)
        assert novelty.from_validation is from_validation
        assert novelty.false_alarms is not None
        rates.append(novelty.false_alarms.rate)
    spread = np.std(rates) / np.sqrt(len(rates))
    assert abs(np.mean(rates) - 0.1) < 3 * spread + 1 / 61


def test_other_images_are_flagged():
    random = np.random.default_rng(0)
    novelty = measure(features(random, 60), features(random, 60), features(random, 9), wanted=0.1)
    assert (novelty.distances(features(random, 20, shift=-2.0)) > novelty.threshold).all()


def test_too_few_images_for_so_few_false_alarms():
    """The largest distance is the threshold, and what that promises is what is told."""
    random = np.random.default_rng(0)
    train, validation = features(random, 30), features(random, 9)
    novelty = measure(train, validation, features(random, 5), wanted=0.05)
    assert novelty.wanted == pytest.approx(0.1)
    assert novelty.threshold == pytest.approx(novelty.distances(validation).max(), abs=1e-6)
    assert "10.0% false alarms by 9 validation images" in novelty.sentence


def test_without_a_test_set_no_rate_is_told():
    random = np.random.default_rng(0)
    novelty = measure(features(random, 30), None, np.empty((0, 8), np.float32), wanted=0.1)
    assert novelty.false_alarms is None
    assert "no test set" in novelty.sentence


def test_interval_of_false_alarms_is_wilsons():
    alarms = FalseAlarms.of(2, 30)
    assert alarms.rate == pytest.approx(0.0667, abs=1e-4)
    assert (alarms.low, alarms.high) == pytest.approx((0.0185, 0.2132), abs=1e-3)


def test_feature_of_length_0_stays():
    assert unit_length(np.zeros((1, 3), np.float32)).tolist() == [[0, 0, 0]]
