"""What an HDF5 file must look like, and what is read from it."""

import hashlib
import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
from helpers.surveys import REAL

from trainable.config import SourceFlags
from trainable.data.cache import checksum
from trainable.data.class_selection import default_drop_labels, select
from trainable.data.dataset import open_survey
from trainable.data.sources import known_files, source
from trainable.data.sources.known_files import (
    GALAXY10_CLASSES,
    GALAXY10_COUNTS,
    GALAXY10_DECALS,
    GALAXY10_SDSS,
    GALAXY10_SHA256,
    KNOWN_FILES,
)
from trainable.errors import DataError
from trainable.protocol import DROPPED_LABEL

SDSS = REAL
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
    is_test = np.arange(N) % 5 == 0
    path = write(
        json.dumps(names), ra=ra, dec=dec, pxscale=np.full(N, 0.262, "f4"), is_test=is_test
    )
    survey = open_survey(str(path))
    np.testing.assert_array_equal(survey.is_test, is_test)
    assert survey.path == path
    assert survey.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert survey.image_sizes.tolist() == [[SIZE, SIZE]] * N
    assert survey.size_text == "4 × 4 pixels"
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
    assert [(image.dtype, image.shape) for image in images] == [(np.uint8, (SIZE, SIZE, 3))] * len(
        rows
    )
    for image, row in zip(images, rows, strict=True):
        np.testing.assert_array_equal(image, IMAGES[row])


@pytest.mark.parametrize("rows", [[-1], [0, N], [0.5], np.ones(N, bool)])
def test_rows_outside_the_file(write, rows):
    with pytest.raises(IndexError, match=r"integers in \[0, 600\)"):
        open_survey(write()).read_images(rows)


LIKE_GALAXY10 = np.repeat(np.arange(10), list(GALAXY10_COUNTS.values()))


def like(known):
    """Labels with a published file's counts; where those do not add up, the largest class gives."""
    counts = list(known.counts.values())
    counts[int(np.argmax(counts))] -= sum(counts) - known.images
    return np.repeat(np.arange(10), counts)


@pytest.fixture
def write_like(tmp_path):
    """Writes a file with a published one's shape and counts; its pixels take no room."""

    def write(known, *, labels=None, image_size=None, class_names=None):
        path = tmp_path / "like.h5"
        labels = like(known) if labels is None else labels
        size = known.image_size if image_size is None else image_size
        with h5py.File(path, "w") as file:
            file.create_dataset(
                "images", (len(labels), size, size, 3), "u1", chunks=(1, size, size, 3)
            )
            file["ans"] = labels.astype("u1")
            if class_names:
                file.attrs["class_names"] = json.dumps(class_names)
        return path

    return write


def test_ten_classes_of_an_unknown_file_are_numbered(write):
    ten = write(images=np.zeros((20, 4, 4, 3), "u1"), ans=np.arange(20) % 10)
    assert open_survey(ten).class_names == tuple(f"class {c}" for c in range(10))
    assert default_drop_labels(open_survey(ten)) == ()
    assert open_survey(write()).class_names == ("class 0", "class 1", "class 2")


def test_galaxy10_sdss_has_its_own_names_and_drops_nothing(write_like):
    survey = open_survey(write_like(GALAXY10_SDSS))
    assert survey.known is GALAXY10_SDSS
    assert survey.class_names[4] == "Disk, Edge-on, Rounded Bulge"
    assert not survey.is_galaxy10
    assert default_drop_labels(survey) == ()


def test_galaxy10_decals_written_again_is_known_by_shape_and_counts(write_like):
    survey = open_survey(write_like(GALAXY10_DECALS))
    assert survey.is_galaxy10
    assert survey.class_names == GALAXY10_CLASSES
    assert default_drop_labels(survey) == (DROPPED_LABEL,)


@pytest.mark.parametrize("known", KNOWN_FILES, ids=lambda known: known.name)
def test_other_counts_size_or_names_are_another_file(write_like, known):
    moved = like(known)
    moved[moved == 0] = np.r_[[1] * 100, moved[moved == 0][100:]]
    for survey in (
        open_survey(write_like(known, labels=moved)),
        open_survey(write_like(known, labels=like(known)[1:])),
        open_survey(write_like(known, image_size=known.image_size - 1)),
    ):
        assert survey.known is None
        assert survey.class_names == tuple(f"class {c}" for c in range(10))
    own = [f"mine {c}" for c in range(10)]
    named = open_survey(write_like(known, class_names=own))
    assert named.known is None
    assert named.class_names == tuple(own)


