import numpy as np
import pandas as pd
import pytest
import synthetic
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from analysis import curves, figures, paper
from analysis.plates import plates


@pytest.fixture
def ax():
    return Figure(layout="constrained").subplots()


def texts(ax):
    return [text.get_text() for text in ax.findobj(Text) if text.get_text()]


def labels(ax):
    return ax.get_legend_handles_labels()[1]


def dotted_red(ax):
    return [line for line in ax.lines if line.get_color() == figures.BASELINE_STYLE["color"]]


def test_example_shows_the_image_and_its_name(ax):
    image = synthetic.pictures(1)[0]
    assert figures.example(image, "round", ax) is ax
    assert (ax.images[0].get_array() == image).all()
    assert ax.get_title() == "round"


def test_class_counts(ax):
    frame = pd.DataFrame({"class": ["a", "b"], "images": [1200, 30], "kept": [True, False]})
    figures.class_counts(frame, ax)
    assert [bar.get_width() for bar in ax.patches] == [1200, 30]
    assert {"1,200", "30", "b (left out)"} <= set(texts(ax))
    assert ax.get_xlabel() == "images (n = 1,200 kept)"


def test_best_accuracy_shows_mean_seeds_and_baseline(full_grid, ax):
    trials = full_grid.complete
    figures.best_accuracy(trials, ax)
    baseline = trials.query("init == 'scratch' and fraction == 1")["best_val_accuracy"].mean()
    (line,) = dotted_red(ax)
    assert line.get_linestyle() == ":"
    assert line.get_ydata()[0] == pytest.approx(baseline)
    assert labels(ax)[:2] == ["scratch, n = 3 seeds", "pretrained, n = 3 seeds"]
    dots = [line for line in ax.lines if line.get_marker() == "." and len(line.get_ydata()) == 3]
    assert sorted(np.concatenate([d.get_ydata() for d in dots])) == pytest.approx(
        sorted(trials["best_val_accuracy"])
    )
    assert "10 %\n99" in texts(ax)


def test_one_seed_has_wilsons_interval_and_says_so(paper_grid, ax):
    figures.best_accuracy(paper_grid.complete, ax, paper.table())
    assert "pretrained, n = 1 seed" in labels(ax)
    assert "the paper" in labels(ax)
    half = [np.ptp(c.lines[2][0].get_segments()[0][:, 1]) / 2 for c in ax.containers]
    assert np.allclose(half, 0.0148, atol=1e-3)
    hollow = [line.get_ydata()[0] for line in ax.lines if line.get_marker() == "D"]
    assert sorted(hollow) == sorted(trial.accuracy for trial in paper.TRIALS)


def test_lowest_loss(full_grid, ax):
    figures.lowest_loss(full_grid.complete, ax)
    assert ax.get_ylabel() == "lowest validation loss"
    assert len(dotted_red(ax)) == 1


def test_no_baseline_no_line(full_grid, ax):
    figures.best_accuracy(full_grid.complete.query("init == 'pretrained'"), ax)
    assert not dotted_red(ax)


def test_train_and_validation(full_grid, ax):
    epochs = full_grid.epochs[full_grid.epochs["fraction"] == 1]
    curves.train_and_validation(epochs, ax, metric="accuracy")
    assert labels(ax) == [
        f"{init} 100 %, n = 3 seeds: {part}"
        for init in ("scratch", "pretrained")
        for part in ("training", "validation")
    ]
    colours = {line.get_color() for line in ax.lines}
    assert colours == set(figures.COLOURS.values())


def test_mean_curve_ends_where_the_first_seed_stops(full_grid, ax):
    epochs = full_grid.epochs.query("init == 'scratch' and fraction == 1")
    curves.seeds_and_mean(epochs, "val_loss", ax, color="k", label="mean")
    mean = next(line for line in ax.lines if line.get_label() == "mean")
    assert mean.get_xdata()[-1] == epochs.groupby("trial")["epoch"].max().min()
    assert mean.get_ydata()[0] == pytest.approx(epochs.query("epoch == 1")["val_loss"].mean())


def test_validation_curves_of_all_cells(full_grid, ax):
    curves.validation(full_grid.epochs, ax, metric="loss")
    assert len(labels(ax)) == 8
    assert labels(ax)[0] == "scratch 100 %, n = 3 seeds"


def test_authors_lie_thin_under_ours(ax):
    curves.authors(paper.authors_curves(), ax, metric="loss", parts=("val",))
    assert len(ax.lines) == 9
    assert labels(ax) == ["authors' logs"]
    assert all(line.get_linewidth() < 1 for line in ax.lines)


PLATES = ["figure_2", "figure_3", "figure_4", "figure_5", "figure_6", "figure_7"]


def test_plates_of_a_full_grid(full_grid):
    made = plates(full_grid, with_authors=False)
    assert [plate.name for plate in made] == PLATES
    assert "authors" not in " ".join(plate.caption for plate in made)


def test_plates_of_the_papers_grid(paper_grid):
    made = {plate.name: plate for plate in plates(paper_grid, with_authors=True)}
    assert list(made) == PLATES
    assert "ft_vit_95 and ft_vit_100 are later re-runs" in made["figure_5"].caption
    assert len(made["figure_5"].figure.axes) == 2


def test_plates_without_a_complete_trial(make_results):
    cells = synthetic.grid((1.0,), (0,))
    results = make_results(cells, status={cell["id"]: ("not started", "") for cell in cells})
    assert [plate.name for plate in plates(results, with_authors=False)] == ["figure_2", "figure_3"]


def out_of_view(figure):
    """Labels of ticks beyond the axes' limits: there, but never drawn."""
    for axis in (axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)):
        low, high = sorted(axis.get_view_interval())
        yield from (t.label1 for t in axis.get_major_ticks() if not low <= t.get_loc() <= high)


def overlaps(figure):
    """Pairs of texts that lie on each other, as drawn."""
    FigureCanvasAgg(figure).draw()
    hidden = set(out_of_view(figure))
    texts = (t for t in figure.findobj(Text) if t not in hidden and t.get_visible())
    shown = [t for t in texts if t.get_text().strip()]
    boxes = [(t.get_text(), t.get_window_extent().shrunk(0.9, 0.8)) for t in shown]
    return [
        (a, b)
        for number, (a, box) in enumerate(boxes)
        for b, other in boxes[number + 1 :]
        if box.overlaps(other) and a != b
    ]


def test_no_texts_overlap(paper_grid, full_grid):
    for results, with_authors in ((paper_grid, True), (full_grid, False)):
        for plate in plates(results, with_authors=with_authors):
            assert not overlaps(plate.figure), plate.name
