"""The report's section on several protocols: one figure, one table and what they say."""

from __future__ import annotations

from dataclasses import dataclass

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from . import protocols, words
from .figures import BASELINE_STYLE, COLOURS, MARKS, STYLE
from .frames import BASELINE_FRACTION, Results
from .plates import WHISKERS, Plate
from .statistics import spread, wilson
from .tables import cell_name

ACROSS = 3
"""Panels side by side."""
LEAD = (
    "The same {shared} by {n} protocols: {names}. All else on this page but the list of trials is "
    "about {first} alone."
)
TABLE = (
    "What each protocol prescribes and what came of it. A setting that is empty is as in the first "
    "row of its block; “counter” is what a new minimum does to the stopper's. Accuracy: mean ± "
    "standard deviation over seeds. Differences: 95 % interval, over validation images and seeds "
    "as in the rest of the report; the baseline is the same protocol's from scratch on all labels."
)


@dataclass(frozen=True, kw_only=True)
class Section:
    """What the page shows of several protocols."""

    lead: str
    plate: Plate
    sentences: tuple[str, ...]
    title: str
    """Of the table."""
    table: pd.DataFrame


def section(results: Results) -> Section | None:
    """The section; None where all trials are of one protocol."""
    frame = protocols.compared(results)
    if frame is None:
        return None
    names = results.protocols
    return Section(
        lead=LEAD.format(
            shared=words.listed(_shared(results)),
            n=len(names),
            names=words.listed(names),
            first=names[0],
        ),
        plate=plate(frame, names[0]),
        sentences=protocols.sentences(frame, names[0]),
        title=TABLE,
        table=protocols.table(frame, names[0]),
    )


def _shared(results: Results) -> list[str]:
    """What all protocols have in common."""
    grids = [results.only(protocol).trials for protocol in results.protocols]
    found = ["images"]
    for what, columns in (("splits", ["fraction", "split_hash"]), ("seeds", ["seed"])):
        sets = {frozenset(grid[columns].itertuples(index=False, name=None)) for grid in grids}
        found += [what] if len(sets) == 1 else []
    return found


def dots(cell: pd.DataFrame, ax: Axes, *, first: str, baseline: float | None) -> Axes:
    """Best validation accuracy by protocol in one cell.

    One seed: Wilson's 95 % interval. Several: mean, standard deviation and every seed.

    Parameters
    ----------
    cell
        Rows of one init and fraction, as `protocols.compared` gives them.
    first
        Protocol whose mean has a grey line.
    baseline
        Its mean accuracy (0–1) from scratch on all labels, for the red line.
    """
    init = cell["init"].iloc[0]
    for place, row in enumerate(cell.itertuples()):
        if not row.n:
            ax.text(0.5, place, "none complete", transform=ax.get_yaxis_transform(), ha="center")
            continue
        mean, std, n = spread(row.accuracies)
        interval = wilson(mean, row.n_val)
        error = [[mean - interval.low], [interval.high - mean]] if n == 1 else [[std], [std]]
        fill = "white" if row.same else COLOURS[init]
        style = {"color": COLOURS[init], "markerfacecolor": fill, "capsize": 2.5, "markersize": 6}
        ax.errorbar(mean, place, xerr=error, fmt=MARKS[init], **style)
        if n > 1:
            seeds = {"color": COLOURS[init], "alpha": 0.55, "markersize": 4}
            ax.plot(row.accuracies, [place + 0.26] * n, ".", **seeds)
        if row.protocol == first:
            ax.axvline(mean, color="#888888", linewidth=0.9, zorder=0.9)
    if baseline is not None:
        ax.axvline(baseline, **BASELINE_STYLE)
    ax.set_yticks(range(len(cell)), cell["protocol"])
    ax.set_ylim(len(cell) - 0.5, -0.5)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10]))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda share, _: words.fraction(share)))
    ax.set_title(f"{cell_name(init, cell['fraction'].iloc[0])}, {cell['n_train'].iloc[0]:,} labels")
    ax.grid(axis="y", visible=False)
    return ax


def plate(frame: pd.DataFrame, first: str) -> Plate:
    """The whole figure with its caption; `frame` as `protocols.compared` gives it."""
    baseline = _baseline(frame, first)
    by_cell = frame.groupby(["init", "fraction"], sort=False)
    cells = {cell_name(*key): cell for key, cell in by_cell}
    left_out = [name for name, cell in cells.items() if not _differs(cell, first)]
    left_out = left_out if len(left_out) < len(cells) else []  # something is shown
    shown = [cell for name, cell in cells.items() if name not in left_out]
    frame = pd.concat(shown)
    columns = min(ACROSS, len(shown))
    rows = -(-len(shown) // columns)
    with matplotlib.rc_context(STYLE):
        height = 0.5 + rows * (0.75 + 0.27 * frame["protocol"].nunique())
        figure = Figure(figsize=(9.6, height), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False, sharex=True)
        for number, (ax, cell) in enumerate(zip(axes.flat, shown, strict=False)):
            dots(cell, ax, first=first, baseline=baseline)
            leftmost = shown[number - number % columns]
            if number % columns and cell["protocol"].tolist() == leftmost["protocol"].tolist():
                ax.set_yticklabels([])
        for ax in axes.flat[len(shown) :]:
            ax.set_visible(False)
        for ax in axes.flat[max(len(shown) - columns, 0) : len(shown)]:
            ax.xaxis.set_tick_params(labelbottom=True)
        figure.supxlabel("best validation accuracy", fontsize=9.5)
    red = f" Red, dotted: the baseline of {first}, from scratch on all labels."
    red = "" if baseline is None else red
    hollow = f" Hollow: the very trials of {first}, as both prescribe the same."
    hollow = hollow if frame["same"].any() else ""
    gone = f" Left out, as all protocols prescribe the same: {', '.join(left_out)}."
    gone = gone if left_out else ""
    return Plate(
        name="protocols",
        title="What the protocols change. Best validation accuracy by protocol",
        caption=f"{words.seeds(frame['n'])} per protocol and cell. Mean over seeds. {WHISKERS} "
        f"Grey: the mean of {first} in the same cell.{red}{hollow}{gone}",
        figure=figure,
    )


def _differs(cell: pd.DataFrame, first: str) -> bool:
    """Whether some protocol prescribes other trials than `first` in a cell, or is alone there."""
    others = cell.loc[cell["protocol"] != first, "same"]
    return others.empty or not others.all()


def _baseline(frame: pd.DataFrame, first: str) -> float | None:
    own = frame[(frame["protocol"] == first) & (frame["init"] == "scratch")]
    row = own[np.isclose(own["fraction"], BASELINE_FRACTION) & (own["n"] > 0)]
    return None if row.empty else spread(row["accuracies"].iloc[0])[0]
