import numpy as np
import pandas as pd
import pytest
import synthetic
from matplotlib.figure import Figure
from matplotlib.text import Text

from analysis import class_figures
from analysis.calibration import calibration
from analysis.class_plates import class_plates, confusion_shares
from analysis.classes import class_by_class
from analysis.figures import COLOURS
from analysis.stacks import at_largest


@pytest.fixture
def ax():
    return Figure(layout="constrained").subplots()


def texts(ax):
    return [text.get_text() for text in ax.findobj(Text) if text.get_text()]


def plates_of(results):
    return class_plates(results, class_by_class(results), calibration(results))


ALL = [
    *("class_gains", "confusion_scratch", "confusion_pretrained", "confusion_difference"),
    "reliability",
]


def test_plates_of_both_inits(full_grid):
    made = plates_of(full_grid)
    assert [plate.name for plate in made] == ALL
    assert all("n = 3 seeds" in plate.caption for plate in made)
    assert {plate.section for plate in made} == {"classes"}


def test_plates_of_one_init(make_results):
    results = make_results(synthetic.grid((1.0,), (0,), inits=("scratch",)))
    assert [plate.name for plate in plates_of(results)] == ["confusion_scratch", "reliability"]


def test_no_plates_without_predictions(make_results):
    results = make_results(synthetic.grid((1.0,), (0,)))
    results.trials["checkpoint"] = None
    assert plates_of(results) == []


@pytest.mark.parametrize("n_classes", [2, 9])
def test_confusion_counts_every_image_of_every_seed(make_results, n_classes):
    names = [f"class {number}" for number in range(n_classes)]
    results = make_results(synthetic.grid((1.0,), (0, 1)), names=names)
    stack = at_largest(results)["scratch"]
    shares, images = confusion_shares(stack, names)
    assert images.sum() == 248
    assert np.allclose(shares.sum(axis=1), 1)
    assert (np.diag(shares) * images).sum() == pytest.approx(stack.correct.mean() * 248)


def test_confusion_with_an_empty_class(ax):
    shares = pd.DataFrame([[0.75, 0.25], [np.nan, np.nan]], ["a", "b"], ["a", "b"])
    class_figures.confusion(shares, pd.Series([4, 0], ["a", "b"]), ax)
    assert texts(ax).count("–") == 2
    assert {"75", "25", "a (4)", "b (0)"} <= set(texts(ax))


def test_difference_is_signed_and_centred(ax):
    shares = pd.DataFrame([[0.2, -0.2], [0.001, -0.001]], ["a", "b"], ["a", "b"])
    images = pd.Series([4, 5], ["a", "b"])
    class_figures.confusion(shares, images, ax, difference=True)
    assert {"+20", "−20", "0"} <= set(texts(ax))
    assert ax.images[0].get_clim() == (-0.2, 0.2)


def test_difference_of_nothing_has_a_scale(ax):
    shares = pd.DataFrame(np.full((2, 2), np.nan), ["a", "b"], ["a", "b"])
    class_figures.confusion(shares, pd.Series([0, 0], ["a", "b"]), ax, difference=True)
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
    class_figures.gains(GAINS, ["a", "c", "b"], ax)
    marks = [line for line in ax.lines if line.get_marker() in "so"]
    colours = {line.get_xdata()[0]: line.get_color() for line in marks}
    assert colours == {
        0.1: COLOURS["pretrained"],
        -0.2: COLOURS["scratch"],
        0.02: class_figures.OPEN,
    }
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a (10)", "c (30)", "b (1,200)"]
    assert any(list(line.get_xdata()) == [0, 0] for line in ax.lines)
    assert any(list(line.get_xdata()) == [-0.01, 0.2] for line in ax.lines)


def test_gains_of_a_plate_are_in_order(full_grid):
    plate = plates_of(full_grid)[0]
    marks = [line for line in plate.figure.axes[0].lines if line.get_marker() in "so"]
    ordered = sorted(marks, key=lambda line: -line.get_ydata()[0])
    values = [line.get_xdata()[0] for line in ordered]
    assert values == sorted(values, reverse=True)


def test_reliability_has_the_diagonal_and_both_inits(full_grid, ax):
    bins = calibration(full_grid).bins
    class_figures.reliability(bins, ax)
    assert ax.get_legend_handles_labels()[1] == [
        "perfect",
        "scratch, n = 3 seeds",
        "pretrained, n = 3 seeds",
    ]


def test_confidences_add_up(full_grid, ax):
    class_figures.confidences(calibration(full_grid).bins, 15, ax)
    for patch in ax.patches:
        assert patch.get_data().values.sum() == pytest.approx(1)
