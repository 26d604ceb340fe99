import numpy as np
import pandas as pd
import pytest
from helpers.figures import texts
from matplotlib.figure import Figure

from analysis import paper
from analysis.plots import accuracy
from analysis.plots.style import BASELINE_STYLE


@pytest.fixture
def ax():
    return Figure(layout="constrained").subplots()


def labels(ax):
    return ax.get_legend_handles_labels()[1]


def dotted_red(ax):
    return [line for line in ax.lines if line.get_color() == BASELINE_STYLE["color"]]


def test_class_counts(ax):
    frame = pd.DataFrame({"class": ["a", "b"], "images": [1200, 30], "kept": [True, False]})
    accuracy.class_counts(frame, ax)
    assert [bar.get_width() for bar in ax.patches] == [1200, 30]
    assert {"1,200", "30", "b (left out)"} <= set(texts(ax))
    assert ax.get_xlabel() == "images (n = 1,200 kept)"


def test_best_accuracy_shows_mean_seeds_and_baseline(full_grid, ax):
    trials = full_grid.complete
    accuracy.best_accuracy(trials, ax)
    baseline = trials.query("init == 'scratch' and fraction == 1")["accuracy"].mean()
    (line,) = dotted_red(ax)
    assert line.get_linestyle() == ":"
    assert line.get_ydata()[0] == pytest.approx(baseline)
    assert labels(ax)[:2] == ["scratch, n = 3 seeds", "pretrained, n = 3 seeds"]
    dots = [line for line in ax.lines if line.get_marker() == "." and len(line.get_ydata()) == 3]
    assert sorted(np.concatenate([d.get_ydata() for d in dots])) == pytest.approx(
        sorted(trials["accuracy"])
    )
    assert "10%\n99" in texts(ax)


def test_one_seed_has_wilsons_interval_and_says_so(paper_grid, ax):
    accuracy.best_accuracy(paper_grid.complete, ax, paper.table())
    assert "pretrained, n = 1 seed" in labels(ax)
    assert "the paper" in labels(ax)
    half = [np.ptp(c.lines[2][0].get_segments()[0][:, 1]) / 2 for c in ax.containers]
    assert np.allclose(half, 0.0148, atol=1e-3)
    hollow = [y for line in ax.lines if line.get_marker() == "D" for y in line.get_ydata()]
    assert sorted(hollow) == sorted(trial.accuracy for trial in paper.TRIALS)


def test_lowest_loss(full_grid, ax):
    accuracy.lowest_loss(full_grid.complete, ax)
    assert ax.get_ylabel() == "test loss"
    assert len(dotted_red(ax)) == 1


def test_no_baseline_no_line(full_grid, ax):
    accuracy.best_accuracy(full_grid.complete.query("init == 'pretrained'"), ax)
    assert not dotted_red(ax)
