"""What trials are compared by: accuracy or another score of their stored predictions.

    python -m analysis.report ray_results/NAME --metric balanced_accuracy

Greater is better in all of them, as scikit-learn's scorers have it: a loss has its sign changed. Each
gives a value for one trial and, for the bootstrap, one for each resample of its images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.formatting import number, percent, points
from trainable.errors import SettingsError

SCORER_RESAMPLES = 250
"""Resamples of the images for a scorer of scikit-learn, which takes 2 to 20 ms for each resample
and trial; what is computed for all resamples at once has `bootstrap.RESAMPLES`."""

Counts = NDArray[np.float64]
"""(B, C) Images in each of B resamples that are of each class, are classified as it, or both."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A score of a trial's predictions; the greater, the better."""

    name: str
    """As ``--metric`` has it."""
    label: str
    """In a sentence and, after "test", on an axis: "balanced accuracy"."""
    definition: str
    """What it is, as the rest of a sentence that begins with its label."""
    shares: bool = False
    """Values are 0–1 and shown in per cent, differences in points; else both are plain numbers."""
    from_counts: Callable[[Counts, Counts, Counts], NDArray[np.float64]] | None = None
    """Takes images of each class, images classified as it, and those of both, (B, C) each, to the
    values (B,). None: the value is that of scikit-learn's scorer `name`."""
    known: dict[bytes, NDArray[np.float64]] = field(
        default_factory=dict[bytes, "NDArray[np.float64]"], repr=False, compare=False
    )
    """Values of scikit-learn's scorer that were computed already, by checksum of what they are of."""

    def value(
        self, labels: NDArray[np.integer[Any]], probabilities: NDArray[np.floating[Any]]
    ) -> float | None:
        """The value of one trial; None if it has none, as some class has no image.

        Parameters
        ----------
        labels
            (n,) True class of each image, 0 to C - 1.
        probabilities
            (n, C), 0–1.
        """
        once = np.ones((1, len(labels)), dtype=np.int64)
        (value,) = self.resampled(labels, probabilities, once)
        return None if np.isnan(value) else float(value)

    def resampled(
        self,
        labels: NDArray[np.integer[Any]],
        probabilities: NDArray[np.floating[Any]],
        times: NDArray[np.integer[Any]],
        *,
        right: NDArray[np.integer[Any]] | None = None,
        wrong: NDArray[np.integer[Any]] | None = None,
    ) -> NDArray[np.float64]:
        """The values of one trial over B resamples of its images.

        Parameters
        ----------
        labels, probabilities
            (n,) and (n, C), as of `value`.
        times
            (B, n) How often each image is drawn.
        right, wrong
            (B,) How many images are added that are classified correctly and wrongly. Each counts for
            all classes in equal parts, so that it weighs as much as an average image of balanced classes.
            A scorer of scikit-learn leaves them out.

        Returns
        -------
        numpy.ndarray
            (B,); NaN if a scorer of scikit-learn is not defined, as some class is not drawn.
        """
        if self.from_counts is None:
            return self._scored(labels, probabilities, times)
        n_classes = probabilities.shape[1]
        kinds = np.arange(n_classes)
        predicted = probabilities.argmax(axis=1)
        drawn = times.astype(np.float32)  # exact up to 2**24 images
        true, named = labels[:, None] == kinds, predicted[:, None] == kinds
        parts = (true, named, true & named)
        of_class, as_class, hits = ((drawn @ p.astype(np.float32)).astype(float) for p in parts)
        if right is not None and wrong is not None:
            share, all_added = right[:, None] / n_classes, (right + wrong)[:, None] / n_classes
            of_class, as_class, hits = of_class + all_added, as_class + all_added, hits + share
        return self.from_counts(of_class, as_class, hits)

    def _scored(
        self,
        labels: NDArray[np.integer[Any]],
        probabilities: NDArray[np.floating[Any]],
        times: NDArray[np.integer[Any]],
    ) -> NDArray[np.float64]:
        """The values (B,) by scikit-learn; NaN if some class is not drawn."""
        key = sha256()
        for array in (labels, probabilities, times):
            key.update(np.ascontiguousarray(array).tobytes())
        if key.digest() not in self.known:
            from analysis import scorers  # scikit-learn is slow to import

            n_classes = probabilities.shape[1]
            exact = probabilities.astype(float)
            exact /= exact.sum(axis=1, keepdims=True)  # to the last digit, as scorers want it
            all_drawn = (times @ (labels[:, None] == np.arange(n_classes)) > 0).all(axis=1)
            values = np.full(len(times), np.nan)
            values[all_drawn] = scorers.values(self.name, labels, exact, times[all_drawn])
            self.known[key.digest()] = values
        return self.known[key.digest()]

    def level(self, value: float | None, digits: int = 1) -> str:
        """A value with its unit: "69.5%", or "0.695"."""
        return percent(value, digits) if self.shares else number(value, digits + 2)

    def cell(self, value: float | None, digits: int = 1) -> str:
        """A value in a column of a table, whose heading has the unit."""
        return self.level(value, digits).removesuffix("%")

    def difference(self, value: float | None) -> str:
        """A difference without its unit: "+6.0" (points), or "+0.060"."""
        return points(value) if self.shares else number(value, 3, signed=True)

    def size(self, value: float) -> str:
        """The size of a difference without its unit: "6.0" (points), or "0.060"."""
        return number(100 * abs(value), 1) if self.shares else number(abs(value), 3)

    @property
    def unit(self) -> str:
        """Of a difference, behind its number: " points", or nothing."""
        return " points" if self.shares else ""

    @property
    def heading(self) -> str:
        """Of a column of values: "accuracy %"."""
        return f"{self.label} %" if self.shares else self.label

    def compared(self, sign: int) -> str:
        """More (1) or less (-1) than another: "more accurate", "lower in balanced accuracy"."""
        if self.name == ACCURACY.name:
            return f"{'more' if sign > 0 else 'less'} accurate"
        return f"{'higher' if sign > 0 else 'lower'} in {self.label}"


