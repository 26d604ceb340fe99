"""Suspected label errors by confident learning, on out-of-fold probabilities of the linear probe.

Northcutt, Jiang and Chuang (2021), "Confident Learning: Estimating Uncertainty in Dataset Labels",
JAIR 70, in the authors' library cleanlab. An image counts as of class j if the probability of j is
at least the mean probability of j among the images labelled j; the counts by given label and such class
estimate how many labels of each kind are wrong. Hard images are counted, too: see
`analysis.label_audit.share`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from cleanlab.count import compute_confident_joint, estimate_joint
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from trainable.errors import DataError
from trainable.probe import Components, out_of_fold_logits
from trainable.protocol import FOLDS

Labels = NDArray[np.int64]
Probabilities = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Audit:
    """What confident learning says of the labels of n images in C classes."""

    labels: Labels
    """(n,): as given."""
    probabilities: Probabilities
    """(n, C): out of fold, mean over draws of the folds."""
    quality: NDArray[np.float64]
    """(n,): label quality, the probability of the given label, 0–1; low is suspect."""
    suspected: NDArray[np.bool_]
    """(n,): those that confident learning would prune."""
    joint: NDArray[np.float64]
    """(C, C): estimated share of the images by given label (row) and true label (column)."""
    estimates: NDArray[np.float64]
    """(draws,): estimated share of wrong labels with each draw of the folds, 0–1."""

    @property
    def estimate(self) -> float:
        """Confident learning's share of wrong labels, mean over draws of the folds."""
        return float(self.estimates.mean())

    @property
    def suggested(self) -> Labels:
        """(n,): the most probable class."""
        return self.probabilities.argmax(1)

    @property
    def accuracy(self) -> float:
        """Share of the given labels that the probe predicts out of fold."""
        return float((self.suggested == self.labels).mean())

    @property
    def order(self) -> NDArray[np.int64]:
        """(m,): indices of the suspected images, the most suspect first."""
        found = np.flatnonzero(self.suspected)
        return found[np.argsort(self.quality[found], kind="stable")]


def check_counts(labels: Labels, groups: NDArray[np.int64], class_names: Sequence[str]) -> None:
    """Refuse classes that are too small for folds.

    Raises
    ------
    DataError
        A class has images in fewer than `FOLDS` groups.
    """
    for label, name in enumerate(class_names):
        if (count := len(np.unique(groups[labels == label]))) < FOLDS:
            raise DataError(
                f"class {name!r} has {count} labelled images (at different places), and an audit needs "
                f"at least {FOLDS} of each class, one for every fold: leave it out with --drop-labels, or "
                "label more"
            )


def out_of_fold(
    components: Components, labels: Labels, groups: NDArray[np.int64], *, seed: int
) -> Probabilities:
    """Probabilities (n, C) of each image by a probe that has seen neither it nor its group.

    Parameters
    ----------
    components
        Of the features of the n images.
    labels
        (n,), 0 to C - 1.
    groups
        (n,): images of one group are in one fold.
    seed
        Draws the `FOLDS` folds, stratified by label.
    """
    if len(np.unique(groups)) == len(groups):  # the same task, and much faster
        splits = StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(labels, labels)
    else:
        splitter = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
        splits = splitter.split(labels, labels, groups)
    folds = np.empty(len(labels), np.int64)
    for number, (_, left_out) in enumerate(splits):
        folds[left_out] = number
    return softmax(out_of_fold_logits(components, labels, folds), axis=1)


def estimated_joint(labels: Labels, probabilities: Probabilities) -> NDArray[np.float64]:
    """(C, C): share of the images by given label (row) and true label (column); sums to 1."""
    counts = np.asarray(compute_confident_joint(labels, probabilities, calibrate=True))
    return np.asarray(estimate_joint(labels, probabilities, confident_joint=counts))


def estimated_share(labels: Labels, probabilities: Probabilities) -> float:
    """Confident learning's share of wrong labels, 0–1: what its joint has off the diagonal."""
    return float(1 - np.trace(estimated_joint(labels, probabilities)))


def label_quality(labels: Labels, probabilities: Probabilities) -> NDArray[np.float64]:
    """(n,): cleanlab's score of each label, here the probability of the given one."""
    return np.asarray(get_label_quality_scores(labels, probabilities, method="self_confidence"))


def audit(
    components: Components,
    labels: Labels,
    groups: NDArray[np.int64],
    *,
    draws: int,
    seed: int = 0,
) -> Audit:
    """Audit given labels.

    Parameters
    ----------
    draws
        How often folds are drawn; ranks are by mean probabilities.
    seed
        The draws have the seeds from `seed` on.
    """
    each = [out_of_fold(components, labels, groups, seed=seed + draw) for draw in range(draws)]
    probabilities = np.mean(each, axis=0)
    return Audit(
        labels=labels,
        probabilities=probabilities,
        quality=label_quality(labels, probabilities),
        suspected=np.asarray(find_label_issues(labels, probabilities, n_jobs=1), np.bool_),
        joint=estimated_joint(labels, probabilities),
        estimates=np.array([estimated_share(labels, one) for one in each]),
    )
