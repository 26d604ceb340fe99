import numpy as np
import pandas as pd
import pytest
import synthetic
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

from analysis import statistics
from analysis.frames import Predictions


def arm(correct, *, val_hash="v", rows=None):
    """An arm from (seeds, images) of right and wrong."""
    correct = np.atleast_2d(np.asarray(correct, dtype=bool))
    seeds, n = correct.shape
    return statistics.Arm(
        label="arm",
        n_train=100,
        accuracies=tuple(correct.mean(axis=1)),
        n_val=(n,) * seeds,
        val_hashes=(val_hash,) * seeds,
        correct=correct,
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
    other = statistics.accuracy_difference(arm(a), arm(b, val_hash="w"))
    assert paired.sign == 1
    assert other.sign == 0
    assert "two samples of 1,000 and 1,000" in other.how


def test_other_rows_are_not_paired_even_under_the_same_hash():
    estimate = statistics.accuracy_difference(
        arm(right(50, 30)), arm(right(50, 20), rows=np.arange(50) + 1)
    )
    assert "two samples" in estimate.how


@pytest.mark.parametrize(("a", "b"), [(60, 60), (0, 0), (60, 0), (0, 60), (30, 30)])
def test_degenerate_accuracies_give_finite_intervals(a, b):
    estimate = statistics.accuracy_difference(arm(right(60, a)), arm(right(60, b)))
    assert np.isfinite([estimate.value, estimate.low, estimate.high]).all()
    assert estimate.low < estimate.high
    assert estimate.sign == np.sign(a - b)


def test_one_seed_each_is_said():
    estimate = statistics.accuracy_difference(arm(right(60, 40)), arm(right(60, 30)))
    assert "one seed each, so without the seed's share" in estimate.how


def test_seeds_widen_the_interval():
    calm = [right(500, 400)] * 3
    wild = [right(500, k) for k in (370, 400, 430)]
    base = arm([right(500, 350)] * 3)
    narrow = statistics.accuracy_difference(arm(calm), base)
    wide = statistics.accuracy_difference(arm(wild), base)
    assert narrow.value == pytest.approx(wide.value)
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)
    assert "the seeds (3 and 3)" in wide.how


def test_interval_covers_the_truth():
    """Over 200 made-up pairs of three seeds the 95 % interval covers the true difference."""
    covered = 0
    for number in range(200):
        random = np.random.default_rng(number)
        ease = random.normal(size=300)

        def seeds(skill, random=random, ease=ease):
            luck = random.normal(0, 0.1, (3, 1))
            return ease + luck + random.normal(0, 0.5, (3, 300)) > -skill

        estimate = statistics.accuracy_difference(arm(seeds(0.6)), arm(seeds(0.4)))
        truth = np.diff(stats.norm.cdf([0.4, 0.6], scale=np.sqrt(1 + 0.01 + 0.25)))[0]
        covered += estimate.low <= truth <= estimate.high
    assert covered >= 184


def test_mean_difference_is_students():
    a, b = [50.0, 47.0, 55.0], [26.0, 29.0]
    estimate = statistics.mean_difference(a, b)
    expected = stats.ttest_ind(a, b).confidence_interval()
    assert (estimate.low, estimate.high) == pytest.approx(tuple(expected))


def test_mean_difference_of_one_seed_each_has_words_for_an_interval():
    estimate = statistics.mean_difference([50.0], [26.0])
    assert (estimate.value, estimate.low, estimate.sign) == (24.0, None, None)
    assert estimate.how == "no interval: one seed each"


def test_ratio():
    estimate = statistics.ratio([100.0, 100.0], [200.0, 200.0])
    assert (estimate.low, estimate.value, estimate.high) == pytest.approx((0.5, 0.5, 0.5))
    assert statistics.ratio([47.0], [131.0]).value == pytest.approx(47 / 131)
    with pytest.raises(ValueError, match="expected positive"):
        statistics.ratio([0.0], [1.0])


def test_spread_of_one_seed_has_no_deviation():
    assert statistics.spread([0.7]) == (0.7, None, 1)
    assert statistics.spread([1.0, 3.0]) == pytest.approx((2.0, np.sqrt(2), 2))


def made(labels, predicted, n_classes):
    return Predictions(
        rows=np.arange(len(labels)),
        labels=np.asarray(labels),
        probabilities=np.eye(n_classes, dtype=np.float32)[predicted],
        epoch=1,
    )


def test_confusion_and_recall_with_a_class_missing():
    counts = statistics.confusion(made([0, 0, 0, 2], [0, 0, 2, 2], 3), ["a", "b", "c"])
    assert counts.to_numpy().tolist() == [[2, 0, 1], [0, 0, 0], [0, 0, 1]]
    recall = statistics.recall(counts)
    assert recall["images"].tolist() == [3, 0, 1]
    assert recall["recall"][0] == pytest.approx(2 / 3)
    assert recall["recall"][1] is pd.NA


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
    assert "two samples" in statistics.accuracy_difference(a, b).how
