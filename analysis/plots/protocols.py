"""Accuracy by protocol, cell by cell: a frame in, axes or a figure out."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import formatting
from analysis.metrics import ACCURACY, Metric
from analysis.plots.accuracy import mean_with_whiskers
from analysis.plots.grid import image_grid
from analysis.plots.style import BASELINE_STYLE, COLOURS, MARKS, percent_ticks
from analysis.results.schema import records

ACROSS = 3
"""Panels side by side."""


def accuracies_by_protocol(
    cells: Sequence[pd.DataFrame],
    *,
    first: str,
    baseline: float | None,
    name: str = "test accuracy",
    metric: Metric = ACCURACY,
) -> Figure:
    """One panel for each cell.

    Parameters
    ----------
    cells
        Rows of one init and fraction each, as `stats.protocols.compared` gives them.
    first
        The protocol that the others are compared with.
    baseline
        Its mean accuracy (0–1) from scratch on the most labels; None if there is none.
    name
        What the accuracy is, `Results.accuracy_name`.
    metric
        What it is a value of.
    """
    protocols = max(cell["protocol"].nunique() for cell in cells)
    height = 0.75 + 0.27 * protocols
    columns = min(ACROSS, len(cells))
    figure, axes = image_grid(len(cells), columns, width=9.6 / columns, height=height, sharex=True)
    figure.set_figheight(figure.get_figheight() + 0.5)
    for number, (ax, cell) in enumerate(zip(axes, cells, strict=True)):
        dots(cell, ax, first=first, baseline=baseline, metric=metric)
        leftmost = cells[number - number % columns]
        if number % columns and cell["protocol"].tolist() == leftmost["protocol"].tolist():
            ax.set_yticklabels([])
    for ax in axes[-columns:]:
        ax.xaxis.set_tick_params(labelbottom=True)  # also above a blank panel
    figure.supxlabel(name, fontsize=9.5)
    return figure


def dots(
    cell: pd.DataFrame,
    ax: Axes,
    *,
    first: str,
    baseline: float | None,
    metric: Metric = ACCURACY,
) -> Axes:
    """Accuracy by protocol in one cell.

    One seed: Wilson's 95% interval, if it is of accuracy. Several: mean, standard deviation and every seed. Hollow: the
    trials of `first` itself. A grey line at the mean of `first`, a dotted one at the baseline.

    Parameters
    ----------
    cell, first, baseline, metric
        As in `accuracies_by_protocol`; one of its cells.
    """
    init = str(cell["init"].iloc[0])
    for height, row in enumerate(records(cell)):
        accuracies = row["accuracies"]
        if not accuracies:
            ax.text(0.5, height, "none complete", transform=ax.get_yaxis_transform(), ha="center")
            continue
        mean, whiskers = mean_with_whiskers(
            accuracies, n_scored=row["n_scored"] if metric == ACCURACY else None
        )
        ax.errorbar(
            mean,
            height,
            xerr=whiskers,
            fmt=MARKS[init],
            color=COLOURS[init],
            markerfacecolor="white" if row["same"] else COLOURS[init],
            capsize=2.5,
            markersize=6,
        )
        if len(accuracies) > 1:
            heights = [height + 0.26] * len(accuracies)
            ax.plot(accuracies, heights, ".", color=COLOURS[init], alpha=0.55, markersize=4)
        if row["protocol"] == first:
            ax.axvline(mean, color="#888888", linewidth=0.9, zorder=0.9)
    if baseline is not None:
        ax.axvline(baseline, **BASELINE_STYLE)
    ax.set_yticks(range(len(cell)), cell["protocol"])
    ax.set_ylim(len(cell) - 0.5, -0.5)
    if metric.shares:
        percent_ticks(ax.xaxis, 5)
    name = f"{init} {formatting.fraction(cell['fraction'].iloc[0])}"
    ax.set_title(f"{name}, {cell['n_labels'].iloc[0]:,} labels")
    ax.grid(axis="y", visible=False)
    return ax
