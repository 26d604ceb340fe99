import numpy as np
import pytest
from matplotlib.colors import to_rgb

from analysis.plots import label_next as plots
from analysis.stats.estimates import Estimate


def estimate(value, half):
    return Estimate(value=value, low=value - half, high=value + half, how="made up")


@pytest.fixture
def figure():
    accuracies = np.linspace(0.4, 0.7, 4)[:, None] + np.linspace(-0.02, 0.02, 5)
    orders = {"first": accuracies + 0.01, "second": accuracies - 0.01}
    differences = {
        "first": [estimate(0.01, 0.02), estimate(0.03, 0.02)],
        "second": [estimate(-0.05, 0.01), estimate(0.0, 0.01)],
    }
    return plots.simulation((10, 20, 40, 45), accuracies, orders, (20, 40), differences)


def test_curves_are_means_of_the_repeats(figure):
    left, _ = figure.axes
    drawn = {line.get_label(): line.get_ydata() for line in left.lines}
    np.testing.assert_allclose(drawn["random"], np.linspace(0.4, 0.7, 4))
    np.testing.assert_allclose(drawn["first"], np.linspace(0.41, 0.71, 4))
    assert left.get_xticks().tolist() == [10, 20, 45]  # 40 has no room beside 45


def test_marks_are_full_if_the_interval_excludes_0(figure):
    _, right = figure.axes
    marks = {c.get_label(): c for c in right.collections if c.get_label() in ("first", "second")}
    white = [
        [tuple(face[:3]) == to_rgb("white") for face in marks[name].get_facecolors()]
        for name in ("first", "second")
    ]
    assert white == [[True, False], [False, True]]
    np.testing.assert_allclose(marks["first"].get_offsets()[:, 1], [1, 3])
    assert [text.get_text() for text in right.get_xticklabels()] == ["20", "40"]
