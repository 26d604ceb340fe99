"""What a source of labelled images is, and what every one of them gives: a `Survey`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trainable.config import SourceFlags
from trainable.data.pictures import PictureError
from trainable.data.sources.known_files import GALAXY10_DECALS, KnownFile
from trainable.errors import DataError

if TYPE_CHECKING:  # slow to import, and HDF5 files need none of it
    import pandas as pd

Progress = Callable[[int, int], None]
"""Called with how much is done and how much there is in all."""
DISPLAY_SIDE = 256
"""Pixels along one side at which images are shown, if they are not smaller themselves."""
LISTED = 3
"""Examples that a message names."""


class Picture(Protocol):
    """An image that is not decoded yet; it can be sent to another process, which decodes it.

    A module that defines one is light to import: no torch, no h5py.
    """

    @property
    def name(self) -> str:
        """What a message calls it: a path, or a row of a file."""
        ...

    def rgb(self) -> NDArray[np.uint8]:
        """The image, (H, W, 3) uint8; `PictureError` if it cannot be read."""
        ...


@dataclass(frozen=True)
class Pixels:
    """An image that has been read."""

    name: str
    values: NDArray[np.uint8]
    """(H, W, 3), or grey (H, W) or (H, W, 1)."""

    def rgb(self) -> NDArray[np.uint8]:
        """The image, (H, W, 3) uint8."""
        if self.values.ndim == 3 and self.values.shape[2] == 3:
            return self.values
        return np.repeat(self.values.reshape(*self.values.shape[:2], 1), 3, axis=2)


class Images(Protocol):
    """The images of a survey; they stay where they are until asked for."""

    @property
    def key(self) -> Mapping[str, Any]:
        """What pixels depend on besides the files, as JSON takes it; part of the caches' keys."""
        ...

    def pictures(self, rows: NDArray[np.int64]) -> Iterator[Picture]:
        """The images of some rows of the survey, (n,) ascending, one after another."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Survey:
    """Checked images and labels, wherever they come from; images may differ in size."""

    path: Path
    sha256: str
    """Lower-case hexadecimal: of an HDF5 file its own or, if values come from other files, of the
    checksums of them all; of any other source one of its images, labels and positions."""
    images: Images
    image_sizes: NDArray[np.int64]
    """(N, 2): height and width, pixels."""
    labels: np.ndarray
    """(N,) int64, index of `class_names`."""
    class_names: tuple[str, ...]
    right_ascension: np.ndarray | None
    """(N,) float64, degrees; NaN if one is not known."""
    declination: np.ndarray | None
    pixel_scale: np.ndarray | None
    """(N,) float64, arcsec/pixel."""
    known: KnownFile | None = None
    """Which published file this is, if any."""
    is_test: np.ndarray | None = None
    """(N,) bool: the images that the data set aside for testing; None if it sets none aside."""
    names: tuple[str, ...] | None = None
    """What each image is called; None: by its row."""
    columns: pd.DataFrame | None = None
    """N rows of what else a catalogue says of its images."""
    notes: tuple[str, ...] = ()
    """Sentences on what was left out, or may surprise."""

    @property
    def is_galaxy10(self) -> bool:
        """Whether this is Galaxy10 DECaLS, by its checksum, or else its shape and class counts."""
        return self.known is GALAXY10_DECALS

    @property
    def size_text(self) -> str:
        """The size of the images in words: "256 × 256 pixels", or the range of widths and heights."""
        (low_height, low_width), (height, width) = self.image_sizes.min(0), self.image_sizes.max(0)
        return f"{_span(low_width, width)} × {_span(low_height, height)} pixels"

    @property
    def display_side(self) -> int:
        """Pixels along one side at which images are shown."""
        return int(min(DISPLAY_SIDE, self.image_sizes.max()))

    def names_of(self, rows: Sequence[int] | NDArray[np.int64]) -> str:
        """What to call some images in a message: "rows 3, 5", or their names, the first few."""
        some = list(map(int, rows[: LISTED + 2]))
        more = ", …" if len(rows) > len(some) else ""
        if self.names is None:
            return f"row{'s' if len(rows) > 1 else ''} {', '.join(map(str, some))}{more}"
        return ", ".join(self.names[row] for row in some) + more

    def read_images(self, rows: Sequence[int] | np.ndarray) -> list[NDArray[np.uint8]]:
        """Images of some rows, each (H, W, 3) uint8, in the order asked for.

        Parameters
        ----------
        rows
            (n,) integers in [0, N); may repeat.

        Raises
        ------
        IndexError
            If a row is not in the survey.
        DataError
            If an image can no longer be read.
        """
        rows, n = np.asarray(rows), len(self.labels)
        if len(rows) and (rows.dtype.kind not in "iu" or rows.min() < 0 or rows.max() >= n):
            raise IndexError(f"rows of {self.path} must be integers in [0, {n}), got {rows}")
        order = np.argsort(rows, kind="stable")
        ascending = self.images.pictures(rows[order].astype(np.int64))
        found = dict(zip(order.tolist(), map(decoded, ascending), strict=True))
        return [found[place] for place in range(len(rows))]

    def read_squares(
        self, rows: Sequence[int] | np.ndarray, side: int | None = None
    ) -> NDArray[np.uint8]:
        """Images of some rows as they are shown: each whole, in a square, black around it.

        Parameters
        ----------
        rows
            As in `read_images`.
        side
            S, pixels; None: `display_side`.

        Returns
        -------
        numpy.ndarray
            Shape (n, S, S, 3), uint8.
        """
        side = side or self.display_side
        squares = [fit_square(image, side) for image in self.read_images(rows)]
        return np.stack(squares) if squares else np.empty((0, side, side, 3), np.uint8)


def _span(low: int, high: int) -> str:
    return str(low) if low == high else f"{low}–{high}"


def decoded(picture: Picture) -> NDArray[np.uint8]:
    """The image, (H, W, 3) uint8; `DataError` with its name if it cannot be read."""
    try:
        return picture.rgb()
    except PictureError as error:
        raise DataError(f"{picture.name} cannot be read: {error}") from error


def fit_square(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """An image (H, W, 3) uint8 whole in a square (`side`, `side`, 3), in proportion, black around."""
    height, width = image.shape[:2]
    if (height, width) == (side, side):
        return image
    longer = max(height, width)
    size = max(1, round(side * width / longer)), max(1, round(side * height / longer))
    resized = Image.fromarray(image).resize(size, Image.Resampling.LANCZOS)
    square = Image.new("RGB", (side, side))
    square.paste(resized, ((side - size[0]) // 2, (side - size[1]) // 2))
    return np.asarray(square)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the user asks to open."""

    path: Path
    """Absolute."""
    labels: Path | None
    """Catalogue with the labels of the images below `path`."""
    flags: SourceFlags
    cache_dir: str | Path | None
    progress: Progress | None


