"""Tables 1 and 2 of the paper: ours beside the paper's.

One row per cell of the grid (init and fraction; seeds together). Accuracies are in per cent and
their differences in points, as in the paper.
"""

from __future__ import annotations

import pandas as pd

from analysis import formatting, paper
from analysis.report.analysis import Analysis
from analysis.report.section import Block, Section
from analysis.report.tables import BEST, ReportTable
from analysis.results.schema import Results, groups, records
from analysis.stats.estimates import spread

NOTE = "the paper, Galaxy10 with ViT-B/16"
BOLD = ("trial", "accuracy %")
"""Columns that are bold in the row with the best mean accuracy, as in the paper."""
TITLE_1 = (
    "Table 1. {}. Mean ± standard deviation over seeds. The 95% CI is over {} images and seeds; with "
    f"one seed it is Wilson's, over the images alone. Columns “paper”: {NOTE}, n = 1 run, best "
    "validation accuracy and lowest validation loss."
)
TITLE_2 = (
    "Table 2. Epochs and training time. Mean ± standard deviation over seeds; “limit”: a trial "
    f"ended at the epoch limit, not by the stopper. Columns “paper”: {NOTE} on another machine, "
    "n = 1 run."
)


def section(analysis: Analysis) -> Section:
    """Both tables; by accuracy, whatever the report's metric."""
    analysis = analysis.by_accuracy
    blocks: list[Block] = []
    if analysis.not_comparable:
        blocks.append(
            "The paper's numbers stand beside ours for orientation, without a difference, because "
            f"{analysis.not_comparable}."
        )
    best = {(row, column): BEST for row in best_rows(analysis.results) for column in BOLD}
    results = analysis.results
    what = f"{results.accuracy_name} and {results.loss_name}"
    title = TITLE_1.format(what[0].upper() + what[1:], results.scored_on)
    blocks.append(
        ReportTable(path="tables/table_1", title=title, frame=table_1(analysis), marks=best)
    )
    blocks.append(
        ReportTable(path="tables/table_2", title=TITLE_2, frame=table_2(analysis.results))
    )
    return Section(id="tables", title="Tables", blocks=tuple(blocks))


def cells(results: Results) -> pd.DataFrame:
    """Init, fraction and labels of every cell of the grid, complete or not; scratch first."""
    first = [rows.iloc[[0]] for _, rows in groups(results.trials, "init", "fraction")]
    return pd.concat(first, ignore_index=True).loc[:, ["init", "fraction", "n_labels"]]


def table_1(analysis: Analysis) -> pd.DataFrame:
    """Accuracy and loss of each cell.

    Columns of the paper, and the difference if the two may be compared.
    """
    intervals = {
        (init, fraction): f"{low * 100:.1f}–{high * 100:.1f}"
        for init, fraction, low, high in analysis.accuracies[
            ["init", "fraction", "low", "high"]
        ].itertuples(index=False)
    }
    rows: list[dict[str, str]] = []
    for init, fraction, n_labels in cells(analysis.results).itertuples(index=False):
        trials = analysis.results.of(init, fraction)
        published = paper.published(init, fraction)
        accuracy, loss = (_spread(trials, c) for c in ("accuracy", "loss"))
        row = {
            "trial": formatting.cell_name(init, fraction),
            "labels": f"{n_labels:,}",
            "seeds": str(len(trials)),
            "accuracy %": formatting.with_spread(_hundred(accuracy[0]), _hundred(accuracy[1])),
            "95% CI": intervals.get((init, fraction), formatting.NONE),
            "loss": formatting.with_spread(*loss, digits=4),
            "paper's trial": published.trial if published else formatting.NONE,
            "paper: accuracy %": formatting.number(_hundred(published and published.accuracy)),
            "paper: loss": formatting.number(published and published.loss, 4),
        }
        if analysis.not_comparable is None:
            theirs = published and published.accuracy
            row["difference, points"] = _difference(accuracy[0], theirs, 100, 2)
            row["difference, loss"] = _difference(loss[0], published and published.loss, 1, 4)
        rows.append(row)
    return pd.DataFrame(rows)


def table_2(results: Results) -> pd.DataFrame:
    """Epochs, seconds per epoch and total training time of each cell, means over seeds.

    Times are never subtracted from the paper's: the machines differ.
    """
    rows: list[dict[str, str]] = []
    for init, fraction, n_labels in cells(results).itertuples(index=False):
        trials = results.of(init, fraction)
        published = paper.published(init, fraction)
        epochs, each, total = (
            _spread(trials, column) for column in ("epochs", "epoch_seconds", "total_seconds")
        )
        limit = " (limit)" if len(trials) and not trials["stopped_early"].all() else ""
        of_steps = not results.are_probes(init)
        rows.append(
            {
                "trial": formatting.cell_name(init, fraction),
                "labels": f"{n_labels:,}",
                "seeds": str(len(trials)),
                "epochs": formatting.with_spread(*epochs, digits=0) + limit
                if of_steps
                else formatting.NONE,
                "s per epoch": formatting.two_digits(*each) if of_steps else formatting.NONE,
                "total, min": formatting.two_digits(_minutes(total[0]), _minutes(total[1])),
                "paper's trial": published.trial if published else formatting.NONE,
                "paper: epochs": formatting.number(published and published.epochs, 0),
                "paper: s per epoch": formatting.number(published and published.epoch_seconds, 0),
                "paper: total, min": formatting.number(published and published.total_minutes, 0),
            }
        )
    return pd.DataFrame(rows)


def best_rows(results: Results) -> list[int]:
    """Row of `table_1` with the best mean accuracy; none without a complete trial."""
    complete = results.complete
    if complete.empty:
        return []
    means = {cell: rows["accuracy"].mean() for cell, rows in groups(complete, "init", "fraction")}
    best = max(means, key=lambda cell: means[cell])
    table = records(cells(results))
    return [n for n, row in enumerate(table) if (row["init"], row["fraction"]) == best]


def _spread(trials: pd.DataFrame, column: str) -> tuple[float | None, float | None]:
    values = trials[column].dropna()
    return spread(values.tolist())[:2] if len(values) else (None, None)


def _hundred(share: float | None) -> float | None:
    return None if share is None else share * 100


def _minutes(seconds: float | None) -> float | None:
    return None if seconds is None else seconds / 60


def _difference(ours: float | None, theirs: float | None, scale: float, digits: int) -> str:
    if ours is None or theirs is None:
        return formatting.NONE
    return formatting.number((ours - theirs) * scale, digits, signed=True)
