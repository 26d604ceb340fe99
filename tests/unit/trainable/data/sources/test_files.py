"""Files below a folder: links, what is no file, and what is remembered of them."""

import os
import time

import numpy as np
import pytest
from helpers.surveys import write_pictures

from trainable.config import SourceFlags
from trainable.data import cache, pictures
from trainable.data.dataset import open_survey
from trainable.data.sources import files
from trainable.data.sources.files import FilePicture, find_files, without_suffix
from trainable.errors import DataError

NAMES = [f"{kind}/{number}.png" for kind in ("ring", "spiral") for number in range(3)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SWEEP_CACHE_DIR", str(tmp_path / "cache"))
    return write_pictures(tmp_path / "images", NAMES)


def test_links_out_of_the_folder_are_followed_and_told(folder, tmp_path):
    elsewhere = write_pictures(tmp_path / "elsewhere", ["1.png", "deep/2.png"], seed=4)
    (folder / "ring" / "link.png").symlink_to(elsewhere / "1.png")
    (folder / "disc").symlink_to(elsewhere / "deep")
    (folder / "spiral" / "inside.png").symlink_to(folder / "ring" / "1.png")
    survey = open_survey(folder)
    assert survey.names == tuple(
        sorted([*NAMES, "ring/link.png", "disc/2.png", "spiral/inside.png"])
    )
    assert survey.notes == (f"Followed in {folder}: 2 links to places outside of it.",)


def test_a_link_in_a_ring_is_refused(folder):
    (folder / "ring" / "again").symlink_to(folder)
    with pytest.raises(DataError, match="ring/again is a link to a folder that it lies in"):
        open_survey(folder)


def test_links_to_nothing_are_unreadable(folder):
    (folder / "ring" / "gone.png").symlink_to(folder / "nowhere.png")
    (folder / "ring" / "loop.png").symlink_to(folder / "ring" / "loop.png")
    with pytest.raises(DataError, match=r"2 of 8 images .* ring/gone\.png: No such file"):
        open_survey(folder)
    assert len(open_survey(folder, flags=SourceFlags(skip_unreadable=True)).labels) == 6


def test_pipes_are_no_pictures(folder):
    os.mkfifo(folder / "ring" / "pipe.png")
    (folder / "ring" / "link.png").symlink_to(folder / "ring" / "pipe.png")
    assert open_survey(folder).names == tuple(NAMES)
    assert cache.known_checksums(folder, ["ring/pipe.png"]) == [None]
    with pytest.raises(DataError, match="it is no regular file"):
        FilePicture(str(folder / "ring" / "pipe.png"), "pipe").rgb()


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_what_may_not_be_read(folder):
    (folder / "ring" / "1.png").chmod(0)
    with pytest.raises(DataError, match=r"ring/1\.png: Permission denied"):
        open_survey(folder)


def test_a_file_that_is_too_large_is_not_read(folder, monkeypatch):
    monkeypatch.setattr(pictures, "MAX_BYTES", 100)
    with pytest.raises(DataError, match=r"6 of 6|none of the images .* more than the 100"):
        open_survey(folder)


def test_names_that_are_no_utf_8(folder):
    name = os.path.join(os.fsencode(folder), b"ring", b"\xff.png")
    os.rename(folder / "ring" / "1.png", name)
    survey = open_survey(folder)
    assert "ring/\ufffd.png" in survey.names
    assert len(survey.read_images(range(6))) == 6


def test_files_are_hashed_and_decoded_once(folder, monkeypatch):
    hashed, decoded = [], []
    checksum, decode = cache.checksum, files.decode
    monkeypatch.setattr(
        cache, "checksum", lambda path: (hashed.append(path.name), checksum(path))[1]
    )
    monkeypatch.setattr(files, "decode", lambda data: (decoded.append(len(data)), decode(data))[1])
    steps = []
    first = open_survey(folder, progress=lambda done, total: steps.append((done, total)))
    assert (len(hashed), len(decoded)) == (6, 6)
    assert steps[-1] == (6, 6)
    assert open_survey(folder).sha256 == first.sha256
    assert (len(hashed), len(decoded)) == (6, 6)
    later = time.time() + 5
    os.utime(folder / "ring" / "1.png", (later, later))
    assert open_survey(folder).sha256 == first.sha256  # hashed again, and found to be the same
    assert (len(hashed), len(decoded)) == (7, 6)
    write_pictures(folder, ["ring/1.png"], seed=5)
    assert open_survey(folder).sha256 != first.sha256
    assert (len(hashed), len(decoded)) == (8, 12)


def test_what_is_known_is_of_contents_so_a_copy_is_not_decoded(folder, tmp_path, monkeypatch):
    first = open_survey(folder)
    write_pictures(tmp_path / "copy", NAMES)
    monkeypatch.setattr(files, "decode", lambda _: pytest.fail("decoded again"))
    copy = open_survey(tmp_path / "copy")
    assert copy.sha256 == first.sha256
    np.testing.assert_array_equal(copy.image_sizes, first.image_sizes)


def test_a_corrupt_record_of_checksums_is_made_again(folder, tmp_path):
    first = open_survey(folder).sha256
    (record,) = (tmp_path / "cache" / "checksums").glob("*.json")
    for content in ("[]", "{", '{"ring/1.png": 3}', '{"ring/1.png": {"sha256": 3}}'):
        record.write_text(content)
        assert open_survey(folder).sha256 == first


def test_a_picture_that_has_gone_is_told_by_its_path(folder):
    survey = open_survey(folder)
    (folder / "ring" / "1.png").unlink()
    with pytest.raises(DataError, match=r"images/ring/1\.png cannot be read: No such file"):
        survey.read_images([0, 1])


def test_hidden_names_and_other_files(tmp_path):
    write_pictures(tmp_path, ["a/1.png", ".b/1.png", "a/.1.png", "__MACOSX/a/1.png"])
    (tmp_path / "a" / "x.txt").touch()
    found = find_files(tmp_path)
    assert found.images == ("a/1.png",)
    assert found.others == ("a/x.txt",)


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("a/1.PNG", "a/1"),
        ("1.fits.gz", "1"),
        ("1.tar.gz", "1.tar.gz"),
        ("x.jpeg", "x"),
        ("1.5", "1.5"),
    ],
)
def test_what_tells_the_format_is_taken_off(name, stem):
    assert without_suffix(name) == stem
