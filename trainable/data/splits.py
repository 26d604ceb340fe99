"""Which images train, which validate and which test: label budgets, sky groups.

``budget``, the default: a test set first, which nothing is trained, stopped or chosen on; the rest is
the pool. A trial's labelled images come out of the pool, smaller budgets inside larger ones of the
same seed, and a trial's validation images out of its labelled ones. ``fixed`` and ``subset-first``
are how the paper may be read: they have no test set, so that a trial is scored on the images that
chose its epoch, and the validation images count as no labels. Images that the data set aside for
testing neither train nor validate under any split: with these two they are not used.

Everything is drawn with scikit-learn's `train_test_split` (the paper's §5.2) and its frozen
random stream, so that one seed gives one split on every machine. What is drawn are *groups*:
galaxies within `SAME_SKY_ARCSEC` of each other, most of them alone.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace

import numpy as np

from trainable.config import DataConfig, TrainingConfig
from trainable.data.class_selection import Selection
from trainable.data.dataset import Survey
from trainable.errors import DataError
from trainable.protocol import (
    FOLDS,
    LEAST_VALIDATION,
    LEAVE_ONE_OUT,
    SAME_SKY_ARCSEC,
    TEST_FRACTION,
    Split,
)

OWN_TEST_SET = (
    "the data have a test set of their own, and it leaves no {} image in the classes that are used"
)


def _no_rows() -> np.ndarray:
    return np.empty(0, np.int64)


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
    test: np.ndarray = field(default_factory=_no_rows)
    """Shape (n_test,), int64, ascending; empty without a test set."""
    test_labels: np.ndarray = field(default_factory=_no_rows)
    folds: np.ndarray | None = None
    """Shape (n_train,), int64, 0 to K - 1: the fold of each training image, if there are too few for
    a validation set or for a probe, which needs none. With a test set ``train`` and ``validation`` are
    all labelled images then."""

    @property
    def n_labels(self) -> int:
        """The label budget: images that train or choose the epoch. Without a test set the
        validation images do not count: the paper's fractions are of training images.
        """
        if not len(self.test) or self.folds is not None:
            return len(self.train)
        return len(self.train) + len(self.validation)

    @property
    def labelled(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows and labels of all labelled images, by ascending row: (n,) and (n,), int64."""
        if self.folds is not None:
            return self.train, self.train_labels
        rows = np.concatenate([self.train, self.validation])
        order = np.argsort(rows)
        return rows[order], np.concatenate([self.train_labels, self.validation_labels])[order]

    @property
    def scored(self) -> np.ndarray:
        """Rows of the images that the trial's accuracy is of: test or, without, validation."""
        return self.test if len(self.test) else self.validation

    @property
    def scored_labels(self) -> np.ndarray:
        """Their labels."""
        return self.test_labels if len(self.test) else self.validation_labels

    @property
    def scored_hash(self) -> str:
        """Equal for two trials if and only if they are scored on the same images."""
        return _hash(self.scored, self.scored_labels)

    @property
    def hash(self) -> str:
        """Identity of the whole split, stored with each trial."""
        parts = [self.train, self.train_labels, self.validation, self.validation_labels]
        parts += [self.test, self.test_labels] if len(self.test) else []
        parts += [self.folds] if self.folds is not None else []
        return _hash(*parts)

    def fold(self, number: int) -> Partition:
        """The labelled images of all other folds to train on, those of one to validate.

        Raises
        ------
        ValueError
            The partition has no folds.
        """
        if self.folds is None:
            raise ValueError("a partition with a validation set has no folds")
        inside = self.folds == number
        return replace(
            self,
            train=self.train[~inside],
            train_labels=self.train_labels[~inside],
            validation=self.validation[inside],
            validation_labels=self.validation_labels[inside],
            folds=None,
        )


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
        Shape (n,), degrees; NaN if the position is not known: such a galaxy is in no pair.
    radius
        Arcseconds.

    Returns
    -------
    pairs : numpy.ndarray
        Shape (p, 2), indices, the smaller first.
    separations : numpy.ndarray
        Shape (p,), arcseconds.
    """
    from scipy.spatial import KDTree  # SciPy and scikit-learn are slow to import

    known = np.flatnonzero(np.isfinite(right_ascension) & np.isfinite(declination))
    ra, dec = np.radians(right_ascension[known]), np.radians(declination[known])
    on_sphere = np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], 1)
    chord = 2 * np.sin(np.radians(radius / 3600) / 2)
    pairs = KDTree(on_sphere).query_pairs(chord, output_type="ndarray")
    chords = np.linalg.norm(on_sphere[pairs[:, 0]] - on_sphere[pairs[:, 1]], axis=1)
    return known[pairs], np.degrees(2 * np.arcsin(chords / 2)) * 3600


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
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    pairs, _ = sky_pairs(right_ascension, declination, radius)
    shape = (len(right_ascension),) * 2
    links = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=shape)
    return connected_components(links, directed=False)[1].astype(np.int64)


def groups_of(survey: Survey, selection: Selection) -> np.ndarray:
    """Group of each selected galaxy; each its own if the file has no positions."""
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
    test_fraction: float = TEST_FRACTION,
    draw_seed: int = 0,
    per_class: int | None = None,
    group_sky: bool = True,
    probe: bool = False,
) -> Partition:
    """Split the selected galaxies for one trial.

    ``budget`` sets the test images aside, stratified, or takes those that the data set aside. What is
    within `SAME_SKY_ARCSEC` of a test image is not in the pool. The labelled images are the fraction
    of the pool, stratified, or `per_class` of each class. The validation images are a share of them,
    `LEAST_VALIDATION` of a class at least; if a class has too few for that, there are folds.
    ``fixed`` takes one stratified validation set first and then the fraction of the rest, smaller
    fractions inside larger ones. ``subset-first`` takes the fraction of everything and splits
    that, both at random, as the paper reads (§3.1, §5.2). Both leave out the images that the data
    set aside for testing, and what is within `SAME_SKY_ARCSEC` of these. Without ``group_sky`` the
    images of one galaxy may land on both sides.

    A probe has folds of its training images, `FOLDS` or, of few images, as many as there are. Each
    class is spread evenly over them, so that even one of two images is in what every fold leaves.
    With ``budget`` all labelled images train it, and are its validation images, fold by fold.

    Parameters
    ----------
    seed
        Draws the test set (``budget``) or the validation set.
    draw_seed
        Draws the labelled images and those of them that validate (``budget``).
    probe
        For a linear probe.

    Raises
    ------
    DataError
        A class is too small, or ends up without an image on one side.
    """
    rows, (units, groups) = selection.rows, _units(survey, selection, group_sky)
    is_test = None if survey.is_test is None else survey.is_test[rows]
    if split == "budget":
        return _budget(
            units,
            groups,
            selection,
            is_test=is_test,
            fraction=fraction,
            per_class=per_class,
            shares=(test_fraction, validation_fraction),
            seeds=(seed, draw_seed),
            probe=probe,
        )
    units = _beside_test(units, groups, is_test)
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
        _check_classes(result[f"{side}_labels"], selection, side, f"fraction {fraction:g}")
    if probe:
        what = f"fraction {fraction:g}"
        result["folds"] = _folds(train, groups, selection, seed, what, probe=True)
    return Partition(**result)


def planned(survey: Survey, selection: Selection, config: TrainingConfig) -> Partition:
    """The split that a run's configuration prescribes."""
    data = config.data
    return partition(
        survey,
        selection,
        fraction=config.fraction,
        split=data.split,
        seed=data.split_seed,
        validation_fraction=data.validation_fraction,
        test_fraction=data.test_fraction,
        draw_seed=draw_seed(config),
        per_class=config.per_class,
        group_sky=data.group_sky,
        probe=config.trained == "probe",
    )


