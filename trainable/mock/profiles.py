"""Light profiles of the mock survey's galaxies: the distribution of one component's light.

Every profile is an array over the field, in arbitrary units (a component is normalised when
it is mixed into a galaxy). Lengths are in arcsec, angles in radians. The field is as wide as a
Galaxy10 DECaLS cut-out (67 arcsec), sampled twice as coarsely, with a margin around it from
which light is smeared in.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

FIELD_PIXELS = 128
"""Side of a rendered cut-out, in pixels."""
PIXEL_SCALE = 0.524
"""Arcsec per pixel: twice that of Galaxy10 DECaLS, which has 256 pixels of 0.262."""
MARGIN = 16
"""Pixels rendered around the cut-out on each side."""
GRID_PIXELS = FIELD_PIXELS + 2 * MARGIN  # = G, the side of every array here

SOFTENING = PIXEL_SCALE / 2
"""Arcsec; a cusp sharper than the sampling would depend on where the pixels lie."""

Image = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """Coordinates in the plane of one galaxy, for every pixel of the field.

    A face-on galaxy needs no more than its centre. Angles and radii are computed on first use.
    """

    center: tuple[float, float]
    """Centre of the galaxy, arcsec right of and below the field's centre."""
    axis_ratio: float = 1.0
    """Minor over major axis, (0, 1]."""
    angle: float = 0.0
    """Angle of the major axis, radians."""
    lopsided: float = 0.0
    """Radii shrink by up to this share toward one side: a one-armed distortion."""
    lopsided_angle: float = 0.0

    @cached_property
    def _turned(self) -> tuple[Image, Image]:
        axis = (np.arange(GRID_PIXELS) - (GRID_PIXELS - 1) / 2) * PIXEL_SCALE
        x, y = axis[None, :] - self.center[0], axis[:, None] - self.center[1]
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        return x * cos + y * sin, (y * cos - x * sin) / self.axis_ratio

    @property
    def u(self) -> Image:
        """Along the major axis, arcsec; (G, G)."""
        return self._turned[0]

    @property
    def v(self) -> Image:
        """Along the minor axis, stretched to face-on, arcsec; (G, G)."""
        return self._turned[1]

    @cached_property
    def r(self) -> Image:
        """Radius in the galaxy's plane, arcsec, never 0; (G, G)."""
        r = np.sqrt(self.u**2 + self.v**2 + SOFTENING**2)
        if self.lopsided:
            # cos(θ − side) without the angles
            toward = self.u * np.cos(self.lopsided_angle) + self.v * np.sin(self.lopsided_angle)
            r = r - self.lopsided * toward
        return r

    @cached_property
    def theta(self) -> Image:
        """Angle in the galaxy's plane from +u, radians; (G, G)."""
        return np.arctan2(self.v, self.u)

    def points(self, u: Image, v: Image, weights: Image) -> Image:
        """Point sources at positions of the galaxy's plane.

        Parameters
        ----------
        u, v, weights : ndarray of shape (K,)
            Positions in arcsec, and brightness. Points outside the field are left out.

        Returns
        -------
        ndarray of shape (G, G)
        """
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        v = v * self.axis_ratio
        return point_sources(
            self.center[0] + u * cos - v * sin, self.center[1] + u * sin + v * cos, weights
        )


def point_sources(x: Image, y: Image, weights: Image) -> Image:
    """Points at ``x``, ``y`` (arcsec right of and below the field's centre) in the nearest pixel.

    Parameters
    ----------
    x, y : ndarray of shape (K,)
    weights : ndarray of shape (K,)

    Returns
    -------
    ndarray of shape (G, G)
    """
    column = np.rint(x / PIXEL_SCALE + (GRID_PIXELS - 1) / 2).astype(int)
    row = np.rint(y / PIXEL_SCALE + (GRID_PIXELS - 1) / 2).astype(int)
    inside = (column >= 0) & (column < GRID_PIXELS) & (row >= 0) & (row < GRID_PIXELS)
    image = np.zeros((GRID_PIXELS, GRID_PIXELS))
    np.add.at(image, (row[inside], column[inside]), weights[inside])
    return image


