"""Parquet files, and Arrow files of ``datasets``, with a column of pictures and any others; no labels.

All columns but that of the pictures travel as Arrow, so that they can be written as they were read;
only Arrow's views become plain strings and bytes. Files may be on a disk or behind any URI that pyarrow
opens; only their footers are held in memory.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyarrow import fs

from trainable.config import SourceFlags
from trainable.data.sources.hugging_face import (
    ARROW,
    AT_ONCE,
    IMAGE_COLUMN,
    PARQUET,
    EncodedPicture,
    holds_pictures,
)
from trainable.data.sources.source import Picture
from trainable.errors import DataError

FOOTERS_AT_ONCE = 16
ID_COLUMN = "id"
"""Column that names the images, if there is one."""
ROW_COLUMN = "row"
"""Column of row numbers, over all files, that is added otherwise."""
NO_PARTITION = "__HIVE_DEFAULT_PARTITION__"
"""Hive's name of a folder for null."""


@dataclass(frozen=True, kw_only=True)
class TableFile:
    """A file, as its footer describes it."""

    path: str
    """Within the file system."""
    name: str
    """Below the folder that was given."""
    schema: pa.Schema
    groups: tuple[int, ...]
    """Rows of each row group; of an Arrow file, of the whole."""
    partition: dict[str, str | None]
    """Columns that the names of its folders hold, Hive's ``key=value``."""

    @property
    def rows(self) -> int:
        """Rows of the file."""
        return sum(self.groups)