def draw_seed(config: TrainingConfig) -> int:
    """The seed of a run's labelled images, if its split is ``budget``."""
    return config.data.split_seed if config.data.fixed_draw else config.seed


def pool_of(survey: Survey, selection: Selection, data: DataConfig) -> np.ndarray:
    """Rows of the images that label budgets or fractions are taken from: all but the test set.

    Returns
    -------
    numpy.ndarray
        Shape (n,), int64, ascending.
    """
    is_test = None if survey.is_test is None else survey.is_test[selection.rows]
    if data.split != "budget" and is_test is None:
        return selection.rows
    units, groups = _units(survey, selection, data.group_sky)
    if data.split != "budget":
        return selection.rows[np.isin(groups, _beside_test(units, groups, is_test).ids)]
    pool, _ = _pool_and_test(units, groups, selection, is_test, data.test_fraction, data.split_seed)
    return selection.rows[np.isin(groups, pool.ids)]


@dataclass(frozen=True)
class _Units:
    """Groups, each with the label of its first galaxy and its number of galaxies."""

    ids: np.ndarray
    labels: np.ndarray
    sizes: np.ndarray

    def __getitem__(self, chosen: np.ndarray) -> _Units:
        """The units at these positions."""
        return _Units(self.ids[chosen], self.labels[chosen], self.sizes[chosen])


