"""A row of images for each class, to be looked at."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image, ImageOps

GAP = 2
"""White pixels between images."""
DPI = 100


def choose(labels: np.ndarray, n_classes: int, per_class: int, seed: int) -> list[np.ndarray]:
    """Rows of up to ``per_class`` images of each class, drawn at random, ascending."""
    random = np.random.default_rng(seed)
    chosen = []
    for label in range(n_classes):
        rows = np.flatnonzero(labels == label)
        chosen.append(np.sort(random.permutation(rows)[:per_class]))
    return chosen


def mosaic(
    rows: list[np.ndarray], read: Callable[[np.ndarray], np.ndarray], side: int
) -> np.ndarray:
    """One picture of all rows of images, shrunk to ``side`` pixels where they are larger.

    Parameters
    ----------
    rows
        For each class, the numbers of its images.
    read
        Gives images (n, S, S, 3) uint8 for their numbers (n,).

    Returns
    -------
    numpy.ndarray
        Shape (C · (side + GAP), k · (side + GAP), 3), uint8; white where a class has fewer
        than the k images of the largest row.
    """
    step = side + GAP
    sheet = np.full((len(rows) * step, max(map(len, rows)) * step, 3), 255, np.uint8)
    for down, numbers in enumerate(rows):
        for across, image in enumerate(read(numbers)):
            tile = np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.LANCZOS))
            top, left = down * step, across * step
            sheet[top : top + side, left : left + side] = tile
    return sheet


def contact_sheet(sheet: np.ndarray, names: tuple[str, ...], ax: Axes) -> Axes:
    """A `mosaic` with the classes' names beside its rows."""
    ax.imshow(sheet, interpolation="none")
    step = len(sheet) / len(names)
    ax.set_yticks((np.arange(len(names)) + 0.5) * step, names)
    ax.set_xticks([])
    ax.tick_params(length=0)
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    return ax


def figure(sheet: np.ndarray, names: tuple[str, ...]) -> Figure:
    """The contact sheet at one pixel of the screen for each of its own."""
    height, width = np.array(sheet.shape[:2]) / DPI
    margin = 0.3 + 0.075 * max(map(len, names))  # inches, for the names
    drawn = Figure(figsize=(width + margin, height), dpi=DPI)
    ax = drawn.add_axes((margin / (width + margin), 0, width / (width + margin), 1))
    contact_sheet(sheet, names, ax)
    return drawn


def save(sheet: np.ndarray, names: tuple[str, ...], path: Path, bits: int = 8) -> None:
    """Write `figure` as a PNG; fewer ``bits`` a channel make the file smaller."""
    buffer = BytesIO()
    figure(sheet, names).savefig(buffer, format="png", dpi=DPI)
    with Image.open(buffer) as drawn:
        ImageOps.posterize(drawn.convert("RGB"), bits).save(path, optimize=True)
