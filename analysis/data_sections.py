"""What the data report says, section by section."""

from __future__ import annotations

from dataclasses import dataclass, field

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from trainable.galaxy10 import Survey
from trainable.selection import Selection

from . import contact_sheet, data_figures, figures, words
from .fingerprints import Fingerprints
from .image_statistics import BORDER, STATISTICS
from .matching import summary
from .plates import Plate

PER_CLASS, SIDE, SHEET_SEED = 10, 64, 0


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page."""

    title: str
    headline: str = ""
    """What the page opens with."""
    texts: tuple[str, ...] = ()
    plates: tuple[Plate, ...] = ()
    tables: tuple[tuple[str, pd.DataFrame], ...] = ()
    csv: dict[str, pd.DataFrame] = field(default_factory=dict)
    """File name → table."""


def counts(survey: Survey, selection: Selection) -> Section:
    """Images of each class."""
    of_label = np.bincount(survey.labels, minlength=len(survey.class_names))
    table = pd.DataFrame(
        {
            "label": range(len(of_label)),
            "class": survey.class_names,
            "images": of_label,
            "kept": [label in selection.label_values for label in range(len(of_label))],
        }
    )
    figure = Figure(figsize=(6.4, 0.9 + 0.32 * len(table)), layout="constrained")
    figures.class_counts(table, figure.subplots())
    kept = table[table["kept"]]
    largest = kept.loc[kept["images"].idxmax()]
    share = words.percent(largest["images"] / kept["images"].sum())
    return Section(
        title="Images of each class",
        plates=(
            Plate(
                name="counts",
                title="Images of each class",
                caption=f"Always answering {largest['class']} is right for {share}.",
                figure=figure,
            ),
        ),
        csv={"counts": table},
    )


def sheet(survey: Survey, selection: Selection) -> Section:
    """A row of images for each class."""
    rows = contact_sheet.choose(
        selection.labels, len(selection.class_names), PER_CLASS, seed=SHEET_SEED
    )
    picture = contact_sheet.mosaic(
        [selection.rows[chosen] for chosen in rows], survey.read_images, SIDE
    )
    return Section(
        title="Contact sheet",
        plates=(
            Plate(
                name="contact_sheet",
                title="A row of images for each class",
                caption=f"Drawn at random (seed {SHEET_SEED}), shrunk to {SIDE} pixels.",
                figure=contact_sheet.figure(picture, selection.class_names),
            ),
        ),
    )


def image_statistics(survey: Survey, selection: Selection, prints: Fingerprints) -> Section:
    """Sky, noise, colour, size and shape by class."""
    found, names = prints.statistics, selection.class_names
    classes = pd.Series(selection.labels)
    rows = []
    for c, name in enumerate(names):
        own = found[classes == c]
        row = {"class": name, "n": f"{len(own):,}", "without": int(own["size"].isna().sum())}
        for statistic, unit in STATISTICS.items():
            values = own[statistic].dropna() * (100 if unit.startswith("%") else 1)
            heading = statistic.replace("_", " − " if unit == "mag" else " ")
            row[heading if unit == "–" else f"{heading}, {unit}"] = summary(values)
        rows.append(row)
    csv = found.assign(row=selection.rows, label=[names[c] for c in selection.labels])
    if survey.pixel_scale is not None:
        width = survey.image_size * survey.pixel_scale[selection.rows]
        csv["size_arcsec"] = found["size"] * width
    return Section(
        title="Image statistics",
        texts=(
            "Measured on the pictures as they are shown, which are stretched for the eye: good "
            "for comparing pictures and classes, not for astronomy. Sky and noise (of the mean of "
            f"the three channels) come from a frame of {words.fraction(BORDER)} of the width, "
            "stars clipped; the galaxy is the connected patch nearest the centre that stands out "
            "of them, with what touches it. Colours are −2.5 lg of the ratio of two channels, "
            "size is the half-light radius, concentration 5 lg(r80/r20) (Bershady et al. 2000), "
            "asymmetry the share of light that changes under a half turn, less the sky's "
            "(Conselice et al. 2000).",
        ),
        plates=(
            Plate(
                name="image_statistics",
                title="Image statistics by class",
                caption=f"Box: quartiles and median; whiskers: 5th to 95th percentile; n = "
                f"{len(found):,} images.",
                figure=data_figures.distributions(found, classes, names),
            ),
        ),
        tables=(
            (
                "Median [16th, 84th percentile]; “without”: images in which nothing stands out of "
                "the sky near the centre.",
                pd.DataFrame(rows),
            ),
        ),
        csv={"image_statistics": csv},
    )


def styled(make, *arguments) -> Section:
    """A section whose figures have the report's style."""
    with matplotlib.rc_context(figures.STYLE):
        return make(*arguments)
