"""Images that are a file each, below one folder; what class folders and catalogues share."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from trainable.config import SourceFlags
from trainable.data.cache import known_checksums
from trainable.data.pictures import RULES, decode, read_picture_file
from trainable.data.sources import fits
from trainable.data.sources.examine import image_sizes, leave_out_unreadable
from trainable.data.sources.source import Picture, Request, Survey, counted, identity
from trainable.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

PICTURE_SUFFIXES = (
    *(".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff"),
    *(".bmp", ".ppm", ".pgm", ".gif"),
)
SUFFIXES = (*PICTURE_SUFFIXES, *fits.SUFFIXES)
"""Ends of the names of files that are taken for images, in small letters."""
HIDDEN = (".", "__MACOSX")
"""How names of files and folders begin that no user has made."""


@dataclass(frozen=True)
class FilePicture:
    """A picture in a file of its own."""

    path: str
    name: str

    def rgb(self) -> NDArray[np.uint8]:
        """The image, (H, W, 3) uint8; `PictureError` if it cannot be read."""
        return np.asarray(decode(read_picture_file(self.path)))


@dataclass(frozen=True, kw_only=True, eq=False)
class FileImages:
    """Images in files below a folder."""

    root: Path
    names: tuple[str, ...]
    """Paths below `root`, one for each row."""
    flags: SourceFlags

    @property
    def key(self) -> Mapping[str, Any]:
        """Versions of the rules by which files become RGB and, of FITS files, how they are shown."""
        found: dict[str, Any] = {"pictures": RULES}
        if any(fits.is_fits(name) for name in self.names):
            shown = [self.flags.stretch, self.flags.q, *self.flags.bands]
            found |= {"fits": fits.RULES, "shown": shown, "astropy": version("astropy")}
        return found

    def take(self, rows: NDArray[np.int64]) -> FileImages:
        """Those of some rows alone."""
        return replace(self, names=tuple(self.names[row] for row in rows.tolist()))

    def pictures(self, rows: NDArray[np.int64]) -> Iterator[Picture]:
        """The files of some rows."""
        for row in rows.tolist():
            path = os.path.join(self.root, self.names[row])
            if fits.is_fits(self.names[row]):
                yield fits.FitsPicture(path, displayable(path), self.flags)
            else:
                yield FilePicture(path, displayable(path))


def displayable(path: str) -> str:
    """A path that any output takes: bytes that are no UTF-8 are replaced."""
    return os.fsencode(path).decode("utf-8", "replace")


def is_image(name: str) -> bool:
    """Whether a file is an image, by its name."""
    return name.lower().endswith(SUFFIXES)


def without_suffix(name: str) -> str:
    """The name of an image without what tells its format."""
    suffix = max((s for s in SUFFIXES if name.lower().endswith(s)), key=len, default="")
    return name[: len(name) - len(suffix)]


@dataclass(frozen=True, kw_only=True)
class Found:
    """What is below a folder."""

    images: tuple[str, ...]
    """Paths below the folder, with ``/``, in the order of their code points."""
    others: tuple[str, ...]
    """Files that are no images, likewise."""
    links_out: int
    """Links among both, or to folders, that lead out of the folder; they are followed."""

    def notes(self, root: Path) -> tuple[str, ...]:
        """A sentence on links, if some lead out of the folder."""
        if not self.links_out:
            return ()
        return (f"Followed in {root}: {counted(self.links_out, 'link')} to places outside of it.",)


def find_files(root: Path) -> Found:
    """All files below a folder, those behind links too; hidden ones and ``__MACOSX`` do not count.

    Raises
    ------
    DataError
        A folder cannot be read, or a link leads back to a folder that it lies in.
    """
    images: list[str] = []
    others: list[str] = []
    inside = os.path.realpath(root)
    links_out = 0
    pending = [("", frozenset[str]())]
    while pending:
        below, above = pending.pop()
        folder = os.path.join(root, below)
        real = os.path.realpath(folder)
        if real in above:
            raise DataError(
                f"{displayable(folder)} is a link to a folder that it lies in: remove the link"
            )
        try:
            entries = list(os.scandir(folder))
        except OSError as error:
            raise DataError(f"{displayable(folder)} cannot be read: {error.strerror}") from error
        for entry in entries:
            if entry.name.startswith(HIDDEN):
                continue
            name = f"{below}/{entry.name}" if below else entry.name
            if entry.is_symlink():
                target = os.path.realpath(entry.path)
                links_out += os.path.commonpath([inside, target]) != inside
            kind = _kind(entry)
            if kind == "folder":
                pending.append((name, above | {real}))
            elif kind is not None:
                (images if is_image(name) else others).append(name)
    return Found(images=tuple(sorted(images)), others=tuple(sorted(others)), links_out=links_out)


def _kind(entry: os.DirEntry[str]) -> Literal["file", "folder"] | None:
    """What an entry is, or what it leads to; None for a pipe, a device or a socket.

    A link to nothing is a file: that it cannot be read is told when it is read.
    """
    try:
        mode = entry.stat().st_mode
    except OSError:
        return "file"
    if stat.S_ISDIR(mode):
        return "folder"
    return "file" if stat.S_ISREG(mode) else None


@dataclass(frozen=True, kw_only=True, eq=False)
class Labelled:
    """Files with their labels, before any of them has been read."""

    kind: str
    """Of the source, part of the survey's identity."""
    names: tuple[str, ...]
    """Paths below the folder."""
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    positions: tuple[NDArray[np.float64] | None, NDArray[np.float64] | None] = (None, None)
    is_test: NDArray[np.bool_] | None = None
    columns: pd.DataFrame | None = None
    notes: tuple[str, ...] = ()


