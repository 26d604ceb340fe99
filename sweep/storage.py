"""A sweep's own folder, on a disk or behind any URI that pyarrow opens."""

from __future__ import annotations

import posixpath
import uuid
from pathlib import Path

import filelock
from pyarrow import fs

from trainable.errors import SweepError


class Folder:
    """A folder that may be remote.

    Parameters
    ----------
    location
        A path, made absolute, or a URI such as ``s3://bucket/path``.
    """

    def __init__(self, location: str | Path) -> None:
        self.is_local = "://" not in str(location)
        self.location = str(Path(location).expanduser().absolute() if self.is_local else location)
        self.filesystem, self.path = fs.FileSystem.from_uri(
            Path(self.location).as_uri() if self.is_local else self.location
        )

    def __str__(self) -> str:
        return self.location

    def child(self, name: str) -> Folder:
        """The folder of that name in this one."""
        return Folder(f"{self.location.rstrip('/')}/{name}")

    def exists(self, name: str = "") -> bool:
        """Whether the folder, or the file of that name in it, is there."""
        found = self.filesystem.get_file_info(posixpath.join(self.path, name).rstrip("/"))
        return found.type != fs.FileType.NotFound

    def names(self) -> list[str]:
        """Names of the files and folders in it; none if it is not there."""
        inside = fs.FileSelector(self.path, allow_not_found=True)
        return [found.base_name for found in self.filesystem.get_file_info(inside)]

    def read(self, name: str) -> bytes:
        """Contents of a file; `FileNotFoundError` if it is missing."""
        with self.filesystem.open_input_stream(posixpath.join(self.path, name)) as file:
            return file.read()

    def write(self, name: str, contents: bytes) -> None:
        """Write a file whole: under another name first, then moved into place."""
        self.filesystem.create_dir(self.path, recursive=True)
        target = posixpath.join(self.path, name)
        unfinished = f"{target}.{uuid.uuid4().hex[:8]}.tmp"
        with self.filesystem.open_output_stream(unfinished) as file:
            file.write(contents)
        self.filesystem.move(unfinished, target)

    def delete(self, name: str = "") -> None:
        """Remove a file of the folder, or the folder and all in it."""
        if name:
            self.filesystem.delete_file(posixpath.join(self.path, name))
        else:
            self.filesystem.delete_dir(self.path)

    def hold(self) -> filelock.FileLock | None:
        """Keep other processes off the folder for as long as the lock returned exists.

        A lock dies with its process, however that ends. Remote folders have none.

        Raises
        ------
        SweepError
            Another process holds it.
        """
        if not self.is_local:
            return None
        path = Path(self.location)
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(path.with_name(f".{path.name}.lock"))
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise SweepError(
                f"another process is at work on {path}: wait for its end, or choose another --name"
            ) from None
        return lock
