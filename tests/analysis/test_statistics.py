from dataclasses import replace

import numpy as np
import pytest
import synthetic
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

from analysis import statistics


def arm(correct, *, rows=None):
    """An arm from (seeds, images) of right and wrong."""
    correct = np.atleast_2d(np.asarray(correct, dtype=bool))
    seeds, n = correct.shape
    return statistics.Arm(
        label="arm",
        n_train=100,
        accuracies=tuple(correct.mean(axis=1)),
        seeds=tuple(range(seeds)),
        n_val=(n,) * seeds,
        correct=correct,
        seen=np.ones_like(correct),
        rows=np.arange(n) if rows is None else rows,
    )


def right(n, k):
    """(n,) bool, the first k true."""
    return np.arange(n) < k


def test_wilson_known_value():
    estimate = statistics.wilson(0.9, 10)
    assert (estimate.low, estimate.high) == pytest.approx((0.59585, 0.98212), abs=1e-4)


def test_wilson_of_perfect_accuracy_stays_below_certainty():
    estimate = statistics.wilson(1.0, 50)
    assert estimate.high == pytest.approx(1.0)
    assert 0.9 < estimate.low < 1


def test_wilson_without_images_says_what_is_wrong():
    with pytest.raises(ValueError, match="expected at least one image"):
        statistics.wilson(0.5, 0)


def test_paired_interval_agrees_with_the_normal_one_on_many_images():
    random = np.random.default_rng(1)
    easy = random.random(4000)
    a, b = easy + random.normal(0, 0.2, 4000) > 0.35, easy + random.normal(0, 0.2, 4000) > 0.4
    estimate = statistics.accuracy_difference(arm(a), arm(b))
    d = a.astype(float) - b
    expected = stats.ttest_1samp(d, 0).confidence_interval()
    assert estimate.value == pytest.approx(d.mean())
    assert (estimate.low, estimate.high) == pytest.approx(tuple(expected), abs=1.5e-3)
    assert "paired over 4,000 shared" in estimate.how


@pytest.mark.parametrize(("only_a", "only_b"), [(3, 0), (4, 0), (8, 0), (12, 1), (6, 5), (20, 6)])
def test_paired_interval_is_as_strict_as_mcnemar(only_a, only_b):
    n, both = 400, 200
    a, b = right(n, both), right(n, both)
    a[both : both + only_a] = True
    b[both + only_a : both + only_a + only_b] = True
    neither = n - both - only_a - only_b
    p = mcnemar([[both, only_a], [only_b, neither]], exact=True).pvalue
    estimate = statistics.accuracy_difference(arm(a), arm(b))
    assert (estimate.sign == 1) == (p < 0.05)


def test_pairing_is_sharper_than_two_samples():
    a, b = right(1000, 700), right(1000, 680)
    paired = statistics.accuracy_difference(arm(a), arm(b))
    half = statistics.accuracy_difference(arm(a), arm(b, rows=np.arange(1000) + 500))
    other = statistics.accuracy_difference(arm(a), arm(b, rows=np.arange(1000) + 1000))
    assert paired.sign == 1
    assert half.sign == other.sign == 0
    assert "paired over 1,000 shared" in paired.how
    assert "over 1,000 and 1,000 validation images, 500 of them shared and paired" in half.how
    assert "none shared" in other.how


def test_unpaired_interval_is_newcombes():
    a, b = right(1000, 700), right(1000, 660)
    drawn = statistics.accuracy_difference(arm(a), arm(b, rows=np.arange(1000) + 1000))
    low, high = statistics.proportions_difference(0.7, 1000, 0.66, 1000)
    assert (drawn.low, drawn.high) == pytest.approx((low, high), abs=4e-3)


@pytest.mark.parametrize(("a", "b"), [(60, 60), (0, 0), (60, 0), (0, 60), (30, 30)])
def test_degenerate_accuracies_give_finite_intervals(a, b):
    estimate = statistics.accuracy_difference(arm(right(60, a)), arm(right(60, b)))
    assert np.isfinite([estimate.value, estimate.low, estimate.high]).all()
    assert estimate.low < estimate.high
    assert estimate.sign == np.sign(a - b)


