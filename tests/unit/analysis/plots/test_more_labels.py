import pytest
from helpers.figures import overlaps, texts
from matplotlib.figure import Figure

from analysis.plots import more_labels
from analysis.plots.style import BASELINE_STYLE, COLOURS
from analysis.report.analysis import Analysis


@pytest.fixture(scope="module")
def curves(full_grid):
    return Analysis(everything=full_grid).learning_curves


@pytest.fixture
def ax():
    return Figure(figsize=(8, 5), layout="constrained").subplots()


def test_marks_fit_and_predictions(curves, ax):
    more_labels.more_labels(curves, ax, baseline=0.6, target=0.8)
    for curve, colour in zip(
        curves.values(), (COLOURS["pretrained"], COLOURS["scratch"]), strict=True
    ):
        fit, ahead, marks = (line for line in ax.lines if line.get_color() == colour)
        assert marks.get_xdata().tolist() == [cell.n_labels for cell in curve.cells]
        assert marks.get_ydata() == pytest.approx([cell.accuracy for cell in curve.cells])
        assert fit.get_xdata()[-1] == pytest.approx(curve.largest)
        assert ahead.get_linestyle() == "--"
        assert curve.largest < ahead.get_xdata()[-1] <= curve.furthest
    assert len([line for line in ax.lines if line.get_color() == BASELINE_STYLE["color"]]) == 1
    assert {"pre-trained, n = 3 seeds", "target: 80%", "largest budget"} <= set(texts(ax.figure))
    assert not overlaps(ax.figure)


def test_further_methods_have_colours_and_marks_of_their_own(curves, ax):
    curve = curves["pre-trained"]
    many = {f"method {number}": curve for number in range(6)}
    more_labels.more_labels(many, ax)
    drawn = [
        (line.get_color(), line.get_marker()) for line in ax.lines if line.get_marker() != "None"
    ]
    assert len(drawn) == 6
    assert len(set(drawn[:4])) == 4
    assert not set(COLOURS.values()) & {colour for colour, _ in drawn}
