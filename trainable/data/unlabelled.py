"""Images without labels, of any kind that ``--data`` takes: what a trained network is applied to.

`open_unlabelled` decodes nothing: images are named, counted and left where they are, and what cannot be
decoded is known when it is read. All that is known of an image beside its pixels (positions, columns of a
catalogue, labels too) is carried along as Arrow.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, cast

import h5py
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from trainable.config import SourceFlags
from trainable.data import hdf5
from trainable.data.sources import catalogue, hugging_face
from trainable.data.sources.files import FileImages, displayable, find_files, is_image
from trainable.data.sources.galaxy10_hdf5 import IMAGES, Hdf5Images
from trainable.data.sources.labels import require_column
from trainable.data.sources.source import Picture, Request, counted
from trainable.data.tables import ROW_COLUMN, open_tables
from trainable.errors import DataError

PATH_COLUMN = "path"
"""Column of the images' paths below a folder without a catalogue."""
LABEL_COLUMN = "label"
"""Column of the class that an image's folder is named after."""
CHANNELS = 3


class ImageSet(Protocol):
    """Images, and what is known of them; it can be sent to another process."""

    @property
    def n(self) -> int:
        """Number of images."""
        ...

    @property
    def schema(self) -> pa.Schema:
        """Columns that `columns` gives; one of them names the image."""
        ...

    @property
    def fingerprint(self) -> str:
        """Hexadecimal; the same only for the same images in the same order, by their names."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on what may surprise."""
        ...

    def columns(self, start: int, stop: int) -> pa.Table:
        """What is known of the images `start` to `stop` - 1."""
        ...

    def pictures(self, rows: NDArray[np.int64]) -> Iterator[Picture]:
        """The images of some rows, (n,) ascending, one after another."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class ColumnsAndImages:
    """Images that are read one at a time, with columns that fit into memory."""

    images: FileImages | Hdf5Images
    table: pa.Table
    fingerprint: str
    notes: tuple[str, ...] = ()

    @property
    def n(self) -> int:
        """Number of images."""
        return self.table.num_rows

    @cached_property
    def schema(self) -> pa.Schema:
        """Columns that `columns` gives."""
        return self.table.schema

    def columns(self, start: int, stop: int) -> pa.Table:
        """What is known of the images `start` to `stop` - 1."""
        return self.table.slice(start, stop - start)

    def pictures(self, rows: NDArray[np.int64]) -> Iterator[Picture]:
        """The images of some rows, (n,) ascending, one after another."""
        return self.images.pictures(rows)


def open_unlabelled(
    location: str | Path,
    *,
    labels: str | Path | None = None,
    flags: SourceFlags = SourceFlags(),  # noqa: B008 - frozen
    classes: Sequence[str] = (),
) -> ImageSet:
    """Open images that need no labels.

    Parameters
    ----------
    location
        A folder of images, however deep; one image; Parquet or Arrow files, or the URI of such; or an
        HDF5 file with the data set ``images``.
    labels
        Catalogue with a row for each image below the folder.
    flags
        How images are read: the column of images and how FITS files are shown.
    classes
        Names of classes. If images of a folder without a catalogue lie in folders with these names, a
        column ``label`` has the name for each of them.

    Raises
    ------
    DataError
        There are none, or they are of no such kind; the message says what and where.
    """
    if "://" in str(location):
        return open_tables(str(location), flags)
    path = Path(os.path.expanduser(location)).absolute()
    if not path.exists():
        raise DataError(
            f"{path} does not exist: give a folder of images, one image, Parquet files, or an HDF5 "
            "file in Galaxy10's layout"
        )
    if labels is not None:
        return _open_catalogue(path, Path(os.path.expanduser(labels)).absolute(), flags)
    request = Request(path=path, labels=None, flags=flags, cache_dir=None, progress=None)
    if hugging_face.recognises(request):
        return open_tables(str(path), flags)
    if path.is_dir():
        return _open_folder(path, flags, classes)
    if is_image(path.name):
        return _of_files(path.parent, (path.name,), flags, notes=())
    return _open_hdf5(path, flags.image_column or IMAGES)


def _open_folder(root: Path, flags: SourceFlags, classes: Sequence[str]) -> ImageSet:
    found = find_files(root)
    if not found.images:
        raise DataError(f"{root} holds no images: give a folder with images in it")
    names = list(map(displayable, found.images))
    table = pa.table({PATH_COLUMN: pa.array(names, pa.string())})
    labels = pa.array([_class_of(name, classes) for name in names], pa.string())
    if labels.null_count < len(names):
        table = table.append_column(LABEL_COLUMN, labels)
    return _of_files(root, found.images, flags, notes=found.notes(root), table=table)


def _class_of(name: str, classes: Sequence[str]) -> str | None:
    """The class that the outermost such folder of a path is named after."""
    return next((folder for folder in name.split("/")[:-1] if folder in classes), None)


def _of_files(
    root: Path,
    names: Sequence[str],
    flags: SourceFlags,
    *,
    notes: tuple[str, ...],
    table: pa.Table | None = None,
) -> ColumnsAndImages:
    """Images in files.

    Parameters
    ----------
    names
        Paths below `root`.
    table
        A row for each; None: their paths.
    """
    paths = {PATH_COLUMN: pa.array(map(displayable, names), pa.string())}
    known = pa.table(paths) if table is None else table
    flags = replace(flags, label_column=None, label_columns=(), min_agreement=0.0)
    shown = [flags.stretch, flags.q, *flags.bands]
    text = json.dumps([list(map(displayable, names)), shown, str(known.schema)])
    return ColumnsAndImages(
        images=FileImages(root=root, names=tuple(names), flags=flags),
        table=known,
        fingerprint=hashlib.sha256(text.encode()).hexdigest(),
        notes=notes,
    )


def _open_catalogue(root: Path, labels: Path, flags: SourceFlags) -> ImageSet:
    """The images that a catalogue names, in its order, those that are not there among them."""
    if not root.is_dir():
        raise DataError(f"--labels is a catalogue of the images in a folder, and {root} is none")
    column = flags.image_column or catalogue.IMAGE_COLUMN
    read = catalogue.read_catalogue(labels, column, column)
    require_column(read.table, column, str(labels), "--image-column")
    found = find_files(root)
    located = catalogue.locate(read, read.table[column], found.images, root)
    texts = [str(value) for value in read.table[column]]
    names = [text if name is None else name for name, text in zip(located, texts, strict=True)]
    notes = [*found.notes(root)]
    if beside := len(set(found.images).difference(names)):
        notes.append(f"Left out: {counted(beside, 'image')} in {root} without a row in {labels}.")
    table = pa.Table.from_pandas(read.table, preserve_index=False).replace_schema_metadata()
    return _of_files(root, names, flags, notes=tuple(notes), table=table)


def _open_hdf5(path: Path, of_images: str) -> ImageSet:
    with hdf5.open_hdf5(path) as file:
        try:
            names = tuple(map(str, file))
            inspection = hdf5.inspect(file, tuple(n for n in names if _is_dataset(file, n)))
            n = _count(file, names, of_images)
            columns = {ROW_COLUMN: pa.array(np.arange(n))}
            for name in names:
                found = hdf5.dataset(file, name)
                if found is not None and found.shape == (n,) and found.dtype.kind in "biufSO":
                    with hdf5.reading(hdf5.checked(found, repr(name))):
                        columns[name] = _as_arrow(found)
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
    details = path.stat()
    text = json.dumps([details.st_size, details.st_mtime_ns, n, list(columns)])
    return ColumnsAndImages(
        images=Hdf5Images(path=path, name=of_images, sources=inspection.files),
        table=pa.table(columns),
        fingerprint=hashlib.sha256(text.encode()).hexdigest(),
    )


def _is_dataset(file: h5py.File, name: str) -> bool:
    return file.get(name, getclass=True) is h5py.Dataset


def _as_arrow(found: h5py.Dataset) -> pa.Array:
    """The values of a data set with one axis; text as text."""
    if h5py.check_string_dtype(found.dtype) is not None:
        return pa.array(list(cast("Any", found.asstr(errors="replace"))[()]), pa.string())
    values = np.asarray(found[()])
    return pa.array(values.astype(values.dtype.newbyteorder("=")))


def _count(file: h5py.File, names: Sequence[str], of_images: str) -> int:
    """Number of images of a file; `DataError` if they are none that a network takes."""
    images = hdf5.dataset(file, of_images) if of_images in names else None
    if images is None:
        raise DataError(
            f"must have a data set {of_images!r}, has {', '.join(names) or 'none'}: name it by --image-column"
        )
    shape = cast("tuple[int, ...]", images.shape or ())
    if len(shape) == 4 and shape[3] not in (1, CHANNELS):
        raise DataError(
            f"{of_images!r} is {shape}: images of {shape[3]} channels. The networks take 3, red, green "
            "and blue, or 1, grey: write the channels that the network was trained on"
        )
    if len(shape) not in (3, 4) or 0 in shape or images.dtype != np.uint8:
        raise DataError(
            f"{of_images!r} is {shape} {images.dtype}, must be (N, H, W, 3) or, grey, (N, H, W), uint8, "
            "none of them 0"
        )
    return shape[0]
