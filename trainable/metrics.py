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
        ``loss`` (cross-entropy, nats), ``accuracy`` and ``macro_f1`` (0–1). A class without an
        image and without a prediction counts as F1 = 0.
    """
    logits, classes = logits.double(), logits.shape[1]
    predicted = logits.argmax(1)
    counts = torch.bincount(labels * classes + predicted, minlength=classes**2)
    confusion = counts.view(classes, classes).double()  # labels down, predictions across
    images = confusion.sum(0) + confusion.sum(1)
    return {
        "loss": functional.cross_entropy(logits, labels).item(),
        "accuracy": (predicted == labels).double().mean().item(),
        "macro_f1": (2 * confusion.diagonal() / images.clamp(min=1)).mean().item(),
    }
