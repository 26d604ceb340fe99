"""Learning curves of every method."""

from dataclasses import replace

import pytest
from helpers import synthetic
from helpers.figures import overlaps, texts
from matplotlib.figure import Figure

from analysis.plots.backbones import curves
from analysis.stats.backbones import methods_of


@pytest.fixture
def methods(make_results):
    cells = synthetic.grid()
    other = synthetic.grid(inits=("pretrained",), arch="other")
    return methods_of(make_results([*cells, *other, *synthetic.control(cells)]))


def test_every_method_has_a_curve_of_its_own(methods):
    figure = Figure(figsize=(10, 5), layout="constrained")
    ax = curves(methods, 0.6, figure.subplots())
    marks = [line for line in ax.lines if line.get_marker() != "None"]
    fits = [line for line in ax.lines if line.get_linestyle() != "None"]
    assert len(marks) == len(methods) == 4
    assert len(fits) == len(methods) + 1  # and the accuracy asked for
    shown = {(str(line.get_color()), line.get_marker()) for line in marks}
    assert len(shown) == 4
    assert [line.get_marker() for line in marks] == ["o", "s", "o", "x"]
    said = " ".join(texts(figure))
    for method in methods:
        assert f"{method.name}, n = 3 seeds" in said
    assert not overlaps(figure)


def test_without_an_accuracy_there_is_no_line(methods):
    ax = curves(methods, None, Figure().subplots())
    assert len(ax.lines) == 2 * len(methods)


def test_two_protocols_from_scratch_are_told_apart(make_results):
    cells = synthetic.grid()
    scratch = synthetic.grid(inits=("scratch",))
    modern = [replace(c, id=f"modern-{c.id}", protocols=("modern",)) for c in scratch]
    methods = methods_of(make_results([*cells, *modern]))
    ax = curves(methods, None, Figure().subplots())
    marks = [line.get_marker() for line in ax.lines if line.get_marker() != "None"]
    assert len(marks) == len(set(marks)) == 3
