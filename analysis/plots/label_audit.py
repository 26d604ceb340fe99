"""The check of a label audit: what confident learning makes of labels flipped on purpose."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from analysis.results.schema import groups, rows_where

LOOKS = (("#1f6fb4", "s"), ("#e07b00", "o"))
"""Colour and mark of each kind of flips."""


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
    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for number, (kind, words) in enumerate(kinds.items()):
        rows = rows_where(frame, frame["kind"] == kind)
        _marks(left, rows, "estimate", words, LOOKS[number])
        _marks(right, rows, "precision_at_flipped", words, LOOKS[number])
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
        ax.set_xticks([0, *sorted(set(frame["rate"]))])
        ax.xaxis.set_major_formatter(PercentFormatter(1, None))
        ax.yaxis.set_major_formatter(PercentFormatter(1, 0))
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
    left.set_ylim(bottom=0)
    return figure


def _marks(ax: Axes, rows: pd.DataFrame, name: str, label: str, look: tuple[str, str]) -> None:
    parts = [part for _, part in groups(rows, "rate")]
    ax.errorbar(
        [float(part["added"].mean()) for part in parts],
        [float(part[name].mean()) for part in parts],
        yerr=[2 * float(np.std(part[name].to_numpy(), ddof=1)) for part in parts],
        color=look[0],
        marker=look[1],
        markersize=4.5,
        capsize=2,
        label=label,
    )