def _units(survey: Survey, selection: Selection, group_sky: bool) -> tuple[_Units, np.ndarray]:
    """What is drawn, and the unit of each selected galaxy, shape (n,)."""
    groups = groups_of(survey, selection) if group_sky else np.arange(len(selection.rows))
    members, first = np.unique(groups, return_index=True)
    units = _Units(ids=members, labels=selection.labels[first], sizes=np.bincount(groups))
    return units, groups


def _cut(
    units: _Units, share: float, seed: int, stratify: np.ndarray | None = None
) -> tuple[_Units, _Units]:
    """A random cut; `share` of the groups land in the second part."""
    from sklearn.model_selection import train_test_split

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


def _beside_test(units: _Units, groups: np.ndarray, is_test: np.ndarray | None) -> _Units:
    """The units without an image that the data set aside for testing.

    Raises
    ------
    DataError
        There is none.
    """
    if is_test is None:
        return units
    if is_test.all():
        raise DataError(OWN_TEST_SET.format("training"))
    return units[~np.isin(units.ids, groups[is_test])]


def _pool_and_test(
    units: _Units,
    groups: np.ndarray,
    selection: Selection,
    is_test: np.ndarray | None,
    share: float,
    seed: int,
) -> tuple[_Units, np.ndarray]:
    """The units that may be labelled, and which of the selected galaxies test, (n,) bool."""
    if is_test is None:
        pool, test = _halve(units, selection, share, seed)
        return pool, np.isin(groups, test.ids)
    if not is_test.any():
        raise DataError(OWN_TEST_SET.format("test"))
    return _beside_test(units, groups, is_test), is_test


def _budget(
    units: _Units,
    groups: np.ndarray,
    selection: Selection,
    *,
    is_test: np.ndarray | None,
    fraction: float,
    per_class: int | None,
    shares: tuple[float, float],
    seeds: tuple[int, int],
    probe: bool,
) -> Partition:
    """Test set, then labelled images, then validation images or folds among them."""
    (test_share, validation_share), (split_seed, draw) = shares, seeds
    pool, test = _pool_and_test(units, groups, selection, is_test, test_share, split_seed)
    if per_class is None:
        labelled = _nested(pool, fraction, draw)
    else:
        labelled = _nested_per_class(pool, per_class, draw, selection)
    what = f"a budget of {labelled.sizes.sum()} labels"
    inside = np.isin(groups, labelled.ids)
    rows, labels = selection.rows[inside], selection.labels[inside]
    _check_classes(labels, selection, "train", what)
    _check_classes(selection.labels[test], selection, "test", "the test set")
    chosen = {"test": selection.rows[test], "test_labels": selection.labels[test]}
    counts = np.bincount(labelled.labels, minlength=len(selection.class_names))
    if counts.min() >= 2 * LEAST_VALIDATION and not probe:
        wanted = np.maximum(np.rint(validation_share * counts), LEAST_VALIDATION)
        order = _places(labelled, draw)
        validates = np.isin(groups[inside], labelled.ids[order < wanted[labelled.labels]])
        return Partition(
            train=rows[~validates],
            train_labels=labels[~validates],
            validation=rows[validates],
            validation_labels=labels[validates],
            **chosen,
        )
    return Partition(
        train=rows,
        train_labels=labels,
        validation=rows,
        validation_labels=labels,
        folds=_folds(labelled, groups, selection, draw, what, probe=probe),
        **chosen,
    )


