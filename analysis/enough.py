"""The figure that answers "how many labels are enough?": pure functions of frames and axes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, NullLocator

from . import words
from .cost import AS_RUN, EVERY_EPOCH, Share
from .crossing import BELOW, NEVER, Enough, Place, monotone
from .figures import BASELINE_STYLE, COLOURS, MARKS, in_percent

BASELINE_COLOUR = BASELINE_STYLE["color"]
COSTS = {"images": "images through\nthe network", "flops": "floating-point\noperations",
         "seconds": "seconds"}  # fmt: skip
BEHIND = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 1}
NOTE = {"textcoords": "offset points", "fontsize": 8.5, "bbox": BEHIND, "zorder": 7}
COUNTED = {EVERY_EPOCH: "#c9a87c", AS_RUN: COLOURS["pretrained"]}
HATCH = {EVERY_EPOCH: "//", AS_RUN: ""}


def learning(cells: pd.DataFrame, found: Enough, ax: Axes) -> Axes:
    """Learning curves of both inits with the crossing and the labels it saves.

    Marks are means over seeds, bands 95 % intervals, lines isotonic fits.

    Parameters
    ----------
    cells
        As `intervals.accuracies` gives them.
    found
        As `crossing.enough` gives it.
    """
    for init, own in cells.groupby("init", sort=False):
        x, colour = own["n_train"].to_numpy(), COLOURS[init]
        label = f"{NAMES[init]}, {words.seeds(own['n'])}"
        ax.fill_between(x, own["low"], own["high"], color=colour, alpha=0.16, linewidth=0)
        ax.plot(x, monotone(own["accuracy"].to_numpy()), color=colour, linewidth=1.8)
        ax.plot(x, own["accuracy"], MARKS[init], color=colour, label=label)
        if len(own) == 1:
            ax.vlines(x, own["low"], own["high"], color=colour, alpha=0.5)
    ax.set_xscale("log")
    counts = sorted(cells["n_train"].unique())
    ax.set_xticks(_spaced(counts))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlim(counts[0] / 1.25, counts[-1] * 1.25)
    in_percent(ax)
    ax.set(xlabel="labelled training images (log scale)", ylabel="best validation accuracy")
    if found.crossing is not None:
        _crossing(found, ax)
    ax.legend(loc="upper center", bbox_to_anchor=(0.45, -0.14), ncols=2)
    return ax


NAMES = {"scratch": "from scratch", "pretrained": "pre-trained"}


def _spaced(counts: list[int], apart: float = 1.15) -> list[int]:
    """The counts that have room for a label on a logarithmic axis, from the largest down."""
    kept: list[int] = []
    for count in reversed(counts):
        if not kept or kept[-1] / count >= apart:
            kept.append(count)
    return kept


def _crossing(found: Enough, ax: Axes) -> None:
    """The baseline, the crossing with its interval on it, and the labels saved as an arrow."""
    baseline, place = found.savings[-1], found.crossing
    level, whole = baseline.accuracy, baseline.n_train
    ax.axhline(level, label="baseline: from scratch, all labels", **BASELINE_STYLE)
    if place.low is not None and place.high is not None and place.low != NEVER:
        ends = np.array([_shown(end, place) for end in (place.low, place.high)]) * whole
        style = {"color": "#222222", "linewidth": 4, "alpha": 0.55, "solid_capstyle": "butt"}
        ax.plot(ends, [level, level], zorder=4, label="95 % interval of the crossing", **style)
        for end, at, mark in zip((place.low, place.high), ends, "<>", strict=True):
            if end in (BELOW, NEVER):  # the interval goes on beyond what was tested
                ax.plot(at, level, mark, color="#222222", markersize=8, zorder=5)
    ax.set_title(_said(found), loc="left")
    if place.value == NEVER:
        return
    at = _shown(place.value, place) * whole
    ax.plot(at, level, "D", color="#222222", markersize=7, zorder=6)
    if at < whole * 0.98:
        style = {"arrowstyle": "-|>", "color": BASELINE_COLOUR, "linewidth": 2.2, "zorder": 3}
        ax.annotate("", (at, level), (whole, level), arrowprops=style)
    if at < whole * 0.5:
        ax.annotate("labels saved", (np.sqrt(at * whole), level), (0, -7), ha="center", va="top",
                    color=BASELINE_COLOUR, **NOTE)  # fmt: skip


def _said(found: Enough) -> str:
    """The title: the crossing, and what it saves."""
    place = found.crossing
    if place.value == NEVER:
        return f"Pre-training does not reach the baseline:\n{place.interval}"
    if place.value == BELOW:
        share = f"{words.fraction(place.tested[0])} of the labels, or fewer"
    else:
        share = f"{place.words} of the labels"
    return (
        f"Pre-training matches the baseline with {share}:\n"
        f"{found.savings[-1].words} times fewer labels"
    )


def _shown(end: float, place: Place) -> float:
    """A place as a fraction on the axis: where the tested ones end if it is beyond them."""
    return place.tested[0] if end == BELOW else place.tested[-1] if end == NEVER else end


def costs(shares: Sequence[Share], ax: Axes, place: str) -> Axes:
    """Costs of the pre-trained model in per cent of the baseline's, as bars.

    Parameters
    ----------
    shares
        As `cost.shares` gives them.
    place
        The fraction they are of, in words.
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
        text = f"{words.percent(value, 0 if value >= 0.1 else 1)}: {factor(share)}"
        ax.annotate(text, (max(value, high or 0), y), (5, 0), va="center", **NOTE)
    ax.axvline(1, **BASELINE_STYLE)
    ax.set_yticks([-n for n in range(len(quantities))], [COSTS[q] for q in quantities])
    ax.set_ylim(-len(quantities) + 0.4, 0.55)
    ax.set_xlim(0, 1.08 * max(1.6, *(s.share.high or s.share.value for s in shares)))
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda share, _: words.fraction(share)))
    ax.set_xlabel("share of the baseline's cost")
    ax.grid(axis="y", visible=False)
    ax.set_title(f"What training costs,\npre-trained {place}", loc="left")
    handles = dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    ax.legend(handles.values(), handles.keys(), loc="upper center", bbox_to_anchor=(0.4, -0.14))
    return ax


def factor(share: Share) -> str:
    """ "4.3 times less" or "1.2 times more"."""
    value = share.share.value
    times = max(value, 1 / value)
    digits = f"{times:,.0f}" if times >= 10 else f"{times:.2g}"
    return f"{digits} times {'less' if value <= 1 else 'more'}"