def test_galaxy10_is_known_by_its_checksum_and_drops_label_4(write, monkeypatch):
    path = write(images=np.zeros((len(LIKE_GALAXY10), 1, 1, 3), np.uint8), ans=LIKE_GALAXY10)
    assert not open_survey(path).is_galaxy10
    published = replace(GALAXY10_DECALS, sha256=checksum(path))
    monkeypatch.setattr(source, "GALAXY10_DECALS", published)
    monkeypatch.setattr(known_files, "KNOWN_FILES", (published,))
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


def test_a_file_with_other_names_is_the_same_survey(write):
    """Labels may be whole floating-point numbers."""
    usual = open_survey(write())
    path = write(images=None, ans=None, cutouts=IMAGES, kind=LABELS.astype(float))
    flags = SourceFlags(image_column="cutouts", label_column="kind")
    named = open_survey(path, flags=flags)
    assert np.array_equal(named.labels, usual.labels)
    assert named.labels.dtype == np.int64
    assert np.array_equal(named.read_images([0, 7]), IMAGES[[0, 7]])
    assert named.images.key != usual.images.key
    with pytest.raises(
        DataError, match=r"'cutout' \(images\) and 'kind' \(labels\), has \['cutouts'"
    ):
        open_survey(path, flags=SourceFlags(image_column="cutout", label_column="kind"))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"images": None}, r"'images' \(images\) and 'ans' \(labels\), has \['ans'\]"),
        ({"ans": None}, r"'ans' \(labels\), has \['images'\]: name them by"),
        ({"images": None, "ans": None}, "has none: name them by --image-column and --label-column"),
        ({"images": None, "images/raw": IMAGES}, r"has \['ans', 'images \(a group\)'\]"),
        ({"images": IMAGES[..., 0, 0]}, r"'images' is \(600, 4\) uint8, must be \(N, H, W, 3\)"),
        ({"images": IMAGES[..., :2]}, r"'images' is \(600, 4, 4, 2\)"),
        ({"images": np.moveaxis(IMAGES, -1, 1)}, r"np\.moveaxis\(images, 1, -1\)"),
        ({"images": IMAGES.astype("f4")}, r"float32, must be .* uint8"),
        ({"images": IMAGES.astype("u2")}, r"uint16, must be .* Divide 16-bit values by 257"),
        ({"images": IMAGES[:0], "ans": LABELS[:0]}, "none of them 0"),
        ({"images": np.uint8(1)}, r"'images' is \(\) uint8"),
        ({"ans": LABELS[1:]}, r"'ans' is \(599,\) int64, must be \(600,\) whole numbers"),
        ({"ans": LABELS[:, None]}, r"'ans' is \(600, 1\)"),
        ({"ans": LABELS + 0.5}, r"'ans' has 0\.5, must be \(600,\) whole numbers"),
        ({"ans": np.where(LABELS, LABELS, np.nan)}, r"'ans' has nan, must be"),
        ({"ans": LABELS.astype("S")}, r"'ans' is \(600,\) \|S"),
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
        ({"is_test": np.zeros(3)}, r"'is_test' is .*must be \(600,\) bool"),
        ({"is_test": np.full(N, 2)}, r"'is_test' has \[2\], must be 0 and 1 alone"),
        ({"pxscale": np.zeros(3)}, r"'pxscale' is .*must be \(600,\) numbers"),
    ],
)
def test_file_with_another_layout(write, data, message):
    path = write(**data)
    with pytest.raises(DataError, match=message) as error:
        open_survey(path)
    assert str(error.value).startswith(f"{path}: ")


def test_file_that_is_not_whole(write, tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.h5 does not exist: give a folder"):
        open_survey(tmp_path / "nowhere.h5")
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


def test_real_survey():
    if not SDSS.is_file():
        pytest.skip(f"no real galaxies at {SDSS}")
    survey = open_survey(SDSS)
    assert survey.size_text == "128 × 128 pixels"
    assert survey.class_names[2] == "Spiral, anti-clockwise"
    assert select(survey, ()).counts.tolist() == [1000, 241, 254, 577, 33, 67]
    with h5py.File(SDSS) as file:
        expected = file["images"][300:310]
    np.testing.assert_array_equal(survey.read_images(range(309, 299, -1)), expected[::-1])


@pytest.mark.parametrize("channels", [(), (1,)])
def test_grey_images_that_are_not_square(write, channels):
    grey = IMAGES[:, :, :3, 0].reshape(N, 4, 3, *channels)
    survey = open_survey(write(images=grey))
    assert survey.size_text == "3 × 4 pixels"
    np.testing.assert_array_equal(survey.read_images([5])[0], np.dstack([IMAGES[5, :, :3, 0]] * 3))


def test_colour_images_that_are_not_square(write):
    survey = open_survey(write(images=IMAGES[:, :2]))
    np.testing.assert_array_equal(survey.read_images([7, 7]), IMAGES[[7, 7], :2])
