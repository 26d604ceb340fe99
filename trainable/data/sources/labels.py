"""Classes, votes and positions out of the columns of a table, with every fault said in a sentence."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trainable.config import SourceFlags
from trainable.data.sources.source import counted, some
from trainable.errors import DataError, SettingsError

LABEL_COLUMN = "label"
"""Of the labels, if no other is named."""
EMPTY = {"", "nan", "<na>", "na", "n/a", "null"}
"""What stands for no value in a text file, in small letters."""
WHOLE = re.compile(r"[+-]?\d+(\.0*)?")

RowName = Callable[[int], str]
"""What a message calls a row of a table, counted from 0."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Classes:
    """The labels of a table."""

    labels: NDArray[np.int64]
    """(n,): index of `names`; -1 for a row that is left out."""
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()


def read_classes(
    table: pd.DataFrame,
    flags: SourceFlags,
    what: str,
    row_name: RowName,
    class_names: Sequence[str] | None = None,
) -> Classes:
    """The classes of a table's rows, from its column of labels or its columns of votes.

    Parameters
    ----------
    what
        What a message calls the table.
    class_names
        Names that the data give the whole numbers from 0 in the column of labels.

    Raises
    ------
    DataError
        No such column; labels that are empty, fractions, all different or all equal; votes that are
        no fractions.
    """
    if flags.label_columns:
        found = _from_votes(table, flags, what, row_name)
    else:
        name = flags.label_column or LABEL_COLUMN
        require_column(table, name, what, "--label-column")
        found = _from_column(table[name], what, row_name, class_names)
    labelled = found.labels[found.labels >= 0]
    if not len(labelled):
        raise DataError(f"{what} leaves no image with a class. {' '.join(found.notes)}".strip())
    if len(classes := np.unique(labelled)) < 2:
        raise DataError(
            f"{what}: all {counted(len(labelled), 'image')} are of one class, "
            f"{found.names[classes[0]]!r}: at least 2 are needed"
        )
    return found


def require_column(table: pd.DataFrame, name: str, what: str, flag: str) -> None:
    """Refuse a table without a column; the message says which ones it has."""
    if name not in table.columns:
        has = ", ".join(map(str, table.columns))
        hint = (
            ""
            if "," in has
            else ": separate the columns by commas, and name them in the first line"
        )
        raise DataError(f"{what} has no column {name!r}, only {has}{hint}. Name it with {flag}")


def is_empty(values: pd.Series) -> NDArray[np.bool_]:
    """(n,) bool: which values are missing, or stand for a missing one."""
    words = values.astype(str).str.strip().str.lower()
    return (values.isna() | words.isin(EMPTY)).to_numpy(dtype=bool)


def as_numbers(values: pd.Series) -> NDArray[np.float64]:
    """The values (n,) as numbers; NaN for what is none."""
    numbers = cast("pd.Series", pd.to_numeric(values, errors="coerce"))
    return numbers.to_numpy(dtype="float64", na_value=np.nan)


def _from_column(
    values: pd.Series, what: str, row_name: RowName, class_names: Sequence[str] | None
) -> Classes:
    empty = is_empty(values)
    if class_names is not None:  # Hugging Face's -1 is no label
        empty = empty | (as_numbers(values) == -1)
    if empty.any():
        first = int(np.flatnonzero(empty)[0])
        raise DataError(
            f"{counted(int(empty.sum()), 'row')} of {what} without a label in column "
            f"{values.name!r}, the first is {row_name(first)}: fill it in, or remove such rows"
        )
    words = values.astype(str).str.strip()
    if not words.map(lambda word: WHOLE.fullmatch(word) is not None).all():
        return _from_words(words, what)
    numbers = words.map(lambda word: int(word.partition(".")[0])).to_numpy(dtype=np.int64)
    if class_names is None:
        found, labels = np.unique(numbers, return_inverse=True)
        _require_few(len(found), len(labels), values.name, what)
        names = tuple(f"class {number}" for number in found.tolist())
        return Classes(labels=labels.astype(np.int64), names=names)
    if numbers.min() < 0 or numbers.max() >= len(class_names):
        raise DataError(
            f"{what} has labels {numbers.min()} to {numbers.max()} in column {values.name!r}, and "
            f"names for 0 to {len(class_names) - 1}"
        )
    return Classes(labels=numbers, names=tuple(class_names))