def _accuracy(of_class: Counts, _as_class: Counts, hits: Counts) -> NDArray[np.float64]:
    return hits.sum(axis=1) / of_class.sum(axis=1)


def _balanced_accuracy(of_class: Counts, _as_class: Counts, hits: Counts) -> NDArray[np.float64]:
    """A class without an image is left out."""
    return _mean_of_ratios(hits, of_class)


def _macro_f1(of_class: Counts, as_class: Counts, hits: Counts) -> NDArray[np.float64]:
    """A class that no image is of, or is classified as, is left out."""
    return _mean_of_ratios(2 * hits, of_class + as_class)


def _mean_of_ratios(over: Counts, under: Counts) -> NDArray[np.float64]:
    """Mean over the classes whose denominator is not 0."""
    ratios = np.divide(over, under, out=np.zeros_like(over), where=under > 0)
    return ratios.sum(axis=1) / np.maximum((under > 0).sum(axis=1), 1)


ACCURACY = Metric(
    name="accuracy",
    label="accuracy",
    definition="is the share of images whose most probable class is the true one",
    shares=True,
    from_counts=_accuracy,
)
COUNTED = {
    metric.name: metric
    for metric in (
        ACCURACY,
        Metric(
            name="balanced_accuracy",
            label="balanced accuracy",
            definition="is the mean over classes of the share of their images that are classified "
            "correctly; a class without an image is left out",
            shares=True,
            from_counts=_balanced_accuracy,
        ),
        Metric(
            name="macro_f1",
            label="macro-F1",
            definition="is the mean over classes of F1, the harmonic mean of recall and precision; a "
            "class that no image is of, or is classified as, is left out",
            shares=True,
            from_counts=_macro_f1,
        ),
    )
}
"""Name → the metrics that follow from how often each class is taken for each."""
LABELS = {
    "average_precision": "mean average precision",
    "neg_brier_score": "negative Brier score",
    "neg_log_loss": "negative log loss",
    "roc_auc": "ROC AUC",
    "roc_auc_ovr": "one-vs-rest ROC AUC",
    "roc_auc_ovr_weighted": "weighted one-vs-rest ROC AUC",
    "top_k_accuracy": "top-2 accuracy",
}
"""scikit-learn's name of a scorer → what it is called in a sentence, if that is not its name."""


def metric_named(name: str, n_classes: int) -> Metric:
    """The metric that ``--metric`` names.

    Parameters
    ----------
    name
        ``accuracy``, ``balanced_accuracy``, ``macro_f1``, or scikit-learn's name of a scorer that
        takes probabilities and weights of images.
    n_classes
        C; some scorers are for two classes alone, or for more.

    Raises
    ------
    SettingsError
        There is no such metric; the message lists what is possible.
    """
    if name in COUNTED:
        return COUNTED[name]
    from analysis import scorers

    names = scorers.names()
    if name not in names or not scorers.takes_probabilities(name, n_classes):
        others = [n for n in names if n not in COUNTED]
        possible = (*COUNTED, *(n for n in others if scorers.takes_probabilities(n, n_classes)))
        why = "takes no probabilities and weights of images"
        found = f"{why} for {n_classes} classes" if name in names else "is unknown"
        raise SettingsError(f"--metric {name} {found}; expected one of {', '.join(possible)}")
    return Metric(
        name=name,
        label=LABELS.get(name, name.replace("_", " ")),
        definition=f"is scikit-learn's scorer {name} of the stored probabilities (the greater, the "
        f"better); its intervals take {SCORER_RESAMPLES} resamples of the images, as each is "
        "computed on its own, and only those in which every class has an image",
        shares=name == "top_k_accuracy",
    )
