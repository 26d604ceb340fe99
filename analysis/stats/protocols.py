"""Several protocols on the same data, splits and seeds: what each prescribes and what it gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis import formatting
from analysis.metrics import ACCURACY, Metric
from analysis.results.schema import Results, records, rows_where
from analysis.stats.estimates import Estimate, accuracy_difference, spread
from analysis.stats.seed_predictions import CellRuns, cell_runs
from trainable.manifest import Cell

PARTS = {
    "all": "all",
    "head": "last layer",
    "non_encoder": "all but encoder",
    "probe": "last layer, in closed form",
}
"""What is trained, in words; what is not here speaks for itself (``last_2``)."""
IMAGES = {"resize": "resized", "resize_crop": "centre crop", "evaluation": "as the network's own"}
RULES = {"paper": "never resets", "resetting": "resets", "none": "no stopper"}
SETTINGS = {
    "trained": "trains",
    "transform": "image",
    "rule": "counter",
    "delta": "δ",
    "patience": "patience",
    "max_epochs": "epoch limit",
    "learning_rate": "learning rate",
    "schedule": "schedule",
    "layer_decay": "layer-wise decay",
    "weight_decay": "weight decay",
    "label_smoothing": "label smoothing",
    "mixup": "mixup α",
    "augment": "flips, rotations",
}
"""What protocols may differ in, and the heading of its column."""
ALWAYS = ("trained", "transform", "rule", "delta", "patience")
"""Settings with a column whether they differ or not: the four things that text and notebooks
differ in."""
NOT_OF_A_PROBE = frozenset(SETTINGS) - {"trained", "transform"}
"""Settings of training by steps."""
ALIKE = "is right on the same images as {}, seed by seed,"
SAME = "prescribes the same trials as {}"


@dataclass(frozen=True, kw_only=True)
class ProtocolCell:
    """One init and fraction by one protocol."""

    protocol: str
    cell: Cell
    """Of its first seed; the seeds share its settings."""
    trials: frozenset[str]
    """Names of all its trials, complete or not."""
    runs: CellRuns | None
    """None if none is complete."""
    epochs: tuple[int, ...]
    """Of each complete trial."""

    @property
    def accuracies(self) -> tuple[float, ...]:
        """Of each complete trial, 0–1."""
        return self.runs.accuracies if self.runs else ()

    def row(self) -> dict[str, Any]:
        """The columns of `compared` that are the cell's own."""
        settings = asdict(self.cell.config) | asdict(self.cell.config.stopping)
        if self.cell.config.trained == "probe":
            settings |= dict.fromkeys(NOT_OF_A_PROBE)
        elif settings["rule"] == "none":
            settings |= dict.fromkeys(("delta", "patience"))
        return {
            "protocol": self.protocol,
            "init": self.cell.init,
            "fraction": self.cell.fraction,
            "n_labels": self.cell.n_labels,
            "n_scored": self.cell.n_scored,
            **{name: settings[name] for name in SETTINGS},
            "trained_parameters": self.cell.trained_parameters,
            "n": len(self.accuracies),
            "accuracies": self.accuracies,
            "epochs": self.epochs,
        }


def compared(results: Results) -> pd.DataFrame | None:
    """Every protocol at every cell of its grid beside the first one; None if there is one alone.

    Returns
    -------
    pandas.DataFrame
        By init, fraction and protocol, the first protocol first. Settings of the trials (columns
        of `SETTINGS`); ``n`` complete seeds with their ``accuracies`` (0–1) and ``epochs``;
        ``difference``, an `Estimate` of the mean accuracy minus that of the first protocol in the
        cell, and ``gain``, minus that of the same protocol's baseline: None if a side has no
        complete trial or is the other; ``same``: the trials are the first protocol's own;
        ``alike``: they are others, but right on the same images, seed by seed (as if only
        the end of a trial is another), so that a difference needs no interval and is None.
    """
    if len(results.protocols) == 1:
        return None
    order = results.protocols.index
    cells = [cell for protocol in results.protocols for cell in _cells(results.only(protocol))]
    cells.sort(key=lambda c: (c.cell.init == "pretrained", c.cell.fraction, order(c.protocol)))
    by_key = {(c.protocol, c.cell.init, c.cell.fraction): c for c in cells}
    rows: list[dict[str, Any]] = []
    for cell in cells:
        first = by_key.get((results.protocols[0], cell.cell.init, cell.cell.fraction))
        other = None if first is cell else first
        baseline = by_key.get((cell.protocol, "scratch", results.baseline_fraction))
        same = other is not None and other.trials == cell.trials
        alike = other is not None and not same and _alike(cell.runs, other.runs)
        rows.append(
            cell.row()
            | {
                "gain": _difference(cell, baseline) if cell.cell.init == "pretrained" else None,
                "same": same,
                "alike": alike,
                "difference": None if same or alike else _difference(cell, other),
            }
        )
    return pd.DataFrame(rows)


