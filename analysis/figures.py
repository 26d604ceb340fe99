"""The paper's figures but the curves: a frame and axes in, the axes out. No files, no Ray.

Colours are the paper's: scratch blue, pre-trained orange, the baseline a red dotted line. Marks
differ too (square, circle), so that nothing rests on colour alone.
"""

from __future__ import annotations

import textwrap

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from . import words
from .statistics import spread, wilson

COLOURS = {"scratch": "#1f6fb4", "pretrained": "#e07b00"}
MARKS = {"scratch": "s", "pretrained": "o"}
BASELINE_STYLE = {"color": "#d00000", "linestyle": ":", "linewidth": 1.8, "zorder": 1}
STYLE = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.labelsize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "savefig.dpi": 160,
    "svg.hashsalt": "analysis",
}


def example(image: np.ndarray, name: str, ax: Axes) -> Axes:
    """Figure 2, one class: its image (S, S, 3) uint8 and name."""
    ax.imshow(image, interpolation="nearest" if len(image) < 100 else "antialiased")
    ax.set_title(textwrap.fill(name, 22), fontsize=9)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    return ax


def class_counts(counts: pd.DataFrame, ax: Axes) -> Axes:
    """Figure 3: images per class.

    Parameters
    ----------
    counts
        Columns ``class``, ``images`` and ``kept`` (bool; a dropped class is hollow).
    """
    colours = np.where(counts["kept"], "#5b7a99", "none")
    edges = np.where(counts["kept"], "#5b7a99", "#888888")
    places = np.arange(len(counts))[::-1]
    bars = ax.barh(places, counts["images"], color=colours, edgecolor=edges, height=0.72)
    ax.bar_label(bars, labels=[f"{n:,}" for n in counts["images"]], padding=3, fontsize=8.5)
    names = [
        f"{row['class']}{'' if row['kept'] else ' (left out)'}" for _, row in counts.iterrows()
    ]
    ax.set_yticks(places, names)
    ax.set_xlabel(f"images (n = {counts.loc[counts['kept'], 'images'].sum():,} kept)")
    ax.grid(axis="y", visible=False)
    ax.margins(x=0.12)
    return ax


def in_percent(ax: Axes) -> None:
    """Accuracies in 0–1 as per cent on the y axis, at round steps."""
    ax.yaxis.set_major_locator(MaxNLocator(steps=[1, 2, 5, 10]))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda share, _: words.fraction(share)))


def best_accuracy(trials: pd.DataFrame, ax: Axes, published: pd.DataFrame | None = None) -> Axes:
    """Figure 6: best validation accuracy of each cell.

    One seed: Wilson's 95 % interval. Several: mean, standard deviation and every seed.

    Parameters
    ----------
    trials
        One row per complete trial: ``init``, ``fraction``, ``seed``, ``n_train``, ``n_val``,
        ``best_val_accuracy``.
    published
        The paper's trials to set beside ours, as `paper.table` gives them.
    """
    _cells(trials, "best_val_accuracy", ax)
    _published(published, trials, "accuracy", ax)
    in_percent(ax)
    ax.set_ylabel("best validation accuracy")
    return _by_fraction(trials, ax)


def lowest_loss(trials: pd.DataFrame, ax: Axes, published: pd.DataFrame | None = None) -> Axes:
    """Figure 7: lowest validation loss of each cell; as `best_accuracy`, ``best_val_loss``."""
    _cells(trials, "best_val_loss", ax)
    _published(published, trials, "loss", ax)
    ax.set_ylabel("lowest validation loss")
    return _by_fraction(trials, ax)


def _cells(trials: pd.DataFrame, value: str, ax: Axes) -> None:
    """Both inits by fraction, side by side where a fraction has both, with the baseline."""
    fractions = sorted(trials["fraction"].unique())
    both = trials.groupby("fraction")["init"].nunique() > 1
    for init in (init for init in COLOURS if (trials["init"] == init).any()):
        cells = trials[trials["init"] == init].groupby("fraction")
        ax.plot([], [], MARKS[init], color=COLOURS[init], label=_label(init, cells.size()))
        for fraction, cell in cells:
            side = 0.14 * both[fraction] * (-1 if init == "scratch" else 1)
            _cell(cell, value, fractions.index(fraction) + side, init, ax)
    _baseline(trials, value, ax)


def _label(init: str, counts: pd.Series) -> str:
    return f"{init}, {words.seeds(counts)}"


def _cell(cell: pd.DataFrame, value: str, x: float, init: str, ax: Axes) -> None:
    """One cell: its mean with whiskers, and its seeds as dots beside it."""
    mean, std, n = spread(cell[value].tolist())
    accuracy = value == "best_val_accuracy"
    error = None
    if n > 1:
        error = [[std], [std]]
        dots = {"color": COLOURS[init], "alpha": 0.55, "markersize": 4}
        ax.plot([x + 0.09] * n, cell[value], ".", **dots)
    elif accuracy:
        interval = wilson(mean, int(cell["n_val"].iloc[0]))
        error = [[mean - interval.low], [interval.high - mean]]
    ax.errorbar(x, mean, error, fmt=MARKS[init], color=COLOURS[init], markersize=6, capsize=2.5)
    text = f"{mean * 100:.1f}" if accuracy else f"{mean:.2f}"
    behind = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6}
    style = {"ha": "center", "fontsize": 7.5, "color": "#333333", "bbox": behind}
    above = mean + (error[1][0] if error else 0)
    ax.annotate(text, (x, above), (0, 6), textcoords="offset points", **style)


def _published(published: pd.DataFrame | None, trials: pd.DataFrame, value: str, ax: Axes) -> None:
    """The paper's values as hollow diamonds, at the fractions that were tested here."""
    if published is None:
        return
    fractions = sorted(trials["fraction"].unique())
    label = "the paper"
    for row in published[published["fraction"].isin(fractions)].itertuples():
        x = fractions.index(row.fraction) + (-0.36 if row.init == "scratch" else 0.36)
        style = {"color": COLOURS[row.init], "markerfacecolor": "none", "markersize": 5}
        ax.plot(x, getattr(row, value), "D", label=label, **style)
        label = None


def _by_fraction(trials: pd.DataFrame, ax: Axes) -> Axes:
    labels = trials.groupby("fraction")["n_train"].first().sort_index()
    names = [f"{words.fraction(fraction)}\n{n:,}" for fraction, n in labels.items()]
    ax.set_xticks(range(len(labels)), names)
    ax.set_xlim(-0.5, len(labels) - 0.5)
    ax.margins(y=0.1)
    ax.set_xlabel("fraction of the training split, and training images")
    ax.grid(axis="x", visible=False)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.02), ncols=4)
    return ax


def _baseline(trials: pd.DataFrame, value: str, ax: Axes) -> None:
    baseline = trials[(trials["init"] == "scratch") & (trials["fraction"] == 1)]
    if len(baseline):
        ax.axhline(baseline[value].mean(), label="baseline: scratch at 100 %", **BASELINE_STYLE)
