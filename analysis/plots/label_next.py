"""What orders of labelling are worth: learning curves, and gains over random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator
from numpy.typing import NDArray

from analysis import formatting
from analysis.plots.style import percent_ticks
from analysis.stats.estimates import Estimate

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9")
"""Okabe and Ito's, which colour-blind readers tell apart."""
MARKS = ("o", "s", "^", "D", "v")
RANDOM = "#333333"
DODGE = 0.035
"""Between the intervals of two orders at one budget, in decades."""


def accuracy_curves(
    budgets: Sequence[int],
    random: NDArray[np.float64],
    orders: Mapping[str, NDArray[np.float64]],
    ax: Axes,
) -> Axes:
    """Test accuracy over the number of labels, of random and of each order.

    Parameters
    ----------
    budgets
        (K,) ascending.
    random
        (K, R), 0–1: of each repeat. The band reaches from its 10th to its 90th percentile.
    orders
        Name → the same of an order; its mean is drawn.
    """
    low, high = np.quantile(random, (0.1, 0.9), axis=1)
    ax.fill_between(budgets, low, high, color=RANDOM, alpha=0.12, linewidth=0)
    ax.plot(budgets, random.mean(axis=1), "--", color=RANDOM, linewidth=1.6, label="random")
    for (name, values), colour, mark in zip(orders.items(), COLOURS, MARKS, strict=False):
        means = values.mean(axis=1)
        ax.plot(budgets, means, color=colour, marker=mark, markersize=4.5, label=name)
    percent_ticks(ax.yaxis)
    ax.set(ylabel="test accuracy")
    ax.legend(loc="lower right")
    return _labels_axis(budgets, ax)


def gains(budgets: Sequence[int], orders: Mapping[str, Sequence[Estimate]], ax: Axes) -> Axes:
    """Accuracy minus that of random with intervals, over the number of labels.

    Parameters
    ----------
    budgets
        (K,) ascending.
    orders
        Name → its difference at each budget. Marks of intervals that include 0 are hollow.
    """
    ax.axhline(0, color=RANDOM, linestyle="--", linewidth=1.4)
    logs = np.log10(np.asarray(budgets, dtype=float))
    middle = (len(orders) - 1) / 2
    shown = zip(orders.items(), COLOURS, MARKS, strict=False)
    for number, ((name, estimates), colour, mark) in enumerate(shown):
        x = 10 ** (logs + DODGE * (number - middle))
        y = 100 * np.array([estimate.value for estimate in estimates])
        for place, estimate in zip(x, estimates, strict=True):
            if estimate.low is not None and estimate.high is not None:
                low, high = 100 * estimate.low, 100 * estimate.high
                ax.vlines(place, low, high, color=colour, linewidth=1.6)
        clear = [bool(estimate.sign) for estimate in estimates]
        faces = [colour if is_clear else "white" for is_clear in clear]
        ax.scatter(x, y, s=28, marker=mark, c=faces, edgecolors=colour, zorder=3, label=name)
    ax.set(ylabel="accuracy minus random, points")
    return _labels_axis(budgets, ax)


def simulation(
    budgets: Sequence[int],
    random: NDArray[np.float64],
    orders: Mapping[str, NDArray[np.float64]],
    compared: Sequence[int],
    differences: Mapping[str, Sequence[Estimate]],
) -> Figure:
    """Learning curves and gains over random, side by side.

    Parameters
    ----------
    budgets, random, orders
        As of `accuracy_curves`.
    compared, differences
        As of `gains`.
    """
    figure = Figure(figsize=(9.6, 3.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    accuracy_curves(budgets, random, orders, left)
    gains(compared, differences, right)
    return figure


def _labels_axis(budgets: Sequence[int], ax: Axes) -> Axes:
    ax.set_xscale("log")
    shown = [
        b for b, after in zip(budgets, [*budgets[1:], np.inf], strict=True) if after / b > 1.25
    ]
    ax.set_xticks(shown)
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: formatting.number(x, 0)))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.tick_params(axis="x", labelrotation=0)
    ax.set(xlabel="labelled images (log scale)")
    return ax