def _cells(results: Results) -> list[ProtocolCell]:
    """The cells of results of one protocol."""
    trials = records(results.trials)
    keys = dict.fromkeys((str(row["init"]), float(row["fraction"])) for row in trials)
    cells: list[ProtocolCell] = []
    for init, fraction in keys:
        names = [t["trial"] for t in trials if (t["init"], t["fraction"]) == (init, fraction)]
        cells.append(
            ProtocolCell(
                protocol=results.manifest.protocol,
                cell=results.cell(names[0]),
                trials=frozenset(names),
                runs=cell_runs(results, init, fraction),
                epochs=tuple(int(epochs) for epochs in results.of(init, fraction)["epochs"]),
            )
        )
    return cells


def _difference(a: ProtocolCell, b: ProtocolCell | None) -> Estimate | None:
    if b is None or a.runs is None or b.runs is None:
        return None
    return accuracy_difference(a.runs, b.runs)


def _alike(a: CellRuns | None, b: CellRuns | None) -> bool:
    """Right on the same images, seed by seed; False if predictions are not stored.

    By another metric than accuracy: with the same predictions.
    """
    if a is None or b is None or a.predictions is None or b.predictions is None:
        return False
    if a.metric != ACCURACY:
        return np.array_equal(a.predictions.rows, b.predictions.rows) and np.array_equal(
            a.predictions.probabilities, b.predictions.probabilities
        )
    return np.array_equal(a.predictions.rows, b.predictions.rows) and np.array_equal(
        a.predictions.correct, b.predictions.correct
    )


def table(frame: pd.DataFrame, first: str, metric: Metric = ACCURACY) -> pd.DataFrame:
    """The comparison as text: a block for each cell, in which a setting stands if it differs.

    Parameters
    ----------
    frame
        As `compared` gives it.
    first
        The protocol that the others are compared with.
    metric
        What they are compared by.
    """
    points = ", points" if metric.shares else ""
    compared_rows = records(frame)
    shown = [name for name in SETTINGS if name in ALWAYS or _differs(compared_rows, name)]
    rows: list[dict[str, str]] = []
    heads: dict[tuple[str, float], dict[str, Any]] = {}
    for row in compared_rows:
        head = heads.setdefault((row["init"], row["fraction"]), row)
        mean, std = spread(row["accuracies"])[:2] if row["n"] else (None, None)
        rows.append(
            {
                "trial": formatting.cell_name(row["init"], row["fraction"]) if head is row else "",
                "protocol": row["protocol"],
                **{
                    SETTINGS[name]: _setting(row, name)
                    if head is row or row[name] != head[name]
                    else ""
                    for name in shown
                },
                "seeds": str(row["n"]),
                "epochs": _span(row["epochs"]),
                metric.heading: formatting.with_spread(_hundred(mean), _hundred(std))
                if metric.shares
                else formatting.with_spread(mean, std, digits=3),
                f"minus {first}{points}": _against(row, metric),
                f"minus baseline{points}": _interval(row["gain"]),
            }
        )
    return pd.DataFrame(rows)


def _hundred(share: float | None) -> float | None:
    return None if share is None else share * 100


