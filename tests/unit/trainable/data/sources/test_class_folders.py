"""Folders of pictures, one for each class."""

import numpy as np
import pytest
from helpers.surveys import REAL_FOLDER, write_pictures
from PIL import Image
from torchvision.datasets import ImageFolder

from trainable.config import SourceFlags
from trainable.data.dataset import open_survey
from trainable.data.preprocess import cached_images
from trainable.errors import DataError

SIX = [f"{kind}/{number}.png" for kind in ("spiral", "ring", "Zoo") for number in (1, 2)]


def test_classes_and_images_are_those_of_image_folder(tmp_path):
    names = ["b/2.png", "b/10.png", "b/deep/er/1.JPG", "a/ü.webp", "a/x.tiff", "Z/1.bmp", "Z/0.png"]
    folder = write_pictures(tmp_path, names)
    (folder / "a" / "notes.txt").write_text("no picture")
    survey, theirs = open_survey(folder), ImageFolder(str(folder))
    assert survey.class_names == tuple(theirs.classes) == ("Z", "a", "b")
    assert survey.names == tuple(sorted(names))
    labels = dict(zip(survey.names, survey.labels.tolist(), strict=True))
    samples = {path.removeprefix(f"{folder}/"): label for path, label in theirs.samples}
    assert labels == samples
    for name, image in zip(survey.names, survey.read_images(range(7)), strict=True):
        shown = np.asarray(Image.open(folder / name).convert("RGB"))
        np.testing.assert_array_equal(image, shown)
    assert survey.notes == ()
    assert survey.is_test is survey.columns is survey.right_ascension is None


def test_sizes_may_differ_and_every_image_becomes_a_square(tmp_path):
    write_pictures(tmp_path, SIX[:3], size=(30, 10))
    write_pictures(tmp_path, SIX[3:], size=(8, 20), seed=1)
    survey = open_survey(tmp_path)
    assert survey.size_text == "8–30 × 10–20 pixels"
    images = cached_images(survey, transform="resize_crop", size=7)
    assert images.shape == (6, 7, 7, 3)
    assert survey.read_squares([0, 5], side=16).shape == (2, 16, 16, 3)


@pytest.mark.parametrize("test", ["test", "val", "Validation"])
def test_train_and_test_become_pool_and_test_set(tmp_path, test):
    names = [
        "train/a/1.png",
        "train/a/2.png",
        "train/b/1.png",
        f"{test}/a/1.png",
        f"{test}/b/9.png",
    ]
    survey = open_survey(write_pictures(tmp_path, names))
    assert survey.class_names == ("a", "b")
    tested = [name for name, held in zip(survey.names, survey.is_test, strict=True) if held]
    assert tested == names[3:]
    assert f"The test set is {test} (2 images); the pool is train (3)." in survey.notes


def test_val_joins_the_pool_if_there_is_a_test_set(tmp_path):
    names = [f"{part}/{kind}/1.png" for part in ("train", "val", "test") for kind in "ab"]
    survey = open_survey(write_pictures(tmp_path, names))
    assert survey.is_test.sum() == 2
    assert "the pool is train and val (4)" in survey.notes[0]


def test_train_alone_has_no_test_set(tmp_path):
    survey = open_survey(write_pictures(tmp_path, ["train/a/1.png", "train/b/1.png"]))
    assert survey.is_test is None
    assert survey.class_names == ("a", "b")


def test_pictures_beside_class_folders_and_hidden_files(tmp_path):
    write_pictures(tmp_path, [*SIX, "cover.png", ".trash/1.png", "ring/._1.png", "__MACOSX/1.png"])
    survey = open_survey(tmp_path)
    assert survey.names == tuple(sorted(SIX))
    assert survey.notes == (f"Left out: 1 picture in {tmp_path} in no class folder.",)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "is empty: give a folder that holds one folder for each class"),
        (["readme.txt"], "holds no pictures, only readme.txt"),
        (["1.png", "2.png"], "holds 2 pictures and no class folders: .*--labels .*catalogue.csv"),
        (["1.png", "gz2.csv"], "holds 1 picture and no class folders: .*--labels .*gz2.csv"),
        (["a/1.png", "a/2.png"], "has one class, 'a': at least 2 are needed"),
        (["a/1.png", "b/"], "'b' in .* has no pictures: fill it, or remove it"),
        (
            ["a/1.png", "b/1.heic", "c/"],
            r"'b' in .* has no pictures, only b/1.heic \(as have 1 more\)",
        ),
        (["train/a/1.png", "train/b/1.png", "test/"], "'test' in .* has no class folders"),
        (["train/a/1.png", "train/b/", "test/a/1.png"], "'train/b' in .* has no pictures"),
        (["train/1.png", "test/a/1.png"], "'train' in .* has no class folders"),
        (["train/a/1.png", "test/a/1.png"], "has one class, 'a': .* inside of train"),
        (
            ["train/a/1.png", "train/b/1.png", "test/c/1.png"],
            "the test set has classes of which there is no other image, c",
        ),
    ],
)
def test_bad_folders_are_refused(tmp_path, names, message):
    write_pictures(tmp_path, [name for name in names if name.endswith(".png")])
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            (tmp_path / name).mkdir()
        elif not name.endswith(".png"):
            (tmp_path / name).write_text("")
    with pytest.raises(DataError, match=message) as error:
        open_survey(tmp_path)
    assert str(tmp_path) in str(error.value)


def test_unreadable_pictures_are_refused_by_name_or_left_out(tmp_path):
    write_pictures(tmp_path, SIX)
    whole = (tmp_path / "ring" / "1.png").read_bytes()
    (tmp_path / "ring" / "1.png").write_bytes(whole[:-200])
    (tmp_path / "Zoo" / "2.png").write_bytes(b"")
    what = r"2 of 6 images in .* cannot be read, the first is Zoo/2.png: it is empty"
    with pytest.raises(DataError, match=f"{what}. .* --skip-unreadable"):
        open_survey(tmp_path)
    survey = open_survey(tmp_path, flags=SourceFlags(skip_unreadable=True))
    assert survey.names == ("Zoo/1.png", "ring/2.png", "spiral/1.png", "spiral/2.png")
    assert survey.labels.tolist() == [0, 1, 2, 2]
    assert survey.notes[0].startswith("Left out: 2 of 6 images")
    for name in SIX:
        (tmp_path / name).write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"none of the images in .* can be read"):
        open_survey(tmp_path, flags=SourceFlags(skip_unreadable=True))


def test_identity_is_of_contents_and_not_of_place_or_time(tmp_path):
    first = open_survey(write_pictures(tmp_path / "here", SIX)).sha256
    assert open_survey(write_pictures(tmp_path / "there", SIX)).sha256 == first
    other = write_pictures(tmp_path / "other", SIX)
    write_pictures(other, SIX[:1], seed=9)
    (tmp_path / "there" / "ring" / "1.png").rename(tmp_path / "there" / "Zoo" / "3.png")
    found = {open_survey(tmp_path / name).sha256 for name in ("here", "there", "other")}
    assert len(found) == 3


def test_real_galaxies():
    if not REAL_FOLDER.is_dir():
        pytest.skip(f"no real galaxies at {REAL_FOLDER}")
    survey = open_survey(REAL_FOLDER)
    assert len(survey.labels) == 724
    assert len(survey.class_names) == 10
    assert survey.class_names[0] == "Barred Spiral"
    assert survey.size_text == "256 × 256 pixels"
