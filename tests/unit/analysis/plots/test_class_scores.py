import numpy as np
import pandas as pd
import pytest
from helpers.figures import texts
from matplotlib.figure import Figure

from analysis.plots import class_scores
from analysis.plots.style import COLOURS
from analysis.stats.calibration import calibration


@pytest.fixture
def ax():
    return Figure(layout="constrained").subplots()


def test_confusion_with_an_empty_class(ax):
    shares = pd.DataFrame([[0.75, 0.25], [np.nan, np.nan]], ["a", "b"], ["a", "b"])
    class_scores.confusion(shares, pd.Series([4, 0], ["a", "b"]), ax)
    assert texts(ax).count("–") == 2
    assert {"75", "25", "a (4)", "b (0)"} <= set(texts(ax))


def test_difference_is_signed_and_centred(ax):
    shares = pd.DataFrame([[0.2, -0.2], [0.001, -0.001]], ["a", "b"], ["a", "b"])
    images = pd.Series([4, 5], ["a", "b"])
    class_scores.confusion(shares, images, ax, difference=True)
    assert {"+20", "−20", "0"} <= set(texts(ax))
    assert ax.images[0].get_clim() == (-0.2, 0.2)


def test_difference_of_nothing_has_a_scale(ax):
    shares = pd.DataFrame(np.full((2, 2), np.nan), ["a", "b"], ["a", "b"])
    class_scores.confusion(shares, pd.Series([0, 0], ["a", "b"]), ax, difference=True)
    assert ax.images[0].get_clim() == (-0.05, 0.05)


GAINS = pd.DataFrame(
    {
        "class": ["a", "b", "c"],
        "score": "recall",
        "images": [10, 1200, 30],
        "value": [0.1, -0.2, 0.02],
        "low": [0.05, -0.3, -0.1],
        "high": [0.15, -0.1, 0.14],
        "low_all": [-0.01, -0.4, -0.2],
        "high_all": [0.2, -0.05, 0.2],
    }
)


def test_gains_are_coloured_by_who_wins(ax):
    class_scores.gains(GAINS, ["a", "c", "b"], ax)
    marks = [line for line in ax.lines if line.get_marker() in "so"]
    colours = {line.get_xdata()[0]: line.get_color() for line in marks}
    assert colours == {
        0.1: COLOURS["pretrained"],
        -0.2: COLOURS["scratch"],
        0.02: class_scores.OPEN,
    }
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a (10)", "c (30)", "b (1,200)"]
    assert any(list(line.get_xdata()) == [0, 0] for line in ax.lines)
    assert any(list(line.get_xdata()) == [-0.01, 0.2] for line in ax.lines)


def test_reliability_has_the_diagonal_and_both_inits(full_grid, ax):
    bins = calibration(full_grid).bins
    class_scores.reliability(bins, ax)
    assert ax.get_legend_handles_labels()[1] == [
        "perfect",
        "scratch, n = 3 seeds",
        "pretrained, n = 3 seeds",
    ]


def test_confidences_add_up(full_grid, ax):
    class_scores.confidences(calibration(full_grid).bins, 15, ax)
    for patch in ax.patches:
        assert patch.get_data().values.sum() == pytest.approx(1)
