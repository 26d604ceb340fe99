"""Single galaxies: rows of images with what the models say of them, and attention maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from analysis.plots.grid import show_image, used_axes, without_ticks


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageRow:
    """Images side by side under a heading, each with a text below."""

    heading: str
    images: Sequence[np.ndarray]
    """n, each (H, W, 3) uint8."""
    texts: Sequence[str]
    """n texts of one or more lines."""


def gallery(rows: Sequence[ImageRow], columns: int) -> Figure:
    """Rows of images, with place for `columns` of them side by side."""
    heights = [1.97 + 0.125 * max(text.count("\n") + 1 for text in row.texts) for row in rows]
    figure = Figure(figsize=(9.6, sum(heights)), layout="constrained")
    parts = figure.subfigures(len(rows), 1, height_ratios=heights, squeeze=False).ravel()
    for part, row in zip(parts, rows, strict=True):
        part.suptitle(row.heading, fontsize=9.5, x=0.01, ha="left")
        axes = used_axes(part, len(row.images), 1, columns)
        for ax, image, text in zip(axes, row.images, row.texts, strict=True):
            show_image(image, "", ax)
            ax.set_xlabel(text, fontsize=7)
            ax.set_anchor("N")
    return figure


@dataclass(frozen=True, kw_only=True, eq=False)
class AttentionMaps:
    """What one model looks at in m images."""

    heading: str
    framed: np.ndarray
    """(m, S, S, 3) uint8: the images as the model sees them."""
    maps: np.ndarray
    """(m, G, G) float, 1 for a patch that gets its even share."""


def attention(
    images: Sequence[np.ndarray],
    kinds: Mapping[str, Sequence[int]],
    headings: Sequence[str],
    models: Sequence[AttentionMaps],
) -> Figure:
    """One row for each class: its images, each with the maps of all models beside it.

    Parameters
    ----------
    images
        m, each (H, W, 3) uint8.
    kinds
        Name of a class, with line breaks → up to k of the m images.
    headings
        Of the k images of a row.
    models
        Maps of the same m images.
    """
    panels = 1 + len(models)
    figure = Figure(figsize=(9.6, 0.6 + 1.25 * len(kinds)), layout="constrained")
    axes = figure.subplots(len(kinds), panels * len(headings), squeeze=False)
    for ax in axes.flat:
        without_ticks(ax)
    every = np.concatenate([model.maps.ravel() for model in models])
    scale = LogNorm(every.min(), every.max())  # the inits differ by a factor
    drawn = None
    for row, (name, chosen) in zip(axes, kinds.items(), strict=True):
        row[0].set_ylabel(name, fontsize=8)
        for start, image in zip(range(0, len(row), panels), chosen, strict=False):
            row[start].imshow(images[image])
            for ax, model in zip(row[start + 1 :], models, strict=False):
                drawn = overlay(model.framed[image], model.maps[image], scale, ax)
    for start, heading in zip(range(0, axes.shape[1], panels), headings, strict=True):
        for ax, text in zip(axes[0, start:], [heading, *(m.heading for m in models)], strict=False):
            ax.set_title(text, fontsize=8.5)
    if drawn is not None:
        shrink = min(1.0, 2.5 / len(kinds))
        bar = figure.colorbar(drawn, ax=axes, shrink=shrink, aspect=30, pad=0.01)
        bar.set_label("attention, even share = 1 (log scale)")
        bar.ax.yaxis.set_major_formatter("{x:g}")
        bar.ax.yaxis.set_minor_formatter("{x:g}")
    return figure


def overlay(image: np.ndarray, patches: np.ndarray, scale: Normalize, ax: Axes) -> AxesImage:
    """An image (S, S, 3) in grey under its map (G, G)."""
    side = len(image)
    ax.imshow(image.mean(axis=2), cmap="gray", vmin=0, vmax=255)
    extent = (-0.5, side - 0.5, side - 0.5, -0.5)
    return ax.imshow(patches, cmap="inferno", norm=scale, alpha=0.65, extent=extent)