def sersic(r: Image, half_light: float, index: float) -> Image:
    """Sérsic profile; b_n after Ciotti & Bertin (1999), eq. 18."""
    b = 2 * index - 1 / 3 + 4 / (405 * index) + 46 / (25515 * index**2)
    return np.exp(-b * ((r / half_light) ** (1 / index) - 1))


def exponential(r: Image, scale: float) -> Image:
    """Exponential disk seen face-on."""
    return np.exp(-r / scale)


def edge_on(f: Frame, scale: float, height: float) -> Image:
    """Exponential disk with a sech² vertical profile, seen edge-on (van der Kruit & Searle 1981).

    The projection x·K₁(x) of the exponential is replaced by √(1 + πx/2)·exp(−x), which has
    its two limits. The disk ends smoothly at 3.4 scale lengths. ``f`` must have axis ratio 1.
    """
    x = np.abs(f.u) / scale
    along = np.sqrt(1 + np.pi * x / 2) * np.exp(-x) / (1 + np.exp(np.minimum((x - 3.4) / 0.25, 99)))
    z = np.minimum(np.abs(f.v) / height, 300.0)  # cosh overflows beyond
    return along / np.cosh(z) ** 2


def bar(f: Frame, half_length: float, half_width: float) -> Image:
    """Flat-topped bar along +u of the galaxy's plane."""
    return np.exp(-0.5 * (np.square((f.u / half_length) ** 2) + (f.v / half_width) ** 2))


def spiral_arms(
    f: Frame, *, pitch: float, n_arms: int, phase: Image | float, sharpness: float, radius: float
) -> Image:
    """Logarithmic spiral arms, 1 on the crest; von Mises across.

    Parameters
    ----------
    f : Frame
    pitch : float
        Pitch angle, radians; the sign is the handedness.
    n_arms : int
    phase : float or ndarray of shape (G, G)
        Angle of one crest at ``radius``, radians; an array bends the arms.
    sharpness : float
        Concentration of the von Mises profile; 0 is no arms.
    radius : float
        Radius at which the crest has the angle ``phase``, arcsec.
    """
    winding = np.log(f.r / radius) / np.tan(pitch)
    return np.exp(sharpness * (np.cos(n_arms * (f.theta - winding - phase)) - 1))


def stream(
    f: Frame, *, start: float, length: float, pitch: float, width: float, angle: float
) -> Image:
    """One tidal tail: a single spiral arm that begins at ``start`` and fades over ``length``.

    A pitch near 0 is a shell, near π/2 a radial plume. ``width`` is in arcsec, one sigma.
    """
    swept = np.log(f.r / start) / np.tan(pitch)
    turn = np.remainder(f.theta - swept - angle + np.pi, 2 * np.pi) - np.pi
    across = f.r * np.sin(pitch) * turn
    begins = 1 / (1 + np.exp(np.minimum((start - f.r) / width, 50.0)))
    # Without an end along the angle, a shell would close into a ring.
    return begins * np.exp(-0.5 * (across / width) ** 2 - f.r / length - 0.5 * (swept / 2) ** 2)


def patches(rng: np.random.Generator, f: Frame, cell: float) -> Image:
    """A smooth random field, mean 0 and about unit variance, with lumps of ``cell`` arcsec.

    It moves with the galaxy's centre, by up to 10 arcsec.
    """
    reach = GRID_PIXELS * PIXEL_SCALE / 2 + 10
    nodes = np.arange(-reach, reach + cell, cell)
    pixels = (np.arange(GRID_PIXELS) - (GRID_PIXELS - 1) / 2) * PIXEL_SCALE
    across, down = (
        np.exp(-0.5 * ((pixels[:, None] - at - nodes) / (0.7 * cell)) ** 2) for at in f.center
    )
    for weights in (across, down):
        weights /= np.sqrt((weights**2).sum(1, keepdims=True)) + 1e-9  # no node reaches some pixels
    # einsum, as a product this small takes longer in a busy BLAS thread pool.
    rows = np.einsum("ab,jb->aj", rng.standard_normal((len(nodes), len(nodes))), across)
    return np.einsum("ia,aj->ij", down, rows)
