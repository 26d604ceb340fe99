"""The telescope of the mock survey: stars, blur, noise and the colour stretch."""

from __future__ import annotations

import galsim
import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import gaussian_filter

from trainable.mock.catalogue import Entry, MockSurvey
from trainable.mock.classes import draw
from trainable.mock.galaxies import DISK, OLD, colour, random_frame
from trainable.mock.profiles import (
    FIELD_PIXELS,
    GRID_PIXELS,
    MARGIN,
    PIXEL_SCALE,
    Image,
    exponential,
    point_sources,
)

GALAXY_STREAM, EXPOSURE_STREAM = 2, 3
"""Streams of random numbers, independent of each other and of the catalogue's."""
HALF_FIELD = FIELD_PIXELS * PIXEL_SCALE / 2  # arcsec
SKY_BRIGHTNESS = 10 ** (0.4 * (22.5 - np.array([22.2, 21.0, 18.9])))
"""Brightness of the dark sky in g, r, z, nanomaggies per square arcsec."""
SKY_NOISE = np.array([0.028, 0.042, 0.095])
"""Median of the noise in g, r, z, nanomaggies per square arcsec, in pixels of 0.524 arcsec."""
STRETCH_SCALES = np.array([6.0, 3.4, 2.2]) * 0.262**2
"""Weights of g, r, z (shown as blue, green, red) of the Legacy Surveys sky viewer, which has
them for fluxes in nanomaggies per pixel of 0.262 arcsec."""
STRETCH_Q = 20.0  # as in the viewer
EXPOSURE = 0.34
"""Ours: share of the viewer's scales, so that the centres do not saturate."""
PEDESTAL = 0.0045
"""Added to the scaled flux. Ours: the viewer's 0.03 shows a grey sky, this one SDSS's dark sky."""
NOISE_BLUR = 0.85  # pixels of 0.524 arcsec, one sigma
CHROMA_BLUR = 1.5  # pixels of 0.524 arcsec, one sigma
PSF_PIXELS = 33


def expose(settings: MockSurvey, row: int, entry: Entry) -> NDArray[np.uint8]:
    """One image of the survey, (S, S, 3); depends on its settings, row and entry alone."""
    of_galaxy = np.random.default_rng([settings.seed, GALAXY_STREAM, entry.galaxy])
    of_exposure = np.random.default_rng([settings.seed, EXPOSURE_STREAM, row])
    field = draw(of_galaxy, entry.morphology, entry.offset, entry.redshift)
    field += foreground(of_galaxy, entry.offset)
    return observe(field, of_exposure, settings.image_size)


def foreground(rng: np.random.Generator, offset: tuple[float, float]) -> Image:
    """Stars of our galaxy, now and then a bright one, and small distant galaxies.

    Parameters
    ----------
    rng : numpy.random.Generator
    offset : tuple of float
        Shift of the whole sky, arcsec to the right and down.

    Returns
    -------
    ndarray of shape (3, G, G)
        Nanomaggies per pixel in g, r, z.
    """
    field = np.zeros((3, GRID_PIXELS, GRID_PIXELS))
    for _ in range(rng.poisson(2.5)):
        # Counts grow slowly with magnitude: uniform in its square from 15 to 23.
        magnitude = 15 + 8 * np.sqrt(rng.random())
        _add(field, point_sources(*_position(rng, offset)), magnitude, rng.uniform(0.2, 1.6))
    if rng.random() < 0.02:
        _add(field, point_sources(*_position(rng, offset)), rng.uniform(12.5, 14.5), 0.6)
    for _ in range(rng.poisson(3.5)):
        x, y, _ = _position(rng, offset)
        tiny = random_frame(rng, (x[0], y[0]), rng.uniform(0.3, 1.0))
        # A few hundred stars of an exponential disk: the seeing hides the grain.
        r, theta = rng.gamma(2, rng.uniform(0.25, 0.8), 400), rng.uniform(0, 2 * np.pi, 400)
        profile = tiny.points(r * np.cos(theta), r * np.sin(theta), np.ones(400))
        _add(field, profile, 19 + 4.5 * np.sqrt(rng.random()), rng.uniform(DISK, OLD + 0.5))
    if rng.random() < 0.06:  # a neighbour by chance, undisturbed: not a merger
        x, y, _ = _position(rng, offset)
        f = random_frame(rng, (x[0], y[0]), rng.uniform(0.4, 1.0))
        _add(field, exponential(f.r, rng.uniform(1, 2)), rng.uniform(16.5, 18.5), OLD)
    return field


def _position(rng: np.random.Generator, offset: tuple[float, float]) -> tuple[Image, Image, Image]:
    """A place in the field, outside the central 4 arcsec, and weight 1."""
    while True:
        x, y = rng.uniform(-HALF_FIELD, HALF_FIELD, (2, 1))
        if np.hypot(x, y)[0] > 4:
            return x + offset[0], y + offset[1], np.ones(1)


