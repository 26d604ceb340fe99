import hashlib
import os
import time
from pathlib import Path

import numpy as np
import pytest

from trainable import cache


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("SWEEP_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_cache_folder(root, monkeypatch, tmp_path):
    assert cache.cache_root() == root
    assert cache.cache_root(tmp_path / "given") == tmp_path / "given"
    monkeypatch.delenv("SWEEP_CACHE_DIR")
    assert cache.cache_root().name == "vit-label-sweep"


def test_hashed_once_until_it_changes(root, tmp_path, monkeypatch):
    path, hashed, checksum = tmp_path / "file", [], cache.checksum
    monkeypatch.setattr(cache, "checksum", lambda p: (hashed.append(p), checksum(p))[1])
    for contents in (b"one", b"another"):
        path.write_bytes(contents)
        for _ in range(3):
            assert cache.known_checksum(path) == hashlib.sha256(contents).hexdigest()
    assert len(hashed) == 2


@pytest.mark.parametrize("torn", ["", "[1]", "{}", "null", '{"sha256": "00"}'])
def test_torn_record_is_not_believed(root, tmp_path, torn):
    path = tmp_path / "file"
    path.write_bytes(b"one")
    expected = cache.known_checksum(path)
    (record,) = (root / "checksums").iterdir()
    record.write_text(torn)
    assert cache.known_checksum(path) == expected


def test_folder_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("in the way")
    monkeypatch.setenv("SWEEP_CACHE_DIR", str(tmp_path / "cache"))
    assert cache.known_checksum(Path(__file__)) == cache.checksum(__file__)


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
    left = tmp_path / "left.tmp"
    np.save(left, np.ones((5, 4)))
    left.with_suffix(".tmp.npy").rename(left)
    (tmp_path / "empty.tmp").touch()
    assert list(cache.in_the_making(tmp_path, since=0)) == [(5, 5)]
    os.utime(left, (1000, 1000))
    assert list(cache.in_the_making(tmp_path, since=1001)) == []
