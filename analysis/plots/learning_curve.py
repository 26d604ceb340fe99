"""Accuracy over the number of labels, and what training costs: data and axes in, the axes out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from analysis import formatting
from analysis.plots.style import BASELINE_STYLE, COLOURS, INIT_NAMES, MARKS, percent_ticks
from analysis.results.schema import groups
from analysis.stats.cost import AS_TRAINED, EVERY_EPOCH, Share
from analysis.stats.label_efficiency import (
    BELOW,
    NEVER,
    CrossingPoint,
    LabelEfficiency,
    Saving,
    isotonic_fit,
)

BASELINE_COLOUR = BASELINE_STYLE["color"]
COSTS = {"images": "images through\nthe network", "flops": "floating-point\noperations",
         "seconds": "seconds"}  # fmt: skip
BEHIND: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "alpha": 0.9, "pad": 1}
NOTE: dict[str, Any] = {"textcoords": "offset points", "fontsize": 8.5, "bbox": BEHIND, "zorder": 7}
COUNTED = {EVERY_EPOCH: "#c9a87c", AS_TRAINED: COLOURS["pretrained"]}
HATCH = {EVERY_EPOCH: "//", AS_TRAINED: ""}


def learning(
    cells: pd.DataFrame,
    found: LabelEfficiency,
    ax: Axes,
    *,
    name: str = "test accuracy",
    shares: bool = True,
) -> Axes:
    """Learning curves of both inits with the crossing and the labels it saves.

    Marks are means over seeds, bands 95% intervals, lines isotonic fits.

    Parameters
    ----------
    cells
        As `estimates.accuracies` gives them.
    found
        As `label_efficiency.label_efficiency` gives it.
    name
        What the accuracy is, `Results.accuracy_name`.
    shares
        It is in 0–1 and shown in per cent; False for other metrics.
    """
    for init, rows in groups(cells, "init"):
        x, colour = rows["n_labels"].to_numpy(), COLOURS[init]
        label = f"{INIT_NAMES[init]}, {formatting.seeds(rows['n'])}"
        ax.fill_between(x, rows["low"], rows["high"], color=colour, alpha=0.16, linewidth=0)
        ax.plot(x, isotonic_fit(rows["accuracy"].to_numpy()), color=colour, linewidth=1.8)
        ax.plot(x, rows["accuracy"], MARKS[init], color=colour, label=label)
        if len(rows) == 1:
            ax.vlines(x, rows["low"], rows["high"], color=colour, alpha=0.5)
    ax.set_xscale("log")
    counts = sorted(set(cells["n_labels"]))
    ax.set_xticks(_spaced(counts))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlim(counts[0] / 1.25, counts[-1] * 1.25)
    if shares:
        percent_ticks(ax.yaxis)
    ax.set(xlabel="labelled images (log scale)", ylabel=name)
    if found.crossing is not None:
        _crossing(found.savings[-1], ax)
    ax.legend(loc="upper center", bbox_to_anchor=(0.45, -0.14), ncols=2)
    return ax


def _spaced(counts: list[int], apart: float = 1.15) -> list[int]:
    """The counts that have room for a label on a logarithmic axis, from the largest down."""
    kept: list[int] = []
    for count in reversed(counts):
        if not kept or kept[-1] / count >= apart:
            kept.append(count)
    return kept


def _crossing(whole: Saving, ax: Axes) -> None:
    """The baseline, the crossing with its interval on it, and the labels saved as an arrow.

    Parameters
    ----------
    whole
        The saving at all labels.
    """
    level, crossing = whole.accuracy, whole.crossing
    ax.axhline(level, label="baseline: from scratch, all labels", **BASELINE_STYLE)
    if crossing.low is not None and crossing.high is not None and crossing.low != NEVER:
        ends = [_shown(end, crossing) * whole.n_labels for end in (crossing.low, crossing.high)]
        ax.plot(
            ends,
            [level, level],
            label="95% CI of the crossing",
            color="#222222",
            linewidth=4,
            alpha=0.55,
            solid_capstyle="butt",
            zorder=4,
        )
        for end, x, mark in zip((crossing.low, crossing.high), ends, "<>", strict=True):
            if end in (BELOW, NEVER):  # the interval reaches beyond what was tested
                ax.plot(x, level, mark, color="#222222", markersize=8, zorder=5)
    ax.set_title(_title(whole), loc="left")
    if crossing.value == NEVER:
        return
    x = _shown(crossing.value, crossing) * whole.n_labels
    ax.plot(x, level, "D", color="#222222", markersize=7, zorder=6)
    if x < whole.n_labels * 0.98:
        style = {"arrowstyle": "-|>", "color": BASELINE_COLOUR, "linewidth": 2.2, "zorder": 3}
        ax.annotate("", (x, level), (whole.n_labels, level), arrowprops=style)
    if x < whole.n_labels * 0.5:
        middle = float(np.sqrt(x * whole.n_labels))
        ax.annotate("labels saved", (middle, level), (0, -7), ha="center", va="top",
                    color=BASELINE_COLOUR, **NOTE)  # fmt: skip


def _title(whole: Saving) -> str:
    """The crossing, and what it saves."""
    crossing = whole.crossing
    if crossing.value == NEVER:
        return f"Pre-training does not reach the baseline\nwith {crossing.largest}"
    share = crossing.amount
    if crossing.value == BELOW:
        share = f"{crossing.smallest}, or fewer"
    return (
        f"Pre-training matches the baseline with {share}\ntimes fewer labels: {whole.times_fewer}"
    )


def _shown(end: float, crossing: CrossingPoint) -> float:
    """A fraction as the axis shows it: the first or last one tested if it lies beyond them."""
    if end == BELOW:
        return crossing.tested[0]
    return crossing.tested[-1] if end == NEVER else end


def costs(shares: Sequence[Share], ax: Axes, where: str) -> Axes:
    """Costs of the pre-trained model in per cent of the baseline's, as bars.

    Parameters
    ----------
    shares
        As `cost.shares` gives them.
    where
        The fraction that they are of, e.g. "at 25%".
    """
    quantities = [q for q in COSTS if any(s.quantity == q for s in shares)]
    for share in shares:
        row = -quantities.index(share.quantity)
        both = sum(s.quantity == share.quantity for s in shares) > 1
        y = row + (0.19 if share.counted == EVERY_EPOCH else -0.19) * both
        value, low, high = share.share.value, share.share.low, share.share.high
        error = None if low is None or high is None else [[value - low], [high - value]]
        colour, hatch = COUNTED[share.counted], HATCH[share.counted]
        ax.barh(y, value, 0.34, xerr=error, color=colour, hatch=hatch, edgecolor="white",
                error_kw={"elinewidth": 1, "capsize": 2}, label=share.counted)  # fmt: skip
        text = f"{formatting.percent(value, 0 if value >= 0.1 else 1)}: {factor(share)}"
        ax.annotate(text, (max(value, high or 0), y), (5, 0), va="center", **NOTE)
    ax.axvline(1, **BASELINE_STYLE)
    ax.set_yticks([-n for n in range(len(quantities))], [COSTS[q] for q in quantities])
    ax.set_ylim(-len(quantities) + 0.4, 0.55)
    ax.set_xlim(0, 1.08 * max(1.6, *(s.share.high or s.share.value for s in shares)))
    percent_ticks(ax.xaxis, 4)
    ax.set_xlabel("share of the baseline's cost")
    ax.grid(axis="y", visible=False)
    ax.set_title(f"What training costs,\npre-trained {where}", loc="left")
    handles = dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    ax.legend(handles.values(), handles.keys(), loc="upper center", bbox_to_anchor=(0.4, -0.14))
    return ax


def factor(share: Share) -> str:
    """A share as a factor: "less by a factor of 4.3", "more by a factor of 1.2" or "the same"."""
    value = share.share.value
    times = max(value, 1 / value)
    digits = f"{times:,.0f}" if times >= 10 else f"{times:.2g}"
    if digits == "1":
        return "the same"
    return f"{'less' if value < 1 else 'more'} by a factor of {digits}"
