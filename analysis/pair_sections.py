"""The data report's sections on galaxies that are there twice."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from trainable.galaxy10 import Survey
from trainable.protocol import SAME_SKY_ARCSEC
from trainable.selection import Selection

from . import data_figures, duplicates, truth
from .data_sections import Section
from .fingerprints import HASH_SIDE
from .plates import Plate

SAME_PLACE = 0.01
"""Arcsec; closer is one position."""
PICTURED = 12
"""Pairs that are shown at most."""
LISTED = 50
"""Pairs that the page lists at most; the CSV files have all."""


def by_sky(
    survey: Survey, selection: Selection, found: duplicates.Duplicates, known: truth.Truth | None
) -> Section:
    """Pairs at one place of the sky."""
    title = f"Galaxies within {SAME_SKY_ARCSEC:g} arcsec of each other"
    if found.by_sky is None:
        return Section(
            title=title,
            texts=("There are no positions in this file, so none can be sought by the sky.",),
        )
    table = duplicates.described(found.by_sky, survey, selection)
    same = int((table["separation"] < SAME_PLACE).sum())
    told = f", {same} of them at one place (within {SAME_PLACE:g} arcsec)" if same else ""
    return Section(
        title=title,
        headline=f"Within {SAME_SKY_ARCSEC:g} arcsec of each other: {_count(table)}",
        texts=(f"{_pairs(table)}{told}. {_conflicts(table)}", *_scored(table, known, selection)),
        plates=_pictures("pairs_by_sky", "Nearest pairs on the sky", table, survey),
        tables=_listing(table),
        csv={"pairs_by_sky": table},
    )


def by_image(
    survey: Survey, selection: Selection, found: duplicates.Duplicates, known: truth.Truth | None
) -> Section:
    """Pairs that look alike, byte for byte or nearly."""
    table = duplicates.described(found.by_image, survey, selection)
    exact = int((table["kind"] == "exact").sum())
    texts = [
        f"{exact} pairs are equal in every byte; {len(table) - exact} more are nearly so: their "
        f"perceptual hashes differ in {duplicates.HASH_DISTANCE} bits of {HASH_SIDE**2} at most "
        f"(n = {found.candidates:,} pairs), and their small structure correlates by "
        f"{duplicates.SAME_DETAIL:g} or more. {_conflicts(table)}",
        "The hash alone does not do: smooth round galaxies all hash alike. Pairs are sought in the "
        "same orientation and at the same place in the image; most galaxies that are shifted in "
        "their second image are not found.",
        *_scored(table, known, selection),
    ]
    if (both := duplicates.agreement(found)) is not None:
        texts.append(
            f"{both[0]} pairs are found by sky and by image, {both[1]} by the sky alone, "
            f"{both[2]} by the image alone."
        )
    figure = Figure(figsize=(6.4, 2.8), layout="constrained")
    data_figures.hash_distances(found.distances, duplicates.HASH_DISTANCE, figure.subplots())
    histogram = Plate(
        name="hash_distances",
        title="Distances of the perceptual hashes",
        caption=f"All n = {found.distances.sum():,} pairs of images.",
        figure=figure,
    )
    return Section(
        title="Images that look alike",
        headline=f"Alike as images: {_count(table)}",
        texts=tuple(texts),
        plates=(
            histogram,
            *_pictures("pairs_by_image", "Pairs that look most alike", table, survey),
        ),
        tables=_listing(table),
        csv={"pairs_by_image": table},
    )


def _count(table: pd.DataFrame) -> str:
    return f"{_pairs(table)}, {int(table['conflict'].sum())} with two different labels."


def _pairs(table: pd.DataFrame) -> str:
    return f"{len(table)} pair{'' if len(table) == 1 else 's'}"


def _conflicts(table: pd.DataFrame) -> str:
    if table.empty:
        return ""
    return f"With two different labels: {int(table['conflict'].sum())} of {len(table)}."


def _scored(table: pd.DataFrame, known: truth.Truth | None, selection: Selection) -> list[str]:
    if known is None:
        return []
    found = truth.score(table, known, frozenset(selection.rows.tolist()))
    return [f"This is a mock survey, whose true pairs are known: {found}"]


def _pictures(name: str, title: str, table: pd.DataFrame, survey: Survey) -> tuple[Plate, ...]:
    shown = table.head(PICTURED)
    if shown.empty:
        return ()
    rows = shown[["row_first", "row_second"]].to_numpy()
    images = survey.read_images(rows.ravel())
    titles = [f"{a} | {b}" for a, b in zip(shown.label_first, shown.label_second, strict=True)]
    figure = data_figures.pair_pictures(images.reshape(*rows.shape, *images.shape[1:]), titles)
    caption = f"The first {len(shown)} of {len(table)} pairs." if len(table) > 1 else "The pair."
    return (Plate(name=name, title=title, caption=caption, figure=figure),)


def _listing(table: pd.DataFrame) -> tuple[tuple[str, pd.DataFrame], ...]:
    if table.empty:
        return ()
    shown = table.head(LISTED).round({"ra": 5, "dec": 5, "separation": 2, "correlation": 3})
    shown = shown.assign(conflict=np.where(shown["conflict"], "two labels", "one label"))
    shown = shown.rename(columns=lambda name: name.replace("_", " "))
    return ((f"The first {len(shown)} of {len(table)} pairs; rows of the file.", shown),)
