"""FITS cut-outs as colour pictures, after Lupton et al. (2004, PASP 116, 133).

- The image is the first HDU with two axes or three. Of three planes (a cube, as cut-out services give
  them, from blue to red) the last is red, the middle one green, the first blue; ``--bands`` names
  others, counted from 1. An image with one plane is grey.
- ``--bands`` of an image with two axes counts the images of the file's HDUs: a file may hold errors
  and masks beside its bands, so nothing else is guessed.
- `astropy.visualization.make_lupton_rgb` makes them RGB with ``--stretch`` and ``--q``: a pixel's
  brightness is stretched by asinh, its colour is kept. What is 0 or less is black, and so is NaN.
- The first row of a FITS image is its lowest, so the picture is flipped, as viewers show it.
"""

from __future__ import annotations

import gzip
import io
import math
import warnings
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainable.config import SourceFlags
from trainable.data.pictures import (
    MAX_ASPECT,
    MAX_BYTES,
    MAX_PIXELS,
    PictureError,
    read_picture_file,
)

RULES = 1
"""Version of the rules above; a cache of decoded pictures is keyed on it."""
SUFFIXES = tuple(
    f"{name}{packed}" for name in (".fits", ".fit", ".fts") for packed in ("", ".gz", ".fz")
)

GZIP = b"\x1f\x8b"
"""How a packed file begins."""


def is_fits(name: str) -> bool:
    """Whether a file is a FITS file, by its name."""
    return name.lower().endswith(SUFFIXES)


@dataclass(frozen=True)
class FitsPicture:
    """An image in a FITS file."""

    path: str
    name: str
    flags: SourceFlags

    def rgb(self) -> NDArray[np.uint8]:
        """The image, (H, W, 3) uint8; `PictureError` if it cannot be read."""
        from astropy.io import fits  # slow to import
        from astropy.visualization import make_lupton_rgb

        content = read_picture_file(self.path)
        try:
            if content.startswith(GZIP):
                content = _unpacked(content)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # astropy's, of headers that are not to the letter
                with fits.open(io.BytesIO(content), memmap=False) as hdus:
                    planes = _planes(hdus, self.flags.bands)
        # what astropy raises for files that are damaged or no FITS
        except (OSError, ValueError, TypeError, LookupError, EOFError, zlib.error) as error:
            raise PictureError(f"it is damaged, or no FITS file ({error})") from error
        red, green, blue = (
            np.nan_to_num(plane, nan=0.0, posinf=0.0, neginf=0.0) for plane in planes
        )
        how: Any = {"stretch": self.flags.stretch, "Q": self.flags.q}  # annotated as whole numbers
        with np.errstate(divide="ignore", invalid="ignore"):  # of pixels without light
            rgb = make_lupton_rgb(red, green, blue, **how)
        return np.ascontiguousarray(rgb[::-1])


def _unpacked(content: bytes) -> bytes:
    """The contents of a gzip file, refused if they are larger than any picture's."""
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
        unpacked = file.read(MAX_BYTES + 1)
    if len(unpacked) > MAX_BYTES:
        raise PictureError(f"it unpacks to more than the {MAX_BYTES:,} bytes that are read")
    return unpacked


def _planes(hdus: Iterable[Any], bands: tuple[int, ...]) -> list[NDArray[np.float64]]:
    """The planes of a file's HDUs that are red, green and blue, (H, W) each."""
    images = [hdu for hdu in hdus if hdu.is_image and len(hdu.shape) in (2, 3)]
    if not images:
        raise PictureError("it has no image of two axes or three")
    shape = images[0].shape
    _require_size(shape)
    if len(shape) == 3:
        cube = images[0].data
        chosen = _chosen(bands, shape[0], "planes")
        return [_floats(cube[plane]) for plane in chosen]
    if not bands:
        return [_floats(images[0].data)] * 3
    chosen = _chosen(bands, len(images), "images")
    if any(images[number].shape != shape for number in chosen):
        raise PictureError(f"--bands {_joined(bands)} are images of different sizes")
    return [_floats(images[number].data) for number in chosen]


def _chosen(bands: tuple[int, ...], n: int, what: str) -> list[int]:
    """Which of `n` planes are red, green and blue, counted from 0."""
    if not bands:
        if n == 1:
            return [0, 0, 0]
        if n != 3:
            raise PictureError(
                f"it has {n} {what}: name those that are red, green and blue, e.g. --bands {n} 2 1"
            )
        return [2, 1, 0]
    if max(bands) > n:
        raise PictureError(f"it has {n} {what}, and --bands {_joined(bands)} names another")
    return [band - 1 for band in bands]


def _joined(bands: tuple[int, ...]) -> str:
    return " ".join(map(str, bands))


def _require_size(shape: tuple[int, ...]) -> None:
    """Refuse an image by the size that its header names, before its values are unpacked."""
    height, width = shape[-2:]
    if math.prod(shape) > 4 * MAX_PIXELS or height * width > MAX_PIXELS:
        raise PictureError(
            f"it has {' × '.join(map(str, shape[::-1]))} values, too many to be read"
        )
    if max(height, width) > MAX_ASPECT * max(1, min(height, width)) or 0 in shape:
        raise PictureError(
            f"it has {width} × {height} pixels, and one side may be at most {MAX_ASPECT} times the "
            "other"
        )


def _floats(plane: Any) -> NDArray[np.float64]:
    return np.asarray(plane, dtype=np.float64)
