"""scikit-learn's scorers of stored predictions; apart from `analysis.metrics`, as it is slow to import."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import get_scorer, get_scorer_names


class StoredProbabilities(ClassifierMixin, BaseEstimator):
    """A classifier, as scikit-learn's scorers want one, whose images are its predictions already."""

    def __init__(self, n_classes: int) -> None:
        self.n_classes = n_classes

    @property
    def classes_(self) -> NDArray[np.integer[Any]]:
        """(C,) The labels."""
        return np.arange(self.n_classes)

    def predict_proba(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """The probabilities (n, C) that it is given."""
        return X


def names() -> list[str]:
    """Of all scorers."""
    return get_scorer_names()


def values(
    name: str,
    labels: NDArray[np.integer[Any]],
    probabilities: NDArray[np.float64],
    times: NDArray[np.integer[Any]],
) -> NDArray[np.float64]:
    """The scorer's value of each resample.

    Parameters
    ----------
    name
        Of the scorer.
    labels
        (n,) True class of each image, 0 to C - 1.
    probabilities
        (n, C), whose rows have a sum of 1 to the last digit.
    times
        (B, n) How often each image is in each resample; each class is in each.

    Returns
    -------
    numpy.ndarray
        (B,)
    """
    model, scorer = StoredProbabilities(probabilities.shape[1]), get_scorer(name)
    with config_context(assume_finite=True, skip_parameter_validation=True):
        found = [scorer(model, probabilities, labels, sample_weight=t.astype(float)) for t in times]
    return np.array(found, dtype=np.float64)


def takes_probabilities(name: str, n_classes: int) -> bool:
    """Whether a scorer of scikit-learn takes probabilities and weights, tried on a few images."""
    labels = np.tile(np.arange(n_classes), 2)
    uniform = np.full((len(labels), n_classes), 1 / n_classes)
    probabilities = 0.5 * uniform + 0.5 * np.eye(n_classes)[labels]
    with warnings.catch_warnings():
        warnings.simplefilter("error", UndefinedMetricWarning)
        try:
            get_scorer(name)(
                StoredProbabilities(n_classes),
                probabilities,
                labels,
                sample_weight=np.ones(len(labels)),
            )
        except (AttributeError, TypeError, ValueError, UndefinedMetricWarning):
            return False  # it asks for predicted classes, takes no weights, or not so many classes
    return True
