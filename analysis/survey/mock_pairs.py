"""The pairs that a mock survey really holds, and how many of them were found."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import h5py
import pandas as pd

from trainable.mock.catalogue import MockSurvey, catalogue

Pairs = frozenset[tuple[int, int]]


@dataclass(frozen=True, kw_only=True)
class KnownPairs:
    """Pairs of images of one galaxy, rows of the file, the smaller first."""

    same_place: Pairs
    """At one position of the sky: two exposures of one field."""
    shifted: Pairs
    """The galaxy lies elsewhere in the second image, by up to 8 arcsec."""


def known_pairs(path: Path) -> KnownPairs | None:
    """Pairs of a mock survey's file, from the settings that it was rendered with; else None."""
    if not path.is_file() or not h5py.is_hdf5(path):
        return None
    with h5py.File(path) as file:
        if not str(file.attrs.get("source", "")).startswith("mock survey"):
            return None
        settings = MockSurvey(**json.loads(str(file.attrs["settings"])))
    groups: dict[bool, set[tuple[int, int]]] = {True: set(), False: set()}
    for row, entry in enumerate(catalogue(settings)):
        if entry.galaxy != row:
            groups[entry.offset == (0.0, 0.0)].add((min(entry.galaxy, row), max(entry.galaxy, row)))
    return KnownPairs(same_place=frozenset(groups[True]), shifted=frozenset(groups[False]))


def score(pairs: pd.DataFrame, known: KnownPairs, rows: frozenset[int]) -> str:
    """How many of the pairs found are true, and how many of the true ones are found, in words.

    Parameters
    ----------
    pairs
        ``row_first``, ``row_second``: rows of the file.
    rows
        The images that take part; pairs with others are not counted.
    """
    found = {(min(p), max(p)) for p in zip(pairs["row_first"], pairs["row_second"], strict=True)}
    same, shifted = (
        {pair for pair in pairs_ if rows.issuperset(pair)}
        for pairs_ in (known.same_place, known.shifted)
    )
    return (
        f"{len(found & (same | shifted))} of the {len(found)} found are right; of those at the "
        f"same place {len(found & same)} of {len(same)} are found, of those with the galaxy "
        f"shifted {len(found & shifted)} of {len(shifted)}."
    )