def open_files(request: Request, files: Labelled) -> Survey:
    """Hash and decode every file once, or look up what is known of it, and open the survey.

    Raises
    ------
    DataError
        An image cannot be read, unless ``--skip-unreadable`` is given.
    """
    checksums = known_checksums(
        request.path, files.names, cache_dir=request.cache_dir, progress=request.progress
    )
    images = FileImages(root=request.path, names=files.names, flags=request.flags)
    shown = tuple(map(displayable, files.names))
    sizes = _sizes(images, checksums, request)
    kept, notes = leave_out_unreadable(images, sizes, shown, request)

    def of_kept(values: NDArray[Any] | None) -> NDArray[Any] | None:
        return None if values is None else values[kept]

    images = images.take(kept)
    ra, dec = map(of_kept, files.positions)
    is_test = of_kept(files.is_test)
    return Survey(
        path=request.path,
        sha256=identity(
            {"source": files.kind, "classes": files.class_names, **_shown(images)},
            names=images.names,
            digests=[str(checksums[row]) for row in kept.tolist()],
            arrays=[files.labels[kept], ra, dec, is_test],
        ),
        images=images,
        image_sizes=sizes[kept],
        labels=files.labels[kept],
        class_names=files.class_names,
        right_ascension=ra,
        declination=dec,
        pixel_scale=None,
        is_test=is_test,
        names=tuple(shown[row] for row in kept.tolist()),
        columns=None if files.columns is None else files.columns.iloc[kept].reset_index(drop=True),
        notes=(*files.notes, *notes),
    )


def _sizes(
    images: FileImages, checksums: Sequence[str | None], request: Request
) -> NDArray[np.int64]:
    """Height and width of the images, (n, 2); zeros for those that cannot be read."""
    sizes = np.zeros((len(checksums), 2), np.int64)
    present = np.array([row for row, digest in enumerate(checksums) if digest], np.int64)
    there = images.take(present)
    contents = identity(  # of their names no more than what decides how they are read
        {},
        names=["fits" if fits.is_fits(name) else "" for name in there.names],
        digests=[digest for digest in checksums if digest],
        arrays=[],
    )
    if len(present):
        sizes[present] = image_sizes(there, len(present), {"files": contents}, request)
    return sizes


def _shown(images: FileImages) -> dict[str, Any]:
    """What decides how FITS files look, whatever versions of libraries show them."""
    return {"shown": images.key["shown"]} if "shown" in images.key else {}
