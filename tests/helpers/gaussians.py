"""Features of two or more classes, as far apart as asked for."""

from __future__ import annotations

import numpy as np


def gaussian_classes(n=240, *, classes=3, apart=4.0, width=6, seed=0):
    """Features (n, D) float32 around one point for each class, and labels (n,)."""
    random = np.random.default_rng(seed)
    labels = np.sort(np.arange(n) % classes)
    centres = np.zeros((classes, width))
    centres[np.arange(classes), np.arange(classes)] = apart
    features = centres[labels] + random.normal(size=(n, width))
    return features.astype(np.float32), labels


def with_wrong(labels, n, *, classes=3, seed=1):
    """The labels with `n` of them changed at random, and which, (n,) bool."""
    random = np.random.default_rng(seed)
    chosen = random.choice(len(labels), n, replace=False)
    changed = labels.copy()
    changed[chosen] = (labels[chosen] + random.integers(1, classes, n)) % classes
    return changed, changed != labels
