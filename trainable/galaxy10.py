"""Open and check an HDF5 file of images in Galaxy10's layout.

The layout is that of ``Galaxy10_DECals.h5``: ``images`` (N, S, S, 3) uint8, ``ans`` (N,) labels
and, where known, ``ra``, ``dec`` (N,) in degrees and ``pxscale`` (N,) in arcsec/pixel. Any file of
one's own may add the attribute ``class_names``, a JSON list whose index is the label.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from .cache import known_checksum

GALAXY10_SHA256 = "19aefc477c41bb7f77ff07599a6b82a038dc042f889a111b0d4d98bb755c1571"
GALAXY10_COUNTS = {  # images of each class, in the order of the labels
    "Disturbed": 1081,
    "Merging": 1853,
    "Round Smooth": 2645,
    "In-between Round Smooth": 2027,  # astroNN 1.1.0's own table names this one wrongly
    "Cigar Shaped Smooth": 334,
    "Barred Spiral": 2043,
    "Unbarred Tight Spiral": 1829,
    "Unbarred Loose Spiral": 2628,
    "Edge-on without Bulge": 1423,
    "Edge-on with Bulge": 1873,
}
GALAXY10_CLASSES = tuple(GALAXY10_COUNTS)


class DataError(ValueError):
    """The data cannot be used; the message tells the user why and what to do."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Survey:
    """A checked file of labelled images; the images stay on disk until asked for."""

    path: Path
    sha256: str  # lower-case hexadecimal
    image_size: int  # S, pixels along one side of the square images
    labels: np.ndarray  # (N,) int64, as the file numbers them
    class_names: tuple[str, ...]  # the index is the file's label
    right_ascension: np.ndarray | None  # (N,) float64, degrees
    declination: np.ndarray | None  # (N,) float64, degrees
    pixel_scale: np.ndarray | None  # (N,) float64, arcsec/pixel

    @property
    def is_galaxy10(self) -> bool:
        """Whether this is, byte for byte, the published Galaxy10 DECaLS."""
        return self.sha256 == GALAXY10_SHA256

    def read_images(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Images of some rows, (n, S, S, 3) uint8, in the order asked for.

        Parameters
        ----------
        rows
            (n,) integers in [0, N), else IndexError; may repeat.
        """
        rows = np.asarray(rows)
        n, size = len(self.labels), self.image_size
        if len(rows) and (rows.dtype.kind not in "iu" or rows.min() < 0 or rows.max() >= n):
            raise IndexError(f"rows of {self.path} must be integers in [0, {n}), got {rows}")
        order = np.argsort(rows, kind="stable")
        ascending = rows[order]
        out = np.empty((len(rows), size, size, 3), np.uint8)
        with h5py.File(self.path) as file:
            for start in range(0, n, 256):  # a slab at a time: h5py is slow to pick single rows
                here = slice(*np.searchsorted(ascending, [start, start + 256]))
                if wanted := ascending[here].tolist():
                    slab = file["images"][wanted[0] : wanted[-1] + 1]
                    out[order[here]] = slab[np.subtract(wanted, wanted[0])]
        return out


def open_survey(path: str | Path) -> Survey:
    """Open a file of labelled images and check everything that is read from it.

    Without the attribute ``class_names`` ten classes have Galaxy10 DECaLS's names; any other
    number of classes are called ``class 0``, ``class 1``, and so on.

    Raises
    ------
    DataError
        If the file is missing, damaged or not in Galaxy10's layout.
    """
    path = Path(path).expanduser().absolute()
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise DataError(f"{path} {what}: give an HDF5 file in Galaxy10's layout")
    try:
        with h5py.File(path) as file:
            fields = _read_fields(file)
        return Survey(path=path, sha256=known_checksum(path), **fields)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except (OSError, RuntimeError) as error:
        raise DataError(f"{path} is not a whole, readable HDF5 file: {error}") from error


def _read_fields(file: h5py.File) -> dict:
    if not all(isinstance(file.get(name), h5py.Dataset) for name in ("images", "ans")):
        raise DataError(f"must have data sets 'images' and 'ans', has {list(file) or 'none'}")
    shape, dtype = file["images"].shape or (), file["images"].dtype
    if len(shape) != 4 or shape[1:] != (shape[1], shape[1], 3) or 0 in shape or dtype != np.uint8:
        raise DataError(f"'images' is {shape} {dtype}, must be (N, S, S, 3) uint8, N and S ≥ 1")
    n = shape[0]
    labels, class_names = _read_classes(file, n)
    if ("ra" in file) != ("dec" in file):
        raise DataError("it has one of 'ra' and 'dec': give both (degrees) or neither")
    return {
        "image_size": shape[1],
        "labels": labels,
        "class_names": class_names,
        "right_ascension": _read_column(file, "ra", n, limit=360),
        "declination": _read_column(file, "dec", n, limit=90),
        "pixel_scale": _read_column(file, "pxscale", n, limit=None),
    }


def _read_classes(file: h5py.File, n: int) -> tuple[np.ndarray, tuple[str, ...]]:
    ans = file["ans"]
    if ans.shape != (n,) or ans.dtype.kind not in "iu":
        raise DataError(f"'ans' is {ans.shape} {ans.dtype}, must be ({n},) integers, as 'images'")
    labels, names = ans[()], _read_class_names(file)
    limit = n if names is None else len(names)
    if labels.min() < 0 or labels.max() >= limit:
        found, valid = f"{labels.min()} to {labels.max()}", f"0 to {limit - 1}"
        raise DataError(f"'ans' has labels {found}, out of range: must be {valid}")
    labels = labels.astype(np.int64)
    if names is None:
        classes = int(labels.max()) + 1
        is_ten = classes == len(GALAXY10_CLASSES)
        names = GALAXY10_CLASSES if is_ten else [f"class {c}" for c in range(classes)]
    return labels, tuple(names)


def _read_class_names(file: h5py.File) -> list[str] | None:
    if (value := file.attrs.get("class_names")) is None:
        return None
    with suppress(TypeError, ValueError):
        names = json.loads(value)
        strings = isinstance(names, list) and all(isinstance(name, str) for name in names)
        if strings and len(set(names)) == len(names):
            return names
    raise DataError(f"'class_names' is {value!r}, must be a JSON list of strings, all different")


def _read_column(file: h5py.File, name: str, n: int, limit: float | None) -> np.ndarray | None:
    if (column := file.get(name)) is None:
        return None
    if getattr(column, "shape", None) != (n,) or column.dtype.kind not in "iuf":
        raise DataError(f"{name!r} is {column}, must be ({n},) numbers, one for each image")
    values = column[()].astype(np.float64)
    if limit and len(bad := values[~(np.abs(values) <= limit)]):  # NaN is bad too
        raise DataError(f"{len(bad)} of {name!r} are not degrees up to {limit}, e.g. {bad[0]}")
    return values
