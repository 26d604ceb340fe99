"""What can be measured on a colour picture of a galaxy: sky, noise, colour, size and shape.

The pictures are stretched for the eye, not calibrated, so every number is one of the picture as
it is shown, good for comparing pictures and classes and not for astronomy. The width of a picture
that is not square is its shorter side.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import numpy as np
import pandas as pd
from scipy import ndimage
from scipy.stats import sigmaclip

from analysis import formatting

STATISTICS = {
    "sky": "counts, 0–255",
    "noise": "counts, 0–255",
    "blue_green": "mag",
    "green_red": "mag",
    "size": "% of the image's width",
    "concentration": "–",
    "asymmetry": "–",
    "axis_ratio": "–",
}
"""Name and unit of what `measure` gives."""
BORDER = 0.06
"""Width of the frame that the sky is measured on, share of the image's width."""
CLIP = 3.0
"""Pixels further than this many standard deviations from the frame's mean are no sky."""
DETECTION = 2.0
"""The galaxy is what is brighter than the sky by this many standard deviations."""
SMOOTHING = 1 / 128
"""One sigma of the blur before detection, share of the image's width."""
REACH = 0.25
"""No part of the galaxy this near the centre (share of the width): none is found."""


def heading(statistic: str, unit: str = ", {}") -> str:
    """A statistic and its unit, e.g. "blue − green, mag"; `unit` says how the unit is put."""
    measure = STATISTICS[statistic]
    name = statistic.replace("_", " − " if measure == "mag" else " ")
    return name if measure == "–" else name + unit.format(measure)


def in_unit(values: pd.Series) -> pd.Series:
    """Values of a statistic, named by their series, in the unit that `STATISTICS` names."""
    return values * 100 if STATISTICS[str(values.name)].startswith("%") else values


def median_and_range(values: pd.Series) -> str:
    """Median, 16th and 84th percentile: "0.27 [0.16, 0.38]"; says so if there is no value."""
    if values.empty:
        return "no galaxy found"
    low, middle, high = (formatting.number(v) for v in np.percentile(values, [16, 50, 84]))
    return f"{middle} [{low},\u00a0{high}]"  # one word, where columns are narrow


def measure(images: Iterable[np.ndarray]) -> pd.DataFrame:
    """Statistics of images, one row each; NaN if no galaxy stands out of the sky.

    Parameters
    ----------
    images
        Each (H, W, 3) uint8: red, green, blue.

    Returns
    -------
    pandas.DataFrame
        ``sky`` and ``noise``: mean and standard deviation of the brightness (mean of the
        channels) of the frame's sky, counts. ``blue_green``, ``green_red``: colours of the
        galaxy, see `colours`. ``size``: half-light radius as a share of the image's width.
        ``concentration``: `concentration`. ``asymmetry``: `asymmetry`. ``axis_ratio``: minor
        over major axis from the second moments of the light, (0, 1]. ``x``, ``y``: centre of
        the galaxy's light, pixels from the first.
    """
    return pd.DataFrame([_measure(image) for image in images], columns=[*STATISTICS, "x", "y"])


def _measure(image: np.ndarray) -> dict[str, float]:
    brightness = image.mean(2)
    sky, noise = sky_and_noise(brightness)
    found = {"sky": sky, "noise": noise}
    mask = galaxy(brightness, sky, noise)
    if mask is None:
        return found
    light = np.where(mask, brightness - sky, 0.0)
    y, x = map(float, cast("tuple[float, float]", ndimage.center_of_mass(light)))
    r20, r50, r80 = radii(light, (y, x))
    return found | {
        **colours(image, mask),
        "size": r50 / min(brightness.shape),
        "concentration": concentration(r20, r80),
        "asymmetry": asymmetry(brightness - sky, mask, (y, x), noise),
        "axis_ratio": axis_ratio(light, (y, x)),
        "x": x,
        "y": y,
    }


def frame(shape: tuple[int, ...]) -> np.ndarray:
    """Where the sky is measured: a mask of this shape, (H, W), True in the outermost pixels."""
    width = max(1, round(BORDER * min(shape)))
    mask = np.ones(shape, bool)
    mask[width:-width, width:-width] = False
    return mask


