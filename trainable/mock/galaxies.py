"""The ingredients of the mock survey's galaxies: smooth, edge-on and spiral ones, in colour.

Each returns the light of one galaxy, shape (3, G, G) in the bands g, r, z, with a sum of 1 in
r. Its arguments are a generator, the centre (arcsec right of and below the field's centre)
and the half-light radius (arcsec).
"""

from __future__ import annotations

import numpy as np

from trainable.mock.profiles import (
    Frame,
    Image,
    bar,
    edge_on,
    exponential,
    patches,
    sersic,
    spiral_arms,
)

Center = tuple[float, float]

YOUNG, DISK, OLD = 0.05, 0.55, 1.0
"""Ages in arbitrary units: knots and arms, disks, bulges. See `colour`."""
DUST = np.array([1.3, 1.0, 0.55])
"""Optical depth in g, r, z relative to r."""


def colour(age: float) -> Image:
    """Flux in g, r, z relative to r, shape (3,).

    From g−r = 0.2, r−z = 0.1 (young) to g−r = 0.9, r−z = 0.72 (old): the range of nearby
    galaxies in the Legacy Surveys.
    """
    return 10 ** (0.4 * np.array([-(0.2 + 0.7 * age), 0.0, 0.1 + 0.62 * age]))


def mix(*components: tuple[Image, float, float]) -> Image:
    """Sum of components ``(profile, share of the r flux, age)``, normalised to 1 in r."""
    total = sum(share for _, share, _ in components)
    galaxy = np.zeros((3, *components[0][0].shape))
    for profile, share, age in components:
        galaxy += colour(age)[:, None, None] * (
            profile * (share / total / max(profile.sum(), 1e-12))
        )
    return galaxy


def random_frame(
    rng: np.random.Generator, center: Center, axis_ratio: float, lopsided: float = 0.0
) -> Frame:
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
    scale = size / 1.15
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


def _arms(
    rng: np.random.Generator,
    f: Frame,
    size: float,
    *,
    pitch_degrees: tuple[float, float],
    half_bar: float | None,
) -> tuple[Image, Image, Image]:
    """Spiral arms with lumps, the mask of the disk that they cover, and star-forming knots.

    Two arms leave the ends of a bar of half-length ``half_bar``; without one (None), two to
    four begin near the centre.
    """
    pitch = np.radians(rng.uniform(*pitch_degrees)) * rng.choice([-1, 1])
    n_arms = int(rng.choice([2, 3, 4], p=[0.65, 0.2, 0.15])) if half_bar is None else 2
    start = size * rng.uniform(0.15, 0.4) if half_bar is None else half_bar
    phase = rng.uniform(0, 2 * np.pi) if half_bar is None else 0.0
    bends = rng.uniform(0.05, 0.35) * patches(rng, f, max(0.6 * size, 2.0))
    crests = spiral_arms(
        f,
        pitch=pitch,
        n_arms=n_arms,
        phase=phase + bends,
        sharpness=rng.uniform(0.8, 3.5),
        radius=start,
    )
    outside = 1 - np.exp(-((f.r / start) ** 3))
    lumps = np.exp(rng.uniform(0.2, 0.9) * patches(rng, f, max(0.3 * size, 1.5)))
    count = rng.integers(15, 120)
    r = size * (0.5 + rng.gamma(2.0, 0.4, count))
    theta = phase + np.log(r / start) / np.tan(pitch) + rng.normal(0, rng.uniform(0.1, 0.6), count)
    theta += rng.integers(0, n_arms, count) * 2 * np.pi / n_arms
    knots = f.points(r * np.cos(theta), r * np.sin(theta), rng.lognormal(0, 1.0, count))
    return crests * outside * lumps, outside, knots


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

    Parameters
    ----------
    rng, center, size
        As in every recipe: generator, centre and half-light radius in arcsec.
    pitch_degrees, bulge : tuple of float
        Ranges of the pitch angle and of the bulge's share of the light.
    barred : bool
    lopsided : float
        See `Frame`.
    weakest : float
        Lowest contrast of the arms; the highest is 1.
    """
    # A disk of thickness 0.2 (Hubble 1926), inclined by up to 73 degrees.
    f = random_frame(rng, center, np.sqrt(0.04 + 0.96 * rng.uniform(0.3, 1.0) ** 2), lopsided)
    half_bar = size * rng.uniform(0.35, 0.75) if barred else None
    arms, outside, knots = _arms(rng, f, size, pitch_degrees=pitch_degrees, half_bar=half_bar)
    contrast = weakest + (1 - weakest) * rng.beta(1.6, 1.4)
    scale = size / 1.68  # half of an exponential disk's light lies within 1.68 scale lengths
    # Arms take light from between them, so that they stand out in the old stars too.
    old = exponential(f.r, scale) * (1 - contrast * (0.6 * outside - arms))
    flattened = Frame(center=center, axis_ratio=max(f.axis_ratio, 0.75), angle=f.angle)
    core = sersic(flattened.r, size * rng.uniform(0.12, 0.25), rng.uniform(1, 3))
    components = [
        (old, 1.0, DISK + rng.normal(0, 0.13)),
        (exponential(f.r, 1.25 * scale) * arms, 0.4 * contrast, YOUNG + 0.1),
        (knots, rng.uniform(0.01, 0.09) * contrast, YOUNG),
        (core, rng.uniform(*bulge), OLD),
    ]
    if half_bar is not None:
        profile = bar(f, half_bar, half_bar * rng.uniform(0.16, 0.34))
        components.append((profile, rng.uniform(0.07, 0.32), OLD - rng.uniform(0, 0.25)))
    return mix(*components)
