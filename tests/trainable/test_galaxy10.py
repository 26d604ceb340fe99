"""What a data file must look like, what is read from it and which classes are kept."""

import hashlib
import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from trainable import galaxy10
from trainable.cache import checksum
from trainable.galaxy10 import (
    GALAXY10_CLASSES,
    GALAXY10_COUNTS,
    GALAXY10_SHA256,
    DataError,
    open_survey,
)
from trainable.selection import default_drop_labels, select

SDSS = Path(__file__).parents[2].parent / "shared" / "data" / "sdss_gz1.h5"
N, SIZE = 600, 4
LABELS = np.arange(N) % 3
IMAGES = np.random.default_rng(0).integers(0, 256, (N, SIZE, SIZE, 3), np.uint8)


@pytest.fixture
def write(tmp_path):
    """Writes a file in Galaxy10's layout; None leaves a data set out."""

    def write(class_names=None, **data):
        path = tmp_path / "survey.h5"
        with h5py.File(path, "w") as file:
            for name, values in ({"images": IMAGES, "ans": LABELS.astype("u1")} | data).items():
                if values is not None:
                    file[name] = values
            if class_names is not None:
                file.attrs["class_names"] = class_names
        return path

    return write


def test_reads_everything(write):
    ra, dec = np.linspace(0, 359, N), np.linspace(-90, 90, N)
    names = ["Ünten", "b", "c"]
    path = write(json.dumps(names), ra=ra, dec=dec, pxscale=np.full(N, 0.262, "f4"))
    survey = open_survey(str(path))
    assert survey.path == path
    assert survey.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert survey.image_size == SIZE
    assert survey.labels.dtype == np.int64
    np.testing.assert_array_equal(survey.labels, LABELS)
    assert survey.class_names == tuple(names)
    np.testing.assert_array_equal(survey.right_ascension, ra)
    np.testing.assert_array_equal(survey.declination, dec)
    np.testing.assert_allclose(survey.pixel_scale, 0.262, rtol=1e-6)
    assert survey.pixel_scale.dtype == np.float64
    assert not survey.is_galaxy10
    assert default_drop_labels(survey) == ()


def test_sky_and_scale_may_be_missing(write):
    survey = open_survey(write())
    assert survey.right_ascension is survey.declination is survey.pixel_scale is None


@pytest.mark.parametrize("dtype", ["u1", "i4", "i8", "u8"])
def test_labels_of_any_integer_type(write, dtype):
    labels = open_survey(write(ans=LABELS.astype(dtype))).labels
    assert labels.dtype == np.int64
    np.testing.assert_array_equal(labels, LABELS)


@pytest.mark.parametrize(
    "rows",
    [
        np.random.default_rng(1).permutation(N),  # more than one slab, no order
        [5, 3, 3, 599, 0, 5],
        [256],
        np.array([255, 256, 511, 512], "u2"),
        [],
    ],
)
def test_images_come_in_the_order_of_the_rows(write, rows):
    images = open_survey(write()).read_images(rows)
    assert images.dtype == np.uint8
    assert images.shape == (len(rows), SIZE, SIZE, 3)
    np.testing.assert_array_equal(images, IMAGES[np.asarray(rows, int)])


@pytest.mark.parametrize("rows", [[-1], [0, N], [0.5], np.ones(N, bool)])
def test_rows_outside_the_file(write, rows):
    with pytest.raises(IndexError, match=r"integers in \[0, 600\)"):
        open_survey(write()).read_images(rows)


LIKE_GALAXY10 = np.repeat(np.arange(10), list(GALAXY10_COUNTS.values()))


def test_ten_classes_without_names_have_galaxy10s(write):
    ten = write(images=np.zeros((20, 4, 4, 3), "u1"), ans=np.arange(20) % 10)
    assert open_survey(ten).class_names == GALAXY10_CLASSES
    assert open_survey(write()).class_names == ("class 0", "class 1", "class 2")


def test_galaxy10_is_known_by_its_checksum_and_drops_label_4(write, monkeypatch):
    tiny = np.zeros((len(LIKE_GALAXY10), 1, 1, 3), np.uint8)
    path = write(images=tiny, ans=LIKE_GALAXY10)
    assert not open_survey(path).is_galaxy10
    monkeypatch.setattr(galaxy10, "GALAXY10_SHA256", checksum(path))
    survey = open_survey(path)
    assert survey.is_galaxy10
    assert default_drop_labels(survey) == (4,)
    assert survey.class_names[4] == "Cigar Shaped Smooth"
    selection = select(survey, default_drop_labels(survey))
    assert len(selection.rows) == 17_402
    assert selection.counts.tolist() == [1081, 1853, 2645, 2027, 2043, 1829, 2628, 1423, 1873]


