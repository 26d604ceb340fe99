import hashlib
from pathlib import Path

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
