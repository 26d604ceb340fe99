"""The check of an audit: labels flipped on purpose, and how they are found and counted.

On top of the given labels, whose errors nobody knows, a known share of the labels of each class is
changed. How much confident learning's estimate rises is its response; how early the flipped labels
come in the order of suspicion is precision at k.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from analysis.label_audit.confident_learning import (
    Audit,
    Labels,
    Probabilities,
    estimated_share,
    label_quality,
    out_of_fold,
)
from analysis.results.schema import rows_where
from trainable.probe import Components

Kind = Literal["uniform", "confused"]
KINDS: dict[Kind, str] = {
    "uniform": "to any other class",
    "confused": "to the most confused class",
}
"""Kind of flips → in words."""
AT: tuple[int, ...] = (10, 20, 50)
"""k of precision at k, beside the number of flipped labels."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Check:
    """All repeats of all flips."""

    frame: pd.DataFrame
    """One row for each repeat: ``kind``, ``rate`` (0–1, asked for), ``added`` (0–1, flipped),
    ``repeat``, ``estimate`` (0–1), ``average_precision`` and ``precision_at_10`` … and
    ``precision_at_flipped`` (0–1); NaN if there are fewer images than k."""
    rates: tuple[float, ...]
    repeats: int

    def of(self, kind: Kind, rate: float) -> pd.DataFrame:
        """The repeats of one kind at one rate."""
        frame = self.frame
        return rows_where(frame, (frame["kind"] == kind) & ((frame["rate"] - rate).abs() < 1e-9))


def most_confused(labels: Labels, probabilities: Probabilities) -> Labels:
    """(C,): the class that images of each label are most probably taken for."""
    classes = probabilities.shape[1]
    means = np.array([probabilities[labels == label].mean(0) for label in range(classes)])
    np.fill_diagonal(means, -1)
    return means.argmax(1)


def flip(
    labels: Labels,
    rate: float,
    kind: Kind,
    confused: Labels,
    random: np.random.Generator,
) -> Labels:
    """The labels (n,) with a share of each class changed.

    Parameters
    ----------
    labels
        (n,), 0 to C - 1.
    rate
        Share of each class, rounded to images.
    confused
        (C,), of `most_confused`.
    """
    classes, flipped = len(confused), labels.copy()
    for label in range(classes):
        members = np.flatnonzero(labels == label)
        chosen = random.choice(members, round(rate * len(members)), replace=False)
        if kind == "uniform":
            flipped[chosen] = (label + random.integers(1, classes, len(chosen))) % classes
        else:
            flipped[chosen] = confused[label]
    return flipped


def check(
    components: Components,
    groups: NDArray[np.int64],
    found: Audit,
    *,
    rates: Sequence[float],
    repeats: int,
    seed: int = 0,
    kinds: Sequence[Kind] = ("uniform", "confused"),
    progress: Callable[[int, int], None] | None = None,
) -> Check:
    """Flip, audit again, and compare.

    Parameters
    ----------
    components
        Of the features of the n images.
    groups
        (n,), as of `out_of_fold`.
    found
        The audit of the labels as given.
    rates
        Shares of the labels to flip, above 0.
    repeats
        Of each kind and rate, each with other flips and other folds.
    progress
        Called with (repeats done, repeats in all).
    """
    confused = most_confused(found.labels, found.probabilities)
    cases: list[tuple[Kind, float, int]] = [
        (kind, rate, repeat) for kind in kinds for rate in rates for repeat in range(repeats)
    ]
    rows: list[dict[str, str | float]] = []
    for done, (kind, rate, repeat) in enumerate(cases, start=1):
        random = np.random.default_rng([seed, list(KINDS).index(kind), round(1e6 * rate), repeat])
        labels = flip(found.labels, rate, kind, confused, random)
        probabilities = out_of_fold(components, labels, groups, seed=seed + repeat)
        is_flipped = labels != found.labels
        suspicion = -label_quality(labels, probabilities)
        rows.append(
            {
                "kind": kind,
                "rate": rate,
                "added": float(is_flipped.mean()),
                "repeat": repeat,
                "estimate": estimated_share(labels, probabilities),
                "average_precision": _average_precision(is_flipped, suspicion),
                **precisions(is_flipped, suspicion),
            }
        )
        if progress is not None:
            progress(done, len(cases))
    return Check(frame=pd.DataFrame(rows), rates=tuple(rates), repeats=repeats)


def precisions(is_flipped: NDArray[np.bool_], suspicion: NDArray[np.float64]) -> dict[str, float]:
    """Share of flipped labels among the k most suspect, for each k of `AT` and the number flipped."""
    ordered = is_flipped[np.argsort(-suspicion, kind="stable")]
    values = {f"precision_at_{k}": _mean(ordered[:k]) if k <= len(ordered) else np.nan for k in AT}
    return values | {"precision_at_flipped": _mean(ordered[: int(is_flipped.sum())])}


def _mean(values: NDArray[np.bool_]) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _average_precision(is_flipped: NDArray[np.bool_], suspicion: NDArray[np.float64]) -> float:
    if not is_flipped.any():
        return float("nan")
    return float(average_precision_score(is_flipped, suspicion))