def _from_words(words: pd.Series, what: str) -> Classes:
    if not np.isnan(as_numbers(words)).any():
        raise DataError(
            f"column {words.name!r} of {what} holds fractions, e.g. {words.iloc[0]}, and labels are "
            "words or whole numbers; fractions of votes go with --label-columns"
        )
    names = sorted(set(words))
    _require_few(len(names), len(words), words.name, what)
    place = {name: label for label, name in enumerate(names)}
    return Classes(labels=words.map(place).to_numpy(dtype=np.int64), names=tuple(names))


def _require_few(classes: int, images: int, column: object, what: str) -> None:
    """Refuse what names the images and not their classes."""
    if classes > max(2, images / 2):
        raise DataError(
            f"column {column!r} of {what} has {classes} different values in {counted(images, 'row')}"
            ": it does not look like classes. Name the column of the labels with --label-column"
        )


def _from_votes(table: pd.DataFrame, flags: SourceFlags, what: str, row_name: RowName) -> Classes:
    names = flags.vote_columns
    if len(names) < 2 or len(set(names)) < len(names):
        raise SettingsError(
            f"--label-columns {' '.join(names)}: must be two columns or more, each once"
        )
    for name in names:
        require_column(table, name, what, "--label-columns")
    votes = np.column_stack([_fractions(table[name], what, row_name) for name in names])
    without = np.isnan(votes)
    if partly := np.flatnonzero(without.any(1) & ~without.all(1)).tolist():
        raise DataError(
            f"{counted(len(partly), 'row')} of {what} with votes for some of the classes only, the "
            f"first is {row_name(partly[0])}: fill in {', '.join(names)}, or remove such rows"
        )
    voted = np.where(without, 0.0, votes)
    highest = voted.max(1)
    tied = (voted == highest[:, None]).sum(1) > 1
    undecided = tied | (highest < flags.min_agreement)
    labels = np.where(undecided, -1, voted.argmax(1)).astype(np.int64)
    at_least = f", at least {flags.min_agreement:g} of the votes" if flags.min_agreement else ""
    note = (
        f"Left out as undecided: {counted(int(undecided.sum()), 'image')} of {len(labels):,}, in which "
        f"no class alone has most votes{at_least} ({', '.join(names)})."
    )
    return Classes(labels=labels, names=names, notes=(note,))


def _fractions(values: pd.Series, what: str, row_name: RowName) -> NDArray[np.float64]:
    """A column of fractions, NaN if empty."""
    numbers = as_numbers(values)
    wrong = np.isnan(numbers) & ~is_empty(values)
    wrong |= (numbers < 0) | (numbers > 1)
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        raise DataError(
            f"column {values.name!r} of {what} has {str(values.iloc[first])!r} in {row_name(first)}: "
            "votes must be fractions from 0 to 1; divide counts by their sum first"
        )
    return numbers


def read_positions(
    table: pd.DataFrame, what: str, row_name: RowName
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | tuple[None, None]:
    """Right ascension and declination (n,), degrees, NaN if empty; None and None without any.

    Raises
    ------
    DataError
        One column of the two; or a row with one value, no number or a number out of range.
    """
    columns = {str(name).lower(): name for name in table.columns}
    if ("ra" in columns) != ("dec" in columns):
        raise DataError(
            f"{what} has one of the columns 'ra' and 'dec': give both (degrees) or neither"
        )
    if "ra" not in columns:
        return None, None
    found: list[NDArray[np.float64]] = []
    for name, low, high in (("ra", -360.0, 360.0), ("dec", -90.0, 90.0)):
        values = table[columns[name]]
        numbers = as_numbers(values)
        wrong = np.isnan(numbers) & ~is_empty(values)
        wrong |= (numbers < low) | (numbers > high)
        if wrong.any():
            first = int(np.flatnonzero(wrong)[0])
            raise DataError(
                f"column {name!r} of {what} has {str(values.iloc[first])!r} in {row_name(first)}: must be "
                f"degrees from {low:g} to {high:g}"
            )
        found.append(numbers)
    ra, dec = found
    if half := np.flatnonzero(np.isnan(ra) != np.isnan(dec)).tolist():
        raise DataError(
            f"{some([row_name(row) for row in half])} of {what} have one of ra and dec: give both or "
            "neither"
        )
    return (None, None) if np.isnan(ra).all() else (ra, dec)
