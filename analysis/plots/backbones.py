"""Accuracy over the number of labels for every method of a sweep: methods in, the axes out."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from analysis import formatting
from analysis.plots.style import percent_ticks
from analysis.stats.backbones import Method
from trainable.protocol import IMAGE_STATISTICS

MARKS = ("o", "D", "^", "v", "P", "X")
"""Of what is trained, in order of appearance; with lines that `LINES` tells apart, too."""
LINES = ("-", "--", "-.", (0, (5, 1, 1, 1, 1, 1)))
SCRATCH = (("s", ":"), ("p", (0, (4, 1.5, 1, 1.5))), ("h", (0, (6, 2))))
"""Mark and line of training from scratch, by protocol in order of appearance."""
CONTROL = ("x", (0, (1, 2)))
GREY = "#777777"


def curves(
    methods: Sequence[Method],
    target: float | None,
    ax: Axes,
    *,
    band: tuple[float, float] | None = None,
    name: str = "test accuracy",
) -> Axes:
    """Learning curves: a colour for each architecture, marks and lines for what is trained and how.

    Marks are means over seeds, lines isotonic fits.

    Parameters
    ----------
    target
        An accuracy to draw a line at, 0–1; None: none.
    band
        An interval of it to shade; None: none.
    name
        What the accuracy is, `Results.accuracy_name`.
    """
    palette = matplotlib.colormaps["tab10"].colors  # pyright: ignore[reportAttributeAccessIssue]
    archs = dict.fromkeys(m.arch for m in methods if m.arch != IMAGE_STATISTICS)
    parts = dict.fromkeys(m.example.config.trained for m in methods if _is_plain(m))
    protocols = dict.fromkeys(m.example.protocols[0] for m in methods if _is_baseline(m))
    colours = {arch: palette[k % len(palette)] for k, arch in enumerate(archs)}
    for method in methods:
        mark, line = CONTROL
        if _is_baseline(method):
            number = list(protocols).index(method.example.protocols[0])
            mark, line = SCRATCH[number % len(SCRATCH)]
        elif _is_plain(method):
            number = list(parts).index(method.example.config.trained)
            mark, line = MARKS[number % len(MARKS)], LINES[number % len(LINES)]
        labels = np.array([cell.n_labels for cell in method.cells])
        ax.plot(
            labels,
            method.fit,
            linestyle=line,
            color=(colour := colours.get(method.arch, GREY)),
            linewidth=1.6,
        )
        means = [cell.accuracy for cell in method.cells]
        seeds = formatting.seeds([cell.n for cell in method.cells])
        ax.plot(labels, means, mark, color=colour, label=f"{method.name}, {seeds}")
    if target is not None:
        ax.axhline(target, color="#222222", linewidth=1, zorder=1)
    if band is not None:
        ax.axhspan(*band, color="#222222", alpha=0.12, linewidth=0, zorder=0)
    counts = sorted({cell.n_labels for method in methods for cell in method.cells})
    ax.set_xscale("log")
    ax.set_xticks(counts[:: max(1, len(counts) // 8)])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlim(counts[0] / 1.15, counts[-1] * 1.15)
    percent_ticks(ax.yaxis)
    ax.set(xlabel="labelled images (log scale)", ylabel=name)
    ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return ax


def _is_baseline(method: Method) -> bool:
    """Trained from scratch, and no control."""
    return not method.is_control and method.example.init == "scratch"


def _is_plain(method: Method) -> bool:
    """Neither a control nor trained from scratch."""
    return not method.is_control and not _is_baseline(method)
