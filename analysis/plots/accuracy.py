"""Accuracy and loss of the grid's cells, and images of each class: a frame and axes in, the axes out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis import formatting
from analysis.plots.style import BASELINE_STYLE, COLOURS, MARKS, percent_ticks
from analysis.results.schema import groups, records, rows_where
from analysis.stats.estimates import spread, wilson

BEHIND: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6}


def class_counts(counts: pd.DataFrame, ax: Axes) -> Axes:
    """Figure 3: images per class.

    Parameters
    ----------
    counts
        Columns ``class``, ``images`` and ``kept`` (bool; a dropped class is hollow).
    """
    colours = np.where(counts["kept"], "#5b7a99", "none")
    edges = np.where(counts["kept"], "#5b7a99", "#888888")
    heights = np.arange(len(counts))[::-1]
    bars = ax.barh(heights, counts["images"], color=colours, edgecolor=edges, height=0.72)
    ax.bar_label(bars, labels=[f"{n:,}" for n in counts["images"]], padding=3, fontsize=8.5)
    names = [f"{row['class']}{'' if row['kept'] else ' (left out)'}" for row in records(counts)]
    ax.set_yticks(heights, names)
    ax.set_xlabel(f"images (n = {counts.loc[counts['kept'], 'images'].sum():,} kept)")
    ax.grid(axis="y", visible=False)
    ax.margins(x=0.12)
    return ax


def best_accuracy(
    trials: pd.DataFrame,
    ax: Axes,
    published: pd.DataFrame | None = None,
    *,
    baseline: float = 1.0,
    name: str = "test accuracy",
) -> Axes:
    """Figure 6: accuracy of each cell.

    One seed: Wilson's 95% interval. Several: mean, standard deviation and every seed.

    Parameters
    ----------
    trials
        One row per complete trial: ``init``, ``fraction``, ``seed``, ``n_labels``, ``n_scored``,
        ``accuracy``.
    published
        The paper's trials to set beside ours, as `paper.table` gives them.
    baseline
        Fraction of the baseline, from scratch.
    name
        What the accuracy is, `Results.accuracy_name`.
    """
    _cells(trials, "accuracy", ax, baseline)
    _published(published, trials, "accuracy", ax)
    percent_ticks(ax.yaxis)
    ax.set_ylabel(name)
    return _by_fraction(trials, ax)


def lowest_loss(
    trials: pd.DataFrame,
    ax: Axes,
    published: pd.DataFrame | None = None,
    *,
    baseline: float = 1.0,
    name: str = "test loss",
) -> Axes:
    """Figure 7: loss of each cell; parameters as of `best_accuracy`, of the column ``loss``."""
    _cells(trials, "loss", ax, baseline)
    _published(published, trials, "loss", ax)
    ax.set_ylabel(name)
    return _by_fraction(trials, ax)


def _cells(trials: pd.DataFrame, value: str, ax: Axes, fraction_of_baseline: float) -> None:
    """Both inits by fraction, side by side where a fraction has both, with the baseline."""
    fractions = sorted(set(trials["fraction"]))
    of_init = {init: rows_where(trials, trials["init"] == init) for init in COLOURS}
    for init, rows in of_init.items():
        if rows.empty:
            continue
        cells = groups(rows, "fraction")
        label = f"{init}, {formatting.seeds([len(cell) for _, cell in cells])}"
        ax.plot([], [], MARKS[init], color=COLOURS[init], label=label)
        for fraction, cell in cells:
            alone = any(fraction not in set(other["fraction"]) for other in of_init.values())
            side = 0 if alone else -0.14 if init == "scratch" else 0.14
            _cell(cell, value, fractions.index(fraction) + side, init, ax)
    scratch = of_init["scratch"]
    baseline = scratch.loc[np.isclose(scratch["fraction"], fraction_of_baseline), value]
    if len(baseline):
        label = f"baseline: scratch at {formatting.fraction(fraction_of_baseline)}"
        ax.axhline(baseline.mean(), label=label, **BASELINE_STYLE)


def _cell(cell: pd.DataFrame, value: str, x: float, init: str, ax: Axes) -> None:
    """One cell: its mean with whiskers, and its seeds as dots beside it."""
    accuracy = value == "accuracy"
    n_scored = int(cell["n_scored"].iloc[0]) if accuracy else None
    mean, whiskers = mean_with_whiskers(cell[value].tolist(), n_scored)
    if len(cell) > 1:
        ax.plot(
            [x + 0.09] * len(cell), cell[value], ".", color=COLOURS[init], alpha=0.55, markersize=4
        )
    ax.errorbar(
        x,
        mean,
        whiskers,
        fmt=MARKS[init],
        color=COLOURS[init],
        markersize=6,
        capsize=2.5,
    )
    ax.annotate(
        f"{mean * 100:.1f}" if accuracy else f"{mean:.2f}",
        (x, mean + (0 if whiskers is None else whiskers[1, 0])),
        (0, 6),
        textcoords="offset points",
        ha="center",
        fontsize=7.5,
        color="#333333",
        bbox=BEHIND,
    )


def mean_with_whiskers(
    values: Sequence[float], n_scored: int | None
) -> tuple[float, np.ndarray | None]:
    """Mean over the seeds of a cell, and how far its whiskers go.

    Parameters
    ----------
    values
        One for each seed.
    n_scored
        Number of images, if the values are accuracies (0–1).

    Returns
    -------
    mean : float
    whiskers : numpy.ndarray
        (2, 1), below and above: the standard deviation over seeds; of one seed, to the ends of
        Wilson's 95% interval. None for one value that is no accuracy.
    """
    mean, std, _ = spread(values)
    if std is not None:
        return mean, np.array([[std], [std]])
    if n_scored is None:
        return mean, None
    interval = wilson(mean, n_scored)
    return mean, np.abs(np.array([[interval.low], [interval.high]], dtype=float) - mean)


def _published(published: pd.DataFrame | None, trials: pd.DataFrame, value: str, ax: Axes) -> None:
    """The paper's values as hollow diamonds, at the fractions that were tested here."""
    if published is None:
        return
    fractions = sorted(set(trials["fraction"]))
    label: str | None = "the paper"
    for init, rows in groups(rows_where(published, published["fraction"].isin(fractions)), "init"):
        side = -0.36 if init == "scratch" else 0.36
        places = [fractions.index(fraction) + side for fraction in rows["fraction"]]
        colour = COLOURS[init]
        ax.plot(
            places,
            rows[value],
            "D",
            label=label,
            color=colour,
            markerfacecolor="none",
            markersize=5,
        )
        label = None


def _by_fraction(trials: pd.DataFrame, ax: Axes) -> Axes:
    labels = dict(sorted(zip(trials["fraction"], trials["n_labels"], strict=True)))
    names = [f"{formatting.fraction(fraction)}\n{n:,}" for fraction, n in labels.items()]
    ax.set_xticks(range(len(labels)), names)
    ax.set_xlim(-0.5, len(labels) - 0.5)
    ax.margins(y=0.1)
    ax.set_xlabel("fraction of the labels, and labelled images")
    ax.grid(axis="x", visible=False)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.02), ncols=4)
    return ax
