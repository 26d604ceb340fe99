import numpy as np
import pytest
from helpers.gaussians import gaussian_classes, with_wrong

from analysis.label_audit.confident_learning import audit, check_counts, out_of_fold
from trainable.errors import DataError
from trainable.probe import components_of


def audited(features, labels, groups=None, draws=2):
    groups = np.arange(len(labels)) if groups is None else groups
    return audit(components_of(features), labels, groups, draws=draws)


def test_flipped_labels_on_separable_features_are_found():
    features, truth = gaussian_classes(apart=8.0)
    labels, wrong = with_wrong(truth, 20)
    found = audited(features, labels)
    assert wrong[found.order[:20]].all()
    assert (found.suggested == truth).mean() > 0.99
    assert found.estimate == pytest.approx(20 / 240, abs=0.01)
    assert found.joint.sum() == pytest.approx(1)


def test_right_labels_on_separable_features_are_not_suspected():
    features, labels = gaussian_classes(apart=8.0)
    found = audited(features, labels)
    assert found.suspected.sum() == 0
    assert found.estimate == 0
    assert found.accuracy == 1


def test_features_without_information_find_at_chance():
    features, truth = gaussian_classes(n=600, apart=0.0)
    labels, wrong = with_wrong(truth, 120)
    found = audited(features, labels)
    first = np.argsort(found.quality)[:200]
    assert wrong[first].mean() == pytest.approx(0.2, abs=0.08)
    assert found.accuracy < 0.45


def test_images_of_a_group_are_in_one_fold():
    """Two copies of each image, with a label that nothing but the copy tells."""
    random = np.random.default_rng(0)
    features = np.repeat(random.normal(size=(60, 80)), 2, axis=0).astype(np.float32)
    labels, groups = np.repeat(random.integers(0, 2, 60), 2), np.repeat(np.arange(60), 2)
    parts = components_of(features)
    together = out_of_fold(parts, labels, groups, seed=0).argmax(1) == labels
    apart = out_of_fold(parts, labels, np.arange(120), seed=0).argmax(1) == labels
    assert apart.mean() > together.mean() + 0.1


def test_a_class_that_is_too_small_is_named():
    labels = np.array([0] * 9 + [1] * 4)
    with pytest.raises(DataError, match=r"'b' has 4 labelled images.*at least 5"):
        check_counts(labels, np.arange(13), ("a", "b"))
    check_counts(np.array([0] * 5 + [1] * 5), np.arange(10), ("a", "b"))
