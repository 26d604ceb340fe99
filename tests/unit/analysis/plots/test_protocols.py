import pytest
from helpers import synthetic
from helpers.figures import overlaps, texts
from helpers.protocols import NAMES, some_cells
from matplotlib.figure import Figure

from analysis.plots.protocols import accuracies_by_protocol, dots
from analysis.stats.protocols import compared


@pytest.fixture(scope="module")
def frame(tmp_path_factory):
    folder = tmp_path_factory.mktemp("protocols")
    return compared(synthetic.results(folder, some_cells(), protocol="paper"))


@pytest.fixture
def ax():
    return Figure().subplots()


def test_every_seed_is_shown_and_what_is_the_same_is_hollow(frame, ax):
    cell = frame[frame["init"] == "scratch"]
    dots(cell, ax, first="paper", baseline=0.5)
    assert [t.get_text() for t in ax.get_yticklabels()] == list(NAMES)
    seeds = [line for line in ax.lines if line.get_marker() == "."]
    assert [sorted(line.get_xdata()) for line in seeds] == [sorted(a) for a in cell["accuracies"]]
    filled = [c[0].get_markerfacecolor() for c in ax.containers]
    assert filled[1] == "white"
    assert "white" not in (filled[0], filled[2])


def test_a_cell_without_complete_trials_says_so(make_results, ax):
    cells = some_cells(seeds=(0,))
    lost = [c.id for c in cells if c.protocols == ("authors",) and c.fraction == 1.0]
    results = make_results(cells, protocol="paper", status=dict.fromkeys(lost, ("failed", "x")))
    frame = compared(results)
    dots(frame[frame["init"] == "scratch"], ax, first="paper", baseline=0.5)
    assert "none complete" in texts(ax)


def test_one_panel_a_cell_and_no_overlap(frame):
    cells = [cell for _, cell in frame.groupby(["init", "fraction"], sort=False)]
    figure = accuracies_by_protocol(cells, first="paper", baseline=None)
    titles = [ax.get_title() for ax in figure.axes if ax.get_visible()]
    assert titles == [
        "scratch 100%, 992 labels",
        "pretrained 40%, 397 labels",
        "pretrained 100%, 992 labels",
    ]
    assert not overlaps(figure)
