"""Surveys for the tests."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np

ROOT = Path(__file__).parents[1]
REAL = ROOT.parent / "shared" / "data" / "sdss_gz1.h5"


def write_survey(path: Path, *, counts=(24, 20, 16), size=40, seed=0, positions=False) -> Path:
    """Noise with a blob whose place and colour tell the class; sorted by class as Galaxy10 is."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    images = random.integers(0, 90, (len(labels), size, size, 3), np.uint8)
    for image, label in zip(images, labels, strict=True):
        start = 4 + 10 * label
        image[start : start + 12, start : start + 12, label % 3] += 120
    with h5py.File(path, "w") as file:
        file["images"], file["ans"] = images, labels.astype(np.uint8)
        file.attrs["class_names"] = json.dumps([f"kind {c}" for c in range(len(counts))])
        if positions:
            file["ra"], file["dec"] = (
                random.uniform(0, 360, len(labels)),
                random.uniform(-60, 60, len(labels)),
            )
    return path
