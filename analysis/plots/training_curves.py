"""Loss and accuracy over epochs: a frame and axes in, the axes out."""

from __future__ import annotations

from typing import Any

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.ticker import MaxNLocator

from analysis import formatting
from analysis.plots.style import COLOURS, percent_ticks
from analysis.results.schema import groups, rows_where

SHADES = {"scratch": "Blues", "pretrained": "Oranges"}
AUTHORS_STYLE: dict[str, Any] = {
    "linewidth": 0.9,
    "linestyle": (0, (1, 1.2)),
    "alpha": 0.8,
    "zorder": 1.5,
}


def train_and_validation(epochs: pd.DataFrame, ax: Axes, *, metric: str) -> Axes:
    """Figure 4: training (dashed) and validation (solid) curves of one cell of each init.

    Thin lines are seeds, the thick one their mean as far as all of them go.

    Parameters
    ----------
    epochs
        ``init``, ``fraction``, ``trial``, ``epoch`` and ``train_…``, ``val_…`` of the metric.
    metric
        ``loss`` or ``accuracy``.
    """
    for (init, fraction), cell in groups(epochs, "init", "fraction"):
        name = (
            f"{init} {formatting.fraction(fraction)}, {formatting.seeds(len(set(cell['trial'])))}"
        )
        for part, line in (("train", "--"), ("val", "-")):
            label = f"{name}: {'training' if part == 'train' else 'validation'}"
            style = {"color": COLOURS[init], "linestyle": line, "label": label}
            seeds_and_mean(cell, f"{part}_{metric}", ax, **style)
    return _dressed(ax, metric, "")


def validation(epochs: pd.DataFrame, ax: Axes, *, metric: str) -> Axes:
    """Figure 5: validation curves of all cells; the darker, the more labels.

    Parameters
    ----------
    epochs
        ``init``, ``fraction``, ``trial``, ``epoch`` and ``val_loss`` or ``val_accuracy``.
    metric
        ``loss`` or ``accuracy``.
    """
    fractions = sorted(set(epochs["fraction"]), reverse=True)
    for init in COLOURS:
        for fraction in fractions:
            cell = rows_where(epochs, (epochs["init"] == init) & (epochs["fraction"] == fraction))
            if cell.empty:
                continue
            label = f"{init} {formatting.fraction(fraction)}, {formatting.seeds(len(set(cell['trial'])))}"
            style = {"color": shade(init, fraction, fractions), "label": label}
            seeds_and_mean(cell, f"val_{metric}", ax, **style)
    return _dressed(ax, metric, "validation ")


def authors(curves: pd.DataFrame, ax: Axes, *, metric: str, parts: tuple[str, ...]) -> Axes:
    """The authors' own curves, thin and dotted under ours.

    Parameters
    ----------
    curves
        As `paper.authors_curves` gives them.
    parts
        ``("train", "val")`` or ``("val",)``.
    """
    label: str | None = "authors' logs"
    fractions = sorted(set(curves["fraction"]), reverse=True)
    for (init, fraction), cell in groups(curves, "init", "fraction"):
        colour = shade(init, fraction, fractions)
        for part in parts:
            values = cell[f"{part}_{metric}"]
            ax.plot(cell["epoch"], values, color=colour, label=label, **AUTHORS_STYLE)
            label = None
    return ax


def shade(init: str, fraction: float, fractions: list[float]) -> tuple[float, ...]:
    """The colour of a fraction: the init's hue, darkest for the largest of `fractions`."""
    if len(fractions) == 1:
        return to_rgba(COLOURS[init])
    rank = sorted(fractions).index(fraction) / (len(fractions) - 1)
    return matplotlib.colormaps[SHADES[init]](0.4 + 0.55 * rank)


def seeds_and_mean(cell: pd.DataFrame, column: str, ax: Axes, **style: Any) -> None:
    """Every seed as a thin line, their mean as a thick one as far as all of them go.

    A cell of one epoch, such as a probe's, is a level: its mean over seeds.
    """
    table = cell.pivot(index="epoch", columns="trial", values=column)
    if len(table) == 1:
        ax.axhline(float(table.mean(axis=1).iloc[0]), linewidth=1.6, **style)
        return
    if table.shape[1] > 1:
        thin: dict[str, Any] = style | {"linewidth": 0.6, "alpha": 0.4, "label": None}
        for trial in table:
            ax.plot(table.index, table[trial], **thin)
    mean = table.dropna().mean(axis=1)
    ax.plot(mean.index, mean, linewidth=1.6, **style)


def _dressed(ax: Axes, metric: str, part: str) -> Axes:
    ax.set(xlabel="epoch", ylabel=f"{part}{metric}")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.margins(x=0.02)
    if metric == "accuracy":
        percent_ticks(ax.yaxis)
    return ax
