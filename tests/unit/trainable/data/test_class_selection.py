"""Which classes take part, and how they are numbered."""

import numpy as np
import pytest
from helpers.surveys import survey_of_labels

from trainable.data.class_selection import select
from trainable.errors import DataError

N = 600
LABELS = np.arange(N) % 3


def test_select_renumbers_in_the_files_order():
    survey = survey_of_labels(LABELS, ["a", "b", "c"])
    selection = select(survey, [1, 1])
    np.testing.assert_array_equal(selection.rows, np.flatnonzero(LABELS != 1))
    np.testing.assert_array_equal(selection.labels, LABELS[LABELS != 1] // 2)
    assert selection.rows.dtype == selection.labels.dtype == np.int64
    assert selection.class_names == ("a", "c")
    assert selection.label_values == (0, 2)
    assert selection.counts.tolist() == [200, 200]


def test_select_keeps_all_if_nothing_is_dropped():
    selection = select(survey_of_labels(LABELS, ["a", "b", "c"]), ())
    np.testing.assert_array_equal(selection.rows, np.arange(N))
    np.testing.assert_array_equal(selection.labels, LABELS)


@pytest.mark.parametrize(
    ("drop", "message"),
    [
        ([7], r"has no label \[7\] to drop or merge, only 0 'a', 1 'b', 2 'c', 3 'd', 4 'e'"),
        ([-1], r"has no label \[-1\]"),
        ([], "class 3 'd' has no image, class 4 'e' has 1 image, .*--drop-labels 3 4$"),
        ([0, 3], "class 4 'e' has 1 image, too few to split: use --drop-labels 0 3 4$"),
        ([1, 2, 3, 4], "dropping and merging leaves 1 of 5 classes, at least 2 are needed"),
    ],
)
def test_select_refuses(drop, message):
    survey = survey_of_labels(np.r_[LABELS[:-1], 4], ["a", "b", "c", "d", "e"])
    with pytest.raises(DataError, match=message):
        select(survey, drop)


def test_select_merges_classes():
    survey = survey_of_labels(LABELS, ["a", "b", "c"])
    selection = select(survey, [], [(2, 0)])
    np.testing.assert_array_equal(selection.rows, np.arange(N))
    np.testing.assert_array_equal(selection.labels, LABELS == 1)
    assert selection.class_names == ("a + c", "b")
    assert selection.label_values == (0, 1)


@pytest.mark.parametrize("merge", [[(0, 0)], [(0, 1), (1, 2)], [(0, 3)]])
def test_select_refuses_to_merge_twice_or_what_is_dropped(merge):
    survey = survey_of_labels(LABELS, ["a", "b", "c", "d"])
    with pytest.raises(DataError, match="are merged and dropped, or merged twice"):
        select(survey, [3], merge)
