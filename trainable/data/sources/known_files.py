"""Published files of labelled images that do not name their classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from trainable.protocol import DROPPED_LABEL

GALAXY10_SHA256 = "19aefc477c41bb7f77ff07599a6b82a038dc042f889a111b0d4d98bb755c1571"
GALAXY10_COUNTS = {  # images of each class, in the order of the labels
    "Disturbed": 1081,
    "Merging": 1853,
    "Round Smooth": 2645,
    "In-between Round Smooth": 2027,  # astroNN 1.1.0's own table names this one wrongly
    "Cigar Shaped Smooth": 334,
    "Barred Spiral": 2043,
    "Unbarred Tight Spiral": 1829,
    "Unbarred Loose Spiral": 2628,
    "Edge-on without Bulge": 1423,
    "Edge-on with Bulge": 1873,
}
GALAXY10_CLASSES = tuple(GALAXY10_COUNTS)
PAPERS_IMAGES = sum(GALAXY10_COUNTS.values()) - tuple(GALAXY10_COUNTS.values())[DROPPED_LABEL]
"""17,402: without the class that the paper drops."""


@dataclass(frozen=True, kw_only=True)
class KnownFile:
    """A published file without class names of its own."""

    name: str
    sha256: str
    """Of the file as published, lower-case hexadecimal."""
    images: int
    """N, images in the file."""
    image_size: int
    """S, pixels along one side."""
    counts: Mapping[str, int]
    """Class → its images, in the order of the labels."""
    count_error: int = 0
    """By how many images a published count may be wrong."""

    def looks_like(self, labels: np.ndarray, shape: tuple[int, ...]) -> bool:
        """Whether a file that was written again has this one's shape and class counts.

        Parameters
        ----------
        labels
            Shape (N,), integers.
        shape
            Height and width of its images, pixels.
        """
        if (len(labels), *shape) != (self.images, self.image_size, self.image_size):
            return False
        found = np.bincount(labels, minlength=len(self.counts))
        if len(found) != len(self.counts):
            return False
        return bool((np.abs(found - list(self.counts.values())) <= self.count_error).all())


GALAXY10_DECALS = KnownFile(
    name="Galaxy10 DECaLS",
    sha256=GALAXY10_SHA256,
    images=17_736,
    image_size=256,
    counts=GALAXY10_COUNTS,
)
GALAXY10_SDSS = KnownFile(
    name="Galaxy10 SDSS",
    sha256="969a6b1cefcc36e09fffa86febd2f699a4aa19b837ba0427f01b0bc6ded458af",  # astroNN 1.1.0
    images=21_785,
    image_size=69,
    counts={  # names: astroNN 1.1.0, datasets/galaxy10sdss.py; counts: its documentation
        "Disk, Face-on, No Spiral": 3461,
        "Smooth, Completely round": 6997,
        "Smooth, in-between round": 6292,
        "Smooth, Cigar shaped": 394,
        "Disk, Edge-on, Rounded Bulge": 1534,
        "Disk, Edge-on, Boxy Bulge": 17,
        "Disk, Edge-on, No Bulge": 589,
        "Disk, Face-on, Tight Spiral": 1121,
        "Disk, Face-on, Medium Spiral": 906,
        "Disk, Face-on, Loose Spiral": 519,
    },
    count_error=45,  # the documented counts add up to 21,830
)
KNOWN_FILES = (GALAXY10_DECALS, GALAXY10_SDSS)
