"""Files that appear whole or not at all: written beside their place, then renamed into it.

Standard library only.
"""

from __future__ import annotations

import errno
import glob
import os
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS})
"""``OSError.errno`` of a disk that is full, over quota, broken or read-only: no fault of the code."""


@contextmanager
def replace_file(
    path: str | Path, *, sync: bool = False, only_writer: bool = False
) -> Generator[Path]:
    """A temporary path in the folder of `path`; what is written there becomes `path`.

    A reader sees the old file or the new one, and two writers do not disturb each other. If the
    block raises, `path` stays as it is and the temporary file is removed::

        with replace_file(folder / "plot.png") as unfinished:
            figure.savefig(unfinished)

    Parameters
    ----------
    path
        The file to make or to replace; its folder must exist.
    sync
        Wait until the disk holds the file, so that a loss of power cannot undo the replacement.
    only_writer
        Nobody else writes `path` at this time, so the temporary files of writers that were killed
        are removed first.

    Yields
    ------
    Path
        A hidden name with the suffix of `path`, used by nobody else; the block must write it.

    Raises
    ------
    FileNotFoundError
        The block ended without writing the file.
    """
    path = Path(path)
    if only_writer:
        for left in unfinished_files(path.parent, path):
            left.unlink()
    unfinished = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:12]}.part{path.suffix}")
    try:
        yield unfinished
        if sync:
            _sync(unfinished)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
    if sync and os.name == "posix":
        _sync(path.parent)


def write_atomically(path: str | Path, content: str | bytes, *, sync: bool = False) -> None:
    """Write a whole file, text as UTF-8; see `replace_file`."""
    data = content.encode() if isinstance(content, str) else content
    with replace_file(path, sync=sync) as unfinished:
        unfinished.write_bytes(data)


def unfinished_files(folder: Path, path: Path | None = None) -> list[Path]:
    """Temporary files of `replace_file` in a folder: being written, or left by killed writers.

    Parameters
    ----------
    path
        Only those that were to become `path`; None for all.
    """
    if path is None:
        return sorted(folder.glob(".*.part*"))
    return sorted(folder.glob(f".{glob.escape(path.stem)}.*.part{glob.escape(path.suffix)}"))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
