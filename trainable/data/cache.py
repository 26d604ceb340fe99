"""The node's cache folder: arrays made once, and checksums that need not be computed twice."""

from __future__ import annotations

import errno
import functools
import hashlib
import json
import logging
import math
import os
import stat
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import filelock
import numpy as np

from trainable.errors import SettingsError
from trainable.files import DISK_ERRORS, replace_file, unfinished_files, write_atomically

LOG = logging.getLogger(__name__)
NAME = "vit-label-sweep"
VARIABLE = "SWEEP_CACHE_DIR"
ADVICE = f"name a folder that you can write with --cache-dir or ${VARIABLE}"
READERS = 8
"""Threads that read files for their checksums."""
REFUSALS = DISK_ERRORS | {
    errno.EACCES,
    errno.EPERM,
    errno.ENOTDIR,
    errno.EEXIST,  # a file has the folder's name
    errno.ENOLCK,
    errno.EOPNOTSUPP,
}
"""``OSError.errno`` of a folder that does not take a file, or a lock."""


def cache_root(cache_dir: str | Path | None = None) -> Path:
    """The node's cache folder.

    It is `cache_dir`, else ``$SWEEP_CACHE_DIR``, else the user's own cache folder or, if that
    cannot be written, a folder of this user below the temporary folder.

    Raises
    ------
    SettingsError
        None is chosen and neither default can be written.
    """
    chosen = cache_dir or os.environ.get(VARIABLE)
    return Path(os.path.expanduser(chosen)) if chosen else _default_root(_users_folder())


def _users_folder() -> Path | None:
    """The user's own cache folder; None without HOME and without a passwd entry."""
    import platformdirs  # here, as what computes can be imported with numpy and torch alone

    try:
        folder = platformdirs.user_cache_path(NAME)
    except RuntimeError:
        return None
    return folder if folder.is_absolute() else None  # "~/.cache/…" in older versions


@functools.cache  # the warning appears once
def _default_root(preferred: Path | None) -> Path:
    if preferred is None:
        reason = "there is no home folder"
    else:
        try:
            _check_writable(preferred)
        except OSError as error:
            reason = f"{preferred} cannot be written: {error.strerror}"
        else:
            return preferred
    try:
        fallback = _private_folder(Path(tempfile.gettempdir()))
        _check_writable(fallback)
    except OSError as error:
        raise SettingsError(
            f"there is no place for the cache: {reason}, nor is there a temporary folder ({error}): "
            f"{ADVICE}"
        ) from error
    LOG.warning("the cache is in %s, as %s", fallback, reason)
    return fallback


def _check_writable(folder: Path) -> None:
    """Make the folder if it is missing; OSError if a file cannot be made in it."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass


def _private_folder(parent: Path) -> Path:
    """A folder of this user in `parent` that nobody else can read or write; OSError if it cannot be.

    The parent may be everybody's, so a folder of that name may be somebody else's.
    """
    user = os.getuid() if hasattr(os, "getuid") else "user"
    folder = parent / f"{NAME}-{user}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    if hasattr(os, "getuid"):
        details = folder.lstat()
        if not stat.S_ISDIR(details.st_mode) or details.st_uid != user:
            raise PermissionError(f"{folder} is not a folder of user {user}")
        if stat.S_IMODE(details.st_mode) != 0o700:
            folder.chmod(0o700)
    return folder


@contextmanager
def writing_to(folder: Path) -> Generator[None]:
    """Turn the refusal of a cache folder to be written into a `SettingsError`, nothing else."""
    try:
        yield
    except OSError as error:
        if error.errno not in REFUSALS:
            raise
        raise SettingsError(
            f"the cache folder {folder} cannot be written ({error.strerror}): make room there, or "
            f"{ADVICE}"
        ) from error


@contextmanager
def locked_folder(path: Path) -> Generator[None]:
    """The folder of `path`, made if it is missing, with the lock of the one process that makes it.

    Raises
    ------
    SettingsError
        The folder cannot be written, or its file system has no locks.
    """
    lock = filelock.FileLock(f"{path}.lock")
    try:
        with writing_to(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
    except filelock.Timeout:
        LOG.warning("waiting for another process that is making %s", path)
        lock.acquire()
    except NotImplementedError as error:  # what filelock makes of ENOSYS
        raise SettingsError(
            f"the file system of the cache folder {path.parent} has no locks: {ADVICE}"
        ) from error
    try:
        yield
    finally:
        lock.release()


def checksum(path: str | Path) -> str:
    """SHA-256 of a file, lower-case hexadecimal, read in pieces."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def known_checksum(path: Path) -> str:
    """The checksum on record if the file's size and time are unchanged, else computed and kept.

    A cache folder that cannot be read or written costs the time of computing it again.
    """
    key = hashlib.sha256(str(path.absolute()).encode()).hexdigest()[:20]
    try:
        record_path = cache_root() / "checksums" / f"{key}.json"
    except SettingsError:  # no folder can be written; --cache-dir may still name one
        return checksum(path)
    if (recorded := _recorded_checksum(record_path, path)) is not None:
        return recorded
    stamp = _stamp(path.stat(), checksum(path))
    with suppress(OSError):  # no room or no right to write: it is computed again next time
        record_path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(record_path, json.dumps(stamp))
    return stamp["sha256"]