class Source(Protocol):
    """A kind of data; each module of this package that opens one is a `Source`."""

    def recognises(self, request: Request) -> bool:
        """Whether the request is for data of this kind, by a look at names alone."""
        ...

    def open_images(self, request: Request) -> Survey:
        """Check everything and open it; `DataError` says what is wrong in one sentence."""
        ...


def identity(
    head: Mapping[str, Any],
    *,
    names: Sequence[str],
    digests: Sequence[str],
    arrays: Sequence[np.ndarray | None],
) -> str:
    """SHA-256 of what a survey consists of, the same on every machine.

    Parameters
    ----------
    head
        Kind of source, class names, how pixels are made; as JSON takes it.
    names, digests
        Of each image: what it is called, and the checksum of its file.
    arrays
        Labels, positions, and so on, one value for each image; or None.
    """
    digest = hashlib.sha256(json.dumps(head, sort_keys=True).encode())
    for name, content in zip(names, digests, strict=True):
        digest.update(json.dumps([content, name]).encode())
    for array in arrays:
        digest.update(b"\nnone" if array is None else b"\n" + _plain(array))
    return digest.hexdigest()


def _plain(array: np.ndarray) -> bytes:
    """The values of an array, whatever the byte order and integer type of the machine."""
    kind = "<f8" if array.dtype.kind == "f" else "<i8"
    return kind.encode() + np.ascontiguousarray(array, kind).tobytes()


def some(items: Sequence[str]) -> str:
    """The first few of many, for a message."""
    return ", ".join(items[:LISTED]) + (", …" if len(items) > LISTED else "")


def counted(n: int, noun: str) -> str:
    """E.g. 1 picture, or 1,200 pictures."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
