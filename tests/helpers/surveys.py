"""Surveys for the tests."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[2]
REAL = ROOT.parent / "shared" / "data" / "sdss_gz1.h5"
REAL_FOLDER = ROOT.parent / "shared" / "data" / "galaxy10_decals"
"""Class folders of 724 images of Galaxy10 DECaLS, with a catalogue."""


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


def survey_of_labels(labels, class_names, **fields):
    """A survey whose images are not there; `fields` as of `Survey`."""
    from trainable.data.dataset import Survey
    from trainable.data.sources.galaxy10_hdf5 import Hdf5Images

    labels, path = np.asarray(labels, np.int64), Path("nowhere.h5")
    known = {
        "path": path,
        "sha256": "0" * 64,
        "images": Hdf5Images(path=path),
        "image_sizes": np.full((len(labels), 2), 8),
        "right_ascension": None,
        "declination": None,
        "pixel_scale": None,
    }
    return Survey(labels=labels, class_names=tuple(class_names), **known | fields)


def write_pictures(folder: Path, names, *, size=(12, 10), seed=0, **save) -> Path:
    """Pictures of noise by their paths below a folder, whose suffixes tell the format; size (W, H)."""
    random = np.random.default_rng(seed)
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 256, (*size[::-1], 3), np.uint8)
        Image.fromarray(pixels).save(path, **save)
    return folder


def leak_trials(leaked=4, seeds=(0, 1, 2)):
    """Trials with plain and grouped splits; the plain ones are 10 points more accurate."""
    from analysis.survey.leakage import Trial

    plain = [
        Trial(
            seed=seed,
            grouped=False,
            accuracy=0.6 + seed / 100,
            n_validation=100,
            leaked=leaked,
            leaked_correct=leaked // 2,
        )
        for seed in seeds
    ]
    grouped = [
        replace(trial, grouped=True, accuracy=trial.accuracy - 0.1, leaked=0, leaked_correct=0)
        for trial in plain
    ]
    return (*plain, *grouped)
