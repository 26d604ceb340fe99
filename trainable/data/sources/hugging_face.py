"""A data set of Hugging Face's ``datasets`` on disk, or any Parquet files with a column of pictures.

- ``Dataset.save_to_disk`` and ``DatasetDict.save_to_disk`` write Arrow streams, ``to_parquet`` and the
  hub Parquet; pictures are bytes or a struct of ``bytes`` and ``path``.
- The split is the first of ``train``, ``test``, ``validation`` among the words of a shard's name and
  its folders' names. ``test`` is the test set; without it, ``validation`` is; the rest is the pool.
- Names of classes are those of the feature ``ClassLabel``; -1 is no label there.
- Images are in the order of the shards' paths (code points) and of their rows.

Only ``pyarrow`` is needed.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from trainable.data.cache import known_checksum
from trainable.data.pictures import RULES, decode, picture_bytes
from trainable.data.sources.examine import image_sizes, leave_out_unreadable
from trainable.data.sources.files import HIDDEN, find_files
from trainable.data.sources.labels import LABEL_COLUMN, read_classes, read_positions
from trainable.data.sources.source import Picture, Request, Survey, identity, some
from trainable.errors import DataError

IMAGE_COLUMN = "image"
"""Of the pictures, if no other is named."""
PARQUET = (".parquet", ".parq", ".pq")
ARROW = (".arrow",)
MARKS = ("dataset_dict.json", "dataset_info.json", "state.json")
"""Files that ``save_to_disk`` writes."""
AT_ONCE = 256
"""Rows read of a Parquet file at a time."""

Split = Literal["train", "test", "validation"]
SPLITS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
}
"""Word in a path → the split that it names."""


@dataclass(frozen=True)
class EncodedPicture:
    """A picture as it is in a cell of a table."""

    name: str
    cell: bytes | dict[str, Any] | None

    def rgb(self) -> NDArray[np.uint8]:
        """The image, (H, W, 3) uint8; `PictureError` if it cannot be read."""
        return np.asarray(decode(picture_bytes(self.cell)))


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A Parquet file, or an Arrow file as ``datasets`` writes it."""

    path: Path
    name: str
    """The path below the data set's folder."""

    @cached_property
    def schema(self) -> pa.Schema:
        """Names and types of the columns."""
        with _reading(self.path):
            return self._arrow().schema if self._is_arrow else pq.read_schema(self.path)

    @property
    def split(self) -> Split | None:
        """The split that the path names, its last part first."""
        for part in reversed(self.name.split("/")):
            for word in re.split(r"[^a-z]+", part.lower()):
                if word in SPLITS:
                    return SPLITS[word]
        return None

    def table(self, columns: Sequence[str]) -> pd.DataFrame:
        """Some columns, at least one, of all rows."""
        with _reading(self.path):
            if self._is_arrow:
                table = self._arrow().select(list(columns))
            else:
                table = pq.read_table(self.path, columns=list(columns))
            return table.to_pandas(ignore_metadata=True)

    def cells(self, column: str, rows: NDArray[np.int64]) -> Iterator[Any]:
        """The values of a column in some rows, ascending."""
        if self._is_arrow:
            with _reading(self.path):
                values = self._arrow().column(column)
            yield from (values[row].as_py() for row in rows.tolist())
            return
        for first, part in self._parts(column, rows):
            here = slice(*np.searchsorted(rows, [first, first + len(part)]))
            yield from (part.column(0)[row - first].as_py() for row in rows[here].tolist())

    def _parts(self, column: str, rows: NDArray[np.int64]) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Pieces of a Parquet file's column, each with its first row; not those without `rows`."""
        first = 0
        with _reading(self.path):
            file = pq.ParquetFile(self.path)
            sizes = [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]
        for group, size in enumerate(sizes):
            start, end = np.searchsorted(rows, [first, first + size])
            if start < end:
                with _reading(self.path):
                    parts = file.iter_batches(AT_ONCE, row_groups=[group], columns=[column])
                below = first
                while below < first + size:
                    with _reading(self.path):
                        part = next(parts)
                    yield below, part
                    below += len(part)
            first += size

    @property
    def _is_arrow(self) -> bool:
        return self.path.suffix.lower() in ARROW

    def _arrow(self) -> pa.Table:
        return pa.ipc.open_stream(pa.memory_map(str(self.path))).read_all()


