import warnings

import numpy as np
import pandas as pd
import pytest
from helpers.figures import overlaps, texts
from matplotlib.figure import Figure

from analysis.plots import style, survey


@pytest.fixture
def ax():
    with style.applied():
        return Figure(layout="constrained").subplots()


def test_contact_sheet_has_one_pixel_for_each_of_its_own():
    images = np.arange(7, dtype=np.uint8)[:, None, None, None] * np.full((1, 4, 4, 3), 30, np.uint8)
    rows = survey.choose_examples(np.array([0, 0, 0, 1, 1, 1, 1]), 2, per_class=3, seed=0)
    assert [len(row) for row in rows] == [3, 3]
    assert all((np.diff(row) > 0).all() for row in rows)
    sheet = survey.mosaic(rows, lambda numbers: images[numbers], side=4)
    assert sheet.shape == (2 * (4 + survey.GAP), 3 * (4 + survey.GAP), 3)
    assert (sheet[:4, :4] == images[rows[0][0]]).all()
    figure = survey.contact_sheet_figure(sheet, ["a", "b"])
    (ax,) = figure.axes
    assert ax.get_window_extent().height == pytest.approx(len(sheet))
    assert ax.get_window_extent().width == pytest.approx(sheet.shape[1])
    assert {"a", "b"} <= set(texts(figure))


def test_hash_distances_have_plain_numbers(ax):
    survey.hash_distances(np.array([0, 0, 3, 0, 1200, 0, 50000]), 3, ax)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ax.figure.canvas.draw()
    shown = [label.get_text() for label in ax.get_yticklabels()]
    assert "1,000" in shown
    assert not any("$" in text for text in shown)


def test_distributions_of_every_statistic():
    frame = pd.DataFrame({"a": np.arange(20.0), "b": [np.nan] * 10 + [1.0] * 10})
    classes = pd.Series([0] * 10 + [1] * 10)
    figure = survey.distributions(frame, {"a": "a, mag", "b": "b"}, classes, ["one", "two"])
    assert [ax.get_xlabel() for ax in figure.axes] == ["a, mag", "b"]
    assert not overlaps(figure)


def test_pairs_side_by_side():
    images = np.zeros((3, 2, 8, 8, 3), np.uint8)
    figure = survey.pair_pictures(images, [("a", "b"), ("c", "d"), ("Ba$$in", "e")])
    assert [ax.get_title() for ax in figure.axes] == ["a |\nb", "c |\nd", "Ba$$in |\ne"]
    assert all(ax.images[0].get_array().shape == (8, 16, 3) for ax in figure.axes)
