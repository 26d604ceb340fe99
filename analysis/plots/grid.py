"""Grids of axes, and of images."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure


def image_grid(
    n: int, columns: int, *, width: float, height: float, **subplots: Any
) -> tuple[Figure, list[Axes]]:
    """A figure with `n` axes, row by row; what is left of the last row is blank.

    Parameters
    ----------
    columns
        Side by side at most.
    width, height
        Of one of the axes with its margins, inches.
    **subplots
        For ``Figure.subplots``, e.g. ``sharex``.

    Returns
    -------
    figure : matplotlib.figure.Figure
    axes : list of matplotlib.axes.Axes
        The `n` axes in use.
    """
    columns = min(columns, n)
    rows = -(-n // columns)
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    return figure, used_axes(figure, n, rows, columns, **subplots)


def used_axes(
    figure: Figure | SubFigure, n: int, rows: int, columns: int, **subplots: Any
) -> list[Axes]:
    """The first `n` of a grid of axes; the others are made invisible."""
    axes: list[Axes] = list(figure.subplots(rows, columns, squeeze=False, **subplots).flat)
    for blank in axes[n:]:
        blank.set_visible(False)
    return axes[:n]


def show_image(image: np.ndarray, title: str, ax: Axes) -> Axes:
    """An image (H, W, 3) uint8 under its title, without ticks and frame."""
    ax.imshow(image, interpolation="nearest" if len(image) < 100 else "antialiased")
    ax.set_title(textwrap.fill(title, 22, break_on_hyphens=False), fontsize=9)
    without_ticks(ax)
    return ax


def without_ticks(ax: Axes) -> None:
    """Take the ticks and the frame of an image away; labels stay possible."""
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