@contextmanager
def _reading(path: Path) -> Generator[None]:
    """Turn what Arrow raises for a damaged file into a `DataError`; put Arrow's calls alone in it."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read, it may be damaged: {error}") from error


@dataclass(frozen=True, kw_only=True, eq=False)
class TableImages:
    """A column of pictures in one or more files."""

    shards: tuple[Shard, ...]
    column: str
    first_rows: NDArray[np.int64]
    """(number of shards + 1,): rows before each shard, and in all."""
    rows: NDArray[np.int64]
    """(N,) ascending: the row, over all shards, of each image."""

    @property
    def key(self) -> Mapping[str, Any]:
        """Version of the rules by which pictures become RGB."""
        return {"pictures": RULES}

    def take(self, rows: NDArray[np.int64]) -> TableImages:
        """Those of some rows alone, ascending."""
        return replace(self, rows=self.rows[rows])

    def name(self, row: int) -> str:
        """What a message calls the picture in a row, counted over all shards."""
        shard = int(np.searchsorted(self.first_rows, row, side="right")) - 1
        return f"row {row - self.first_rows[shard]} of {self.shards[shard].name}"

    def pictures(self, rows: NDArray[np.int64]) -> Iterator[Picture]:
        """The pictures of some rows, ascending."""
        wanted = self.rows[rows]
        for shard, (first, end) in zip(
            self.shards, itertools.pairwise(self.first_rows.tolist()), strict=True
        ):
            here = wanted[slice(*np.searchsorted(wanted, [first, end]))]
            if len(here):
                cells = shard.cells(self.column, here - first)
                for row, cell in zip(here.tolist(), cells, strict=True):
                    yield EncodedPicture(self.name(row), cell)


def holds_pictures(kind: pa.DataType) -> bool:
    """Whether a column's type is that of encoded pictures: bytes, or a struct with them."""
    if pa.types.is_struct(kind):
        field = kind.get_field_index("bytes")
        return field >= 0 and holds_pictures(kind.field(field).type)
    return any(
        is_type(kind)
        for is_type in (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
    )


def recognises(request: Request) -> bool:
    """A Parquet or Arrow file, or a folder with such files and without pictures."""
    path = request.path
    if not path.is_dir():
        return path.suffix.lower() in (*PARQUET, *ARROW) and path.is_file()
    if any((path / mark).is_file() for mark in MARKS):
        return True
    found = find_files(path)
    return not found.images and any(
        name.lower().endswith((*PARQUET, *ARROW)) for name in found.others
    )


def open_images(request: Request) -> Survey:
    """Open a data set.

    Raises
    ------
    DataError
        No shard, a damaged one, shards of different columns, or no column of pictures or labels.
    """
    flags, shards = request.flags, _find_shards(request.path)
    what = str(request.path)
    column = flags.image_column or IMAGE_COLUMN
    for shard in shards:
        _require_pictures(shard, column)
    others = [
        name
        for name in shards[0].schema.names
        if name != column and not holds_pictures(shards[0].schema.field(name).type)
    ]
    tables = [shard.table(_common(shard, others)) for shard in shards]
    table = pd.concat(tables, ignore_index=True)
    if table.empty:
        raise DataError(f"{what} has no rows: one is needed for each image")
    everything = TableImages(
        shards=shards,
        column=column,
        first_rows=np.cumsum([0, *map(len, tables)]),
        rows=np.arange(len(table)),
    )
    classes = read_classes(
        table, flags, what, everything.name, _class_names(shards[0], flags.label_column)
    )
    ra, dec = read_positions(table, what, everything.name)
    is_test, notes = _test_set(shards, tables)
    images = everything.take(np.flatnonzero(classes.labels >= 0))
    names = [images.name(row) for row in images.rows.tolist()]
    checksums = [known_checksum(shard.path) for shard in shards]
    contents = {"shards": checksums, "column": column, "rows": _hash(images.rows)}
    sizes = image_sizes(images, len(names), contents, request)
    kept, unreadable = leave_out_unreadable(images, sizes, names, request)
    images, rows = images.take(kept), images.rows[kept]
    shard_of = np.searchsorted(images.first_rows, rows, side="right") - 1

    def of_rows(values: NDArray[Any] | None) -> NDArray[Any] | None:
        return None if values is None else values[rows]

    labels, ra, dec, is_test = map(of_rows, (classes.labels, ra, dec, is_test))
    assert labels is not None, "read above"
    names = [names[row] for row in kept.tolist()]
    return Survey(
        path=request.path,
        sha256=identity(
            {"source": "Hugging Face", "classes": classes.names, "column": column},
            names=names,
            digests=[checksums[shard] for shard in shard_of.tolist()],
            arrays=[labels, ra, dec, is_test],
        ),
        images=images,
        image_sizes=sizes[kept],
        labels=labels,
        class_names=classes.names,
        right_ascension=ra,
        declination=dec,
        pixel_scale=None,
        is_test=is_test,
        names=tuple(names),
        columns=table.iloc[rows].reset_index(drop=True),
        notes=(*notes, *classes.notes, *unreadable),
    )


def _hash(rows: NDArray[np.int64]) -> str:
    return identity({}, names=[], digests=[], arrays=[rows])


def _find_shards(path: Path) -> tuple[Shard, ...]:
    if path.is_file():
        return (Shard(path=path, name=path.name),)
    found = [
        name
        for name in find_files(path).others
        if name.lower().endswith((*PARQUET, *ARROW))
        and not any(part.startswith((*HIDDEN, "_")) for part in name.split("/"))
    ]
    if not found:
        raise DataError(
            f"{path} looks like a data set of Hugging Face and has no Parquet or Arrow file: copy it "
            "with all of its parts"
        )
    return tuple(Shard(path=path / name, name=name) for name in found)


def _require_pictures(shard: Shard, column: str) -> None:
    names = shard.schema.names
    if column not in names:
        raise DataError(
            f"{shard.path} has no column {column!r}, only {', '.join(names)}: name the one of the "
            "pictures with --image-column"
        )
    if not holds_pictures(kind := shard.schema.field(column).type):
        raise DataError(
            f"column {column!r} of {shard.path} is {kind}: it must hold encoded pictures (PNG, JPEG, "
            "…), as binary or as a struct with the field bytes"
        )


def _common(shard: Shard, columns: Sequence[str]) -> list[str]:
    """The columns of the first shard, if this one has them all."""
    if missing := [name for name in columns if name not in shard.schema.names]:
        raise DataError(
            f"{shard.path} has no column {some(missing)}, as the shards before it have: give a folder "
            "with one data set, all shards with the same columns"
        )
    if not columns:
        raise DataError(f"{shard.path} has pictures alone: a column of their labels is needed")
    return list(columns)


def _class_names(shard: Shard, column: str | None) -> tuple[str, ...] | None:
    """The names that ``datasets`` keeps for a column of labels, if it does."""
    metadata = shard.schema.metadata or {}
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
        feature = features[column or LABEL_COLUMN]
        names = feature["names"] if feature["_type"] == "ClassLabel" else None
    except (KeyError, TypeError, ValueError):  # written by another program
        return None
    return None if names is None else tuple(map(str, names))


def _test_set(
    shards: Sequence[Shard], tables: Sequence[pd.DataFrame]
) -> tuple[NDArray[np.bool_] | None, tuple[str, ...]]:
    """Which rows the data set aside, and a sentence on it."""
    splits = [shard.split for shard in shards]
    test = next((name for name in ("test", "validation") if name in splits), None)
    if test is None:
        return None, ()
    if None in splits:
        unnamed = shards[splits.index(None)].path
        raise DataError(
            f"{unnamed} names no split (train, test or validation), as other shards do: name all, or "
            "give the folder of one"
        )
    sizes = [len(table) for table in tables]
    is_test = np.repeat([split == test for split in splits], sizes)
    if is_test.all():
        return None, ()
    pool = " and ".join(sorted({str(split) for split in splits if split != test}))
    return is_test, (
        f"The test set is {test} ({is_test.sum():,} images); the pool is {pool} "
        f"({(~is_test).sum():,}).",
    )
