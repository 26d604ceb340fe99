import numpy as np
import pytest
from helpers.gaussians import gaussian_classes, with_wrong
from scipy import stats

from analysis.label_audit.confident_learning import audit
from analysis.label_audit.flips import check
from analysis.label_audit.share import clopper_pearson, from_check, from_review
from trainable.probe import components_of


def share_of(features, labels):
    parts, groups = components_of(features), np.arange(len(labels))
    found = audit(parts, labels, groups, draws=3)
    return found, from_check(found, check(parts, groups, found, rates=(0.2,), repeats=3))


def test_the_interval_contains_the_share_and_is_narrow_where_classes_are_apart():
    features, truth = gaussian_classes(apart=8.0)
    labels, wrong = with_wrong(truth, 24)
    _, share = share_of(features, labels)
    assert share.low == 0
    assert wrong.mean() <= share.high < 0.2
    assert all(response.slope == pytest.approx(1, abs=0.15) for response in share.responses)


def test_overlapping_classes_raise_the_estimate_and_the_limit_still_holds():
    """No label is wrong; the estimate's own interval leaves 0 out."""
    features, labels = gaussian_classes(apart=1.5)
    found, share = share_of(features, labels)
    assert clopper_pearson(round(found.estimate * 240), 240)[0] > 0.05
    assert share.low == 0
    assert share.high is None or share.high > found.estimate / 3


def test_features_without_information_bound_nothing_or_little():
    features, labels = gaussian_classes(apart=0.0)
    _, share = share_of(features, labels)
    assert share.high is None or share.high > 0.3


def test_a_review_of_everything_contains_the_share():
    suspected = np.array([True] * 20 + [False] * 80)
    wrong = np.zeros(100, bool)
    wrong[:10] = wrong[50:52] = True
    share = from_review(suspected, {i: "wrong" if w else "right" for i, w in enumerate(wrong)})
    assert share.estimate == pytest.approx(0.12)
    assert share.low < 0.12 < share.high
    assert share.reviewed == 100


def test_unsure_widens_the_interval():
    suspected = np.array([True] * 20 + [False] * 80)
    sure = from_review(suspected, dict.fromkeys(range(0, 100, 2), "right"))
    unsure = from_review(suspected, dict.fromkeys(range(0, 100, 2), "unsure"))
    assert unsure.low == sure.low == 0
    assert unsure.high > sure.high


def test_a_part_that_nobody_looked_at_may_be_anything():
    suspected = np.array([True] * 20 + [False] * 80)
    share = from_review(suspected, {0: "wrong"})
    assert share.estimate is None
    assert share.high == pytest.approx(1)


def test_coverage_of_a_review():
    random, covered = np.random.default_rng(0), 0
    for _ in range(200):
        wrong = random.random(500) < 0.1
        suspected = np.where(wrong, random.random(500) < 0.7, random.random(500) < 0.15)
        looked = np.concatenate(
            [random.permutation(np.flatnonzero(suspected == part))[:30] for part in (True, False)]
        )
        share = from_review(
            suspected, {i: "wrong" if wrong[i] else "right" for i in looked.tolist()}
        )
        covered += share.low <= wrong.mean() <= share.high
    assert stats.binomtest(covered, 200, 0.95, alternative="less").pvalue > 0.01


def test_clopper_pearson():
    for found, n in ((0, 20), (3, 20), (20, 20)):
        interval = stats.binomtest(found, n).proportion_ci(0.95, method="exact")
        assert clopper_pearson(found, n) == pytest.approx((interval.low, interval.high))
