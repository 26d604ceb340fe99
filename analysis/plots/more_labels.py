"""What more labels would buy: learning curves continued beyond the largest budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from analysis import formatting
from analysis.plots.style import BASELINE_STYLE, COLOURS, INIT_NAMES, MARKS, percent_ticks
from analysis.stats.power_law import LearningCurve

FURTHER = (("#2a8c4a", "^"), ("#8a4fb5", "v"), ("#7a6a55", "D"), ("#c2457f", "P"))
"""Colours and marks of methods beyond the two inits."""
TARGET_STYLE: dict[Any, Any] = {
    "color": "#444444",
    "linestyle": "-.",
    "linewidth": 1.2,
    "zorder": 1,
}
ENDS = (0.025, 0.5, 0.975)
"""Quantiles of the curves that are drawn."""


def more_labels(
    curves: Mapping[str, LearningCurve],
    ax: Axes,
    *,
    baseline: float | None = None,
    target: float | None = None,
    name: str = "test accuracy",
) -> Axes:
    """Measured accuracies, the fitted curves, and their prediction intervals beyond the largest budget.

    Curves end where nothing is predicted any more.

    Parameters
    ----------
    curves
        Training method → its curve; one or more.
    baseline
        Accuracy of the baseline, 0–1.
    target
        An accuracy to be reached, 0–1.
    name
        What the accuracy is, `Results.accuracy_name`.
    """
    known = {INIT_NAMES[init]: (COLOURS[init], MARKS[init]) for init in COLOURS}
    others = iter(FURTHER * len(curves))
    for method, curve in curves.items():
        colour, mark = known.get(method) or next(others)
        _curve(method, curve, colour, mark, ax)
    if baseline is not None:
        ax.axhline(baseline, label="baseline: from scratch, all labels", **BASELINE_STYLE)
    if target is not None:
        ax.axhline(target, label=f"target: {formatting.fraction(target)}", **TARGET_STYLE)
    for largest in sorted({curve.largest for curve in curves.values()}):
        ax.axvline(largest, color="#888888", linewidth=1, zorder=1)
        ax.annotate(
            "largest budget",
            (largest, 0),
            (-3, 4),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            rotation=90,
            ha="right",
            va="bottom",
            fontsize=8,
            color="#666666",
        )
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    smallest = min(curve.smallest for curve in curves.values())
    ax.set_xlim(smallest / 1.15, max(curve.furthest for curve in curves.values()) * 1.15)
    percent_ticks(ax.yaxis)
    ax.set(xlabel="labelled images (log scale)", ylabel=name)
    ax.legend(loc="upper center", bbox_to_anchor=(0.45, -0.12), ncols=2)
    return ax


def _curve(method: str, curve: LearningCurve, colour: str, mark: str, ax: Axes) -> None:
    """One method: marks, fit, and the band, in lighter colour where it is a prediction."""
    low, middle, high = np.quantile(curve.curves, ENDS, axis=0)
    x, end = curve.labels, curve.furthest
    seen, beyond = x <= curve.largest, (x >= curve.largest) & (x <= end)
    ax.fill_between(x[seen], low[seen], high[seen], color=colour, alpha=0.22, linewidth=0)
    ax.plot(x[seen], middle[seen], color=colour, linewidth=1.8)
    if end > curve.largest:
        ax.fill_between(x[beyond], low[beyond], high[beyond], color=colour, alpha=0.11, linewidth=0)
        ax.plot(x[beyond], middle[beyond], color=colour, linewidth=1.8, linestyle="--")
    ax.plot(
        [cell.n_labels for cell in curve.cells],
        [cell.accuracy for cell in curve.cells],
        mark,
        color=colour,
        label=f"{method}, {formatting.seeds(cell.n for cell in curve.cells)}",
    )
