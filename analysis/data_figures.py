"""Figures of the data report: data and axes in, the axes out. No files."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from . import figures
from .image_statistics import STATISTICS

PANELS = 4
"""Side by side."""


def distribution(values: pd.Series, classes: pd.Series, names: Sequence[str], ax: Axes) -> Axes:
    """One statistic by class: box to the quartiles, whiskers to the 5th and 95th percentile.

    Parameters
    ----------
    values, classes
        Of n images; ``classes`` are indices of ``names``. NaN is left out.
    """
    groups = [values[(classes == c) & values.notna()].to_numpy() for c in range(len(names))]
    places = np.arange(len(names))[::-1]
    boxes = ax.boxplot(
        groups,
        positions=places,
        orientation="horizontal",
        whis=(5, 95),
        showfliers=False,
        widths=0.65,
        patch_artist=True,
        medianprops={"color": "#1c2530"},
    )
    for box in boxes["boxes"]:
        box.set(facecolor="#c9d8e6", edgecolor="#5b7a99")
    ax.set_yticks(places, names)
    ax.grid(axis="y", visible=False)
    return ax


def distributions(statistics: pd.DataFrame, classes: pd.Series, names: Sequence[str]) -> Figure:
    """All statistics by class."""
    rows = -(-len(STATISTICS) // PANELS)
    height = rows * (0.9 + 0.24 * len(names))
    figure = Figure(figsize=(10.4, height), layout="constrained")
    axes = figure.subplots(rows, PANELS, squeeze=False, sharey=True)
    for ax, (name, unit) in zip(axes.flat, STATISTICS.items(), strict=True):
        values = statistics[name] * (100 if unit.startswith("%") else 1)
        distribution(values, classes, names, ax)
        label = name.replace("_", " − " if unit == "mag" else " ")
        ax.set_xlabel(label if unit == "–" else f"{label} ({unit})", fontsize=8.5)
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
    ax.axvline(limit, **figures.BASELINE_STYLE)
    ax.annotate(
        f"compared by pixels: ≤ {limit} ",
        (limit, 1),
        xycoords=("data", "axes fraction"),
        ha="right",
        va="top",
        fontsize=8.5,
    )
    ax.set_yscale("log")
    ax.set(xlabel=f"bits of {len(counts) - 1} that differ", ylabel="pairs", xlim=(0, None))
    return ax


def pair_pictures(images: np.ndarray, titles: Sequence[str]) -> Figure:
    """Pairs of images side by side.

    Parameters
    ----------
    images
        Shape (p, 2, S, S, 3), uint8.
    titles
        One for each pair.
    """
    columns = min(PANELS, len(images))
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(2.6 * columns, 1.75 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax, (one, other), title in zip(axes, images, titles, strict=False):
        figures.example(np.concatenate([one, other], axis=1), title, ax)
        ax.title.set_fontsize(8)
        ax.axvline(one.shape[1] - 0.5, color="white", linewidth=1.5)
    for ax in axes[len(images) :]:
        ax.set_visible(False)
    return figure
