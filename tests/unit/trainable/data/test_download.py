"""Galaxy10's file before anything is asked of a server; with one, in tests/integration."""

import hashlib
import os

import pytest

from trainable.data import download
from trainable.data.download import fetch_galaxy10, find_galaxy10, galaxy10_path
from trainable.errors import DataError

PAYLOAD = bytes(range(256)) * 4096  # 1 MiB
SHA256 = hashlib.sha256(PAYLOAD).hexdigest()
NOWHERE = "http://127.0.0.1:9/"
"""Nothing listens here: whatever asks fails with another message than the tests expect."""


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An empty home, and no astroNN."""

    def from_astronn(folder):
        raise DataError("no astroNN")

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(download, "_from_astronn", from_astronn)
    return tmp_path


def fetch(**settings):
    return fetch_galaxy10(**{"url": NOWHERE, "sha256": SHA256, "free_bytes": 0} | settings)


def test_find_looks_into_astronns_cache(home):
    assert find_galaxy10() is None
    galaxy10_path().parent.mkdir(parents=True)
    galaxy10_path().touch()
    assert find_galaxy10() == home / ".astroNN" / "datasets" / "Galaxy10_DECals.h5"


def test_corrupt_file_of_the_user_is_left_alone():
    galaxy10_path().parent.mkdir(parents=True)
    galaxy10_path().write_bytes(b"half")
    with pytest.raises(DataError, match="Remove it") as error:
        fetch()
    found = hashlib.sha256(b"half").hexdigest()
    for part in (str(galaxy10_path()), SHA256, found, "--data PATH", "--preset demo"):
        assert part in str(error.value)
    assert galaxy10_path().read_bytes() == b"half"


def test_is_hashed_once_until_it_changes(monkeypatch):
    path = galaxy10_path()
    path.parent.mkdir(parents=True)
    path.write_bytes(PAYLOAD)
    fetch()
    with monkeypatch.context() as patch:
        patch.setattr("trainable.data.cache.checksum", lambda path: pytest.fail("hashed again"))
        assert fetch() == path
    path.write_bytes(PAYLOAD[:-1] + b"?")  # same size, later
    with pytest.raises(DataError, match=SHA256):
        fetch()


def test_full_disk_is_noticed_first():
    with pytest.raises(DataError, match=r"GB free, Galaxy10 needs 1000000000\.0"):
        fetch(free_bytes=10**18)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="a folder that refuses is POSIX")
def test_folder_that_cannot_be_made(home):
    (home / ".astroNN").write_text("a file in the way")
    with pytest.raises(
        DataError, match=r"cannot store Galaxy10 as .*\.astroNN.* Set HOME"
    ) as error:
        fetch()
    assert "--data PATH" in str(error.value)


def test_no_home(monkeypatch):
    """A container's user without an entry in passwd."""
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    assert find_galaxy10() is None
    with pytest.raises(DataError, match=r"no home folder is known: set HOME .*--data PATH"):
        fetch()
