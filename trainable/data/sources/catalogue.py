"""A folder of images and a catalogue that names and labels them: ``--data FOLDER --labels FILE``.

The catalogue is CSV, TSV or Parquet, one row for each image. ``--image-column`` holds the image's
path below the folder, with or without what tells its format. Labels are words or whole numbers, or
the winners among columns of votes. ``ra`` and ``dec`` (degrees) may be there, and empty for some.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from trainable.data.sources.files import (
    Labelled,
    displayable,
    find_files,
    open_files,
    without_suffix,
)
from trainable.data.sources.labels import (
    LABEL_COLUMN,
    read_classes,
    read_positions,
    require_column,
)
from trainable.data.sources.source import Request, Survey, counted, some
from trainable.errors import DataError

IMAGE_COLUMN = "file"
"""Of the images' paths, if no other is named."""


def recognises(request: Request) -> bool:
    """Whatever comes with a catalogue."""
    return request.labels is not None


def open_images(request: Request) -> Survey:
    """Open a folder by its catalogue."""
    assert request.labels is not None, "recognises"
    root, flags = request.path, request.flags
    if not root.is_dir():
        raise DataError(f"--labels is a catalogue of the images in a folder, and {root} is none")
    column = flags.image_column or IMAGE_COLUMN
    catalogue = read_catalogue(request.labels, column, flags.label_column or LABEL_COLUMN)
    table, what = catalogue.table, str(request.labels)
    require_column(table, column, what, "--image-column")
    found = find_files(root)
    located = locate(catalogue, table[column], found.images, root)
    notes = [*found.notes(root)]
    if missing := np.flatnonzero([name is None for name in located]).tolist():
        notes.append(_missing(request, catalogue, table[column], missing, found.images))
    _require_once(catalogue, located)
    if beside := len(set(found.images).difference(filter(None, located))):
        notes.append(f"Left out: {counted(beside, 'image')} in {root} without a row in {what}.")
    present = np.array([name is not None for name in located])
    rows = np.flatnonzero(present)
    table = table.iloc[rows].reset_index(drop=True)

    def row_name(row: int) -> str:
        return catalogue.row_name(int(rows[row]))

    classes = read_classes(table, flags, what, row_name)
    ra, dec = read_positions(table, what, row_name)
    names = np.array([name for name in located if name is not None], dtype=object)
    order = np.argsort(names.astype(str), kind="stable")
    order = order[classes.labels[order] >= 0]
    return open_files(
        request,
        Labelled(
            kind="catalogue",
            names=tuple(names[order]),
            labels=classes.labels[order],
            class_names=classes.names,
            positions=(None, None) if ra is None or dec is None else (ra[order], dec[order]),
            columns=table.drop(columns=column).iloc[order].reset_index(drop=True),
            notes=(*notes, *classes.notes),
        ),
    )


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """A table, and what its rows are called."""

    table: pd.DataFrame
    first_line: int | None
    """Line of the file on which the first row stands; None if the file has no lines."""

    def row_name(self, row: int) -> str:
        """What a message calls a row, counted from 0: its line, or its number from 1."""
        return f"row {row + 1}" if self.first_line is None else f"line {row + self.first_line}"


def read_catalogue(path: Path, image_column: str, label_column: str) -> Catalogue:
    """Read a catalogue; the columns of images and labels as text, empty if they are.

    Raises
    ------
    DataError
        It is missing, damaged, empty, or of another format.
    """
    if not path.is_file():
        raise DataError(f"--labels {path} does not exist, or is no file")
    kind = path.suffix.lower()
    if kind in (".parquet", ".parq", ".pq"):
        try:
            table = pq.read_table(path).to_pandas(ignore_metadata=True)  # an index is a column
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{path} is not a whole, readable Parquet file: {error}") from error
        catalogue = Catalogue(table=table, first_line=None)
    elif kind in (".csv", ".tsv", ".txt"):
        as_text = dict.fromkeys((image_column, label_column), str.strip)
        try:
            table = pd.read_csv(
                path,
                sep="\t" if kind == ".tsv" else ",",
                converters=as_text,
                encoding="utf-8-sig",
                skipinitialspace=True,
                index_col=False,  # else a comma at the end of each row shifts the columns
            )
        except (OSError, ValueError) as error:  # UnicodeDecodeError, ParserError, EmptyDataError
            raise DataError(
                f"{path} cannot be read as a table of text in UTF-8: {error}"
            ) from error
        catalogue = Catalogue(table=table, first_line=2)
    else:
        raise DataError(f"--labels {path}: must be a .csv, .tsv or .parquet file")
    if catalogue.table.empty:
        raise DataError(f"{path} has no rows: one is needed for each image")
    return catalogue


def locate(
    catalogue: Catalogue, values: pd.Series, images: Sequence[str], root: Path
) -> list[str | None]:
    """The image that each row names, as a path below the folder; None for one that is not there."""
    exact = set(images)
    counts = Counter(map(without_suffix, images))
    by_stem = {stem: name for name in images if counts[stem := without_suffix(name)] == 1}
    located: list[str | None] = []
    for row, value in enumerate(values):
        text = "" if pd.isna(value) else str(value)
        if not text:
            raise DataError(
                f"{catalogue.row_name(row)} of the catalogue names no image in column "
                f"{values.name!r}: fill it in, or remove the row"
            )
        name = _below(text, root, catalogue.row_name(row))
        located.append(name if name in exact else by_stem.get(name))
    return located


def _below(text: str, root: Path, row: str) -> str:
    """A path of the catalogue, relative to the folder; `DataError` if it leads out of it."""
    relative = os.path.relpath(text, root) if os.path.isabs(text) else os.path.normpath(text)
    if relative.split(os.sep)[0] == os.pardir:
        raise DataError(
            f"{row} of the catalogue names {text}, which is not in {root}: give the folder that holds "
            "all images as --data"
        )
    return relative.replace(os.sep, "/")


def _missing(
    request: Request,
    catalogue: Catalogue,
    values: pd.Series,
    missing: list[int],
    images: Sequence[str],
) -> str:
    """A sentence on rows without an image; `DataError` unless they are to be left out."""
    first = str(values.iloc[missing[0]])
    elsewhere = next(
        (name for name in images if os.path.basename(name) == os.path.basename(first)), ""
    )
    hint = f", only {displayable(elsewhere)}" if elsewhere else ""
    what = (
        f"{counted(len(missing), 'row')} of {request.labels} without an image in {request.path}, the "
        f"first is {catalogue.row_name(missing[0])}: there is no {first!r}{hint}"
    )
    if len(missing) == len(values) or not request.flags.skip_unreadable:
        raise DataError(
            f"{what}. Paths are below --data; remove such rows, or leave them out with "
            "--skip-unreadable"
        )
    return f"Left out: {what}."


def _require_once(catalogue: Catalogue, located: Sequence[str | None]) -> None:
    """Refuse an image that several rows name."""
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(located):
        if name is not None:
            rows.setdefault(name, []).append(row)
    twice = {name: found for name, found in rows.items() if len(found) > 1}
    if twice:
        name, found = next(iter(twice.items()))
        raise DataError(
            f"{counted(len(twice), 'image')} with more than one row in the catalogue, the first is "
            f"{displayable(name)} ({some([catalogue.row_name(row) for row in found])}): keep one row "
            "for each image"
        )
