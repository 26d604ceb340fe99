"""All trials: on the page as text, and as numbers in ``trials.csv`` and ``epochs.csv``."""

from __future__ import annotations

import pandas as pd

from analysis import formatting
from analysis.metrics import ACCURACY
from analysis.report.analysis import Analysis
from analysis.report.section import Section
from analysis.report.tables import ReportTable
from analysis.results.schema import Results, records

COLUMNS = (
    *("trial", "arch", "init", "fraction", "seed", "protocol", "n_labels", "n_scored", "epochs"),
    *("accuracy", "loss", "best_val_accuracy", "best_val_loss"),
    *("epoch_seconds", "total_seconds", "status"),
)
"""Of ``trials.csv``; accuracies in 0–1, losses in nats, times in seconds. ``accuracy`` and ``loss`` are of
the images that the trial is scored on."""


def section(analysis: Analysis) -> Section:
    """The trials of all protocols."""
    results, metric = analysis.everything, analysis.everything.metric
    data = results.trials.loc[:, list(COLUMNS)]
    if metric != ACCURACY:
        data.insert(COLUMNS.index("accuracy") + 1, metric.name, _values(results))
    return Section(
        id="trials",
        title="All trials",
        blocks=(ReportTable(frame=trials_table(results)),),
        data={"trials": data, "epochs": results.epochs},
    )


def _values(results: Results) -> list[float | None]:
    """The metric of each trial; None if it is not complete or has none."""
    complete = set(results.complete["trial"])
    return [results.value(t) if t in complete else None for t in results.trials["trial"]]


def trials_table(results: Results) -> pd.DataFrame:
    """All trials as text, with what became of each."""
    metric, values = results.metric, _values(results)
    rows = [
        {
            "trial": trial["trial"],
            **({"architecture": trial["arch"]} if len(results.archs) > 1 else {}),
            "init": trial["init"],
            "fraction": formatting.fraction(trial["fraction"]),
            "seed": str(trial["seed"]),
            "labels": f"{trial['n_labels']:,}",
            f"{results.scored_on} images": f"{trial['n_scored']:,}",
            "epochs": str(trial["epochs"]),
            "best at epoch": formatting.number(trial["best_epoch"], 0),
            "accuracy %": formatting.percent(trial["accuracy"], 2).removesuffix("%"),
            **({} if metric == ACCURACY else {metric.heading: metric.cell(value, 2)}),
            "loss": formatting.number(trial["loss"], 4),
            "s per epoch": formatting.two_digits(trial["epoch_seconds"]),
            "status": trial["status"],
        }
        for trial, value in zip(records(results.trials), values, strict=True)
    ]
    return pd.DataFrame(rows)
