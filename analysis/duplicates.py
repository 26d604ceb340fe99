"""Galaxies that are in a survey twice: by their place on the sky, and by their image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from trainable.galaxy10 import Survey
from trainable.protocol import SAME_SKY_ARCSEC
from trainable.selection import Selection
from trainable.splits import sky_pairs

from .fingerprints import Fingerprints

HASH_DISTANCE = 56
"""Bits of 256 in which the perceptual hashes of a pair may differ to be looked at. Ours; see
`SAME_DETAIL`."""
SAME_DETAIL = 0.94
"""Correlation of `fingerprints.detail` from which a pair counts as one galaxy.

Both are ours, from a mock survey of 4,000 images with seed 7, in which 13 pairs show one field
twice with other seeing and noise. Their hashes differ in 14 to 62 bits. Of all 8 million pairs
1,484 differ in 56 bits or fewer, smooth galaxies for the most part, which is why pixels decide:
the correlation picks 12 of these at 0.94, all of them right, 11 of the 13. At 64 bits five of the
17 picked are wrong."""
BLOCK = 1024


@dataclass(frozen=True, kw_only=True, eq=False)
class Duplicates:
    """Pairs of images; indices are those of the selection."""

    by_sky: pd.DataFrame | None
    """``first``, ``second``, ``separation`` (arcsec); None where the file has no positions."""
    by_image: pd.DataFrame
    """``first``, ``second``, ``kind`` (exact: the same bytes; near), ``hash_distance`` (bits of
    256), ``correlation`` (of the details)."""
    candidates: int
    """Pairs whose hashes were close enough to be compared by their pixels."""
    distances: np.ndarray
    """Shape (257,), int64: number of pairs at each hash distance."""


def find(survey: Survey, selection: Selection, prints: Fingerprints) -> Duplicates:
    """All pairs, by both ways."""
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
    """Pairs within `SAME_SKY_ARCSEC`, nearest first; None where the file has no positions."""
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
    signs = hashes.astype(np.float32) * 2 - 1  # their product counts agreeing less differing bits
    found, counts = [], np.zeros(bits + 1, np.int64)
    for start in range(0, n, BLOCK):
        block = np.rint((bits - signs[start : start + BLOCK] @ signs[start:].T) / 2)
        distance = block.astype(np.int16)
        later = np.triu(np.ones(distance.shape, bool), 1)
        counts += np.bincount(distance[later], minlength=bits + 1)
        found.append(np.argwhere(later & (distance <= most)) + start)
    return np.concatenate(found), counts


def hash_distance(hashes: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Bits in which the hashes (n, b) of pairs (p, 2) differ; (p,) int64."""
    return (hashes[pairs[:, 0]] != hashes[pairs[:, 1]]).sum(1)


def correlations(details: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Correlation of the `details` (n, d) of pairs (p, 2); (p,) float64."""
    found = np.empty(len(pairs))
    for start in range(0, len(pairs), BLOCK):
        one, other = pairs[start : start + BLOCK].T
        products = details[one].astype(np.float32) * details[other].astype(np.float32)
        found[start : start + BLOCK] = products.sum(1)
    return found


def described(pairs: pd.DataFrame, survey: Survey, selection: Selection) -> pd.DataFrame:
    """The pairs with the file's rows, the labels' names, and whether these conflict."""
    names = np.array(selection.class_names)
    sides = {side: pairs[side].to_numpy(dtype=np.int64) for side in ("first", "second")}
    table = {f"row_{side}": selection.rows[at] for side, at in sides.items()}
    table |= {f"label_{side}": names[selection.labels[at]] for side, at in sides.items()}
    if survey.right_ascension is not None:
        table["ra"] = survey.right_ascension[table["row_first"]]
        table["dec"] = survey.declination[table["row_first"]]
    frame = pd.DataFrame(table)
    frame["conflict"] = frame["label_first"] != frame["label_second"]
    return pd.concat([frame, pairs.drop(columns=["first", "second"])], axis=1)


def agreement(found: Duplicates) -> tuple[int, int, int] | None:
    """Pairs by both ways, by the sky alone, by the image alone; None without positions."""
    if found.by_sky is None:
        return None
    sky, image = (
        set(zip(pairs["first"], pairs["second"], strict=True))
        for pairs in (found.by_sky, found.by_image)
    )
    return len(sky & image), len(sky - image), len(image - sky)