def sky_and_noise(brightness: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of an image's frame without its outliers (stars), counts."""
    kept = sigmaclip(brightness[frame(brightness.shape)], CLIP, CLIP).clipped
    return float(kept.mean()), float(kept.std())


def galaxy(brightness: np.ndarray, sky: float, noise: float) -> np.ndarray | None:
    """Mask of the connected patch of light nearest the centre, (H, W) bool, or None."""
    (height, across), size = brightness.shape, min(brightness.shape)
    smooth = ndimage.gaussian_filter(brightness, SMOOTHING * size)
    bright = smooth > sky + max(DETECTION * noise, 1.0)  # a sky of exact zeros has no noise
    patches, n = cast("tuple[np.ndarray, int]", ndimage.label(bright))
    if n == 0:
        return None
    y, x = np.nonzero(patches)
    distance = np.hypot(y - (height - 1) / 2, x - (across - 1) / 2)
    nearest = distance.argmin()
    if distance[nearest] > REACH * size:
        return None
    return patches == patches[y[nearest], x[nearest]]


def colours(image: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """Colours from the ratios of the channels' light: −2.5 lg(bluer / redder), magnitudes.

    A stretch after Lupton et al. (2004) keeps the ratios of the channels, so the larger, the
    redder the galaxy. A channel's own sky is taken off; a channel without light gives NaN.
    """
    border = frame(image.shape[:2])
    red, green, blue = (
        float(
            (image[..., c][mask] - sigmaclip(image[..., c][border] * 1.0, CLIP, CLIP)[0].mean())
            .clip(0)
            .sum()
        )
        or np.nan
        for c in range(3)
    )
    return {
        "blue_green": -2.5 * np.log10(blue / green),
        "green_red": -2.5 * np.log10(green / red),
    }


def radii(light: np.ndarray, centre: tuple[float, float]) -> np.ndarray:
    """Radii of circles round the centre that hold 20, 50 and 80% of the light, pixels; (3,)."""
    y, x = np.indices(light.shape)
    r = np.hypot(y - centre[0], x - centre[1]).ravel()
    order = np.argsort(r)
    growth = np.cumsum(light.ravel()[order])
    return np.interp(np.array([0.2, 0.5, 0.8]) * growth[-1], growth, r[order])


def concentration(r20: float, r80: float) -> float:
    """C = 5 lg(r80 / r20) (Bershady et al. 2000): 2.8 for an exponential disk, 5.2 for r^(1/4).

    Radii count as half a pixel at least.
    """
    return float(5 * np.log10(max(r80, 0.5) / max(r20, 0.5)))


def asymmetry(
    light: np.ndarray, mask: np.ndarray, centre: tuple[float, float], noise: float
) -> float:
    """A = min Σ|I − I₁₈₀| / Σ|I| − A_sky (Conselice et al. 2000; Lotz et al. 2004, eq. 6).

    I₁₈₀ is the image rotated by 180° about a centre that is sought, in steps of half a pixel,
    within two steps of the centre of light; the sums run over the galaxy's pixels. Normal noise
    of standard deviation σ gives each pixel a mean difference of 2σ/√π, which is A_sky.

    Parameters
    ----------
    light
        (H, W), sky taken off.
    mask
        (H, W) bool, the galaxy's pixels.
    centre
        Row and column, pixels.
    noise
        Standard deviation of the sky, σ.
    """
    y, x = np.nonzero(mask)
    own, (height, across) = light[y, x], light.shape
    doubled = np.rint(2 * np.array(centre)).astype(int)  # whole: no interpolation is needed
    differences = []
    for dy, dx in np.ndindex(5, 5):
        to_y, to_x = doubled[0] + dy - 2 - y, doubled[1] + dx - 2 - x
        inside = (to_y >= 0) & (to_y < height) & (to_x >= 0) & (to_x < across)
        turned = np.zeros(len(own))  # beyond the image there is sky
        turned[inside] = light[to_y[inside], to_x[inside]]
        differences.append(np.abs(own - turned).sum())
    total = np.abs(own).sum()
    return float((min(differences) - len(own) * 2 * noise / np.sqrt(np.pi)) / total)


def axis_ratio(light: np.ndarray, centre: tuple[float, float]) -> float:
    """Minor over major axis: root of the ratio of the eigenvalues of the light's covariance."""
    y, x = np.nonzero(light)
    weights = np.maximum(light[y, x], 0)
    offsets = np.stack([y - centre[0], x - centre[1]])
    covariance = (weights * offsets) @ offsets.T / weights.sum()
    small, large = np.linalg.eigvalsh(covariance + np.eye(2) / 12)  # a pixel is no point
    return float(np.sqrt(small / large))
