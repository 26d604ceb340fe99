import errno
import hashlib
import os
import stat
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from trainable.data import cache
from trainable.errors import SettingsError
from trainable.files import replace_file, unfinished_files


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("SWEEP_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A user with nothing but a home folder and a temporary folder."""
    for name in ("SWEEP_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name in ("home", "temporary"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    cache._default_root.cache_clear()
    yield tmp_path / "home"
    cache._default_root.cache_clear()


def without_home(home, monkeypatch):
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as without a passwd entry


def home_that_is_the_root(home, monkeypatch):
    """Root may write there, another user may not."""
    monkeypatch.setenv("HOME", "/")
    made = Path.mkdir

    def mkdir(path, *args, **kwargs):
        if str(path).startswith("/.cache"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        made(path, *args, **kwargs)

    monkeypatch.setattr(Path, "mkdir", mkdir)


def home_that_is_read_only(home, monkeypatch):
    (home / ".cache" / "vit-label-sweep").mkdir(parents=True)
    file = tempfile.TemporaryFile

    def temporary_file(*, dir):
        if home in Path(dir).parents:
            raise OSError(errno.EROFS, "Read-only file system", str(dir))
        return file(dir=dir)

    monkeypatch.setattr(tempfile, "TemporaryFile", temporary_file)


def home_that_is_a_file(home, monkeypatch):
    home.rmdir()
    home.write_text("in the way")


HOMES = [without_home, home_that_is_the_root, home_that_is_read_only, home_that_is_a_file]


def test_checksums_of_many_files_are_those_of_each(root, tmp_path):
    for number in range(20):
        (tmp_path / f"{number}.bin").write_bytes(bytes([number]) * 100)
    names = [f"{number}.bin" for number in (7, 3, 19, 3)]
    found = cache.known_checksums(tmp_path, [*names, "nowhere.bin"])
    assert found == [*(cache.checksum(tmp_path / name) for name in names), None]
    steps = []
    again = cache.known_checksums(tmp_path, ["1.bin", *names], progress=lambda *s: steps.append(s))
    assert again[1:] == found[:4]
    assert steps[-1] == (5, 5)
    (tmp_path / "1.bin").unlink()
    assert cache.known_checksums(tmp_path, ["1.bin", "3.bin"]) == [None, found[1]]


def test_checksums_need_no_record(root, tmp_path, monkeypatch):
    (tmp_path / "1.bin").write_bytes(b"1")
    root.write_text("a file in place of the folder")
    assert cache.known_checksums(tmp_path, ["1.bin"]) == [cache.checksum(tmp_path / "1.bin")]


def test_the_folder_that_is_chosen(root, monkeypatch, tmp_path):
    assert cache.cache_root() == root
    assert cache.cache_root(tmp_path / "given") == tmp_path / "given"


def test_the_users_own_folder(home):
    assert cache.cache_root() == home / ".cache" / "vit-label-sweep"


@pytest.mark.parametrize("change", HOMES)
def test_without_a_home_that_can_be_written_a_private_folder_said_once(
    home, tmp_path, monkeypatch, caplog, change
):
    change(home, monkeypatch)
    monkeypatch.chdir(tmp_path / "temporary")
    found = [cache.cache_root() for _ in range(3)]
    assert found == [tmp_path / "temporary" / f"vit-label-sweep-{os.getuid()}"] * 3
    assert stat.S_IMODE(found[0].stat().st_mode) == 0o700
    (record,) = caplog.records
    assert str(found[0]) in record.getMessage()
    assert list((tmp_path / "temporary").iterdir()) == [found[0]]  # no folder named ~
    cache.known_checksum(Path(__file__))
    assert len(list((found[0] / "checksums").iterdir())) == 1


def test_a_private_folder_that_others_could_read_is_closed(home, tmp_path, monkeypatch):
    home_that_is_a_file(home, monkeypatch)
    there = tmp_path / "temporary" / f"vit-label-sweep-{os.getuid()}"
    there.mkdir(mode=0o777)
    assert cache.cache_root() == there
    assert stat.S_IMODE(there.stat().st_mode) == 0o700


def somebody_elses(folder, monkeypatch):
    folder.mkdir()
    monkeypatch.setattr(os, "getuid", lambda: 12345)


def a_link(folder, monkeypatch):
    folder.symlink_to(folder.parent, target_is_directory=True)


def no_temporary_folder(folder, monkeypatch):
    folder.parent.rmdir()
    folder.parent.write_text("in the way")


@pytest.mark.parametrize("change", [somebody_elses, a_link, no_temporary_folder])
def test_nothing_that_can_be_written_is_one_sentence(home, tmp_path, monkeypatch, change):
    home_that_is_a_file(home, monkeypatch)
    user = 12345 if change is somebody_elses else os.getuid()
    change(tmp_path / "temporary" / f"vit-label-sweep-{user}", monkeypatch)
    with pytest.raises(SettingsError, match=r"--cache-dir or \$SWEEP_CACHE_DIR$") as error:
        cache.cache_root()
    assert "\n" not in str(error.value)
    assert cache.known_checksum(Path(__file__)) == cache.checksum(__file__)
    assert cache.cache_root(tmp_path / "given") == tmp_path / "given"


def test_hashed_once_until_it_changes(root, tmp_path, monkeypatch):
    path, hashed, checksum = tmp_path / "file", [], cache.checksum
    monkeypatch.setattr(cache, "checksum", lambda p: (hashed.append(p), checksum(p))[1])
    for contents in (b"one", b"another"):
        path.write_bytes(contents)
        for _ in range(3):
            assert cache.known_checksum(path) == hashlib.sha256(contents).hexdigest()
    assert len(hashed) == 2


@pytest.mark.parametrize(
    "corrupt", [b"", b"[1]", b"{}", b"null", b'{"sha256": "00"}', b'{"sha256": 0}', b"\xff\xfe"]
)
def test_a_corrupt_record_is_not_believed(root, tmp_path, corrupt):
    path = tmp_path / "file"
    path.write_bytes(b"one")
    expected = cache.known_checksum(path)
    (record,) = (root / "checksums").iterdir()
    record.write_bytes(corrupt)
    assert cache.known_checksum(path) == expected


def test_a_checksum_needs_no_folder_that_can_be_written(tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("in the way")
    monkeypatch.setenv("SWEEP_CACHE_DIR", str(tmp_path / "cache"))
    assert cache.known_checksum(Path(__file__)) == cache.checksum(__file__)
    assert list(tmp_path.iterdir()) == [tmp_path / "cache"]


ONES = {"shape": (5, 4), "dtype": np.float32, "blocks": lambda: [np.ones((5, 4))]}


@pytest.mark.parametrize("below", ["", "images"])
def test_an_array_needs_one_and_says_so(tmp_path, below):
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(SettingsError, match=r"cache cannot|images cannot.*--cache-dir or \$SWEEP"):
        cache.cached_array(tmp_path / "cache" / below, {}, **ONES)


def test_an_error_of_what_makes_the_array_is_not_the_folders(tmp_path):
    """Not even if it is one that the folder might raise."""

    def blocks():
        yield np.ones((2, 4))
        raise PermissionError(errno.EACCES, "no right to read the images")

    with pytest.raises(PermissionError, match="the images"):
        cache.cached_array(tmp_path, {}, **ONES | {"blocks": blocks})
    assert not list(tmp_path.glob("*.npy"))
    assert not unfinished_files(tmp_path)


def test_a_full_disk_is_the_users_to_mend(tmp_path, monkeypatch):
    opened = Path.open

    def full(path, *args):
        file = opened(path, *args)
        return file if args == () else FullFile(file)

    class FullFile:
        def __init__(self, file):
            self.file, self.writes = file, 0

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def write(self, data):
            self.writes += 1
            if self.writes > 3:
                raise OSError(errno.ENOSPC, "No space left on device")
            return self.file.write(data)

        def flush(self):
            self.file.flush()

    monkeypatch.setattr(Path, "open", full)
    blocks = [np.ones((1, 4))] * 5
    with pytest.raises(SettingsError, match=r"No space left on device\): make room"):
        cache.cached_array(tmp_path, {}, **ONES | {"blocks": lambda: blocks})
    assert not unfinished_files(tmp_path)


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    def without_locks(*_, **__):
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr("filelock.FileLock.acquire", without_locks)
    with pytest.raises(SettingsError, match=r"has no locks.*--cache-dir"):
        cache.cached_array(tmp_path, {}, **ONES)


def test_what_is_being_made_is_told_row_by_row(tmp_path):
    began, told = time.time(), []

    def look():
        told.extend(cache.in_the_making(tmp_path, since=began - 1))

    def blocks():
        for rows in (0, 2, 3):
            look()
            yield np.ones((rows, 4), np.float32)

    cache.cached_array(tmp_path, {}, shape=(5, 4), dtype=np.float32, blocks=blocks)
    look()
    assert told == [(0, 5), (0, 5), (2, 5)]  # and nothing once it is there


def test_what_a_kill_left_is_not_being_made(tmp_path):
    left = replace_file(tmp_path / "left.npy").__enter__()
    np.save(left, np.ones((5, 4)))
    replace_file(tmp_path / "empty.npy").__enter__().touch()
    assert list(cache.in_the_making(tmp_path, since=0)) == [(5, 5)]
    os.utime(left, (1000, 1000))
    assert list(cache.in_the_making(tmp_path, since=1001)) == []
