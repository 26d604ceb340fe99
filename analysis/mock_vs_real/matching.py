"""Mock galaxies beside real ones: the classes that both have, in fields that can be compared."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from PIL import Image

from analysis.survey.image_statistics import (
    STATISTICS,
    heading,
    in_unit,
    measure,
    median_and_range,
)
from trainable.data.dataset import Survey
from trainable.errors import DataError

MATCHES = {
    "Elliptical": (("Round Smooth", "In-between Round Smooth"), ("Elliptical",)),
    "Spiral": (
        ("Barred Spiral", "Unbarred Tight Spiral", "Unbarred Loose Spiral"),
        ("Spiral, clockwise", "Spiral, anti-clockwise"),
    ),
    "Edge-on": (("Edge-on without Bulge", "Edge-on with Bulge"), ("Edge-on",)),
    "Merger": (("Merging",), ("Merger",)),
}
"""Class → its labels in the mock survey (Galaxy10's) and in Galaxy Zoo 1."""
NAMES = tuple(MATCHES)
SMALLEST_FIELD = 0.25
"""Share of the width that a cut-out keeps at least."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Matched:
    """Images of the classes that mock and real survey share."""

    images: np.ndarray
    """Shape (n, S, S, 3), uint8."""
    labels: np.ndarray
    """Shape (n,), int64, index of `NAMES`."""
    statistics: pd.DataFrame
    """Of the images, as `measure` gives them."""

    def write(self, path: Path) -> None:
        """An HDF5 file in Galaxy10's layout."""
        with h5py.File(path, "w") as file:
            file["images"], file["ans"] = self.images, self.labels.astype(np.uint8)
            file.attrs["class_names"] = json.dumps(NAMES)


def matched(survey: Survey, side: int) -> Matched:
    """The images whose class has a match; side 0 is the mock survey's naming, 1 the real one's.

    Raises
    ------
    DataError
        If the file lacks one of the classes.
    """
    of_name = {name: c for c, pair in enumerate(MATCHES.values()) for name in pair[side]}
    if missing := sorted(set(of_name) - set(survey.class_names)):
        raise DataError(
            f"{survey.path} has no class {missing[0]!r}, only {', '.join(survey.class_names)}: "
            "give a file with Galaxy Zoo 1's class names"
        )
    of_label = np.array([of_name.get(name, -1) for name in survey.class_names])
    rows = np.flatnonzero(of_label[survey.labels] >= 0)
    images = np.stack(survey.read_images(rows))
    return Matched(images=images, labels=of_label[survey.labels[rows]], statistics=measure(images))


def in_field_of(mock: Matched, real: Matched) -> Matched:
    """The mock galaxies, cut out in proportion to their size, as Galaxy Zoo cut its images out.

    The real cut-outs are as wide as a multiple of each galaxy's own Petrosian radius (Lintott et
    al. 2008), the mock survey's 67 arcsec whatever the galaxy. So that size in the image tells
    no more in one than in the other, each mock image is cut to a square about its middle in
    which the half-light radius is the real galaxies' median share of the width (at least
    `SMALLEST_FIELD` of it, at most the whole), and enlarged again.
    """
    target = real.statistics["size"].median()
    images = np.stack(list(_cut_out(mock, target)))
    return Matched(images=images, labels=mock.labels, statistics=measure(images))


def _cut_out(mock: Matched, target: float) -> Iterator[np.ndarray]:
    for image, size in zip(mock.images, mock.statistics["size"].fillna(target), strict=True):
        full = len(image)
        width = full * np.clip(size / target, SMALLEST_FIELD, 1)
        edge = (full - width) / 2
        yield np.asarray(
            Image.fromarray(image).resize(
                (full, full), Image.Resampling.BICUBIC, box=(edge, edge, full - edge, full - edge)
            )
        )


def comparison(mock: Matched, real: Matched) -> pd.DataFrame:
    """Median and 16th to 84th percentile of every statistic, mock beside real, by class."""
    rows: list[dict[str, str]] = []
    for name, unit in STATISTICS.items():
        for c, label in enumerate(NAMES):
            row = {"statistic": heading(name, ""), "unit": unit, "class": label}
            for column, survey in (("mock", mock), ("real", real)):
                values = survey.statistics.loc[survey.labels == c, name].dropna()
                row[column] = median_and_range(in_unit(values))
            rows.append(row)
    return pd.DataFrame(rows)
