"""Which trials of a sweep to use: the best by validation, or those that are named.

Test images choose nothing, so that the test accuracy of a chosen trial stays an honest estimate.
Trials with fewer labels have fewer validation images, whose highest accuracy is the luckiest rather
than the best, so only those with the most labels are compared. For the same reason the method is
chosen first, by the mean over its seeds, and the trial among those of the method.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analysis.formatting import percent
from analysis.results.schema import COMPLETE, Results, records, rows_where
from trainable.errors import SweepError
from trainable.manifest import Cell


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """A complete trial, with the folder of its checkpoint."""

    name: str
    """As the report shows it."""
    cell: Cell
    checkpoint: Path
    validation_accuracy: float | None
    """0–1, at the epoch that the validation images chose."""
    accuracy: float | None
    """0–1, of the images that the sweep is scored on."""
    reason: str
    """Why it was chosen, in a sentence."""


def best_trials(
    results: Results, number: int = 1, among: Callable[[Cell], bool] | None = None
) -> tuple[Chosen, ...]:
    """The complete trials that are best by validation, among those with the most labels.

    First come those of the method (architecture, init and protocol) with the highest validation accuracy
    on average over its trials, the most accurate first, then those of the next method. Of equal ones the
    lower validation loss counts, and then the order of the sweep.

    Parameters
    ----------
    among
        Which trials may be chosen. None: all.

    Raises
    ------
    SweepError
        There are not so many complete trials with a checkpoint.
    """
    stored = (row for row in records(results.complete) if isinstance(row["checkpoint"], str))
    usable = [row for row in stored if among is None or among(results.cell(row["trial"]))]
    most = max((row["n_labels"] for row in usable), default=0)
    compared = [row for row in usable if row["n_labels"] == most]
    if len(compared) < number:
        name = results.manifest.name
        at_most = f" with the most labels ({most:,})" if usable else ""
        raise SweepError(
            f"{name} has {len(compared)} complete trials with a checkpoint{at_most}, and {number} are "
            f"asked for: resume it (python -m sweep.run --resume {name}), or name trials with --trial"
        )
    order = _in_order(compared)
    return tuple(
        _chosen(
            results, row, _reason(rank, order, most) + (_doubt(results, order) if rank == 1 else "")
        )
        for rank, row in enumerate(order[:number], start=1)
    )


def _by_method(rows: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Rows of trials in lists, one for each architecture, init and protocol."""
    methods: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in rows:
        methods.setdefault((row["arch"], row["init"], row["protocol"]), []).append(row)
    return list(methods.values())


def _in_order(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The best method's trials first, and of each method the best trial first."""

    def mean(of_method: list[dict[str, Any]]) -> tuple[float, float]:
        accuracy = np.mean([row["best_val_accuracy"] for row in of_method])
        return -float(accuracy), float(np.mean([row["best_val_loss"] for row in of_method]))

    def own(row: dict[str, Any]) -> tuple[float, float]:
        return -row["best_val_accuracy"], row["best_val_loss"]

    return [row for method in sorted(_by_method(rows), key=mean) for row in sorted(method, key=own)]


def _reason(rank: int, order: Sequence[dict[str, Any]], most: int) -> str:
    """Why a trial is chosen.

    Parameters
    ----------
    rank
        Its number in `order`, from 1.
    order
        Rows of the trials compared.
    most
        Their labels.
    """
    row, methods = order[rank - 1], _by_method(order)
    own = percent(row["best_val_accuracy"])
    text = f"number {rank} by validation accuracy ({own}) of {len(order)} complete trials with {most:,} labels"
    if len(methods) == 1:
        return text
    (of_row,) = (method for method in methods if row in method)
    mean = percent(float(np.mean([other["best_val_accuracy"] for other in of_row])))
    place = "the best" if of_row is methods[0] else f"number {methods.index(of_row) + 1}"
    trials = f"{len(of_row)} such trial{'s' if len(of_row) > 1 else ''}"
    return f"{text}; methods come first by their mean, and its is {place} of {len(methods)} ({mean}, {trials})"


def _doubt(results: Results, order: Sequence[dict[str, Any]]) -> str:
    """That another method is more accurate on the test set than that of the trial chosen; else empty.

    The best of many epochs on few validation images is lucky, and a probe's accuracy out of fold is
    not, so that validation may choose the wrong method. The test set chooses nothing here either: it
    is left to the reader.

    Parameters
    ----------
    order
        Rows of the trials compared, the chosen one first.
    """
    if results.scored_on != "test":
        return ""
    means = [
        (float(np.mean([row["accuracy"] for row in rows])), rows[0]) for rows in _by_method(order)
    ]
    (own, _), (best, other) = means[0], max(means, key=lambda mean: mean[0])
    if best <= own:
        return ""
    return (
        f"; but on the test set trials like {other['trial']} are right on {percent(best)} on average and "
        f"those like this one on {percent(own)}, so consider --trial {other['trial']}"
    )


def named_trials(results: Results, names: Sequence[str]) -> tuple[Chosen, ...]:
    """The trials of those names, as the report shows them or as their folders are called.

    Raises
    ------
    SweepError
        There is none of a name, or it is not complete, or has no checkpoint.
    """
    found: list[Chosen] = []
    for name in names:
        known = (results.trials["trial"] == name) | (results.trials["cell"] == name)
        rows = records(rows_where(results.trials, known))
        if not rows:
            have = ", ".join(results.trials["trial"].head(6))
            raise SweepError(
                f"{results.manifest.name} has no trial {name!r}; it has {have}, … (sweep.json and the "
                "report list them)"
            )
        row = rows[0]
        if row["status"] != COMPLETE:
            raise SweepError(
                f"the trial {name} is not complete ({row['status']}{_because(row)}): resume the sweep "
                f"(python -m sweep.run --resume {results.manifest.name}), or choose another --trial"
            )
        if not isinstance(row["checkpoint"], str):
            raise SweepError(f"the trial {name} has no checkpoint: choose another --trial")
        found.append(_chosen(results, row, "named by --trial"))
    return tuple(found)


def _because(row: dict[str, Any]) -> str:
    return f": {row['error']}" if row["error"] else ""


def _chosen(results: Results, row: dict[str, Any], reason: str) -> Chosen:
    return Chosen(
        name=row["trial"],
        cell=results.cell(row["trial"]),
        checkpoint=Path(row["checkpoint"]).absolute(),
        validation_accuracy=row["best_val_accuracy"],
        accuracy=row["accuracy"],
        reason=reason,
    )
