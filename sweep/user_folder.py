"""A folder for this user's files if there is no home folder; standard library only."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

TEMPORARY_FOLDERS = ("/tmp", "/dev/shm", "/var/tmp")


def private_folder(parent: str | Path) -> Path | None:
    """A folder in `parent` that this user alone can enter, made if need be.

    Returns
    -------
    Path or None
        None if nothing can be made in `parent`, or if somebody else has made it.
    """
    if not is_writable(parent):
        return None
    path = Path(parent) / f"ray-{os.getuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    status = path.lstat()
    mine = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()
    return path if mine and not status.st_mode & 0o077 else None


def is_writable(folder: str | Path) -> bool:
    """Whether files can be made in a folder; False if it is not there."""
    return Path(folder).is_dir() and os.access(folder, os.W_OK | os.X_OK)


def private_temporary_folder() -> Path | None:
    """The first `private_folder` of the usual places for temporary files; None if there is none."""
    places = (tempfile.gettempdir(), *TEMPORARY_FOLDERS)
    return next(filter(None, map(private_folder, places)), None)


def provide_home() -> None:
    """Set ``HOME`` if nothing tells where this user's home is: Ray needs one to be imported."""
    try:
        Path.home()
    except RuntimeError:  # no HOME, and no entry in the password database
        if folder := private_temporary_folder():
            os.environ["HOME"] = str(folder)
