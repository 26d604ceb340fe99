"""Galaxies that are in a survey twice: by their position on the sky, and by their image.

What is read off every image (`Fingerprints`) is read in one pass over the file and in little memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import imagehash
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from analysis.survey.image_statistics import measure
from trainable.data.class_selection import Selection
from trainable.data.dataset import Survey
from trainable.data.splits import sky_pairs
from trainable.protocol import SAME_SKY_ARCSEC

HASH_SIDE = 16
"""The perceptual hash has the square of this, 256, bits."""
DETAIL_SIDE = 64
"""Pixels; images are compared at this size."""
DETAIL_SIGMAS = (1.0, 2.5)
"""Pixels of that size; finer is noise, coarser the smooth light that all galaxies share."""
IMAGES_AT_A_TIME = 256
"""In memory, while a survey is read."""
HASH_DISTANCE = 56
"""Bits of 256 in which the perceptual hashes of a pair may differ to be looked at. Ours; see
`SAME_DETAIL`."""
SAME_DETAIL = 0.94
"""Correlation of `detail` from which a pair counts as one galaxy.

Both are ours, from a mock survey of 4,000 images with seed 7, in which 13 pairs show one field
twice with other seeing and noise. Their hashes differ in 14 to 62 bits. Of all 8 million pairs
1,484 differ in 56 bits or fewer, smooth galaxies for the most part, which is why pixels decide:
the correlation picks 12 of these at 0.94, all of them right, 11 of the 13. At 64 bits five of the
17 picked are wrong."""
PAIRS_AT_A_TIME = 1024
"""Hashes whose distances to all others, and pairs whose details, are held in memory at once."""


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
    for start in range(0, len(rows), IMAGES_AT_A_TIME):
        images = survey.read_images(rows[start : start + IMAGES_AT_A_TIME])
        statistics.append(measure(images))
        for image in images:
            digests.append(hashlib.sha256(f"{image.shape}".encode() + image.tobytes()).digest())
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


@dataclass(frozen=True, kw_only=True, eq=False)
class Duplicates:
    """Pairs of images; indices are those of the selection."""

    by_sky: pd.DataFrame | None
    """``first``, ``second``, ``separation`` (arcsec); None if the file has no positions."""
    by_image: pd.DataFrame
    """``first``, ``second``, ``kind`` (exact: the same bytes; near), ``hash_distance`` (bits of
    256), ``correlation`` (of the details)."""
    candidates: int
    """Pairs whose hashes were close enough to be compared by their pixels."""
    distances: np.ndarray
    """Shape (257,), int64: number of pairs at each hash distance."""


def find(survey: Survey, selection: Selection, prints: Fingerprints) -> Duplicates:
    """All pairs, by sky and by image."""
    pairs, distances = close_hashes(prints.hashes, HASH_DISTANCE)
    correlation = correlations(prints.details, pairs)
    exact = prints.digests[pairs[:, 0]] == prints.digests[pairs[:, 1]]
    keep = exact | (correlation >= SAME_DETAIL)
    by_image = pd.DataFrame(
        {
            "first": pairs[keep, 0],
            "second": pairs[keep, 1],
            "kind": np.where(exact[keep], "exact", "near"),
            "hash_distance": hash_distance(prints.hashes, pairs[keep]),
            "correlation": correlation[keep],
        }
    ).sort_values("correlation", ascending=False, kind="stable", ignore_index=True)
    return Duplicates(
        by_sky=on_sky(survey, selection),
        by_image=by_image,
        candidates=len(pairs),
        distances=distances,
    )


def on_sky(survey: Survey, selection: Selection) -> pd.DataFrame | None:
    """Pairs within `SAME_SKY_ARCSEC`, nearest first; None if the file has no positions."""
    if survey.right_ascension is None or survey.declination is None:
        return None
    rows = selection.rows
    pairs, separations = sky_pairs(
        survey.right_ascension[rows], survey.declination[rows], SAME_SKY_ARCSEC
    )
    return pd.DataFrame(
        {"first": pairs[:, 0], "second": pairs[:, 1], "separation": separations}
    ).sort_values(["separation", "first"], ignore_index=True)


def close_hashes(hashes: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of images whose hashes differ in few bits, and how many pairs differ in how many.

    Parameters
    ----------
    hashes
        Shape (n, b), bool.
    most
        Bits.

    Returns
    -------
    pairs : numpy.ndarray
        Shape (p, 2), int64, the smaller first.
    distances : numpy.ndarray
        Shape (b + 1,), int64: pairs at each Hamming distance.
    """
    n, bits = hashes.shape
    signs = hashes.astype(np.float32) * 2 - 1  # their product: agreeing minus differing bits
    pairs: list[NDArray[np.int64]] = []
    counts = np.zeros(bits + 1, np.int64)
    for start in range(0, n, PAIRS_AT_A_TIME):
        block = np.rint((bits - signs[start : start + PAIRS_AT_A_TIME] @ signs[start:].T) / 2)
        distance = block.astype(np.int16)
        later = np.triu(np.ones(distance.shape, bool), 1)
        counts += np.bincount(distance[later], minlength=bits + 1)
        pairs.append(np.argwhere(later & (distance <= most)) + start)
    return np.concatenate(pairs), counts


def hash_distance(hashes: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Bits in which the hashes (n, b) of pairs (p, 2) differ; (p,) int64."""
    return (hashes[pairs[:, 0]] != hashes[pairs[:, 1]]).sum(1)


def correlations(details: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Correlation of the `details` (n, d) of pairs (p, 2); (p,) float64."""
    products = np.empty(len(pairs))
    for start in range(0, len(pairs), PAIRS_AT_A_TIME):
        one, other = pairs[start : start + PAIRS_AT_A_TIME].T
        both = details[one].astype(np.float32) * details[other].astype(np.float32)
        products[start : start + PAIRS_AT_A_TIME] = both.sum(1)
    return products


def described(pairs: pd.DataFrame, survey: Survey, selection: Selection) -> pd.DataFrame:
    """The pairs with the file's rows, the labels' names, and whether these conflict."""
    names = np.array(selection.class_names)
    sides = {side: pairs[side].to_numpy(dtype=np.int64) for side in ("first", "second")}
    table = {f"row_{side}": selection.rows[at] for side, at in sides.items()}
    table |= {f"label_{side}": names[selection.labels[at]] for side, at in sides.items()}
    if survey.right_ascension is not None and survey.declination is not None:
        table["ra"] = survey.right_ascension[table["row_first"]]
        table["dec"] = survey.declination[table["row_first"]]
    if survey.names is not None:
        for side in ("first", "second"):
            table[f"image_{side}"] = np.array(survey.names, object)[table[f"row_{side}"]]
    frame = pd.DataFrame(table)
    frame["conflict"] = frame["label_first"] != frame["label_second"]
    return pd.concat([frame, pairs.drop(columns=["first", "second"])], axis=1)


def agreement(found: Duplicates) -> tuple[int, int, int] | None:
    """Pairs by both, by the sky alone, by the image alone; None without positions."""
    if found.by_sky is None:
        return None
    sky, image = (
        set(zip(pairs["first"], pairs["second"], strict=True))
        for pairs in (found.by_sky, found.by_image)
    )
    return len(sky & image), len(sky - image), len(image - sky)
