"""One HDF5 file in Galaxy10's layout.

The layout is that of ``Galaxy10_DECals.h5``: ``images`` (N, H, W, 3) uint8, ``ans`` (N,) labels and,
if known, ``ra``, ``dec`` (N,) in degrees and ``pxscale`` (N,) in arcsec/pixel. Grey images may be
(N, H, W) or (N, H, W, 1). ``--image-column`` and ``--label-column`` give images and labels other names.
Any other file may add a test set of its own, ``is_test`` (N,) bool, and the
attribute ``class_names``, a JSON list whose index is the label.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import h5py
import numpy as np
from numpy.typing import NDArray

from trainable.data import hdf5
from trainable.data.cache import known_checksum
from trainable.data.sources import known_files
from trainable.data.sources.source import Picture, Pixels, Request, Survey
from trainable.errors import DataError

IMAGES, LABELS = "images", "ans"
"""Names of the data sets, unless others are given."""
FURTHER = ("ra", "dec", "pxscale", "is_test")
"""All else that is read of a file."""
SLAB = 256
"""Images read at a time: h5py is slow to pick single rows."""


@dataclass(frozen=True, kw_only=True)
class Hdf5Images:
    """A data set of images in a file."""

    path: Path
    name: str = IMAGES
    """Of the data set."""
    sources: tuple[Path, ...] = ()
    """Files besides `path` that values come from: sources of virtual data sets, targets of external
    links, raw external storage."""

    @property
    def key(self) -> Mapping[str, Any]:
        """Pixels are in the file as they are, in the usual data set or the one that is named."""
        return {} if self.name == IMAGES else {"images": self.name}

    def pictures(self, rows: NDArray[np.int64]) -> Iterator[Picture]:
        """Images of some rows, (n,) ascending, read a slab at a time.

        Raises
        ------
        DataError
            If the file can no longer be read: a damaged chunk, or a missing source.
        """
        for source in self.sources:  # HDF5 reads what is missing as black
            if not source.is_file():
                raise DataError(f"{self.path} takes values from {source}, which is missing")
        with hdf5.open_hdf5(self.path) as file:
            if (images := hdf5.dataset(file, self.name)) is None:
                raise DataError(f"{self.path} has no {self.name!r} any more: it changed")
            for start in range(0, int(images.shape[0]), SLAB):
                here = slice(*np.searchsorted(rows, [start, start + SLAB]))
                if wanted := rows[here].tolist():
                    what = f"{self.path}: images {wanted[0]} to {wanted[-1]}"
                    with hdf5.reading(hdf5.checked(images, what)):
                        slab = images[wanted[0] : wanted[-1] + 1]
                    for row in wanted:
                        yield Pixels(f"image {row} of {self.path}", slab[row - wanted[0]])


def recognises(request: Request) -> bool:
    """Any file that is not of another kind, whatever it is called."""
    return not request.path.is_dir()


def open_images(request: Request) -> Survey:
    """Open a file of labelled images and check everything that is read from it.

    Without the attribute ``class_names`` a published file (`known_files.KNOWN_FILES`) has its own
    names; the classes of any other are called ``class 0``, ``class 1``, and so on.

    Raises
    ------
    DataError
        If the file, or one that it takes values from, is missing, locked, damaged, compressed by a
        filter that is not installed, or not in Galaxy10's layout.
    """
    path = request.path
    if not path.is_file():
        raise DataError(
            f"{path} does not exist: give a folder with one folder of pictures for each class, a data "
            "set of Hugging Face, or an HDF5 file in Galaxy10's layout"
        )
    hint = ""
    named = request.flags.image_column or IMAGES, request.flags.label_column or LABELS
    with hdf5.open_hdf5(path) as file:
        try:
            inspection = hdf5.inspect(file, (*named, *FURTHER))
            if inspection.next_parts:  # HDF5 takes the first gap in a numbered series for its end
                hint = f" (numbered parts are read up to the first gap: {inspection.next_parts[0]})"
            fields = _read_fields(file, *named)
        except DataError as error:
            raise DataError(f"{path}: {error}{hint}") from error
    sha256 = _checksum_of_all(path, inspection.files)
    names: list[str] | None = fields.pop("class_names")
    labels: np.ndarray = fields["labels"]
    published = known_files.KNOWN_FILES
    known = next((known for known in published if known.sha256 == sha256), None)
    if known is None and names is None:  # a file that names its classes says itself what it is
        shape = tuple(fields["image_sizes"][0].tolist())
        known = next((known for known in published if known.looks_like(labels, shape)), None)
    if names is None:
        names = list(known.counts) if known else [f"class {c}" for c in range(labels.max() + 1)]
    return Survey(
        path=path,
        sha256=sha256,
        images=Hdf5Images(path=path, name=named[0], sources=inspection.files),
        class_names=tuple(names),
        known=known,
        **fields,
    )


def _checksum_of_all(path: Path, sources: Sequence[Path]) -> str:
    """The file's SHA-256, or one of the checksums of it and its sources, wherever those lie."""
    own = known_checksum(path)
    if not sources:
        return own
    return hashlib.sha256("\n".join([own, *map(known_checksum, sources)]).encode()).hexdigest()


