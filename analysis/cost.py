"""What training costs: images through the network, floating-point operations, seconds.

Counted twice where it matters. "Every image, every epoch": each passes the whole network in each
epoch, as the paper trains, frozen or not. "As run here": a head on cached features needs one pass
of each image through the frozen network, once.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from trainable.protocol import PASSES

from .frames import BASELINE_FRACTION, Results
from .statistics import Estimate, ratio

EVERY_EPOCH = "every image, every epoch"
AS_RUN = "as run here"
FLOPS_PER_WEIGHT = 2  # of a linear layer: a product and a sum


@dataclass(frozen=True, kw_only=True)
class Share:
    """A cost of the pre-trained model as a share of the baseline's."""

    quantity: str
    counted: str
    """`EVERY_EPOCH` or `AS_RUN`."""
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
        (NaN where the logs have none, or it was not run so); two rows a trial. A training step
        costs three forward passes where all is trained, two where all but the encoder is, one below
        a head; validation one.
    """
    cells = [cell["run"] for manifest in results.manifests for cell in manifest["cells"]]
    runs = {(run["init"], run["fraction"], run["seed"]): run for run in cells}
    rows = []
    for trial in results.complete.itertuples():
        run = runs[trial.init, trial.fraction, trial.seed]
        once = run["trained"] == "head" and run.get("cache_features", True)
        images = trial.n_train + trial.n_val
        forwards = PASSES[run["trained"]] * trial.n_train + trial.n_val
        whole = trial.epochs * trial.forward_flops * forwards
        head = trial.epochs * FLOPS_PER_WEIGHT * trial.trained_parameters
        head *= PASSES["all"] * trial.n_train + trial.n_val
        here = trial.forward_flops * images + head if once else whole
        seconds = trial.total_seconds
        for counted, seen, flops, time in (
            (EVERY_EPOCH, trial.epochs * images, whole, None if once else seconds),
            (AS_RUN, images if once else trial.epochs * images, here, seconds),
        ):
            key = (trial.trial, trial.init, trial.fraction, counted)
            rows.append((*key, float(seen), float(flops), time))
    columns = ["trial", "init", "fraction", "counted", "images", "flops", "seconds"]
    return pd.DataFrame(rows, columns=columns).astype({"seconds": float})


def shares(results: Results, fraction: float) -> list[Share]:
    """Costs of the pre-trained model at `fraction` as shares of the baseline's.

    Only what the logs know; seconds as run alone, unless both were run in full.
    """
    frame = costs(results)
    made, known = [], []
    for quantity in ("images", "flops", "seconds"):
        for counted in (EVERY_EPOCH, AS_RUN):
            rows = frame[frame["counted"] == counted].dropna(subset=quantity)
            ours = _of(rows, "pretrained", fraction)[quantity].tolist()
            theirs = _of(rows, "scratch", BASELINE_FRACTION)[quantity].tolist()
            if not ours or not theirs or min(*ours, *theirs) <= 0:
                continue
            if (quantity, ours, theirs) in known:
                continue  # nothing is cached: both ways of counting are one
            known.append((quantity, ours, theirs))
            made.append(
                Share(
                    quantity=quantity,
                    counted=counted,
                    ours=sum(ours) / len(ours),
                    baseline=sum(theirs) / len(theirs),
                    share=ratio(ours, theirs),
                )
            )
    return made


def _of(rows: pd.DataFrame, init: str, fraction: float) -> pd.DataFrame:
    return rows[(rows["init"] == init) & ((rows["fraction"] - fraction).abs() < 1e-9)]
