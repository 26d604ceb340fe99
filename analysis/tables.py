"""Tables 1 and 2, ours beside the paper's, as frames of text and as Markdown, LaTeX and HTML.

A frame has one row per cell of the grid (init and fraction; seeds together). Accuracies are in
per cent and their differences in points, as in the paper.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from . import paper, words
from .frames import Results
from .intervals import accuracies
from .statistics import spread
from .verdicts import Claim

BOLD = ("trial", "accuracy %")
PAPER_NOTE = "the paper, Galaxy10 with ViT-B/16"


def cell_name(init: str, fraction: float) -> str:
    """A cell as the reader sees it: "scratch 100 %"."""
    return f"{init} {words.fraction(fraction)}"


def cells(results: Results) -> pd.DataFrame:
    """Init, fraction and labels of every cell of the grid, complete or not; scratch first."""
    columns = ["init", "fraction", "n_train"]
    return results.trials[columns].drop_duplicates(columns[:2], ignore_index=True)


def table_1(results: Results) -> pd.DataFrame:
    """Best validation accuracy and lowest validation loss of each cell.

    Columns of the paper, and the difference where the two may be compared.
    """
    comparable = paper.why_not_comparable(results.manifest) is None
    intervals = {
        (row.init, row.fraction): f"{row.low * 100:.1f}–{row.high * 100:.1f}"
        for row in accuracies(results).itertuples()
    }
    rows = []
    for init, fraction, n_train in cells(results).itertuples(index=False):
        trials = results.of(init, fraction)
        published = paper.published(init, fraction)
        accuracy, loss = (_spread(trials, c) for c in ("best_val_accuracy", "best_val_loss"))
        row = {
            "trial": cell_name(init, fraction),
            "labels": f"{n_train:,}",
            "seeds": str(len(trials)),
            "accuracy %": words.with_spread(*(_hundred(x) for x in accuracy)),
            "95 % interval": intervals.get((init, fraction), words.NONE),
            "loss": words.with_spread(*loss, digits=4),
            "paper's trial": published.trial if published else words.NONE,
            "paper: accuracy %": words.number(_hundred(published and published.accuracy)),
            "paper: loss": words.number(published and published.loss, 4),
        }
        if comparable:
            row["difference, points"] = _less(accuracy[0], published and published.accuracy, 100, 2)
            row["difference, loss"] = _less(loss[0], published and published.loss, 1, 4)
        rows.append(row)
    return pd.DataFrame(rows)


def table_2(results: Results) -> pd.DataFrame:
    """Epochs, seconds per epoch and total training time of each cell, means over seeds.

    Times are never subtracted from the paper's: the machines differ.
    """
    rows = []
    for init, fraction, n_train in cells(results).itertuples(index=False):
        trials = results.of(init, fraction)
        published = paper.published(init, fraction)
        epochs, each, total = (
            _spread(trials, column) for column in ("epochs", "epoch_seconds", "total_seconds")
        )
        limit = len(trials) and not trials["stopped_early"].all()
        rows.append(
            {
                "trial": cell_name(init, fraction),
                "labels": f"{n_train:,}",
                "seeds": str(len(trials)),
                "epochs": words.with_spread(*epochs, digits=0) + (" (limit)" if limit else ""),
                "s per epoch": words.two_digits(*each),
                "total, min": words.two_digits(*(x and x / 60 for x in total)),
                "paper's trial": published.trial if published else words.NONE,
                "paper: epochs": words.number(published and published.epochs, 0),
                "paper: s per epoch": words.number(published and published.epoch_seconds, 0),
                "paper: total, min": words.number(published and published.total_minutes, 0),
            }
        )
    return pd.DataFrame(rows)


def _spread(trials: pd.DataFrame, column: str) -> tuple[float | None, float | None]:
    values = trials[column].dropna()
    return spread(values.tolist())[:2] if len(values) else (None, None)


def _hundred(share: float | None) -> float | None:
    return share * 100 if words.known(share) else None


def _less(ours: float | None, theirs: float | None, scale: float, digits: int) -> str:
    if not (words.known(ours) and words.known(theirs)):
        return words.NONE
    return words.number((ours - theirs) * scale, digits, signed=True)


def best_rows(results: Results) -> list[int]:
    """Row of `table_1` with the best mean accuracy: printed in bold, as in the paper."""
    complete = results.complete
    if complete.empty:
        return []
    means = complete.groupby(["init", "fraction"])["best_val_accuracy"].mean()
    init, fraction = means.idxmax()
    table = cells(results)
    return table.index[(table["init"] == init) & (table["fraction"] == fraction)].tolist()


def trials_table(results: Results) -> pd.DataFrame:
    """All trials as text, with what became of each."""
    rows = []
    for trial in results.trials.itertuples():
        rows.append(
            {
                "trial": trial.trial,
                "init": trial.init,
                "fraction": words.fraction(trial.fraction),
                "seed": str(trial.seed),
                "labels": f"{trial.n_train:,}",
                "validation images": f"{trial.n_val:,}",
                "epochs": str(trial.epochs),
                "best at epoch": words.number(trial.best_epoch, 0),
                "accuracy %": words.number(_hundred(trial.best_val_accuracy)),
                "loss": words.number(trial.best_val_loss, 4),
                "s per epoch": words.two_digits(trial.epoch_seconds),
                "status": trial.status,
            }
        )
    return pd.DataFrame(rows)


def trials_csv(results: Results) -> pd.DataFrame:
    """All trials as numbers: accuracies in 0–1, times in seconds."""
    columns = (
        "trial init fraction seed protocol n_train n_val epochs best_val_accuracy best_val_loss "
        "epoch_seconds total_seconds status"
    )
    return results.trials[columns.split()]


def claims_table(claims: Sequence[Claim]) -> pd.DataFrame:
    """The claims as a frame of text."""
    names = ["claim", "verdict", "here", "the paper", "why"]
    rows = [(c.claim, c.verdict, c.ours, c.paper, c.why) for c in claims]
    return pd.DataFrame(rows, columns=names)


def to_markdown(table: pd.DataFrame, title: str, bold: Sequence[int] = ()) -> str:
    """A Markdown table under its title."""
    table = _bold(table, bold, "**{}**")
    return f"{title}\n\n{table.to_markdown(index=False, disable_numparse=True)}\n"


def to_latex(table: pd.DataFrame, title: str, bold: Sequence[int] = ()) -> str:
    """A LaTeX table (package booktabs) with its caption."""
    marked = _bold(table.map(_escape), bold, r"\textbf{{{}}}").rename(columns=_escape)
    caption = _escape(title).removeprefix("Table ").lstrip("0123456789. ")  # LaTeX numbers them
    return marked.to_latex(index=False, escape=False, caption=caption, position="htbp")


def _bold(table: pd.DataFrame, rows: Sequence[int], form: str) -> pd.DataFrame:
    table = table.copy()
    for row in rows:
        for column in BOLD:
            table.loc[row, column] = form.format(table.loc[row, column])
    return table


def _escape(text: str) -> str:
    for plain, escaped in (("\\", r"\textbackslash "), ("%", r"\%"), ("_", r"\_"), ("&", r"\&")):
        text = text.replace(plain, escaped)
    return (
        text.replace("−", "$-$").replace("±", r"$\pm$").replace("–", "--").replace("δ", r"$\delta$")
    )
