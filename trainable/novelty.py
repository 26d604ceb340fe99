"""Images unlike those that a network was trained on, by distance in its feature space.

The score is the distance to the k-th nearest training image among features scaled to length 1 (Sun et
al. 2022, "Out-of-Distribution Detection with Deep Nearest Neighbors"): it needs no assumption on how
features are spread, and is defined for fewer images than features, as a Mahalanobis distance without
shrinkage is not.

The threshold is the split-conformal quantile of images that the network was not trained on (Bates et
al. 2023, "Testing for outliers with conformal p-values"): of images like those, at most the share that
was asked for lie above it, in expectation. Those are the validation images; if all labelled images
train, each of them is measured against the others. An image that a network has trained on lies closer
than a new one, so there the share is a promise for a frozen backbone alone. What it is is measured on
the test set, which had no part in anything.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from sklearn.neighbors import NearestNeighbors

from trainable.classifier import Classifier
from trainable.data.cache import cache_root, cached_array
from trainable.data.class_selection import select
from trainable.data.dataset import Survey
from trainable.data.preprocess import cached_images, image_key
from trainable.data.splits import planned
from trainable.errors import DataError
from trainable.models.features import cached_features
from trainable.run import Progress, open_as_planned

NEIGHBOURS = 10
"""k. Sun et al. choose it between 1 and 5000 by the size of the training set; label budgets are small."""
BLOCK = 1024
"""Images whose features are written at a time."""


@dataclass(frozen=True, kw_only=True)
class FalseAlarms:
    """How many images of the test set lie above a threshold."""

    flagged: int
    n: int
    rate: float
    """0–1."""
    low: float
    high: float
    """Ends of Wilson's 95% confidence interval."""

    @classmethod
    def of(cls, flagged: int, n: int) -> FalseAlarms:
        """From counts."""
        interval = stats.binomtest(flagged, n).proportion_ci(0.95, method="wilson")
        return cls(
            flagged=flagged,
            n=n,
            rate=flagged / n,
            low=float(interval.low),
            high=float(interval.high),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Novelty:
    """Distances to training images, and the threshold above which an image is unlike them."""

    reference: NDArray[np.float32]
    """(n, D), features of the training images, each of length 1."""
    neighbours: int
    """k."""
    threshold: float
    wanted: float
    """Share of false alarms that was asked for, or the smallest that so few images can promise; 0–1."""
    n_threshold: int
    """Images that the threshold is a quantile of."""
    from_validation: bool
    """Those are the validation images; else the training images, each against the others."""
    false_alarms: FalseAlarms | None
    """On the test set; None without one."""

    def distances(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Distance (m,) of features (m, D) to their k-th nearest training image, 0 to 2."""
        index = NearestNeighbors(n_neighbors=self.neighbours, algorithm="brute")
        found, _ = index.fit(self.reference).kneighbors(unit_length(features))
        return found[:, -1].astype(np.float32)

    @property
    def sentence(self) -> str:
        """How images are flagged, and how often wrongly."""
        how = (
            f"{self.n_threshold:,} validation images"
            if self.from_validation
            else f"{self.n_threshold:,} training images, each against the others"
        )
        text = (
            f"Unlike the training images: distance to the nearest but {self.neighbours - 1} of "
            f"{len(self.reference):,} in feature space (Sun et al. 2022) above {self.threshold:.4f}, "
            f"the threshold for {self.wanted:.1%} false alarms by {how}"
        )
        if (alarms := self.false_alarms) is None:
            return f"{text}; there is no test set on which to measure the false alarms."
        return (
            f"{text}. On the test set {alarms.flagged} of {alarms.n:,} are flagged: "
            f"{alarms.rate:.1%} [{alarms.low:.1%}, {alarms.high:.1%}]."
        )


def unit_length(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Features (m, D), each divided by its length; one of length 0 stays as it is."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return (features / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def measure(
    train: NDArray[np.float32],
    validation: NDArray[np.float32] | None,
    test: NDArray[np.float32],
    *,
    wanted: float,
) -> Novelty:
    """Choose the threshold, and measure its false alarms.

    Parameters
    ----------
    train
        (n, D) features of the images that taught the network, n at least 3.
    validation
        (m, D) of images that did not; None: the training images take their place.
    test
        (t, D), t may be 0.
    wanted
        Share of images like the training images that may be flagged, in (0, 1).

    Returns
    -------
    Novelty
        The threshold is the largest distance seen if so few images cannot promise so few alarms.
    """
    reference = unit_length(train)
    neighbours = min(NEIGHBOURS, len(train) - 2)
    index = NearestNeighbors(n_neighbors=neighbours, algorithm="brute").fit(reference)
    if validation is None:
        found, _ = index.kneighbors()  # each against the others
    else:
        found, _ = index.kneighbors(unit_length(validation))
    scores = np.sort(found[:, -1])
    allowed = max(wanted, 1 / (len(scores) + 1))
    rank = min(len(scores), math.ceil((len(scores) + 1) * (1 - allowed)))
    threshold = float(scores[rank - 1])
    alarms = None
    if len(test):
        found, _ = index.kneighbors(unit_length(test))
        alarms = FalseAlarms.of(int((found[:, -1] > threshold).sum()), len(test))
    return Novelty(
        reference=reference,
        neighbours=neighbours,
        threshold=threshold,
        wanted=allowed,
        n_threshold=len(scores),
        from_validation=validation is not None,
        false_alarms=alarms,
    )


def of_classifier(
    classifier: Classifier,
    *,
    device: torch.device,
    wanted: float,
    split_hash: str,
    cache_dir: str | Path | None = None,
    progress: Progress | None = None,
) -> Novelty:
    """Distances to the images that a trial was trained on, which must be where its sweep has them.

    Their features are kept in the node's cache.

    Parameters
    ----------
    split_hash
        Identity of the trial's split.
    progress
        Called with (images done, images in all).

    Raises
    ------
    DataError
        The images are not there, changed, or are split in another way.
    """
    config = classifier.config
    if config is None:
        raise ValueError("a backbone alone was trained on no images of ours")
    survey = open_as_planned(config.data)
    selection = select(survey, config.data.drop_labels, config.data.merge_labels)
    partition = planned(survey, selection, config)
    if partition.hash != split_hash:
        raise DataError(
            f"the split of {config.data.path} is {partition.hash}, and the trial was trained on "
            f"{split_hash}: another version of scikit-learn may draw others. Install the sweep's "
            "versions (sweep.json), or use --no-novelty"
        )
    apart = partition.folds is None or not np.array_equal(partition.train, partition.validation)
    parts = [partition.train, partition.validation if apart else partition.train[:0]]
    rows = np.concatenate([*parts, partition.test])
    features = features_of_rows(
        classifier, survey, rows, device=device, cache_dir=cache_dir, progress=progress
    )
    train, validation, test = np.split(features, np.cumsum([len(part) for part in parts]))
    return measure(train, validation if apart else None, test, wanted=wanted)


def features_of_rows(
    classifier: Classifier,
    survey: Survey,
    rows: NDArray[np.int64],
    *,
    device: torch.device,
    cache_dir: str | Path | None = None,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """Features (n, D) of some images of the survey that a trial was of, kept in the node's cache.

    Parameters
    ----------
    classifier
        Of a trial.
    rows
        (n,) of the survey.
    """
    config = classifier.config
    if config is None:
        raise ValueError("a backbone alone was trained on no images of ours")
    if config.on_features and classifier.precision == config.precision:
        return cached_features(survey, config, device=device, progress=progress)[rows]
    spec = classifier.spec
    images = cached_images(
        survey,
        transform=classifier.transform,
        size=classifier.size,
        evaluation=spec.evaluation,
        cache_dir=config.data.cache_dir,
        progress=progress,
    )
    head = classifier.head
    if head is None:
        raise ValueError("a trial has a head")

    def blocks() -> Iterator[np.ndarray]:
        for start in range(0, len(rows), BLOCK):
            part = np.asarray(images[rows[start : start + BLOCK]])
            yield classifier.features(part, device, classifier.precision).numpy()

    framed = image_key(
        survey, transform=classifier.transform, size=classifier.size, evaluation=spec.evaluation
    )
    key = framed | {
        "classifier": classifier.identity,
        "rows": rows.tolist(),
        "precision": classifier.precision,
        "device": device.type,
        "torch": torch.__version__,
        "library": spec.library,
    }
    return np.asarray(
        cached_array(
            cache_root(cache_dir or config.data.cache_dir) / "embeddings",
            key,
            shape=(len(rows), head.in_features),
            dtype=np.float32,
            blocks=blocks,
            progress=progress,
        )
    )
