"""Figures of a survey's images: a contact sheet, their statistics, and pairs that look alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from analysis.plots.grid import image_grid, show_image
from analysis.plots.style import BASELINE_STYLE, text_width

PANELS = 4
"""Side by side."""
GAP = 2
"""White pixels between the images of a contact sheet."""
SHEET_DPI = 100
"""Dots per inch of a contact sheet's figure."""


def distribution(values: pd.Series, classes: pd.Series, names: Sequence[str], ax: Axes) -> Axes:
    """One statistic by class: box to the quartiles, whiskers to the 5th and 95th percentile.

    Parameters
    ----------
    values, classes
        Of n images; ``classes`` are indices of ``names``. NaN is left out.
    """
    numbers, kinds = values.to_numpy(dtype=float), classes.to_numpy()
    groups = [numbers[(kinds == c) & ~np.isnan(numbers)] for c in range(len(names))]
    heights = np.arange(len(names))[::-1]
    boxes = ax.boxplot(
        groups,
        positions=heights,
        orientation="horizontal",
        whis=(5, 95),
        showfliers=False,
        widths=0.65,
        patch_artist=True,
        medianprops={"color": "#1c2530"},
    )
    for box in boxes["boxes"]:
        box.set(facecolor="#c9d8e6", edgecolor="#5b7a99")
    ax.set_yticks(heights, names)
    ax.grid(axis="y", visible=False)
    return ax


def distributions(
    statistics: pd.DataFrame, headings: Mapping[str, str], classes: pd.Series, names: Sequence[str]
) -> Figure:
    """All statistics by class.

    Parameters
    ----------
    statistics
        A row for each of n images.
    headings
        Column of `statistics` → its name and unit, as the axis says it.
    classes
        (n,) int, indices of `names`.
    """
    figure, axes = image_grid(
        len(headings), PANELS, width=2.6, height=0.9 + 0.24 * len(names), sharey=True
    )
    for ax, (name, heading) in zip(axes, headings.items(), strict=True):
        distribution(statistics[name], classes, names, ax)
        ax.set_xlabel(heading, fontsize=8.5)
    return figure


def hash_distances(counts: np.ndarray, limit: int, ax: Axes) -> Axes:
    """Number of pairs at each distance of the perceptual hashes, counts on a log axis.

    Parameters
    ----------
    counts
        Shape (b + 1,): pairs that differ in 0 … b bits.
    limit
        Pairs up to this distance are compared by their pixels.
    """
    distance = np.arange(len(counts))
    present = counts > 0  # two hashes of equal sums differ in an even number of bits
    ax.bar(distance[present], counts[present], width=1.6, color="#5b7a99")
    ax.axvline(limit, **BASELINE_STYLE)
    ax.annotate(
        f"compared by pixels: ≤ {limit} ",
        (limit, 1),
        xycoords=("data", "axes fraction"),
        ha="right",
        va="top",
        fontsize=8.5,
    )
    ax.set_yscale("log")
    ax.yaxis.set_major_formatter(FuncFormatter(lambda pairs, _: f"{pairs:,.0f}"))
    ax.set(xlabel=f"bits of {len(counts) - 1} that differ", ylabel="pairs", xlim=(0, None))
    return ax


def pair_pictures(images: np.ndarray, labels: Sequence[tuple[str, str]]) -> Figure:
    """Pairs of images side by side.

    Parameters
    ----------
    images
        Shape (p, 2, S, S, 3), uint8.
    labels
        Of the two images of each pair.
    """
    figure, axes = image_grid(len(images), PANELS, width=2.6, height=1.75)
    for ax, (one, other), both in zip(axes, images, labels, strict=True):
        show_image(np.concatenate([one, other], axis=1), "", ax)
        ax.set_title(" |\n".join(both), fontsize=8)
        ax.axvline(one.shape[1] - 0.5, color="white", linewidth=1.5)
    return figure


def choose_examples(
    labels: np.ndarray, n_classes: int, per_class: int, seed: int
) -> list[np.ndarray]:
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
    """One picture of all rows of images.

    Parameters
    ----------
    rows
        For each class, the numbers of its images.
    read
        Gives images (n, side, side, 3) uint8 for their numbers (n,).
    side
        Pixels.

    Returns
    -------
    numpy.ndarray
        Shape (C · (side + GAP), k · (side + GAP), 3), uint8; white if a class has fewer
        than the k images of the largest row.
    """
    step = side + GAP
    sheet = np.full((len(rows) * step, max(map(len, rows)) * step, 3), 255, np.uint8)
    for down, numbers in enumerate(rows):
        for across, tile in enumerate(read(numbers)):
            top, left = down * step, across * step
            sheet[top : top + side, left : left + side] = tile
    return sheet


def contact_sheet(sheet: np.ndarray, names: Sequence[str], ax: Axes) -> Axes:
    """A `mosaic` with the classes' names beside its rows."""
    ax.imshow(sheet, interpolation="none")
    step = len(sheet) / len(names)
    ax.set_yticks((np.arange(len(names)) + 0.5) * step, names)
    ax.set_xticks([])
    ax.tick_params(length=0)
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    return ax


def contact_sheet_figure(sheet: np.ndarray, names: Sequence[str]) -> Figure:
    """The contact sheet at one pixel of the screen for each of its own."""
    height, width = np.array(sheet.shape[:2]) / SHEET_DPI
    margin = 0.3 + 0.075 * max(map(text_width, names))  # inches, for the names
    drawn = Figure(figsize=(width + margin, height), dpi=SHEET_DPI)
    ax = drawn.add_axes((margin / (width + margin), 0, width / (width + margin), 1))
    contact_sheet(sheet, names, ax)
    return drawn
