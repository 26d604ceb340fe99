"""Figures of the classes: gains, confusion and reliability. A frame and axes in, the axes out."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from analysis import formatting
from analysis.plots.style import COLOURS, MARKS, percent_ticks
from analysis.results.schema import groups

OPEN = "#8a8a8a"


def gains(frame: pd.DataFrame, order: list[str], ax: Axes) -> Axes:
    """What pre-training adds to one score of each class, with both intervals and the zero line.

    Parameters
    ----------
    frame
        One score of `class_scores.gain_frame`.
    order
        The classes from top to bottom.
    """
    frame = frame.set_index("class").loc[order]
    places = np.arange(len(order))[::-1]
    ax.axvline(0, color="#333333", linewidth=1, zorder=1)
    for place, row in zip(places, frame.to_dict("records"), strict=True):
        sure = row["low"] > 0 or row["high"] < 0
        winner = "pretrained" if row["value"] > 0 else "scratch"
        colour = COLOURS[winner] if sure else OPEN
        ax.plot([row["low_all"], row["high_all"]], [place] * 2, color=colour, linewidth=0.9)
        ax.plot([row["low"], row["high"]], [place] * 2, color=colour, linewidth=2.6)
        face = colour if sure else "white"
        ax.plot(row["value"], place, MARKS[winner], color=colour, markerfacecolor=face)
    ax.set_yticks(places, [f"{name} ({frame['images'][name]:,})" for name in order])
    ax.set_ylim(-0.6, len(order) - 0.4)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: formatting.points(x, 0) if x else "0"))
    ax.set_xlabel(f"{frame['score'].iloc[0]}, pre-trained minus scratch, points")
    ax.grid(axis="y", visible=False)
    return ax


def confusion(
    shares: pd.DataFrame, images: pd.Series, ax: Axes, *, difference: bool = False
) -> Axes:
    """Confusion matrix: shares of the true class in per cent, or their difference in points.

    Parameters
    ----------
    shares
        True class by row, predicted class by column, 0–1 or, for a difference, -1–1; a class
        without images has a row of NaN.
    images
        Validation images of each class.
    """
    if difference:
        limit = max(0.05, float(np.nanmax(np.abs(shares.to_numpy(float)), initial=0)))
        ax.imshow(shares, cmap="PuOr_r", vmin=-limit, vmax=limit)
    else:
        limit = 1.0
        ax.imshow(shares, cmap="Blues", vmin=0, vmax=limit)
    for row, column in np.ndindex(shares.shape):
        share = shares.iat[row, column]
        if np.isnan(share):
            text = formatting.NONE
        else:
            text = formatting.points(share, 0) if difference else f"{share * 100:.0f}"
        text = "0" if text in ("+0", f"{formatting.MINUS}0") else text
        colour = "white" if abs(share) > 0.6 * limit else "#333333"
        ax.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)
    places = range(len(shares))
    ax.set_xticks(places, shares.columns, rotation=40, ha="right", rotation_mode="anchor")
    ax.set_yticks(places, [f"{name} ({images[name]:,})" for name in shares.index])
    ax.set(xlabel="predicted class", ylabel="true class (images)")
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    return ax


def reliability(bins: pd.DataFrame, ax: Axes) -> Axes:
    """Accuracy over confidence, bin by bin; on the diagonal the two agree.

    Parameters
    ----------
    bins
        As `calibration.reliability` gives it, of one init or both.
    """
    ax.plot([0, 1], [0, 1], color="#333333", linewidth=1, linestyle="--", label="perfect")
    for init, rows in groups(bins, "init"):
        errors = np.stack([rows["accuracy"] - rows["low"], rows["high"] - rows["accuracy"]]).clip(0)
        label = f"{init}, {formatting.seeds(rows['seeds'])}"
        ax.errorbar(
            rows["confidence"], rows["accuracy"], errors, fmt=MARKS[init] + "-", elinewidth=0.8,
            label=label, color=COLOURS[init], markersize=5, linewidth=1.2, capsize=2,
        )  # fmt: skip
    percent_ticks(ax.yaxis)
    percent_ticks(ax.xaxis)
    ax.set(xlim=(0, 1), ylim=(-0.02, 1.02), xlabel="confidence", ylabel="accuracy")
    ax.legend(loc="lower right")
    return ax


def confidences(bins: pd.DataFrame, n_bins: int, ax: Axes) -> Axes:
    """Share of the images in each bin of confidence; parameters as in `reliability`."""
    edges = np.linspace(0, 1, n_bins + 1)
    for init, rows in groups(bins, "init"):
        shares = rows.set_index("bin")["share"].reindex(range(n_bins), fill_value=0)
        ax.stairs(shares, edges, color=COLOURS[init], linewidth=1.6, label=init)
    percent_ticks(ax.yaxis)
    percent_ticks(ax.xaxis)
    ax.set(xlim=(0, 1), xlabel="confidence", ylabel="share of images")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    return ax
