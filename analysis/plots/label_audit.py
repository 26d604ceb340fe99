"""The check of a label audit: what confident learning makes of labels flipped on purpose."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

LOOKS = (("#1f6fb4", "s"), ("#e07b00", "o"))


def check(frame: pd.DataFrame, estimate: float, kinds: Mapping[str, str], repeats: int) -> Figure:
    """Estimate against what was flipped, and precision at the number flipped against chance.

    Marks are means over repeats, bars two standard deviations of a repeat each way.

    Parameters
    ----------
    frame
        As `analysis.label_audit.flips.Check` has it.
    estimate
        With nothing flipped, 0–1.
    kinds
        Kind of flips → in words.
    """
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    for number, (kind, words) in enumerate(kinds.items()):
        rows = frame[frame["kind"] == kind].groupby("rate")
        _marks(left, rows, "estimate", f"flipped {words}", number)
        _marks(right, rows, "precision_at_flipped", f"flipped {words}", number)
    most = float(frame["added"].max())
    left.plot([0], [estimate], "k*", markersize=9, label="labels as given")
    left.plot([0, most], [estimate, estimate + most], "k:", label="each flip counted once")
    left.plot([0, most], [0, most], color="#9aa5b1", linewidth=0.9, label="the share flipped")
    left.set_ylabel("confident learning's estimate")
    right.plot([0, most], [0, most], "k:", label="chance")
    right.set_ylabel("precision at the number flipped")
    right.set_ylim(0, 1)
    for ax in (left, right):
        ax.set_xlabel(f"labels flipped on purpose ({repeats} repeats)")
        ax.xaxis.set_major_formatter(PercentFormatter(1, 0))
        ax.yaxis.set_major_formatter(PercentFormatter(1, 0))
        ax.legend()
    left.set_ylim(bottom=0)
    return figure


def _marks(ax: Axes, rows: pd.api.typing.DataFrameGroupBy, name: str, label: str, n: int) -> None:
    colour, mark = LOOKS[n]
    ax.errorbar(
        rows["added"].mean(),
        rows[name].mean(),
        yerr=2 * rows[name].std(),
        color=colour,
        marker=mark,
        markersize=4.5,
        capsize=2,
        label=label,
    )