def _folds(
    units: _Units, groups: np.ndarray, selection: Selection, seed: int, what: str, *, probe: bool
) -> np.ndarray:
    """(n,) int64: the fold of each selected galaxy that is in `units`, each class spread evenly.

    Raises
    ------
    DataError
        A class has one unit, so that what its fold leaves has none of it.
    """
    counts = np.bincount(units.labels, minlength=len(selection.class_names))
    if (smallest := int(counts.argmin()), fewest := int(counts.min()))[1] < 2:
        raise DataError(
            f"{what} has {fewest} image of class {selection.label_values[smallest]} "
            f"{selection.class_names[smallest]!r}: at least 2 are needed, one to train on and one to "
            f"choose the {'strength of the probe' if probe else 'epoch'} by. Use a larger budget"
        )
    if not probe:
        number = min(FOLDS, fewest)
    else:
        number = len(units.ids) if len(units.ids) <= LEAVE_ONE_OUT else FOLDS
    before = np.cumsum(counts) - counts  # units of the classes before each
    folds = (before[units.labels] + _places(units, seed)) % number
    of_unit = dict(zip(units.ids.tolist(), folds.tolist(), strict=True))
    inside = groups[np.isin(groups, units.ids)]
    return np.array([of_unit[group] for group in inside.tolist()], np.int64)


def _places(units: _Units, seed: int) -> np.ndarray:
    """(U,) int: each unit's place in a random order of its class, from 0."""
    random = np.random.RandomState([seed, 1])  # another stream than the one that labelled them
    places = np.empty(len(units.ids), np.int64)
    for label in np.unique(units.labels):
        of_class = np.flatnonzero(units.labels == label)
        places[of_class] = random.permutation(len(of_class))
    return places


def _nested_per_class(units: _Units, count: int, seed: int, selection: Selection) -> _Units:
    """The first units of each class in a random order, with `count` images or the next more."""
    from sklearn.utils import check_random_state

    random = check_random_state(seed)
    chosen: list[np.ndarray] = []
    for label in np.unique(units.labels):
        of_class = np.flatnonzero(units.labels == label)
        shuffled = of_class[random.permutation(len(of_class))]
        images = np.cumsum(units.sizes[shuffled])
        if images[-1] < count:
            raise DataError(
                f"{count} images of each class are asked for; class "
                f"{selection.label_values[label]} {selection.class_names[label]!r} has {images[-1]} "
                "beside the test set. Use fewer, or a smaller --test-fraction"
            )
        chosen.append(shuffled[: int(np.searchsorted(images, count)) + 1])
    return units[np.sort(np.concatenate(chosen))]


def _nested(units: _Units, fraction: float, seed: int) -> _Units:
    """The first `fraction` of one stratified order, which does not depend on the fraction."""
    from sklearn.utils import check_random_state

    random = check_random_state(seed)
    place = np.empty(len(units.ids))
    for label in np.unique(units.labels):
        of_class = np.flatnonzero(units.labels == label)
        ranks = random.permutation(len(of_class))
        place[of_class] = (ranks + random.uniform()) / len(of_class)  # spread evenly over (0, 1)
    order = np.argsort(place, kind="stable")
    images = np.cumsum(units.sizes[order])
    return units[np.sort(order[images <= round(fraction * images[-1])])]


SIDES = {"train": "training", "validation": "validation", "test": "test"}


def _check_classes(labels: np.ndarray, selection: Selection, side: str, what: str) -> None:
    counts = np.bincount(labels, minlength=len(selection.class_names))
    for value, name, count in zip(
        selection.label_values, selection.class_names, counts, strict=True
    ):
        if count == 0:
            raise DataError(
                f"{what} leaves class {value} {name!r} without a {SIDES[side]} image. "
                f"Use a larger one, or leave the class out with --drop-labels {value}."
            )
