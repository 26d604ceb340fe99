"""How images are shown, and what a survey's identity is made of."""

import numpy as np
import pytest
from helpers.surveys import survey_of_labels
from PIL import Image

from trainable.data.sources.source import fit_square, identity

LABELS = np.array([0, 1, 1])


def test_images_are_shown_whole_in_proportion_and_in_the_middle():
    image = np.full((10, 40, 3), 200, np.uint8)
    shown = fit_square(image, 20)
    assert shown.shape == (20, 20, 3)
    assert (shown[8:13] == 200).all() or (shown[7:12] == 200).all()
    assert (shown == 200).all(axis=(1, 2)).sum() == 5
    assert fit_square(image, 1).shape == (1, 1, 3)
    high = fit_square(image.transpose(1, 0, 2), 20)
    np.testing.assert_array_equal(high, shown.transpose(1, 0, 2))


def test_square_images_are_resized_as_before_or_left_alone():
    image = np.random.default_rng(0).integers(0, 256, (30, 30, 3), np.uint8)
    assert fit_square(image, 30) is image
    expected = Image.fromarray(image).resize((12, 12), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(fit_square(image, 12), expected)


@pytest.mark.parametrize(
    ("sizes", "text", "side"),
    [
        ([(256, 256)] * 3, "256 × 256 pixels", 256),
        ([(20, 30)] * 3, "30 × 20 pixels", 30),
        ([(20, 30), (25, 30), (22, 400)], "30–400 × 20–25 pixels", 256),
    ],
)
def test_sizes_in_words(sizes, text, side):
    survey = survey_of_labels(LABELS, "ab", image_sizes=np.array(sizes))
    assert survey.size_text == text
    assert survey.display_side == side


def test_images_are_named_or_numbered():
    named = survey_of_labels(LABELS, "ab", names=("x", "y", "z"))
    assert named.names_of([2, 0]) == "z, x"
    numbered = survey_of_labels(LABELS, "ab")
    assert numbered.names_of(np.array([1])) == "row 1"
    assert numbered.names_of(range(9)) == "rows 0, 1, 2, 3, 4, …"


def test_identity_changes_with_everything_it_is_of():
    known = {"head": {"a": 1}, "names": ["x", "y"], "digests": ["1", "2"], "arrays": [LABELS, None]}
    first = identity(**known)
    assert identity(**known | {"arrays": [LABELS.astype(">i4"), None]}) == first
    others = [
        {"head": {"a": 2}},
        {"names": ["y", "x"]},
        {"names": ["x", 'y"], ["']},
        {"digests": ["1", "3"]},
        {"arrays": [LABELS[::-1], None]},
        {"arrays": [None, LABELS]},
        {"arrays": [LABELS.astype(float), None]},
    ]
    assert len({first, *(identity(**known | other) for other in others)}) == len(others) + 1
