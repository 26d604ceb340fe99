import pytest
from matplotlib.figure import Figure

from analysis import paper
from analysis.plots import training_curves
from analysis.plots.style import COLOURS


@pytest.fixture
def ax():
    return Figure(layout="constrained").subplots()


def labels(ax):
    return ax.get_legend_handles_labels()[1]


def test_train_and_validation(full_grid, ax):
    epochs = full_grid.epochs[full_grid.epochs["fraction"] == 1]
    training_curves.train_and_validation(epochs, ax, metric="accuracy")
    assert labels(ax) == [
        f"{init} 100%, n = 3 seeds: {part}"
        for init in ("scratch", "pretrained")
        for part in ("training", "validation")
    ]
    colours = {line.get_color() for line in ax.lines}
    assert colours == set(COLOURS.values())


def test_mean_curve_ends_where_the_first_seed_stops(full_grid, ax):
    epochs = full_grid.epochs.query("init == 'scratch' and fraction == 1")
    training_curves.seeds_and_mean(epochs, "val_loss", ax, color="k", label="mean")
    mean = next(line for line in ax.lines if line.get_label() == "mean")
    assert mean.get_xdata()[-1] == epochs.groupby("trial")["epoch"].max().min()
    assert mean.get_ydata()[0] == pytest.approx(epochs.query("epoch == 1")["val_loss"].mean())


def test_validation_curves_of_all_cells(full_grid, ax):
    training_curves.validation(full_grid.epochs, ax, metric="loss")
    assert len(labels(ax)) == 8
    assert labels(ax)[0] == "scratch 100%, n = 3 seeds"


def test_authors_lie_thin_under_ours(ax):
    training_curves.authors(paper.authors_curves(), ax, metric="loss", parts=("val",))
    assert len(ax.lines) == 9
    assert labels(ax) == ["authors' logs"]
    assert all(line.get_linewidth() < 1 for line in ax.lines)


def test_one_epoch_is_a_level(full_grid, ax):
    epochs = full_grid.epochs.query("init == 'pretrained' and fraction == 1 and epoch == 1")
    training_curves.seeds_and_mean(epochs, "val_loss", ax, color="k", label="mean")
    (line,) = ax.lines
    assert line.get_ydata() == pytest.approx([epochs["val_loss"].mean()] * 2)
    assert line.get_transform() == ax.get_yaxis_transform(which="grid")  # from side to side
