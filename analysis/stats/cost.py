"""What training costs: images through the network, floating-point operations, seconds.

Counted in two ways. "Every image, every epoch": each passes the whole network in each
epoch, as the paper trains, frozen or not. "As run here": a head on cached features needs one pass
of each image through the frozen network, once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.results.schema import Results, records, rows_where
from analysis.stats.estimates import Estimate, ratio
from trainable.flops import epoch_flops, head_epoch_flops, probe_flops
from trainable.manifest import Cell

EVERY_EPOCH = "every image, every epoch"
AS_TRAINED = "as run here"


@dataclass(frozen=True, kw_only=True)
class Share:
    """A cost of the pre-trained model as a share of the baseline's."""

    quantity: str
    counted: str
    """`EVERY_EPOCH` or `AS_TRAINED`."""
    ours: float
    """Mean over seeds, in images, FLOP or seconds."""
    baseline: float
    share: Estimate


def costs(results: Results) -> pd.DataFrame:
    """Costs of every complete trial.

    Returns
    -------
    pandas.DataFrame
        ``trial``, ``init``, ``fraction``, ``counted``, ``images``, ``flops`` and ``seconds``
        (NaN if the logs have none, or it was not run so); two rows a trial. A training step
        costs three forward passes if all is trained, two if all but the encoder is, one below
        a head, and what was counted for other parts; validation one. A probe sees each image once.
    """
    rows: list[tuple[Any, ...]] = []
    for trial in records(results.complete):
        cell = results.cell(trial["trial"])
        once, epochs, seconds = (
            cell.config.on_features,
            int(trial["epochs"]),
            trial["total_seconds"],
        )
        images, full, head = _counts(cell, epochs)
        here = cell.forward_flops * images + head if once else full
        for counted, seen, flops, time in (
            (EVERY_EPOCH, epochs * images, full, None if once else seconds),
            (AS_TRAINED, images if once else epochs * images, here, seconds),
        ):
            key = (trial["trial"], cell.init, cell.fraction, counted)
            rows.append((*key, float(seen), float(flops), time))
    columns = ["trial", "init", "fraction", "counted", "images", "flops", "seconds"]
    return pd.DataFrame(rows, columns=columns).astype({"seconds": float})


def _counts(cell: Cell, epochs: int) -> tuple[int, int, int]:
    """Images of an epoch; operations of the trial if each passes the whole network; of a head alone."""
    parameters, forward_flops = cell.trained_parameters, cell.forward_flops
    if cell.config.trained == "probe":  # its labelled images validate, if there is a test set
        images = cell.n_train + (0 if cell.n_test else cell.n_val)
        fits = probe_flops(parameters=parameters, n_train=cell.n_train, folds=cell.folds)
        return images, forward_flops * images + fits, fits
    # each image of K folds is trained on K - 1 times an epoch, and once by the last model
    split = {"n_train": cell.n_train * max(1, cell.folds), "n_val": cell.n_val}
    full = epoch_flops(
        trained=cell.config.trained,
        forward_flops=forward_flops,
        backward_flops=cell.backward_flops,
        **split,
    )
    head = head_epoch_flops(parameters=parameters, **split)
    return sum(split.values()), epochs * full, epochs * head


def shares(results: Results, fraction: float) -> list[Share]:
    """Costs of the pre-trained model at `fraction` as shares of the baseline's.

    Only what the logs have; seconds as run alone, unless both were run in full.
    """
    frame = costs(results)
    compared: list[Share] = []
    counted_already: list[tuple[str, list[float], list[float]]] = []
    for quantity in ("images", "flops", "seconds"):
        for counted in (EVERY_EPOCH, AS_TRAINED):
            rows = rows_where(frame, (frame["counted"] == counted) & frame[quantity].notna())
            ours = _values(rows, quantity, "pretrained", fraction)
            baseline = _values(rows, quantity, "scratch", results.baseline_fraction)
            if not ours or not baseline or min(*ours, *baseline) <= 0:
                continue
            if (quantity, ours, baseline) in counted_already:
                continue  # nothing is cached: both ways of counting are one
            counted_already.append((quantity, ours, baseline))
            compared.append(
                Share(
                    quantity=quantity,
                    counted=counted,
                    ours=sum(ours) / len(ours),
                    baseline=sum(baseline) / len(baseline),
                    share=ratio(ours, baseline),
                )
            )
    return compared


def _values(rows: pd.DataFrame, quantity: str, init: str, fraction: float) -> list[float]:
    """One cost of each complete trial of a cell."""
    return [
        float(row[quantity])
        for row in records(rows)
        if row["init"] == init and abs(row["fraction"] - fraction) < 1e-9
    ]
