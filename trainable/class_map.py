"""Which classes of two surveys are the same: a table that its user writes, and nothing guesses.

A CSV file with the columns ``source`` and ``target``, a row for each pair of classes that belong together. A class may
stand in several rows: whatever rows connect is one shared class. So a survey's three kinds of spirals can be
another's two, that differ in how they turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from trainable.errors import SettingsError

COLUMNS = ("source", "target")


@dataclass(frozen=True, kw_only=True)
class SharedClass:
    """A class of both surveys."""

    name: str
    """As the target's selection calls it: its classes, joined."""
    source: tuple[str, ...]
    """Classes of the survey that was trained on."""
    target: tuple[str, ...]
    """Classes of the survey that it is applied to, in the order of their labels."""


def read(path: Path) -> list[tuple[str, str]]:
    """The pairs (source, target) in a file.

    Raises
    ------
    SettingsError
        It cannot be read, lacks a column, or has an empty cell.
    """
    expected = (
        "expected a CSV file with the columns source and target, a row for each pair of classes"
    )
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, skipinitialspace=True)
    except (OSError, ValueError) as error:  # a parser's error is a ValueError
        raise SettingsError(f"--class-map {path}: {error}; {expected}") from error
    if missing := [name for name in COLUMNS if name not in table.columns]:
        raise SettingsError(f"--class-map {path} has no column {missing[0]!r}; {expected}")
    columns = (table[name].str.strip().tolist() for name in COLUMNS)
    pairs: list[tuple[str, str]] = list(zip(*columns, strict=True))
    for line, pair in enumerate(pairs, start=2):
        if "" in pair:
            raise SettingsError(f"--class-map {path}, line {line}: a class is missing; {expected}")
    return pairs


def shared_classes(
    pairs: Sequence[tuple[str, str]], source: Sequence[str], target: Sequence[str], path: Path
) -> tuple[SharedClass, ...]:
    """The classes that both surveys have, in the order of the target's labels.

    Parameters
    ----------
    pairs
        As `read` gives them.
    source, target
        Class names of the two surveys, by label.
    path
        Of the file, for messages.

    Raises
    ------
    SettingsError
        A name is of no class, or fewer than two classes are shared.
    """
    for names, which in ((source, 0), (target, 1)):
        for pair in pairs:
            if pair[which] not in names:
                raise SettingsError(
                    f"--class-map {path}: the {COLUMNS[which]} has no class {pair[which]!r}; it has "
                    f"{', '.join(map(repr, names))}"
                )
    rows = [source.index(a) for a, _ in pairs]
    columns = [len(source) + target.index(b) for _, b in pairs]
    n = len(source) + len(target)
    graph = coo_array((np.ones(len(pairs)), (rows, columns)), shape=(n, n))
    _, component = connected_components(graph, directed=False)
    of_target = component[len(source) :]
    linked = [c for c in dict.fromkeys(of_target.tolist()) if c in set(component[rows].tolist())]
    classes = tuple(
        SharedClass(
            name=" + ".join(of := _members(target, of_target == c)),
            source=_members(source, component[: len(source)] == c),
            target=of,
        )
        for c in linked
    )
    if len(classes) < 2:
        raise SettingsError(
            f"--class-map {path}: its rows connect {len(classes) or 'no'} shared class, at least 2 are "
            "needed; classes in one row, or connected by others, become one"
        )
    return classes


def _members(names: Sequence[str], inside: NDArray[np.bool_]) -> tuple[str, ...]:
    return tuple(name for name, member in zip(names, inside, strict=True) if member)


def in_shared_classes(
    probabilities: NDArray[np.floating], source: Sequence[str], classes: Sequence[SharedClass]
) -> NDArray[np.float64]:
    """Probabilities of the shared classes, each the sum of those of its source classes.

    Parameters
    ----------
    probabilities
        Shape (n, C), of the source's classes.
    source
        Their C names.

    Returns
    -------
    numpy.ndarray
        Shape (n, shared classes). What was given to classes that are not shared is left out, so rows add up
        to 1 or less.
    """
    inside = np.array([[name in of.source for of in classes] for name in source], float)
    return probabilities.astype(float) @ inside
