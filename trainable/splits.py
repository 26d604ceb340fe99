"""Which images train and which validate: fixed validation set, nested fractions, sky groups.

Everything is drawn with scikit-learn's `train_test_split` (the paper's §5.2) and its frozen
random stream, so that one seed gives one split on every machine. What is drawn are *groups*:
galaxies within `SAME_SKY_ARCSEC` of each other, most of them alone.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state

from .config import RunConfig
from .galaxy10 import DataError, Survey
from .protocol import SAME_SKY_ARCSEC, Split
from .selection import Selection


@dataclass(frozen=True, kw_only=True)
class Partition:
    """The images of one trial, as rows of the survey's file."""

    train: np.ndarray
    """Shape (n_train,), int64, ascending."""
    train_labels: np.ndarray
    """Shape (n_train,), int64, renumbered labels."""
    validation: np.ndarray
    """Shape (n_val,), int64, ascending."""
    validation_labels: np.ndarray

    @property
    def validation_hash(self) -> str:
        """Equal for two trials if and only if they are scored on the same images."""
        return _hash(self.validation, self.validation_labels)

    @property
    def hash(self) -> str:
        """Identity of the whole split, stored with each trial."""
        return _hash(self.train, self.train_labels, self.validation, self.validation_labels)


def _hash(*arrays: np.ndarray) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.shape}".encode() + np.ascontiguousarray(array, "<i8").tobytes())
    return digest.hexdigest()[:16]