def _differs(rows: Sequence[Mapping[str, Any]], name: str) -> bool:
    """Whether the protocols of any cell differ in a setting."""
    values: dict[tuple[str, float], set[Any]] = {}
    for row in rows:
        values.setdefault((row["init"], row["fraction"]), set()).add(row[name])
    return any(len(of_cell) > 1 for of_cell in values.values())


def _cell(row: Mapping[str, Any]) -> str:
    return f"{formatting.cell_name(row['init'], row['fraction'])}, {row['n_labels']:,} labels"


def _setting(row: Mapping[str, Any], name: str) -> str:
    if not formatting.known(row[name]):
        return formatting.NONE
    value = row[name]
    if name == "trained":
        return f"{PARTS.get(value, value)}, {row['trained_parameters']:,}"
    if name == "augment":
        return "yes" if value else "no"
    named = {"transform": IMAGES, "rule": RULES}.get(name)
    if named:
        return named[value]
    return value if isinstance(value, str) else f"{value:g}"


def _against(row: Mapping[str, Any], metric: Metric) -> str:
    if row["same"]:
        return "same trials"
    return f"{metric.size(0)} on each image" if row["alike"] else _interval(row["difference"])


def _span(counts: Sequence[int]) -> str:
    """(12, 15, 9) → "9–15"."""
    if not counts:
        return formatting.NONE
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low}–{high}"


def _interval(difference: Estimate | None) -> str:
    if difference is None:
        return formatting.NONE
    if difference.models is not None:
        return difference.in_points("")
    shown = difference.metric.difference
    text = shown(difference.value)
    if difference.low is None:
        return text
    return f"{text} [{shown(difference.low)}, {shown(difference.high)}]"


def _power(difference: Estimate) -> str:
    """What would have been found, if there is no significant difference."""
    return "" if difference.power is None else f" ({difference.power})"


def sentences(frame: pd.DataFrame, first: str, metric: Metric = ACCURACY) -> tuple[str, ...]:
    """What the comparison says of each protocol, in words; arguments as of `table`."""
    others = [protocol for protocol in frame["protocol"].unique() if protocol != first]
    rows = {p: records(rows_where(frame, frame["protocol"] == p)) for p in others}
    return (
        *(_against_first(rows[p], p, first, metric) for p in others),
        *_gains(records(frame), metric),
    )


def _against_first(
    rows: Sequence[Mapping[str, Any]], protocol: str, first: str, metric: Metric
) -> str:
    parts: list[str] = []
    signs = (
        (1, f"is {metric.compared(1)} than"),
        (0, "shows no significant difference from"),
        (-1, f"is {metric.compared(-1)} than"),
        (None, "has no interval against"),
    )
    for sign, what in signs:
        cells = [
            f"{_cell(row)}: {_interval(row['difference'])}{metric.unit}{_power(row['difference'])}"
            for row in rows
            if row["difference"] is not None and row["difference"].sign == sign
        ]
        if cells:
            parts.append(f"{what} {first} at {'; '.join(cells)}")
    for column, what in (("alike", ALIKE), ("same", SAME)):
        cells = [_cell(row) for row in rows if row[column]]
        if cells:
            parts.append(f"{what.format(first)} at {'; '.join(cells)}")
    if not parts:
        return f"{protocol} cannot be compared with {first}: they share no cell that is complete."
    return f"{protocol} {'. It '.join(parts)}."


def _gains(rows: Sequence[Mapping[str, Any]], metric: Metric) -> tuple[str, ...]:
    """Pre-training against each protocol's own baseline, at its largest fraction."""
    known = [row for row in rows if row["gain"] is not None]
    if not known:
        return ()
    largest = max(row["fraction"] for row in known)
    cells = (
        f"{_interval(row['gain'])} by {row['protocol']}"
        for row in known
        if row["fraction"] == largest
    )
    return (
        f"Pre-trained at {formatting.fraction(largest)} of the labels minus from scratch on "
        f"all labels{', in points' if metric.shares else ''}: {formatting.listed(cells)}.",
    )
