"""Which classes two surveys share."""

import numpy as np
import pytest

from trainable.class_map import SharedClass, in_shared_classes, read, shared_classes
from trainable.errors import SettingsError

SOURCE = ("round", "cigar", "barred", "loose", "odd")
TARGET = ("unsure", "smooth", "clockwise", "anti-clockwise", "edge-on")
PAIRS = [
    ("barred", "clockwise"),
    ("round", "smooth"),
    ("barred", "anti-clockwise"),
    ("loose", "anti-clockwise"),
]


def written(path, text):
    path.write_text(text)
    return path


def test_what_rows_connect_is_one_class_in_the_order_of_the_target(tmp_path):
    assert shared_classes(PAIRS, SOURCE, TARGET, tmp_path) == (
        SharedClass(name="smooth", source=("round",), target=("smooth",)),
        SharedClass(
            name="clockwise + anti-clockwise",
            source=("barred", "loose"),
            target=("clockwise", "anti-clockwise"),
        ),
    )


def test_probabilities_of_connected_classes_add_up_and_of_others_are_left_out(tmp_path):
    classes = shared_classes(PAIRS, SOURCE, TARGET, tmp_path)
    given = np.array([[0.4, 0.1, 0.25, 0.2, 0.05], [0.1, 0.6, 0.0, 0.0, 0.3]], np.float32)
    found = in_shared_classes(given, SOURCE, classes)
    assert found == pytest.approx(np.array([[0.4, 0.45], [0.1, 0.0]]))


def test_a_file_with_quoted_names_and_further_columns(tmp_path):
    path = written(
        tmp_path / "map.csv", 'target,source,why\n"Spiral, clockwise", barred ,they turn\n'
    )
    assert read(path) == [("barred", "Spiral, clockwise")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("source,goal\na,b\n", "has no column 'target'"),
        ("source,target\nbarred,clockwise\nround,\n", "line 3: a class is missing"),
        ("", "expected a CSV file with the columns source and target"),
        ('source,target\n"a,b\n', "expected a CSV file"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path, text, message):
    with pytest.raises(SettingsError, match=message):
        read(written(tmp_path / "map.csv", text))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"nowhere\.csv"):
        read(tmp_path / "nowhere.csv")


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([("barred", "clock")], "the target has no class 'clock'; it has 'unsure', 'smooth'"),
        ([("bared", "clockwise")], "the source has no class 'bared'; it has 'round'"),
        (PAIRS[:1], "connect 1 shared class, at least 2"),
        ([], "connect no shared class"),
        ([*PAIRS, ("round", "clockwise")], "connect 1 shared class"),
    ],
)
def test_a_table_that_does_not_fit_the_surveys_is_refused(tmp_path, pairs, message):
    with pytest.raises(SettingsError, match=message):
        shared_classes(pairs, SOURCE, TARGET, tmp_path)