def sky_pairs(
    right_ascension: np.ndarray, declination: np.ndarray, radius: float = SAME_SKY_ARCSEC
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of galaxies that lie within `radius` of each other.

    Parameters
    ----------
    right_ascension, declination
        Shape (n,), degrees.
    radius
        Arcseconds.

    Returns
    -------
    pairs : numpy.ndarray
        Shape (p, 2), indices, the smaller first.
    separations : numpy.ndarray
        Shape (p,), arcseconds.
    """
    ra, dec = np.radians(right_ascension), np.radians(declination)
    on_sphere = np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], 1)
    chord = 2 * np.sin(np.radians(radius / 3600) / 2)
    pairs = cKDTree(on_sphere).query_pairs(chord, output_type="ndarray")
    chords = np.linalg.norm(on_sphere[pairs[:, 0]] - on_sphere[pairs[:, 1]], axis=1)
    return pairs, np.degrees(2 * np.arcsin(chords / 2)) * 3600


def sky_groups(
    right_ascension: np.ndarray, declination: np.ndarray, radius: float = SAME_SKY_ARCSEC
) -> np.ndarray:
    """Number the groups of galaxies that lie within `radius` of each other.

    Parameters are those of `sky_pairs`; chains of neighbours make one group.

    Returns
    -------
    numpy.ndarray
        Shape (n,), int64, the group of each galaxy.
    """
    pairs, _ = sky_pairs(right_ascension, declination, radius)
    shape = (len(right_ascension),) * 2
    links = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=shape)
    return connected_components(links, directed=False)[1].astype(np.int64)


def groups_of(survey: Survey, selection: Selection) -> np.ndarray:
    """Group of each selected galaxy; each its own where the file has no positions."""
    if survey.right_ascension is None or survey.declination is None:
        return np.arange(len(selection.rows))
    rows = selection.rows
    return sky_groups(survey.right_ascension[rows], survey.declination[rows])


def partition(
    survey: Survey,
    selection: Selection,
    *,
    fraction: float,
    split: Split,
    seed: int,
    validation_fraction: float,
    group_sky: bool = True,
) -> Partition:
    """Split the selected galaxies for one trial.

    ``fixed`` takes one stratified validation set first and then the fraction of the rest, smaller
    fractions inside larger ones. ``subset-first`` takes the fraction of everything and splits
    that, both at random, as the paper reads (§3.1, §5.2). Without ``group_sky`` the images of
    one galaxy may land on both sides.

    Raises
    ------
    DataError
        A class is too small, or ends up without an image on one side.
    """
    rows = selection.rows
    groups = groups_of(survey, selection) if group_sky else np.arange(len(rows))
    members, first = np.unique(groups, return_index=True)
    units = _Units(ids=members, labels=selection.labels[first], sizes=np.bincount(groups))
    if split == "fixed":
        train, validation = _halve(units, selection, validation_fraction, seed)
        train = _nested(train, fraction, seed)
    else:
        subset = units if fraction == 1 else _cut(units, 1 - fraction, seed)[0]
        train, validation = _cut(subset, validation_fraction, seed)
    result = {}
    for side, chosen in (("train", train), ("validation", validation)):
        inside = np.isin(groups, chosen.ids)
        result[side] = rows[inside]
        result[f"{side}_labels"] = selection.labels[inside]
        _check_classes(result[f"{side}_labels"], selection, side, fraction)
    return Partition(**result)


def planned(survey: Survey, selection: Selection, config: RunConfig) -> Partition:
    """The split that a run's configuration prescribes."""
    data = config.data
    return partition(
        survey,
        selection,
        fraction=config.fraction,
        split=data.split,
        seed=data.split_seed,
        validation_fraction=data.validation_fraction,
        group_sky=data.group_sky,
    )


@dataclass(frozen=True)
class _Units:
    """Groups, each with the label of its first galaxy and its number of galaxies."""

    ids: np.ndarray
    labels: np.ndarray
    sizes: np.ndarray

    def __getitem__(self, chosen) -> _Units:
        return _Units(self.ids[chosen], self.labels[chosen], self.sizes[chosen])


def _cut(units: _Units, share: float, seed: int, stratify=None) -> tuple[_Units, _Units]:
    """A random cut; `share` of the groups land in the second part."""
    first, second = train_test_split(
        np.arange(len(units.ids)), test_size=share, stratify=stratify, random_state=seed
    )
    return units[np.sort(first)], units[np.sort(second)]


def _halve(units: _Units, selection: Selection, share: float, seed: int) -> tuple[_Units, _Units]:
    """A stratified `_cut`, or a `DataError` about the class that is too small for it."""
    try:
        return _cut(units, share, seed, stratify=units.labels)
    except ValueError as error:
        counts = np.bincount(units.labels, minlength=len(selection.class_names))
        smallest = int(counts.argmin())
        name = selection.class_names[smallest]
        raise DataError(
            f"cannot split {len(units.ids)} galaxies in {len(counts)} classes "
            f"{1 - share:.0%}/{share:.0%}: the smallest class, {name!r}, "
            f"has {counts[smallest]} ({error}). Use more images, or "
            f"--drop-labels {selection.label_values[smallest]}."
        ) from error


def _nested(units: _Units, fraction: float, seed: int) -> _Units:
    """The first `fraction` of one stratified order, which does not depend on the fraction."""
    random = check_random_state(seed)
    place = np.empty(len(units.ids))
    for label in np.unique(units.labels):
        of_class = np.flatnonzero(units.labels == label)
        ranks = random.permutation(len(of_class))
        place[of_class] = (ranks + random.uniform()) / len(of_class)  # spread evenly over (0, 1)
    order = np.argsort(place, kind="stable")
    images = np.cumsum(units.sizes[order])
    return units[np.sort(order[images <= round(fraction * images[-1])])]


def _check_classes(labels: np.ndarray, selection: Selection, side: str, fraction: float) -> None:
    counts = np.bincount(labels, minlength=len(selection.class_names))
    for value, name, count in zip(
        selection.label_values, selection.class_names, counts, strict=True
    ):
        if count == 0:
            raise DataError(
                f"fraction {fraction:g} leaves class {value} {name!r} without a {side} image. "
                f"Use a larger fraction, or leave the class out with --drop-labels {value}."
            )