def test_galaxy10_as_published():
    assert sum(GALAXY10_COUNTS.values()) == 17_736
    assert GALAXY10_COUNTS["Cigar Shaped Smooth"] == 334
    assert len(GALAXY10_SHA256) == 64
    assert GALAXY10_SHA256.islower()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"images": None}, r"must have data sets 'images' and 'ans', has \['ans'\]"),
        ({"ans": None}, r"must have data sets 'images' and 'ans', has \['images'\]"),
        ({"images": None, "ans": None}, "has none"),
        ({"images": IMAGES[..., 0]}, r"'images' is \(600, 4, 4\) uint8, must be \(N, S, S, 3\)"),
        ({"images": IMAGES[:, :, :3]}, r"'images' is \(600, 4, 3, 3\)"),
        ({"images": IMAGES[..., :1]}, r"'images' is \(600, 4, 4, 1\)"),
        ({"images": IMAGES.astype("f4")}, r"float32, must be .* uint8"),
        ({"images": IMAGES[:0], "ans": LABELS[:0]}, "N and S ≥ 1"),
        ({"images": np.uint8(1)}, r"'images' is \(\) uint8"),
        ({"ans": LABELS[1:]}, r"'ans' is \(599,\) int64, must be \(600,\) integers"),
        ({"ans": LABELS[:, None]}, r"'ans' is \(600, 1\)"),
        ({"ans": LABELS.astype(float)}, r"'ans' is \(600,\) float64"),
        ({"ans": LABELS - 1}, "labels -1 to 1, out of range"),
        ({"ans": LABELS + 10**12}, "out of range: must be 0 to 599"),
        ({"class_names": '["a", "b"]'}, "labels 0 to 2, out of range: must be 0 to 1"),
        ({"class_names": "a, b, c"}, "'a, b, c', must be a JSON list of strings"),
        ({"class_names": '{"a": 0}'}, "must be a JSON list of strings"),
        ({"class_names": "[1, 2, 3]"}, "must be a JSON list of strings"),
        ({"class_names": 3}, "must be a JSON list of strings"),
        ({"class_names": ["a", "b", "c"]}, "must be a JSON list of strings"),
        ({"class_names": '["a", "b", "a"]'}, "all different"),
        ({"ra": np.zeros(N)}, "one of 'ra' and 'dec'"),
        ({"ra": np.zeros(N - 1), "dec": np.zeros(N)}, r"'ra' is .*must be \(600,\) numbers"),
        ({"ra": np.zeros(N), "dec": np.full(N, np.nan)}, "600 of 'dec' are not degrees up to 90"),
        ({"ra": np.r_[np.zeros(N - 1), -9999], "dec": np.zeros(N)}, r"1 of 'ra' .* -9999\.0"),
        ({"pxscale": np.zeros(3)}, r"'pxscale' is .*must be \(600,\) numbers"),
    ],
)
def test_file_with_another_layout(write, data, message):
    path = write(**data)
    with pytest.raises(DataError, match=message) as error:
        open_survey(path)
    assert str(error.value).startswith(f"{path}: ")


def test_file_that_is_not_whole(write, tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.h5 does not exist: give an HDF5 file"):
        open_survey(tmp_path / "nowhere.h5")
    with pytest.raises(DataError, match="is a folder"):
        open_survey(tmp_path)
    path = write()
    whole = path.read_bytes()
    for content, reason in (
        (whole[: len(whole) // 2], "truncated file"),
        (b"not HDF5" * 1000, "signature not found"),
        (b"", "not a whole, readable HDF5 file"),
    ):
        path.write_bytes(content)
        with pytest.raises(DataError, match=reason) as error:
            open_survey(path)
        assert str(path) in str(error.value)


def test_select_renumbers_in_the_files_order(write):
    survey = open_survey(write('["a", "b", "c"]'))
    selection = select(survey, [1, 1])
    np.testing.assert_array_equal(selection.rows, np.flatnonzero(LABELS != 1))
    np.testing.assert_array_equal(selection.labels, LABELS[LABELS != 1] // 2)
    assert selection.rows.dtype == selection.labels.dtype == np.int64
    assert selection.class_names == ("a", "c")
    assert selection.label_values == (0, 2)
    assert selection.counts.tolist() == [200, 200]


def test_select_keeps_all_if_nothing_is_dropped(write):
    selection = select(open_survey(write()), ())
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
def test_select_refuses(write, drop, message):
    survey = open_survey(write('["a", "b", "c", "d", "e"]', ans=np.r_[LABELS[:-1], 4]))
    with pytest.raises(DataError, match=message):
        select(survey, drop)


def test_select_merges_classes(write):
    survey = open_survey(write('["a", "b", "c"]'))
    selection = select(survey, [], [(2, 0)])
    np.testing.assert_array_equal(selection.rows, np.arange(N))
    np.testing.assert_array_equal(selection.labels, LABELS == 1)
    assert selection.class_names == ("a + c", "b")
    assert selection.label_values == (0, 1)


@pytest.mark.parametrize("merge", [[(0, 0)], [(0, 1), (1, 2)], [(0, 3)]])
def test_select_refuses_to_merge_twice_or_what_is_dropped(write, merge):
    survey = open_survey(write('["a", "b", "c", "d"]'))
    with pytest.raises(DataError, match="are merged and dropped, or merged twice"):
        select(survey, [3], merge)


def test_real_survey():
    if not SDSS.is_file():
        pytest.skip(f"no real galaxies at {SDSS}")
    survey = open_survey(SDSS)
    assert survey.image_size == 128
    assert survey.class_names[2] == "Spiral, anti-clockwise"
    assert select(survey, ()).counts.tolist() == [1000, 241, 254, 577, 33, 67]
    with h5py.File(SDSS) as file:
        expected = file["images"][300:310]
    np.testing.assert_array_equal(survey.read_images(range(309, 299, -1)), expected[::-1])
