"""Scores of a classifier, exact over all images."""

from __future__ import annotations

import torch
from torch.nn import functional


def scores(logits: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    """Loss, accuracy and macro-F1 over every image: sums divided by N, no mean of batch means.

    Parameters
    ----------
    logits
        Shape (N, C), on the CPU.
    labels
        Shape (N,), int64, 0 to C - 1.

    Returns
    -------
    dict
        ``loss`` (cross-entropy, nats), ``accuracy``, ``balanced_accuracy`` (mean over the classes
        that have an image of the share of their images that are right) and ``macro_f1`` (0–1). A
        class without an image and without a prediction counts as F1 = 0.
    """
    logits, classes = logits.double(), logits.shape[1]
    predicted = logits.argmax(1)
    counts = torch.bincount(labels * classes + predicted, minlength=classes**2)
    confusion = counts.view(classes, classes).double()  # labels down, predictions across
    images, of_class = confusion.sum(0) + confusion.sum(1), confusion.sum(1)
    return {
        "loss": functional.cross_entropy(logits, labels).item(),
        "accuracy": (predicted == labels).double().mean().item(),
        "balanced_accuracy": (confusion.diagonal() / of_class)[of_class > 0].mean().item(),
        "macro_f1": (2 * confusion.diagonal() / images.clamp(min=1)).mean().item(),
    }