def known_checksums(
    folder: Path,
    names: Sequence[str],
    *,
    cache_dir: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[str | None]:
    """The checksums of many files below a folder, on record or computed; see `known_checksum`.

    The record is one for the folder. Files are read in threads.

    Parameters
    ----------
    names
        Paths below `folder`.
    progress
        Called with (files done, files in all) while some have to be read.

    Returns
    -------
    list
        SHA-256 of each file, lower-case hexadecimal; None for one that is not a regular file or
        cannot be read.
    """
    key = hashlib.sha256(f"all of {folder.absolute()}".encode("utf-8", "surrogateescape"))
    record_path = cache_root(cache_dir) / "checksums" / f"{key.hexdigest()[:20]}.json"
    record = _recorded_checksums(record_path)
    new: dict[str, dict[str, Any]] = {}

    def of(name: str) -> str | None:
        path = folder / name
        try:
            details = path.stat()
            if not stat.S_ISREG(details.st_mode):
                return None
            if (recorded := _still_valid(record.get(name), details)) is not None:
                return recorded
            found = checksum(path)
        except OSError:
            return None
        new[name] = _stamp(details, found)
        return found

    found: list[str | None] = []
    with ThreadPoolExecutor(READERS) as readers:
        for done, digest in enumerate(readers.map(of, names), start=1):
            found.append(digest)
            if progress and new:
                progress(done, len(names))
    if new:
        with suppress(OSError):  # no room or no right to write: they are computed again next time
            record_path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(record_path, json.dumps(record | new))
    return found


def _recorded_checksums(record_path: Path) -> dict[str, Any]:
    """What is on record of the files of a folder; nothing if the record is missing or corrupt."""
    try:
        record = json.loads(record_path.read_bytes())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _recorded_checksum(record_path: Path, path: Path) -> str | None:
    """The checksum of `path` in a record, if it is one of the file as it is now."""
    try:
        record = json.loads(record_path.read_bytes())
    except (OSError, ValueError):  # no record, or a corrupt one
        return None
    return _still_valid(record, path.stat())


def _still_valid(record: Any, details: os.stat_result) -> str | None:
    """The checksum in a record, if the file has the recorded size and time; else None."""
    sha256 = record.get("sha256") if isinstance(record, dict) else None
    return sha256 if isinstance(sha256, str) and record == _stamp(details, sha256) else None


def _stamp(details: os.stat_result, sha256: str) -> dict[str, Any]:
    return {"bytes": details.st_size, "mtime_ns": details.st_mtime_ns, "sha256": sha256}


def cached_array(
    folder: Path,
    key: Mapping[str, Any],
    *,
    shape: tuple[int, ...],
    dtype: type[np.generic],
    blocks: Callable[[], Iterable[np.ndarray]],
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """A read-only memory map of an array that is made once for each `key`.

    The first process to ask makes it, under a lock; others wait, then map the same file. It appears
    whole or not at all, and a file that does not have `shape` and `dtype` is made again.

    Parameters
    ----------
    folder
        Where the file goes, named by a digest of `key`.
    key
        Everything that the contents depend on, as JSON takes it.
    blocks
        Called to make the array: parts of it in their order along the first axis.
    progress
        Called with (rows done, rows in all) while it is made.

    Raises
    ------
    SettingsError
        The folder cannot be written, or its disk is full.
    """
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:20]
    target = folder / f"{digest}.npy"
    if (array := _open(target, shape, dtype)) is not None:
        return array
    with locked_folder(target):
        if _open(target, shape, dtype) is None:
            _write_array(target, shape, dtype, blocks(), progress)
    array = _open(target, shape, dtype)
    assert array is not None, f"{target}: the blocks do not make up {shape} {dtype.__name__}"
    return array


def in_the_making(folder: Path, since: float) -> Iterator[tuple[int, int]]:
    """Rows done, and rows in all, of each array of `cached_array` that a process is making.

    Parameters
    ----------
    since
        Time, s since the epoch; a file that nobody has written to since then was left by a kill.
    """
    for path in unfinished_files(folder):
        try:
            file = path.open("rb")
        except FileNotFoundError:  # done by now
            continue
        with file:
            try:
                np.lib.format.read_magic(file)
                shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            except ValueError:  # only just begun: the header is not whole
                continue
            details = os.fstat(file.fileno())
            if details.st_mtime >= since:
                row_bytes = dtype.itemsize * math.prod(shape[1:])
                yield (details.st_size - file.tell()) // row_bytes, shape[0]


def _open(path: Path, shape: tuple[int, ...], dtype: type[np.generic]) -> np.ndarray | None:
    """The array as a memory map; None if there is none of that shape and type."""
    try:
        array = np.load(path, mmap_mode="r")
    except (FileNotFoundError, NotADirectoryError):  # the latter is reported when it is written
        return None
    except (OSError, ValueError, EOFError) as error:
        LOG.warning("%s cannot be read and is made again: %s", path, error)
        return None
    return array if (array.shape, array.dtype) == (shape, np.dtype(dtype)) else None


def _write_array(
    target: Path,
    shape: tuple[int, ...],
    dtype: type[np.generic],
    blocks: Iterable[np.ndarray],
    progress: Callable[[int, int], None] | None,
) -> None:
    """Write blocks to a file. Not through a memory map: a full disk would kill the process."""
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "shape": shape}
    with replace_file(target, only_writer=True) as unfinished:
        with writing_to(target.parent):
            file = unfinished.open("wb")
        with file:
            np.lib.format.write_array_header_1_0(file, header | {"fortran_order": False})
            file.flush()  # here and below: `in_the_making` sees what is done
            done = 0
            for block in blocks:
                with writing_to(target.parent):
                    file.write(np.ascontiguousarray(block, dtype).data)
                    file.flush()
                done += len(block)
                if progress:
                    progress(done, shape[0])
            with writing_to(target.parent):
                os.fsync(file.fileno())