def _read_fields(file: h5py.File, of_images: str, of_labels: str) -> dict[str, Any]:
    images, ans = hdf5.dataset(file, of_images), hdf5.dataset(file, of_labels)
    if images is None or ans is None:
        with hdf5.reading("the list of data sets"):
            has = [
                name if _is_dataset(file, name) else f"{name} (a group)" for name in map(str, file)
            ]
        raise DataError(
            f"must have data sets {of_images!r} (images) and {of_labels!r} (labels), has {has or 'none'}: "
            "name them by --image-column and --label-column, or write a file with these names"
        )
    shape = cast("tuple[int, ...]", images.shape or ())
    dtype = images.dtype
    is_image = len(shape) == 3 or (len(shape) == 4 and shape[3] in (1, 3))
    if not is_image or 0 in shape or dtype != np.uint8:
        raise DataError(
            f"{of_images!r} is {shape} {dtype}, must be (N, H, W, 3) or, grey, (N, H, W), uint8, none of "
            f"them 0{_how_to_mend(shape, dtype)}"
        )
    n = shape[0]
    labels, class_names = _read_classes(file, ans, n, (of_images, of_labels))
    if ("ra" in file) != ("dec" in file):
        raise DataError("it has one of 'ra' and 'dec': give both (degrees) or neither")
    return {
        "image_sizes": np.broadcast_to(np.array(shape[1:3], np.int64), (n, 2)),
        "labels": labels,
        "class_names": class_names,
        "right_ascension": _read_column(file, "ra", n, limit=360),
        "declination": _read_column(file, "dec", n, limit=90),
        "pixel_scale": _read_column(file, "pxscale", n, limit=None),
        "is_test": _read_is_test(file, n),
    }


def _how_to_mend(shape: tuple[int, ...], dtype: np.dtype) -> str:
    """What to do about a data set of images of another form, if that is known."""
    if dtype == np.uint16:
        return ". Divide 16-bit values by 257"
    if len(shape) == 4 and shape[1] in (1, 3):
        return ". Put the channels last: np.moveaxis(images, 1, -1)"
    return ""


def _is_dataset(file: h5py.File, name: str) -> bool:
    return file.get(name, getclass=True) is not h5py.Group


def _read_classes(
    file: h5py.File, ans: h5py.Dataset, n: int, named: tuple[str, str]
) -> tuple[np.ndarray, list[str] | None]:
    """Labels (n,) int64, and the names that the file gives its classes."""
    of_images, of_labels = named
    expected = f"must be ({n},) whole numbers, as {of_images!r}"
    if ans.shape != (n,) or ans.dtype.kind not in "iuf":
        raise DataError(f"{of_labels!r} is {ans.shape} {ans.dtype}, {expected}")
    with hdf5.reading(hdf5.checked(ans, repr(of_labels))):
        labels = ans[()]
    if not (labels == np.floor(labels)).all():  # NaN is not, either
        broken = labels[~(labels == np.floor(labels))]
        raise DataError(f"{of_labels!r} has {broken[0]}, {expected}")
    names = _read_class_names(file)
    limit = n if names is None else len(names)
    if labels.min() < 0 or labels.max() >= limit:
        found, valid = f"{labels.min():.0f} to {labels.max():.0f}", f"0 to {limit - 1}"
        raise DataError(f"{of_labels!r} has labels {found}, out of range: must be {valid}")
    return labels.astype(np.int64), names


def _read_class_names(file: h5py.File) -> list[str] | None:
    with hdf5.reading("the attribute 'class_names'"):
        value = file.attrs.get("class_names")
    if value is None:
        return None
    with suppress(TypeError, ValueError):
        names = json.loads(value)
        strings = isinstance(names, list) and all(isinstance(name, str) for name in names)
        if strings and len(set(names)) == len(names):
            return names
    raise DataError(f"'class_names' is {value!r}, must be a JSON list of strings, all different")


def _read_is_test(file: h5py.File, n: int) -> np.ndarray | None:
    """The images that the file sets aside for testing, (n,) bool, if it says so."""
    if "is_test" not in file:
        return None
    column = hdf5.dataset(file, "is_test")  # None: a group
    if column is None or column.shape != (n,) or column.dtype.kind not in "biu":
        raise DataError(f"'is_test' is {column}, must be ({n},) bool, one for each image")
    with hdf5.reading(hdf5.checked(column, "'is_test'")):
        values = column[()]
    if not np.isin(values, (0, 1)).all():
        raise DataError(f"'is_test' has {np.unique(values)[:5].tolist()}, must be 0 and 1 alone")
    return values.astype(bool)


def _read_column(file: h5py.File, name: str, n: int, limit: float | None) -> np.ndarray | None:
    if name not in file:
        return None
    column = hdf5.dataset(file, name)  # None: a group
    if column is None or column.shape != (n,) or column.dtype.kind not in "iuf":
        raise DataError(f"{name!r} is {column}, must be ({n},) numbers, one for each image")
    with hdf5.reading(hdf5.checked(column, repr(name))):
        values = column[()].astype(np.float64)
    if limit and len(bad := values[~(np.abs(values) <= limit)]):  # NaN is bad too
        raise DataError(f"{len(bad)} of {name!r} are not degrees up to {limit}, e.g. {bad[0]}")
    return values