def test_one_seed_each_is_said():
    estimate = statistics.accuracy_difference(arm(right(60, 40)), arm(right(60, 30)))
    assert "n = 1 seed each, so without the seed's share" in estimate.how


def test_two_single_runs_have_mcnemars_p():
    a, b = right(60, 40), right(60, 30)
    estimate = statistics.accuracy_difference(arm(a), arm(b))
    assert estimate.p == pytest.approx(2 * 0.5**10)
    assert statistics.accuracy_difference(arm([a] * 2), arm(b)).p is None


def test_seeds_widen_the_interval():
    calm = [right(500, 400)] * 3
    wild = [right(500, k) for k in (370, 400, 430)]
    base = arm([right(500, 350)] * 3)
    narrow = statistics.accuracy_difference(arm(calm), base)
    wide = statistics.accuracy_difference(arm(wild), base)
    assert narrow.value == pytest.approx(wide.value)
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)
    assert "the seeds (3 and 3)" in wide.how


def test_seeds_with_a_split_each_are_paired_within_the_seed():
    """An easy set favours both arms, so only what differs within a seed makes them differ."""
    n, easy = 400, (300, 340, 320)
    seen = np.repeat(np.eye(3, dtype=bool), n, axis=1)

    def split_arm(shift):
        correct = np.tile(right(n, 0), 3) & seen
        for seed, k in enumerate(easy):
            correct[seed, seed * n : seed * n + k + shift] = True
        accuracies = tuple(correct.sum(axis=1) / n)
        return replace(arm(correct), accuracies=accuracies, seen=seen, n_val=(n,) * 3)

    estimate = statistics.accuracy_difference(split_arm(12), split_arm(0))
    assert estimate.value == pytest.approx(0.03)
    assert 0.015 < estimate.low < estimate.high < 0.045
    assert "each seed has a split of its own; seeds are paired" in estimate.how


def test_mean_difference_is_students():
    a, b = [50.0, 47.0, 55.0], [26.0, 29.0]
    estimate = statistics.mean_difference(a, b)
    expected = stats.ttest_ind(a, b).confidence_interval()
    assert (estimate.low, estimate.high) == pytest.approx(tuple(expected))


def test_mean_difference_of_one_seed_each_has_words_for_an_interval():
    estimate = statistics.mean_difference([50.0], [26.0])
    assert (estimate.value, estimate.low, estimate.sign) == (24.0, None, None)
    assert estimate.how == "no interval: n = 1 seed each"


def test_seeds_that_do_not_differ_give_no_interval_of_no_width():
    estimate = statistics.mean_difference([40.0, 40.0], [14.0, 14.0])
    assert (estimate.value, estimate.low, estimate.sign) == (26.0, None, None)
    assert estimate.how == "no interval: the seeds that could tell do not differ"


def test_ratio():
    estimate = statistics.ratio([100.0, 100.0], [200.0, 200.0])
    assert (estimate.low, estimate.high) == (None, None)  # nothing tells how much seeds differ
    assert estimate.value == pytest.approx(0.5)
    assert statistics.ratio([47.0], [131.0]).value == pytest.approx(47 / 131)
    with pytest.raises(ValueError, match="expected positive"):
        statistics.ratio([0.0], [1.0])


def test_spread_of_one_seed_has_no_deviation():
    assert statistics.spread([0.7]) == (0.7, None, 1)
    assert statistics.spread([1.0, 3.0]) == pytest.approx((2.0, np.sqrt(2), 2))


def test_arm_of_results(full_grid):
    one = statistics.arm(full_grid, "pretrained", 0.5)
    assert one.n == 3
    assert one.correct.shape == (3, 248)
    assert one.correct.mean(axis=1) == pytest.approx(one.accuracies)
    assert statistics.arm(full_grid, "pretrained", 0.3) is None


def test_arm_without_stored_predictions_is_unpaired(make_results):
    results = make_results(synthetic.grid((1.0,), (0,)))
    results.trials["checkpoint"] = None
    a, b = (statistics.arm(results, init, 1.0) for init in ("pretrained", "scratch"))
    assert a.correct is None
    difference = statistics.accuracy_difference(a, b)
    assert "two samples of 248 and 248" in difference.how
    assert difference.p is None
