"""Votes, names of classes, and what stands for no value."""

import numpy as np
import pandas as pd
import pytest

from trainable.config import SourceFlags
from trainable.data.sources.labels import is_empty, read_classes
from trainable.errors import DataError, SettingsError

VOTES = pd.DataFrame(
    {
        "smooth": [0.7, 0.5, 0.2, np.nan, 0.5, 0.1],
        "disc": [0.2, 0.5, 0.8, np.nan, 0.3, 0.2],
        "artifact": [0.1, 0.0, 0.0, np.nan, 0.2, 0.7],
    }
)


def classes(table, names=None, **flags):
    return read_classes(table, SourceFlags(**flags), "the table", lambda row: f"row {row}", names)


@pytest.mark.parametrize(
    ("agreement", "labels"), [(0.0, [0, -1, 1, -1, 0, 2]), (0.6, [0, -1, 1, -1, -1, 2])]
)
@pytest.mark.parametrize("columns", [("smooth", "disc", "artifact"), ("smooth,disc,artifact",)])
def test_most_votes_win_and_the_undecided_are_left_out(columns, agreement, labels):
    found = classes(VOTES, label_columns=columns, min_agreement=agreement)
    assert found.labels.tolist() == labels
    assert found.names == ("smooth", "disc", "artifact")
    (note,) = found.notes
    assert note.startswith(f"Left out as undecided: {labels.count(-1)} images of 6")
    assert ("at least 0.6 of the votes" in note) == (agreement > 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"disc": [1, 2, 3, 4, 5, 6]},
            "'disc' of the table has '2' in row 1: votes must be fractions",
        ),
        ({"disc": [-0.1, 0, 0, 0, 0, 0]}, "has '-0.1' in row 0"),
        ({"disc": ["many", 0, 0, 0, 0, 0]}, "has 'many' in row 0"),
        ({"disc": [0.1, 0.2, 0.3, 0.4, 0.5, None]}, "2 rows of .* the first is row 3"),
        (
            {"smooth": 0.0, "disc": 0.0, "artifact": 1.0},
            "all 6 images are of one class, 'artifact'",
        ),
        (
            {"smooth": 0.3, "disc": 0.3, "artifact": 0.3},
            "no image with a class. Left out as undecided: 6",
        ),
    ],
)
def test_bad_votes_are_refused(changes, message):
    with pytest.raises(DataError, match=message):
        classes(VOTES.assign(**changes), label_columns=("smooth", "disc", "artifact"))


def test_columns_of_votes_are_at_least_two_and_there():
    with pytest.raises(DataError, match=r"has no column 'ring', only smooth, .*--label-columns"):
        classes(VOTES, label_columns=("smooth", "ring"))
    with pytest.raises(SettingsError, match="two columns or more, each once"):
        classes(VOTES, label_columns=("smooth",))
    with pytest.raises(SettingsError, match="two columns or more, each once"):
        classes(VOTES, label_columns=("smooth,smooth",))


def test_names_that_come_with_the_data_have_its_numbers():
    table = pd.DataFrame({"label": [2, 0, 2, 0]})
    found = classes(table, ("spiral", "ring", "disc"))
    assert found.labels.tolist() == [2, 0, 2, 0]
    assert found.names == ("spiral", "ring", "disc")
    with pytest.raises(DataError, match="labels 0 to 2 in column 'label', and names for 0 to 1"):
        classes(table, ("spiral", "ring"))
    with pytest.raises(DataError, match=r"1 row .* without a label in column 'label', .* row 3"):
        classes(pd.DataFrame({"label": [0, 1, 1, -1]}), ("spiral", "ring"))


@pytest.mark.parametrize("values", [["True", "False"] * 2, [True, False] * 2])
def test_truth_values_are_words(values):
    found = classes(pd.DataFrame({"label": values}))
    assert found.names == ("False", "True")
    assert found.labels.tolist() == [1, 0, 1, 0]


def test_numbers_are_ordered_as_numbers():
    found = classes(pd.DataFrame({"label": ["10", "9", "10", "9", "-1", "-1"]}))
    assert found.names == ("class -1", "class 9", "class 10")


def test_what_stands_for_no_value():
    empty = is_empty(pd.Series(["", " ", "nan", "NaN", "N/A", "NULL", None, "none", "0", "Nana"]))
    assert empty.tolist() == [True] * 7 + [False] * 3
