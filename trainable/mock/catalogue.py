"""The catalogue of the mock survey: galaxy, label and sky position of every image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainable.data.sources.known_files import GALAXY10_COUNTS
from trainable.errors import SettingsError
from trainable.mock.profiles import FIELD_PIXELS
from trainable.protocol import SAME_SKY_ARCSEC

LOOK_ALIKES: tuple[tuple[int, ...], ...] = (
    (1, 7, 3),  # Disturbed
    (0,),  # Merging
    (3, 6),  # Round Smooth
    (2, 4, 6),  # In-between Round Smooth
    (3, 8, 9),  # Cigar Shaped Smooth
    (6, 7),  # Barred Spiral
    (7, 5, 2),  # Unbarred Tight Spiral
    (6, 5, 0),  # Unbarred Loose Spiral
    (9, 4),  # Edge-on without Bulge
    (8, 4),  # Edge-on with Bulge
)
"""By label: the classes that volunteers mistake it for."""

PAIRS_SHARE = 126 / 17_736  # pairs within 10 arcsec in Galaxy10 DECaLS, per image
EXACT_SHARE = 59 / 126  # of them at exactly one position, all with two different labels
PLAN_STREAM, TEST_STREAM = 1, 4
"""Streams of random numbers, beside those of the galaxies and the exposures."""


@dataclass(frozen=True, kw_only=True)
class MockSurvey:
    """Everything that defines a mock survey."""

    n_images: int = 4600
    test_share: float = 0.87
    """Share of the images that are the survey's own test set, [0, 1); 0: it has none. Rendering costs
    little, and few test images would hide differences of some points."""
    image_size: int = 128
    """Pixels on a side; must divide 128. The field is always 67 arcsec wide."""
    seed: int = 0
    label_noise: float = 0.04
    """Share of galaxies that show another class than their label says, [0, 1)."""

    def __post_init__(self) -> None:
        if self.n_images < 40:
            raise SettingsError(f"n_images {self.n_images}: at least 40, for one of each class")
        if not 0 <= self.test_share < 1:
            raise SettingsError(f"test_share {self.test_share}: must be in [0, 1)")
        if self.image_size < 8 or FIELD_PIXELS % self.image_size:
            raise SettingsError(f"image_size {self.image_size}: must be 8, 16, 32, 64 or 128")
        if self.seed < 0:
            raise SettingsError(f"seed {self.seed}: must be ≥ 0")
        if not 0 <= self.label_noise < 1:
            raise SettingsError(f"label_noise {self.label_noise}: must be in [0, 1), e.g. 0.04")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One image of the survey, before it is rendered."""

    galaxy: int
    """Whose light is shown: the image's own row, or the row of the other image of its pair."""
    label: int
    """As the file says."""
    morphology: int
    """As the galaxy was drawn; differs from the label if volunteers erred."""
    ra: float
    """Degrees."""
    dec: float
    """Degrees."""
    redshift: float
    offset: tuple[float, float] = (0.0, 0.0)
    """Shift of the galaxy from the image's centre, arcsec to the right and down."""


def own_test_set(settings: MockSurvey, entries: list[Entry]) -> NDArray[np.bool_]:
    """(N,) bool: the survey's own test set, the same share of each class, drawn at random."""
    rng = np.random.default_rng([settings.seed, TEST_STREAM])
    labels = np.array([entry.label for entry in entries])
    is_test = np.zeros(len(entries), bool)
    for label in np.unique(labels):
        of_class = np.flatnonzero(labels == label)
        is_test[rng.permutation(of_class)[: round(settings.test_share * len(of_class))]] = True
    return is_test


def class_counts(n_images: int) -> NDArray[np.int64]:
    """Images of each class in Galaxy10's proportions, rounded by largest remainder; (10,)."""
    share = np.array(list(GALAXY10_COUNTS.values())) * n_images / sum(GALAXY10_COUNTS.values())
    counts = np.floor(share).astype(np.int64)
    counts[np.argsort(counts - share, kind="stable")[: n_images - counts.sum()]] += 1
    return counts


def catalogue(settings: MockSurvey) -> list[Entry]:
    """Every image of the survey, sorted by label as Galaxy10's file is.

    At least three pairs of images show one galaxy. Some lie at one position with two labels,
    the others up to 8 arcsec apart, half of them with two labels.
    """
    rng = np.random.default_rng([settings.seed, PLAN_STREAM])
    entries: list[Entry] = []
    for row, label in enumerate(np.repeat(np.arange(10), class_counts(settings.n_images))):
        mistaken = rng.random() < settings.label_noise
        entries.append(
            Entry(
                galaxy=row,
                label=int(label),
                morphology=int(rng.choice(LOOK_ALIKES[label]) if mistaken else label),
                ra=rng.uniform(0, 360),
                dec=float(np.degrees(np.arcsin(rng.uniform(-0.3, 0.53)))),  # −17° to 32°
                redshift=float(np.clip(rng.lognormal(np.log(0.07), 0.5), 0.01, 0.25)),
            )
        )
    n_pairs = max(3, round(PAIRS_SHARE * settings.n_images))
    free = list(rng.permutation(settings.n_images))
    for pair in range(n_pairs):
        original = entries[free.pop()]
        exact = pair < max(1, round(EXACT_SHARE * n_pairs))
        other_label = exact or rng.random() < 0.5
        alike = LOOK_ALIKES[original.label] if other_label else (original.label,)
        # A small survey may have no free image of such a class: then any with another label.
        row = next((i for i in free if entries[i].label in alike), None)
        if row is None:
            row = next(i for i in free if entries[i].label != original.label)
        free.remove(row)
        distance = 0.0 if exact else rng.uniform(0.5, 0.8 * SAME_SKY_ARCSEC)
        entries[row] = _repeat(original, entries[row].label, distance, rng.uniform(0, 2 * np.pi))
    return entries


def _repeat(original: Entry, label: int, distance: float, angle: float) -> Entry:
    """Another image of the same galaxy, its centre ``distance`` arcsec away.

    ``angle`` is counted from north through east, radians.
    """
    east, north = distance * np.sin(angle), distance * np.cos(angle)
    return Entry(
        galaxy=original.galaxy,
        label=label,
        morphology=original.morphology,
        ra=(original.ra + east / 3600 / np.cos(np.radians(original.dec))) % 360,
        dec=original.dec + north / 3600,
        redshift=original.redshift,
        offset=(float(east), float(north)),  # north is up, east is left
    )
