"""Several protocols in one sweep: one figure, one table and what they say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis import formatting
from analysis.formatting import capital
from analysis.metrics import ACCURACY
from analysis.plots.protocols import accuracies_by_protocol
from analysis.report.analysis import Analysis
from analysis.report.figures import ReportFigure
from analysis.report.section import Section
from analysis.report.sections.paper_figures import WHISKERS
from analysis.report.tables import ReportTable
from analysis.results.schema import Results, groups, records
from analysis.stats import protocols
from analysis.stats.estimates import spread

TABLE = (
    "What each protocol prescribes, and its results. A setting that is empty is as in the first "
    "row of its block; “counter” is what a new minimum does to the stopper's. {}: mean ± "
    "standard deviation over seeds. Differences: 95% CI, over images and seeds as in "
    "the rest of the report; the baseline is the same protocol's from scratch on all labels."
)


SEVERAL = "Several seeds: their standard deviation, and each seed as a dot."


def section(analysis: Analysis) -> Section | None:
    """The protocols side by side; None if all trials are of one protocol."""
    results = analysis.everything.of_arch(analysis.pair.pretrained)
    frame = protocols.compared(results)
    if frame is None:
        return None
    names = results.protocols
    lead = (
        f"The same {formatting.listed(_shared(results))} by {len(names)} protocols: "
        f"{formatting.listed(names)}. All else on this page but the list of trials is about "
        f"{names[0]} alone."
    )
    return Section(
        id="protocols",
        title="What the protocols change",
        blocks=(
            lead,
            protocols_figure(frame, results),
            *protocols.sentences(frame, names[0], results.metric),
            ReportTable(
                path="tables/protocols",
                title=TABLE.format(capital(results.metric.label)),
                frame=protocols.table(frame, names[0], results.metric),
                numbers=False,
            ),
        ),
    )


def _shared(results: Results) -> list[str]:
    """What all protocols have in common."""
    grids = [results.only(protocol).trials for protocol in results.protocols]
    shared = ["images"]
    for what, columns in (("splits", ["fraction", "split_hash"]), ("seeds", ["seed"])):
        sets = {frozenset(grid[columns].itertuples(index=False, name=None)) for grid in grids}
        shared += [what] if len(sets) == 1 else []
    return shared


def protocols_figure(frame: pd.DataFrame, results: Results) -> ReportFigure:
    """Accuracy by protocol in every cell in which the protocols differ.

    Parameters
    ----------
    frame
        As `stats.protocols.compared` gives it.
    results
        The trials of all protocols, the one that the others are compared with first.
    """
    first = results.protocols[0]
    baseline = _baseline(frame, first, results.baseline_fraction)
    cells = {
        formatting.cell_name(init, fraction): cell
        for (init, fraction), cell in groups(frame, "init", "fraction")
    }
    alike = [name for name, cell in cells.items() if not _differs(cell, first)]
    left_out = alike if len(alike) < len(cells) else []  # something is shown
    shown = [cell for name, cell in cells.items() if name not in left_out]
    return ReportFigure(
        name="protocols",
        title=f"What the protocols change. {capital(results.metric.label)} by protocol",
        caption=_caption(pd.concat(shown), results, baseline is not None, left_out),
        figure=accuracies_by_protocol(
            shown,
            first=first,
            baseline=baseline,
            name=results.accuracy_name,
            metric=results.metric,
        ),
    )


def _caption(
    shown: pd.DataFrame, results: Results, with_baseline: bool, left_out: Sequence[str]
) -> str:
    first = results.protocols[0]
    parts = [
        f"{formatting.seeds(shown['n'])} per protocol and cell. Mean over seeds.",
        WHISKERS if results.metric == ACCURACY else SEVERAL,
        f"Grey: the mean of {first} in the same cell.",
    ]
    if with_baseline:
        parts.append(f"Dotted line: the baseline of {first}, from scratch on the most labels.")
    if shown["same"].any():
        parts.append(f"Hollow: the very trials of {first}, as both prescribe the same.")
    if left_out:
        parts.append(f"Left out, as all protocols prescribe the same: {', '.join(left_out)}.")
    return " ".join(parts)


def _differs(cell: pd.DataFrame, first: str) -> bool:
    """Whether some protocol prescribes other trials than `first` in a cell, or is alone there."""
    others = cell.loc[cell["protocol"] != first, "same"]
    return others.empty or not others.all()


def _baseline(frame: pd.DataFrame, first: str, fraction: float) -> float | None:
    """Mean accuracy of `first` from scratch at the baseline's fraction."""
    for row in records(frame):
        of_first = (row["protocol"], row["init"]) == (first, "scratch")
        if of_first and row["accuracies"] and np.isclose(row["fraction"], fraction):
            return spread(row["accuracies"])[0]
    return None
