"""The ten classes of the mock survey: a random galaxy of each, before any telescope.

A recipe returns the light of one galaxy, shape (3, G, G) in the bands g, r, z, with a sum of
1 in r. The spread within a class is wide on purpose: weak arms, inclined disks and small
galaxies make the classes overlap as they do for volunteers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from trainable.mock.galaxies import (
    DISK,
    YOUNG,
    Center,
    featureless,
    mix,
    random_frame,
    seen_edge_on,
    smooth,
    spiral,
)
from trainable.mock.profiles import Frame, Image, bar, point_sources, stream

Recipe = Callable[[np.random.Generator, Center, float], Image]
"""(generator, centre, half-light radius in arcsec) → light."""


def disturbed(rng: np.random.Generator, center: Center, size: float) -> Image:
    """One galaxy that lost its symmetry: lopsided, with tidal tails, shells or odd clumps."""
    lopsided = rng.uniform(0.1, 0.5)
    if rng.random() < 0.5:
        base = spiral(
            rng,
            center,
            size,
            pitch_degrees=(15, 45),
            bulge=(0.0, 0.25),
            lopsided=lopsided,
            weakest=0.0,
        )
    else:
        f = random_frame(rng, center, rng.uniform(0.45, 1.0), lopsided)
        base = smooth(rng, f, size, rng.uniform(1.0, 3.0))
    components = tails(rng, center, size, count=int(rng.integers(1, 4)))
    count = rng.integers(1, 9)
    x, y = (center + rng.normal(0, size * 0.8, (count, 2))).T
    blobs = point_sources(x, y, rng.random(count))
    debris = mix(*components, (blobs, rng.uniform(0, 0.15), YOUNG))
    share = rng.uniform(0.04, 0.3)
    return (base + share * debris) / (1 + share)


def tails(
    rng: np.random.Generator, center: Center, size: float, count: int
) -> list[tuple[Image, float, float]]:
    """Tidal tails and shells of random shape as components for `mix`."""
    return [
        (
            stream(
                random_frame(rng, center, rng.uniform(0.5, 1.0)),
                start=size * rng.uniform(0.7, 1.6),
                length=size * rng.uniform(0.8, 2.5),
                pitch=np.radians(rng.uniform(6, 55)) * rng.choice([-1, 1]),
                width=size * rng.uniform(0.1, 0.3),
                angle=rng.uniform(0, 2 * np.pi),
            ),
            rng.uniform(0.3, 1.0),
            rng.uniform(0.2, 0.8),
        )
        for _ in range(count)
    ]


def merging(rng: np.random.Generator, center: Center, size: float) -> Image:
    """Two galaxies that touch, each distorted, with tails and a bridge between them."""
    angle = rng.uniform(0, 2 * np.pi)
    distance = size * rng.uniform(0.6, 2.2)
    step = distance * np.array([np.cos(angle), np.sin(angle)])
    ratio = rng.uniform(0.2, 1.0)
    # The cut-out is centred on the brighter one, or on the pair.
    first = np.array(center) - (0.5 * step if rng.random() < 0.4 else 0.0)
    galaxy = np.zeros(())
    for position, flux in ((first, 1.0), (first + step, ratio)):
        own = size * rng.uniform(0.45, 0.75) * np.sqrt(flux)
        lopsided, position = rng.uniform(0.05, 0.4), (float(position[0]), float(position[1]))
        if rng.random() < 0.5:
            f = random_frame(rng, position, rng.uniform(0.5, 1.0), lopsided)
            part = smooth(rng, f, own, rng.uniform(1.0, 4.0))
        else:
            part = spiral(
                rng,
                position,
                own,
                pitch_degrees=(12, 40),
                bulge=(0.05, 0.5),
                lopsided=lopsided,
                weakest=0.0,
            )
        galaxy = galaxy + flux * part
    components = tails(rng, center, size, count=int(rng.integers(1, 3)))
    middle = first + 0.5 * step
    bridge = Frame(center=(float(middle[0]), float(middle[1])), angle=angle)
    components.append((bar(bridge, distance / 2, size * rng.uniform(0.1, 0.3)), 1.0, DISK))
    galaxy = galaxy + rng.uniform(0.03, 0.3) * mix(*components)
    return galaxy / galaxy[1].sum()


@dataclass(frozen=True, kw_only=True)
class Kind:
    """How galaxies of one class are drawn."""

    recipe: Recipe
    half_light: float
    """Median half-light radius, arcsec (along the major axis if flat)."""
    brightness: float
    """Median mean surface brightness in r within that radius, mag/arcsec²."""


KINDS: tuple[Kind, ...] = (
    Kind(recipe=disturbed, half_light=5.8, brightness=21.8),
    Kind(recipe=merging, half_light=8.5, brightness=21.3),
    Kind(
        recipe=partial(featureless, axis_ratio=(0.82, 1.0), index=(1.5, 4.5)),
        half_light=4.8,
        brightness=21.0,
    ),
    Kind(
        recipe=partial(featureless, axis_ratio=(0.45, 0.85), index=(1.2, 4.0)),
        half_light=4.8,
        brightness=20.9,
    ),
    Kind(
        recipe=partial(featureless, axis_ratio=(0.22, 0.45), index=(1.0, 2.5)),
        half_light=4.2,
        brightness=20.9,
    ),
    Kind(
        recipe=partial(spiral, pitch_degrees=(12, 32), bulge=(0.03, 0.2), barred=True),
        half_light=7.2,
        brightness=21.9,
    ),
    Kind(
        recipe=partial(spiral, pitch_degrees=(7, 17), bulge=(0.1, 0.45)),
        half_light=6.8,
        brightness=21.4,
    ),
    Kind(
        recipe=partial(spiral, pitch_degrees=(17, 40), bulge=(0.0, 0.18)),
        half_light=7.2,
        brightness=22.0,
    ),
    Kind(recipe=partial(seen_edge_on, bulge=(0.0, 0.06)), half_light=5.2, brightness=22.1),
    Kind(recipe=partial(seen_edge_on, bulge=(0.12, 0.5)), half_light=5.2, brightness=21.7),
)
"""By label of Galaxy10 DECaLS."""


def draw(rng: np.random.Generator, label: int, center: Center, redshift: float) -> Image:
    """A random galaxy of one class.

    Parameters
    ----------
    rng : numpy.random.Generator
    label : int
        Label of Galaxy10 DECaLS, 0–9.
    center : tuple of float
        Arcsec right of and below the field's centre.
    redshift : float
        Reddens the galaxy by 1.5 z in g−r and 0.8 z in r−z.

    Returns
    -------
    ndarray of shape (3, G, G)
        Flux in g, r, z, nanomaggies per pixel.
    """
    kind = KINDS[label]
    size = float(np.clip(kind.half_light * rng.lognormal(0, 0.38), 1.6, 15.0))
    brightness = rng.normal(kind.brightness, 0.55)
    magnitude = brightness - 2.5 * np.log10(2 * np.pi * size**2)
    reddening = 10 ** (0.4 * redshift * np.array([-1.5, 0.0, 0.8]))
    flux = 10 ** (0.4 * (22.5 - magnitude)) * reddening
    return flux[:, None, None] * kind.recipe(rng, center, size)