def _add(field: Image, profile: Image, magnitude: float, age: float) -> None:
    """Add a profile of that r magnitude and colour to a field."""
    flux = 10 ** (0.4 * (22.5 - magnitude)) / max(profile.sum(), 1e-12)
    for band, of_band in zip(field, colour(age), strict=True):
        band += flux * of_band * profile


def point_spread(rng: np.random.Generator) -> Image:
    """Kolmogorov seeing, a little elliptical, the same in all bands; (P, P), of sum 1."""
    seeing = np.clip(1.3 * rng.lognormal(0, 0.12), 0.9, 1.9)  # arcsec
    shape = galsim.Shear(g1=rng.normal(0, 0.02), g2=rng.normal(0, 0.02))
    profile = galsim.Kolmogorov(fwhm=seeing).shear(shape)
    assert isinstance(profile, galsim.GSObject)  # of one band
    stamp = profile.drawImage(nx=PSF_PIXELS, ny=PSF_PIXELS, scale=PIXEL_SCALE)
    kernel = np.asarray(stamp.array, dtype=float)
    kernel = np.maximum(kernel - kernel[0, PSF_PIXELS // 2], 0)  # no edge around bright stars
    return kernel / kernel.sum()


def blur(field: Image, kernel: Image) -> Image:
    """Convolve each band with a kernel and cut the margin off: (3, G, G), (P, P) → (3, F, F)."""
    shape = field.shape[1:]
    padded = np.zeros(shape)
    padded[: kernel.shape[0], : kernel.shape[1]] = kernel
    padded = np.roll(padded, (-(kernel.shape[0] // 2), -(kernel.shape[1] // 2)), axis=(0, 1))
    spectrum = np.asarray(fft.rfft2(field)) * np.asarray(fft.rfft2(padded))
    blurred = np.asarray(fft.irfft2(spectrum, shape))
    return blurred[:, MARGIN:-MARGIN, MARGIN:-MARGIN]


def observe(field: Image, rng: np.random.Generator, size: int) -> NDArray[np.uint8]:
    """One exposure of a field: blur, shrink, noise, colour.

    Parameters
    ----------
    field : ndarray of shape (3, G, G)
        Nanomaggies per pixel in g, r, z.
    rng : numpy.random.Generator
        Of the seeing and the noise: another one is another exposure of the same sky.
    size : int
        Of the image, S pixels; divides the field's 128.

    Returns
    -------
    ndarray of shape (S, S, 3), uint8
        Red, green, blue.
    """
    sharp = blur(field, point_spread(rng))
    step = FIELD_PIXELS // size
    flux = sharp.reshape(3, size, step, size, step).mean((2, 4)) / PIXEL_SCALE**2
    depth = rng.lognormal(0, 0.3)
    noise = rng.standard_normal((3, size, size))
    # Resampling onto the survey's grid correlates neighbouring pixels.
    noise = gaussian_filter(
        noise, (0, NOISE_BLUR / step, NOISE_BLUR / step), mode="wrap", truncate=3
    )
    noise /= noise.std((1, 2), keepdims=True)
    sky = (SKY_NOISE * depth * size / FIELD_PIXELS)[:, None, None]
    sigma = sky * np.sqrt(1 + np.maximum(flux, 0) / SKY_BRIGHTNESS[:, None, None])
    offset = rng.normal(0, 0.3, (3, 1, 1)) * sky  # the sky is never subtracted perfectly
    return to_rgb(flux + sigma * noise + offset)


def to_rgb(flux: Image) -> NDArray[np.uint8]:
    """The colour picture of an exposure.

    The asinh stretch of Lupton et al. (2004) with the weights of the Legacy Surveys sky
    viewer: brightness is stretched, hue is kept. Colour is then blurred a little,
    as JPEG does: cut-outs are served as JPEG.

    Parameters
    ----------
    flux : ndarray of shape (3, S, S)
        Nanomaggies per square arcsec in g, r, z.

    Returns
    -------
    ndarray of shape (S, S, 3), uint8
    """
    scaled = EXPOSURE * STRETCH_SCALES[:, None, None] * flux + PEDESTAL
    mean = np.maximum(scaled, 0).mean(0) + 1e-6
    stretched = np.arcsinh(STRETCH_Q * mean) / np.sqrt(STRETCH_Q)
    rgb = np.clip(scaled[::-1] * (stretched / mean), 0, 1)
    luminance = rgb.mean(0)
    tint = rgb - luminance
    blur = CHROMA_BLUR * rgb.shape[1] / FIELD_PIXELS
    rgb = np.clip(luminance + gaussian_filter(tint, (0, blur, blur), truncate=3), 0, 1)
    return np.rint(255 * rgb).astype(np.uint8).transpose(1, 2, 0)
