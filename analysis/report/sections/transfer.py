"""From another survey to this one: what its network knows without labels, and how many labels it saves.

By accuracy, whatever the report's metric.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis import formatting
from analysis.plots import backbones as plots
from analysis.report.analysis import Analysis
from analysis.report.figures import ReportFigure
from analysis.report.section import Block, Note, Section
from analysis.report.sections.backbones import needed_table
from analysis.report.tables import ReportTable
from analysis.results.schema import Results, records, rows_where
from analysis.results.transfer import Transfer
from analysis.stats.backbones import Comparison, Method
from analysis.stats.estimates import accuracies, wilson
from analysis.stats.label_efficiency import BELOW, NEVER, CrossingPoint

TITLE = "What does the other survey give?"
CAPTION = (
    "Marks are means over seeds, lines isotonic fits. Squares and dotted: from scratch on this survey alone; the others "
    "go on from the other survey's network. Horizontal line and band: that network as it came, without any label of "
    "this survey, and its 95% CI over test images."
)
ACCURACIES = (
    "Test accuracy by labels of this survey, with 95% CIs, each for itself. 0 labels: the network of the other survey "
    "as it came."
)
NEEDED = (
    "Labels of this survey that are needed to be as accurate as the other survey's network is with none ({}), with "
    "simultaneous 95% CIs of all {} methods. Its own accuracy is taken as exact here."
)
SHARED = "Classes that the two surveys share, by the table given (--class-map). All others are left out here."
ONE_NETWORK = (
    "The other survey's network is one trial: how networks of other seeds, or trained on other labels there, would "
    "differ is in no interval here. “Pre-trained” on this page means trained on the other survey."
)


def section(analysis: Analysis) -> Section | None:
    """A sentence, a figure and three tables; None if the sweep is no transfer."""
    transfer = analysis.everything.transfer
    if transfer is None:
        return None
    found = analysis.against_transfer
    if found is None:
        return Section(
            id="transfer", title=TITLE, blocks=(sentence(transfer, None), _classes(transfer))
        )
    everything = analysis.by_accuracy.everything
    methods = [needed.method for needed in found.needed]
    needed = needed_table(found).drop(columns=["times the fewest", "shown to need more than"])
    blocks: tuple[Block, ...] = (
        sentence(transfer, found),
        _figure(transfer, methods, everything.accuracy_name),
        ReportTable(
            path="tables/transfer",
            title=ACCURACIES,
            frame=accuracies_table(transfer, methods, everything),
        ),
        ReportTable(
            path="tables/transfer_needed",
            title=NEEDED.format(formatting.percent(transfer.accuracy), len(found.needed)),
            frame=needed,
            numbers=False,
        ),
        _classes(transfer),
        Note(text=ONE_NETWORK),
    )
    return Section(id="transfer", title=TITLE, blocks=blocks)


def in_short(analysis: Analysis) -> str | None:
    """The sentence as a paragraph of the summary; None if the sweep is no transfer."""
    transfer = analysis.everything.transfer
    return None if transfer is None else sentence(transfer, analysis.against_transfer)


def sentence(transfer: Transfer, found: Comparison | None) -> str:
    """What the network knows without labels, and how many labels alone are worth as much."""
    there = ""
    if transfer.accuracy_there is not None:
        right = formatting.percent(transfer.accuracy_there)
        there = f"; right on {right} of the {transfer.scored_on} images there"
    text = (
        f"Without a label of this survey, the network of {transfer.sweep} ({transfer.trial}: "
        f"{transfer.n_labels:,} labels of {transfer.data}{there}) is right on {without(transfer)} of "
        f"{transfer.n:,} test images. Always naming the largest class would be right on "
        f"{formatting.percent(transfer.largest)}."
    )
    for needed in found.needed if found else ():
        if needed.method.example.config.init == "scratch" and not needed.method.is_control:
            return f"{text} {_alone(needed.crossing)}"
    return text


def _alone(crossing: CrossingPoint) -> str:
    alone = "Training from scratch on this survey alone"
    if crossing.value == NEVER:
        return f"{alone} is not as accurate at any budget tested ({crossing.interval})."
    if crossing.value == BELOW:
        return f"{alone} is as accurate with the fewest labels tested ({crossing.interval})."
    return f"{alone} takes {crossing} to be as accurate."


def without(transfer: Transfer) -> str:
    """Accuracy without labels, with its interval over test images."""
    estimate = wilson(transfer.accuracy, transfer.n)
    return bracketed(estimate.value, estimate.low, estimate.high)


def bracketed(value: float, low: float | None, high: float | None) -> str:
    """A share in percent with its interval: "61.4% [58.0, 64.7]"."""
    if low is None or high is None:
        return formatting.percent(value)
    return f"{formatting.percent(value)} [{100 * low:.1f}, {100 * high:.1f}]"


def _figure(transfer: Transfer, methods: Sequence[Method], name: str) -> ReportFigure:
    estimate = wilson(transfer.accuracy, transfer.n)
    assert estimate.low is not None
    assert estimate.high is not None
    figure = Figure(figsize=(10.5, 4.2), layout="constrained")
    band = (estimate.low, estimate.high)
    plots.curves(methods, transfer.accuracy, figure.subplots(), band=band, name=name)
    return ReportFigure(
        name="transfer",
        title=f"{formatting.capital(name)} with and without the other survey",
        caption=CAPTION,
        figure=figure,
    )


def accuracies_table(
    transfer: Transfer, methods: Sequence[Method], results: Results
) -> pd.DataFrame:
    """One row for each budget, from none on; a column for each method."""
    columns = {method.name: _by_labels(method, results) for method in methods}
    budgets = sorted({labels for column in columns.values() for labels in column})
    none = {
        method.name: formatting.NONE if method.example.init == "scratch" else without(transfer)
        for method in methods
    }
    rows = [{"labels": "0", **none}]
    rows += [
        {
            "labels": f"{labels:,}",
            **{name: column.get(labels, formatting.NONE) for name, column in columns.items()},
        }
        for labels in budgets
    ]
    return pd.DataFrame(rows)


def _by_labels(method: Method, results: Results) -> dict[int, str]:
    """Labels → the mean accuracy of a method with its interval."""
    config = method.example.config
    part = results.of_arch(config.arch).only(method.example.protocols[0])
    frame = accuracies(part)
    own = rows_where(frame, frame["init"] == method.example.init)
    return {
        round(row["n_labels"]): bracketed(row["accuracy"], row["low"], row["high"])
        for row in records(own)
    }


def _classes(transfer: Transfer) -> ReportTable:
    """Which classes are the same, and how many of each are found without labels."""
    frame = pd.DataFrame(
        {
            "class here": [of.name for of in transfer.classes],
            "classes there": [" + ".join(of.source) for of in transfer.classes],
            "test images": [f"{sum(row):,}" for row in transfer.confusion],
            "found without labels": [
                formatting.NONE if np.isnan(found) else formatting.percent(float(found))
                for found in transfer.recalls
            ],
        }
    )
    return ReportTable(path="tables/transfer_classes", title=SHARED, frame=frame, numbers=False)
