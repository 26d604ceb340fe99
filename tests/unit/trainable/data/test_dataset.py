"""Which kind of data a path is, and images that show nothing."""

import h5py
import numpy as np
import pytest

from trainable.data.dataset import Survey, constant, constant_images, describe_constant, open_survey
from trainable.data.preprocess import cached_images
from trainable.errors import DataError

N, SIZE = 600, 4
LABELS = np.arange(N) % 3
IMAGES = np.random.default_rng(0).integers(0, 256, (N, SIZE, SIZE, 3), np.uint8)


@pytest.fixture
def write(tmp_path):
    """Writes images in Galaxy10's layout."""

    def write(images=IMAGES):
        path = tmp_path / "survey.h5"
        with h5py.File(path, "w") as file:
            file["images"], file["ans"] = images, LABELS.astype("u1")
        return path

    return write


def test_images_that_show_nothing_are_found_and_said(write, caplog):
    images = IMAGES.copy()
    images[[3, 400]] = 0
    images[599] = (1, 2, 3)  # one colour
    survey = open_survey(write(images=images))
    flags = constant_images(survey)
    assert np.flatnonzero(flags).tolist() == [3, 400, 599]
    assert "3 of the 600 images" in describe_constant(survey, flags)
    assert "(rows 3, 400, 599)" in describe_constant(survey, flags)
    assert describe_constant(open_survey(write()), constant_images(open_survey(write()))) is None
    images[:200] = 9
    preprocessed(open_survey(write(images=images)))
    assert "202 of the 600 images" in caplog.text


def preprocessed(survey):
    return cached_images(survey, transform="resize", size=8)


def test_images_are_read_once_to_find_those_that_show_nothing(write, monkeypatch):
    images = IMAGES.copy()
    images[7] = 5
    survey = open_survey(write(images=images))
    preprocessed(survey)
    monkeypatch.setattr(Survey, "read_images", lambda *_: pytest.fail("read again"))
    assert np.flatnonzero(constant_images(survey)).tolist() == [7]


def test_survey_that_shows_nothing_is_refused_and_not_cached(write, tmp_path, monkeypatch):
    monkeypatch.setenv("SWEEP_CACHE_DIR", str(tmp_path / "cache"))
    images = IMAGES.copy()
    images[: N // 2 + 1] = 0
    survey = open_survey(write(images=images))
    with pytest.raises(DataError, match=r"301 of the 600 images .* nothing can be learned"):
        preprocessed(survey)
    assert list((tmp_path / "cache" / "images").glob("*.npy")) == []


def test_one_pixel_of_another_colour_is_enough():
    """Wherever it is, in whichever channel; a single pixel is of one colour."""
    images = np.full((5, 6, 7, 3), 9, np.uint8)
    images[1, 5, 6, 2], images[2, 0, 0, 0], images[3, 0, 6, 1] = 8, 8, 8
    assert constant(images).tolist() == [True, False, False, False, True]
    assert constant(images[2:3, :1, :1]).tolist() == [True]
