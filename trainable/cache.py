"""The node's cache folder: arrays made once, and checksums that need not be computed twice."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import platformdirs

LOG = logging.getLogger(__name__)


def cache_root(cache_dir: str | Path | None = None) -> Path:
    """The node's cache folder: `cache_dir`, else ``$SWEEP_CACHE_DIR``, else the user's."""
    chosen = cache_dir or os.environ.get("SWEEP_CACHE_DIR")
    return Path(chosen) if chosen else platformdirs.user_cache_path("vit-label-sweep")


def checksum(path: str | Path) -> str:
    """SHA-256 of a file, lower-case hexadecimal, read in pieces."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def known_checksum(path: Path) -> str:
    """The checksum on record if the file's size and time are unchanged, else computed and kept."""
    key = hashlib.sha256(str(path.absolute()).encode()).hexdigest()[:20]
    record_path = cache_root() / "checksums" / f"{key}.json"
    with suppress(OSError, ValueError, TypeError, KeyError):  # no record, or not one of ours
        record = json.loads(record_path.read_text())
        if record == _stamp(path, record["sha256"]):
            return record["sha256"]
    stamp = _stamp(path, checksum(path))
    with suppress(OSError):  # no room or no right to write: it is hashed again next time
        record_path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = record_path.with_suffix(f".{os.getpid()}.tmp")
        unfinished.write_text(json.dumps(stamp))
        os.replace(unfinished, record_path)
    return stamp["sha256"]


def _stamp(path: Path, sha256: str) -> dict[str, int | str]:
    stat = path.stat()
    return {"bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha256": sha256}


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

    Whoever comes first makes it, under a lock; others wait, then map the same file. It appears
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
    """
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:20]
    target = folder / f"{digest}.npy"
    if (found := _open(target, shape, dtype)) is not None:
        return found
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(f"{target}.lock")
    try:
        held = lock.acquire(timeout=0)
    except filelock.Timeout:
        LOG.warning("waiting for another process that is making %s", target)
        held = lock.acquire()
    with held:
        if _open(target, shape, dtype) is None:
            _write_array(target, shape, dtype, blocks(), progress)
    found = _open(target, shape, dtype)
    assert found is not None, f"{target}: the blocks do not make up {shape} {dtype.__name__}"
    return found


def in_the_making(folder: Path, since: float) -> Iterator[tuple[int, int]]:
    """Rows done, and rows in all, of each array of `cached_array` that a process is making.

    Parameters
    ----------
    since
        Time, s since the epoch; a file that nobody has written to since then was left by a kill.
    """
    for path in sorted(folder.glob("*.tmp")):
        # done by now, or only just begun
        with suppress(FileNotFoundError, ValueError), path.open("rb") as file:
            np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            stat = os.fstat(file.fileno())
            if stat.st_mtime >= since:
                row_bytes = dtype.itemsize * math.prod(shape[1:])
                yield (stat.st_size - file.tell()) // row_bytes, shape[0]


def _open(path: Path, shape: tuple[int, ...], dtype: type[np.generic]) -> np.ndarray | None:
    """The array as a memory map; None where there is none of that shape and type."""
    try:
        array = np.load(path, mmap_mode="r")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError) as error:
        LOG.warning("%s is torn and is made again: %s", path, error)
        return None
    return array if (array.shape, array.dtype) == (shape, np.dtype(dtype)) else None


def _write_array(target: Path, shape, dtype, blocks, progress) -> None:
    """Write to the side, then rename. Not through a map: a full disk would kill the process."""
    unfinished = target.with_suffix(".tmp")  # the lock is held; one that a kill left is overwritten
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "shape": shape}
    try:
        with unfinished.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header | {"fortran_order": False})
            file.flush()  # here and below: what is done can be seen, by `in_the_making`
            done = 0
            for block in blocks:
                file.write(np.ascontiguousarray(block, dtype))
                file.flush()
                done += len(block)
                if progress:
                    progress(done, shape[0])
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, target)
    finally:
        unfinished.unlink(missing_ok=True)
