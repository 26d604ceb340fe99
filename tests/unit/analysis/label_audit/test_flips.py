import numpy as np
import pytest
from helpers.gaussians import gaussian_classes

from analysis.label_audit.confident_learning import audit
from analysis.label_audit.flips import check, flip, most_confused, precisions
from trainable.probe import components_of

LABELS = np.repeat([0, 1, 2], [40, 20, 20])


@pytest.mark.parametrize("kind", ["uniform", "confused"])
def test_the_share_of_each_class_is_flipped(kind):
    confused = np.array([2, 0, 1])
    flipped = flip(LABELS, 0.25, kind, confused, np.random.default_rng(0))
    changed = flipped != LABELS
    assert np.bincount(LABELS[changed]).tolist() == [10, 5, 5]
    if kind == "confused":
        assert (flipped[changed] == confused[LABELS[changed]]).all()
    else:
        assert set(flipped[changed & (LABELS == 0)]) == {1, 2}


def test_the_most_confused_class():
    probabilities = np.array([[0.5, 0.1, 0.4], [0.3, 0.5, 0.2], [0.0, 0.2, 0.8]])
    assert most_confused(np.array([0, 1, 2]), probabilities).tolist() == [2, 0, 1]


def test_precision_at_k():
    flipped = np.zeros(40, bool)
    flipped[[0, 1, 2, 30]] = True
    found = precisions(flipped, -np.arange(40.0))
    assert found["precision_at_10"] == pytest.approx(0.3)
    assert found["precision_at_20"] == pytest.approx(0.15)
    assert np.isnan(found["precision_at_50"])
    assert found["precision_at_flipped"] == pytest.approx(0.75)


def test_flips_are_found_and_counted_where_features_tell_and_at_chance_where_not():
    results = {}
    for apart in (6.0, 0.0):
        features, labels = gaussian_classes(apart=apart)
        parts, groups = components_of(features), np.arange(len(labels))
        found = audit(parts, labels, groups, draws=2)
        tried = check(parts, groups, found, rates=(0.2,), repeats=2)
        assert len(tried.frame) == 2 * 2
        assert tried.of("uniform", 0.2)["added"].to_numpy() == pytest.approx(0.2)
        results[apart] = tried.frame.groupby("rate")[["precision_at_flipped", "estimate"]].mean()
    assert results[6.0].loc[0.2, "precision_at_flipped"] > 0.95
    assert results[6.0].loc[0.2, "estimate"] == pytest.approx(0.2, abs=0.02)
    assert results[0.0].loc[0.2, "precision_at_flipped"] == pytest.approx(0.2, abs=0.12)
