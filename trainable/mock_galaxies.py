"""The ten classes of the mock survey: random galaxies of each, before any telescope.

A recipe returns the light of one galaxy, shape (3, G, G) in the bands g, r, z, with a sum of
1 in r. The spread within a recipe is wide on purpose: weak arms, inclined disks and small
galaxies make the classes overlap as they do for volunteers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from .mock_profiles import (
    Frame,
    Image,
    bar,
    edge_on,
    exponential,
    patches,
    point_sources,
    sersic,
    spiral_arms,
    stream,
)

Center = tuple[float, float]
Recipe = Callable[[np.random.Generator, Center, float], Image]

YOUNG, DISK, OLD = 0.05, 0.55, 1.0
"""Ages in arbitrary units: knots and arms, disks, bulges. See `colour`."""
DUST = np.array([1.3, 1.0, 0.55])
"""Optical depth in g, r, z relative to r."""


def colour(age: float) -> Image:
    """Flux in g, r, z relative to r, shape (3,).

    From g−r = 0.2, r−z = 0.1 (young) to g−r = 0.9, r−z = 0.8 (old): the range of nearby
    galaxies in the Legacy Surveys.
    """
    return 10 ** (0.4 * np.array([-(0.2 + 0.7 * age), 0.0, 0.1 + 0.7 * age]))


def mix(*components: tuple[Image, float, float]) -> Image:
    """Sum of components ``(profile, share of the r flux, age)``, normalised to 1 in r."""
    total = sum(share for _, share, _ in components)
    galaxy = np.zeros((3, *components[0][0].shape))
    for profile, share, age in components:
        galaxy += colour(age)[:, None, None] * (profile * (share / total / profile.sum()))
    return galaxy


def random_frame(rng: np.random.Generator, center: Center, axis_ratio: float, lopsided=0.0):
    """A frame with a random position angle and a random side to be lopsided toward."""
    angle, side = rng.uniform(0, 2 * np.pi, 2)
    return Frame(
        center=center,
        axis_ratio=axis_ratio,
        angle=angle,
        lopsided=lopsided,
        lopsided_angle=side,
    )


def smooth(rng: np.random.Generator, f: Frame, size: float, index: float) -> Image:
    """A galaxy without structure: one Sérsic profile, mostly old."""
    age = np.clip(rng.normal(0.85, 0.15), 0.25, 1.05)
    return mix((sersic(f.r, size * np.sqrt(1 / f.axis_ratio), index), 1.0, age))


def _knots(rng, f: Frame, size: float, *, pitch, n_arms, phase, scatter) -> Image:
    """Star-forming regions along the arms, ``scatter`` radians around the crests."""
    count = rng.integers(15, 120)
    r = size * (0.5 + rng.gamma(2.0, 0.4, count))
    arm = rng.integers(0, n_arms, count) * 2 * np.pi / n_arms
    theta = phase + arm + np.log(r / size) / np.tan(pitch) + rng.normal(0, scatter, count)
    return f.points(r * np.cos(theta), r * np.sin(theta), rng.lognormal(0, 1.0, count)) + 1e-12


def featureless(
    rng: np.random.Generator,
    center: Center,
    size: float,
    *,
    axis_ratio: tuple[float, float],
    index: tuple[float, float],
) -> Image:
    """An elliptical or lenticular galaxy: ranges of the axis ratio and the Sérsic index."""
    f = random_frame(rng, center, rng.uniform(*axis_ratio))
    return smooth(rng, f, size, rng.uniform(*index))


def seen_edge_on(
    rng: np.random.Generator, center: Center, size: float, *, bulge: tuple[float, float]
) -> Image:
    """A thin disk on its edge, a bulge with a share of the light in a range, perhaps dust."""
    f = random_frame(rng, center, 1.0)
    scale = size / 1.3
    height = scale * rng.uniform(0.25, 0.55)
    share = rng.uniform(*bulge)
    components = [(edge_on(f, scale, height), 1 - share, rng.normal(0.6, 0.18))]
    if share > 0.03:
        bulge_size = scale * rng.uniform(0.25, 0.55)
        flattened = Frame(center=center, axis_ratio=rng.uniform(0.6, 1.0), angle=f.angle)
        components.append((sersic(flattened.r, bulge_size, rng.uniform(1, 3.5)), share, OLD))
    galaxy = mix(*components)
    if rng.random() < 0.4:
        lane = np.exp(
            -0.5 * ((f.v - rng.normal(0, 0.3) * height) / (0.45 * height)) ** 2
            - (f.u / (2 * scale)) ** 2
        )
        galaxy = galaxy * np.exp(-rng.uniform(0.4, 1.8) * DUST[:, None, None] * lane)
    return galaxy / galaxy[1].sum()


def spiral(
    rng: np.random.Generator,
    center: Center,
    size: float,
    *,
    pitch_degrees: tuple[float, float],
    bulge: tuple[float, float],
    barred: bool = False,
    lopsided: float = 0.0,
    weakest: float = 0.15,
) -> Image:
    """A disk with logarithmic arms, knots of star formation, a bulge and perhaps a bar.

    ``pitch_degrees`` and ``bulge`` (share of the r flux) are ranges; ``weakest`` is the
    lowest contrast of the arms, of at most 1.
    """
    f = random_frame(rng, center, np.sqrt(0.04 + 0.96 * rng.uniform(0.3, 1.0) ** 2), lopsided)
    scale = size / 1.68
    pitch = np.radians(rng.uniform(*pitch_degrees)) * rng.choice([-1, 1])
    n_arms = int(rng.choice([2, 3, 4], p=[0.65, 0.2, 0.15]))
    phase = rng.choice([0.0, np.pi]) if barred else rng.uniform(0, 2 * np.pi)
    contrast = weakest + (1 - weakest) * rng.beta(1.6, 1.4)
    half_bar = size * rng.uniform(0.35, 0.75)
    start = half_bar if barred else size * rng.uniform(0.15, 0.4)
    radius = half_bar if barred else size
    crests = spiral_arms(
        f,
        pitch=pitch,
        n_arms=n_arms,
        phase=phase + rng.uniform(0.05, 0.35) * patches(rng, max(0.6 * size, 2.0)),
        sharpness=rng.uniform(0.8, 3.5),
        radius=radius,
    )
    if barred:
        phase -= np.log(half_bar / size) / np.tan(pitch)  # the knots count from `size`
    outside = 1 - np.exp(-((f.r / start) ** 3))
    arms = crests * outside * np.exp(rng.uniform(0.2, 0.9) * patches(rng, max(0.3 * size, 1.5)))
    disk = exponential(f.r, scale)
    # A disk emptied between the arms, so that the arms stand out and not only shine.
    old = disk * (1 - contrast * (0.6 * outside - arms))
    knots = _knots(
        rng, f, size, pitch=pitch, n_arms=n_arms, phase=phase, scatter=rng.uniform(0.08, 0.6)
    )
    components = [
        (old, 1.0, DISK + rng.normal(0, 0.13)),
        (exponential(f.r, 1.25 * scale) * arms, 0.4 * contrast, YOUNG + 0.1),
        (knots, rng.uniform(0.01, 0.09) * contrast, YOUNG),
    ]
    share = rng.uniform(*bulge)
    round_bulge = Frame(center=center, axis_ratio=max(f.axis_ratio, 0.75), angle=f.angle)
    components.append(
        (sersic(round_bulge.r, size * rng.uniform(0.12, 0.25), rng.uniform(1, 3)), share, OLD)
    )
    if barred:
        profile = bar(f, half_bar, half_bar * rng.uniform(0.16, 0.34))
        components.append((profile, rng.uniform(0.07, 0.32), OLD - rng.uniform(0, 0.25)))
    return mix(*components)


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
    blobs = point_sources(*(center + rng.normal(0, size * 0.8, (count, 2))).T, rng.random(count))
    debris = mix(*components, (blobs + 1e-12, rng.uniform(0, 0.15), YOUNG))
    share = rng.uniform(0.04, 0.3)
    return (base + share * debris) / (1 + share)


def tails(rng: np.random.Generator, center: Center, size: float, count: int) -> list:
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
    """Median half-light radius, arcsec (along the major axis where flat)."""
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
        half_light=6.2,
        brightness=21.5,
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


def draw(
    rng: np.random.Generator, label: int, center: Center, redshift: float
) -> Image:
    """A random galaxy of one class.

    Parameters
    ----------
    rng : numpy.random.Generator
    label : int
        Of Galaxy10 DECaLS, 0–9.
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
