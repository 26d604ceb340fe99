"""Scores of a classifier, exact over all images."""

from __future__ import annotations

import torch
from sklearn.metrics import f1_score
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
    logits = logits.double()
    predicted = logits.argmax(1)
    return {
        "loss": functional.cross_entropy(logits, labels).item(),
        "accuracy": (predicted == labels).double().mean().item(),
        "macro_f1": float(
            f1_score(
                labels.numpy(),
                predicted.numpy(),
                labels=range(logits.shape[1]),
                average="macro",
                zero_division=0,
            )
        ),
    }
