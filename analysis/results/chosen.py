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
    methods = _by_method(compared)
    chosen: list[Chosen] = []
    for place, method in enumerate(methods, start=1):
        for row in method[: number - len(chosen)]:
            reason = (
                f"number {len(chosen) + 1} by validation accuracy ({percent(row['best_val_accuracy'])}) of "
                f"{len(compared)} complete trials with {most:,} labels"
            )
            if len(methods) > 1:
                mean = percent(_mean(method, "best_val_accuracy"))
                reason += (
                    "; methods come first by their mean, and its is "
                    f"{'the best' if place == 1 else f'number {place}'} of {len(methods)} ({mean} over "
                    f"{len(method)} of its trials)"
                )
            if not chosen:
                reason += _doubt(results, methods)
            chosen.append(_chosen(results, row, reason))
    return tuple(chosen)


def _by_method(rows: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Rows of trials by architecture, init and protocol: best method first, of each the best trial first."""
    methods: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: (-row["best_val_accuracy"], row["best_val_loss"])):
        methods.setdefault((row["arch"], row["init"], row["protocol"]), []).append(row)
    return sorted(
        methods.values(), key=lambda m: (-_mean(m, "best_val_accuracy"), _mean(m, "best_val_loss"))
    )


def _mean(rows: Sequence[dict[str, Any]], name: str) -> float:
    return float(np.mean([row[name] for row in rows]))


def _doubt(results: Results, methods: Sequence[list[dict[str, Any]]]) -> str:
    """That another method is more accurate on the test set than that of the trial chosen; else empty.

    The best of many epochs on few validation images is lucky, and a probe's accuracy out of fold is
    not, so that validation may choose the wrong method. The test set chooses nothing here either: it
    is left to the reader.

    Parameters
    ----------
    methods
        Rows of the trials compared, as `_by_method` gives them.
    """
    if results.scored_on != "test":
        return ""
    own = _mean(methods[0], "accuracy")
    best_method = max(methods, key=lambda method: _mean(method, "accuracy"))
    best, other = _mean(best_method, "accuracy"), best_method[0]
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
