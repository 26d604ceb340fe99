"""What is read off every image of a survey, in one pass over the file and little memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import imagehash
import numpy as np
import pandas as pd
from PIL import Image
from scipy.ndimage import gaussian_filter

from trainable.galaxy10 import Survey

from .image_statistics import measure

HASH_SIDE = 16
"""The perceptual hash has the square of this, 256, bits."""
DETAIL_SIDE = 64
"""Pixels; images are compared at this size."""
DETAIL_SIGMAS = (1.0, 2.5)
"""Pixels of that size; finer is noise, coarser the smooth light that all galaxies share."""
BLOCK = 256
"""Images in memory at a time."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Fingerprints:
    """One entry for each of n images."""

    rows: np.ndarray
    """Shape (n,), int64, rows of the file."""
    digests: np.ndarray
    """Shape (n,), bytes: equal for images that agree in every byte, and no others."""
    hashes: np.ndarray
    """Shape (n, 256), bool: perceptual hash."""
    details: np.ndarray
    """Shape (n, 4096), float16: see `detail`."""
    statistics: pd.DataFrame
    """As `measure` gives them."""


def fingerprint(
    survey: Survey, rows: np.ndarray, progress: Callable[[int, int], None] | None = None
) -> Fingerprints:
    """Read the images of some rows, a block at a time.

    Parameters
    ----------
    progress
        Called with (images done, images in all) after each block.
    """
    digests, hashes, details, statistics = [], [], [], []
    for start in range(0, len(rows), BLOCK):
        images = survey.read_images(rows[start : start + BLOCK])
        statistics.append(measure(images))
        for image in images:
            digests.append(hashlib.sha256(image.tobytes()).digest())
            picture = Image.fromarray(image)
            hashes.append(imagehash.phash(picture, hash_size=HASH_SIDE).hash.ravel())
            details.append(detail(picture))
        if progress is not None:
            progress(start + len(images), len(rows))
    return Fingerprints(
        rows=rows,
        digests=np.array(digests),
        hashes=np.array(hashes),
        details=np.array(details),
        statistics=pd.concat(statistics, ignore_index=True),
    )


def detail(picture: Image.Image) -> np.ndarray:
    """The small structure of an image, (DETAIL_SIDE²,) float16 of mean 0 and length 1.

    The brightness is shrunk to `DETAIL_SIDE` pixels and passed through a difference of two
    Gaussians, so that the product of two such vectors is the correlation of what is particular
    to two images: stars, arms, neighbours. An image without structure gives zeros.
    """
    small = picture.convert("RGB").resize((DETAIL_SIDE, DETAIL_SIDE), Image.Resampling.BOX)
    brightness = np.asarray(small, dtype=np.float32).mean(2)
    fine, coarse = (gaussian_filter(brightness, sigma) for sigma in DETAIL_SIGMAS)
    vector = (fine - coarse).ravel()
    vector -= vector.mean()
    return (vector / max(float(np.linalg.norm(vector)), 1e-6)).astype(np.float16)
