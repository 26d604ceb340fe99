import pytest
from helpers.figures import texts
from matplotlib.figure import Figure

from analysis.plots import learning_curve
from analysis.plots.style import BASELINE_STYLE
from analysis.stats.cost import shares
from analysis.stats.estimates import accuracies
from analysis.stats.label_efficiency import label_efficiency


@pytest.fixture
def ax():
    return Figure().subplots()


def test_curves(full_grid, ax):
    learning_curve.learning(accuracies(full_grid), label_efficiency(full_grid), ax)
    assert ax.get_xscale() == "log"
    means = next(line for line in ax.lines if line.get_label().startswith("pre-trained"))
    expected = full_grid.complete.query("init == 'pretrained'").groupby("n_train")
    assert means.get_ydata() == pytest.approx(expected["accuracy"].mean().to_numpy())
    assert sorted(ax.get_xticks()) == [99, 248, 496, 992]
    (baseline,) = [line for line in ax.lines if line.get_color() == BASELINE_STYLE["color"]]
    assert baseline.get_label() == "baseline: from scratch, all labels"
    (diamond,) = [line for line in ax.lines if line.get_marker() == "D"]
    assert diamond.get_xdata()[0] == pytest.approx(992 * label_efficiency(full_grid).crossing.value)


def test_bars(full_grid, ax):
    found = shares(full_grid, 0.25)
    learning_curve.costs(found, ax, "at 25%")
    assert [bar.get_width() for bar in ax.patches] == [s.share.value for s in found]
    assert all(any(learning_curve.factor(s) in text for text in texts(ax)) for s in found)