@dataclass(frozen=True, kw_only=True, eq=False)
class TableImages:
    """Pictures in a column of some files, and the other columns; an `unlabelled.ImageSet`."""

    filesystem: fs.FileSystem
    files: tuple[TableFile, ...]
    """In the order of their names."""
    image_column: str
    carried: pa.Schema
    """Columns of all files but the pictures'."""
    notes: tuple[str, ...] = ()

    @property
    def n(self) -> int:
        """Number of images."""
        return int(self.first_rows[-1])

    @cached_property
    def first_rows(self) -> NDArray[np.int64]:
        """(files + 1,): rows before each file, and in all."""
        return np.cumsum([0, *(file.rows for file in self.files)])

    @property
    def schema(self) -> pa.Schema:
        """Columns that `columns` gives."""
        if self._numbered:
            return pa.schema([pa.field(ROW_COLUMN, pa.int64()), *self.carried])
        return self.carried

    @property
    def _numbered(self) -> bool:
        return not {ID_COLUMN, ROW_COLUMN} & set(self.carried.names)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the files' names and row groups, the column and the other columns."""
        files = [[file.name, file.groups] for file in self.files]
        text = json.dumps([files, self.image_column, str(self.schema)])
        return hashlib.sha256(text.encode()).hexdigest()

    def columns(self, start: int, stop: int) -> pa.Table:
        """All columns but the pictures, of some rows.

        Raises
        ------
        DataError
            A file can no longer be read.
        """
        parts = [self.carried.empty_table()]
        wanted = np.arange(start, stop)
        names = [name for name in self.carried.names if name not in self._of_folders]
        for file, first, batch in self._batches(wanted, names):
            inside = slice(max(start - first, 0), min(stop - first, batch.num_rows))
            piece = pa.Table.from_batches([batch.slice(inside.start, inside.stop - inside.start)])
            parts.append(self._with_all_columns(piece, file))
        table = pa.concat_tables(parts)
        if self._numbered:
            table = table.add_column(0, ROW_COLUMN, pa.array(wanted))
        return table

    @cached_property
    def _of_folders(self) -> set[str]:
        """Columns that no file holds itself."""
        inside = {name for file in self.files for name in file.schema.names}
        return set(self.carried.names) - inside

    def pictures(self, rows: NDArray[np.int64]) -> Iterator[Picture]:
        """The pictures of some rows, (n,) ascending, one after another.

        Raises
        ------
        DataError
            A file can no longer be read.
        """
        for file, first, batch in self._batches(rows, [self.image_column]):
            here = rows[slice(*np.searchsorted(rows, [first, first + batch.num_rows]))]
            before = int(self.first_rows[self.files.index(file)])
            for row in here.tolist():
                name = f"row {row - before} of {file.name}"
                yield EncodedPicture(name, batch.column(0)[row - first].as_py())

    def _batches(
        self, rows: NDArray[np.int64], names: Sequence[str]
    ) -> Iterator[tuple[TableFile, int, pa.RecordBatch]]:
        """Pieces of the files that hold some of `rows`: the file, its first row over all, the piece."""
        for file, before in zip(self.files, self.first_rows.tolist(), strict=False):
            first, has = before, [name for name in names if name in file.schema.names]
            for group, size in enumerate(file.groups):
                begin, end = np.searchsorted(rows, [first, first + size])
                below = first
                if begin < end:
                    for batch in self._read(file, group, has):
                        begin, end = np.searchsorted(rows, [below, below + batch.num_rows])
                        if begin < end:
                            yield file, below, batch
                        below += batch.num_rows
                first += size

    def _read(self, file: TableFile, group: int, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        with _reading(file.path):
            if file.path.lower().endswith(ARROW):
                table = pa.ipc.open_stream(pa.memory_map(file.path)).read_all()
                batches = iter(table.select(list(names)).to_batches(max_chunksize=AT_ONCE))
            else:
                source = self.filesystem.open_input_file(file.path)
                parquet = pq.ParquetFile(source)
                batches = parquet.iter_batches(AT_ONCE, row_groups=[group], columns=list(names))
        while True:
            with _reading(file.path):
                batch = next(batches, None)
            if batch is None:
                return
            yield batch

    def _with_all_columns(self, piece: pa.Table, file: TableFile) -> pa.Table:
        """Rows of a file with the columns of all files."""
        columns: list[pa.ChunkedArray | pa.Array] = []
        for field in self.carried:
            if field.name in piece.column_names:
                column = piece.column(field.name)
                columns.append(column if column.type == field.type else column.cast(field.type))
            else:
                value = pa.scalar(file.partition.get(field.name), field.type)
                columns.append(pa.repeat(value, piece.num_rows))
        return pa.Table.from_arrays(columns, schema=self.carried)


@contextmanager
def _reading(path: str) -> Generator[None]:
    """Turn what Arrow raises for a damaged file into a `DataError`; put Arrow's calls alone in it."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read, it may be damaged: {error}") from error


def open_tables(location: str, flags: SourceFlags) -> TableImages:
    """Open one file, or all below a folder, of pictures with or without labels.

    Parameters
    ----------
    location
        An absolute path, or a URI such as ``s3://bucket/path``.

    Raises
    ------
    DataError
        No file, a damaged one, files of different types, or no column of pictures.
    """
    filesystem, path = fs.FileSystem.from_uri(
        location if "://" in location else Path(location).as_uri()
    )
    files = _find(filesystem, path, location)
    column = flags.image_column or IMAGE_COLUMN
    schema = _common_schema(files)
    if column not in schema.names:
        raise DataError(
            f"{location} has no column {column!r}, only {', '.join(schema.names)}: name the one of "
            "the pictures with --image-column"
        )
    if not holds_pictures(kind := schema.field(column).type):
        raise DataError(
            f"column {column!r} of {location} is {kind}: it must hold encoded pictures (PNG, JPEG, "
            "…), as binary or as a struct with the field bytes"
        )
    if not any(file.rows for file in files):
        raise DataError(f"{location} has no rows: one is needed for each image")
    return TableImages(
        filesystem=filesystem,
        files=files,
        image_column=column,
        carried=pa.schema([field for field in schema if field.name != column]),
    )


def _find(filesystem: fs.FileSystem, path: str, location: str) -> tuple[TableFile, ...]:
    """Every Parquet or Arrow file below a folder, in the order of their names."""
    with _reading(location):
        info = filesystem.get_file_info(path)
        if info.type == fs.FileType.NotFound:
            raise DataError(f"{location} does not exist")
        if info.type == fs.FileType.File:
            paths = [path]
        else:
            found = filesystem.get_file_info(fs.FileSelector(path, recursive=True))
            paths = [
                file.path
                for file in found
                if file.type == fs.FileType.File
                and file.path.lower().endswith((*PARQUET, *ARROW))
                and not any(
                    part.startswith(("_", "."))
                    for part in file.path.removeprefix(path).strip("/").split("/")
                )
            ]
    if not paths:
        raise DataError(f"{location} has no Parquet or Arrow file ({', '.join(PARQUET + ARROW)})")
    with ThreadPoolExecutor(FOOTERS_AT_ONCE) as threads:
        read = threads.map(lambda found: _read_footer(filesystem, path, found), sorted(paths))
        return tuple(read)


def _read_footer(filesystem: fs.FileSystem, folder: str, path: str) -> TableFile:
    try:
        if path.lower().endswith(ARROW):
            table = pa.ipc.open_stream(pa.memory_map(path)).read_all()
            schema, groups = table.schema.remove_metadata(), (table.num_rows,)
        else:
            with filesystem.open_input_file(path) as file:
                parquet = pq.ParquetFile(file)
                number = parquet.num_row_groups
                groups = tuple(parquet.metadata.row_group(n).num_rows for n in range(number))
                schema = parquet.schema_arrow.remove_metadata()
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"{path} is not a whole, readable Parquet or Arrow file: {error}"
        ) from error
    name = path.removeprefix(folder).strip("/") or Path(path).name
    partition = {
        key: None if value == NO_PARTITION else unquote(value)
        for key, equals, value in (part.partition("=") for part in name.split("/")[:-1])
        if equals and key not in schema.names
    }
    return TableFile(path=path, name=name, schema=schema, groups=groups, partition=partition)


def _common_schema(files: Sequence[TableFile]) -> pa.Schema:
    """The columns of all files; one that is null or missing in some has the type of the others."""
    schema = pa.schema([])
    for file in files:
        columns = [
            *(field.remove_metadata() for field in file.schema),
            *(pa.field(key, pa.string()) for key in file.partition),
        ]
        try:
            schema = pa.unify_schemas([schema, pa.schema(columns)])
        except (pa.ArrowTypeError, pa.ArrowInvalid) as error:
            raise DataError(
                f"{file.path} has other types than the files before it: {error}. Write the files "
                "with one schema"
            ) from error
    return pa.schema([field.with_type(_without_views(field.type)) for field in schema])


def _without_views(kind: pa.DataType) -> pa.DataType:
    """The type of the same values without Arrow's views, which few programs read."""
    if pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_binary_view(kind):
        return pa.binary()
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_without_views(field.type)) for field in kind])
    for is_list, make in (
        (pa.types.is_list, pa.list_),
        (pa.types.is_large_list, pa.large_list),
    ):
        if is_list(kind):
            return make(kind.value_field.with_type(_without_views(kind.value_type)))
    return kind
