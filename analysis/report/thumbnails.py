"""Small photographs for a page that fetches nothing."""

from __future__ import annotations

import base64
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 160
"""Longer side of a thumbnail, pixels."""


def small_jpeg(pixels: NDArray[np.uint8]) -> str:
    """An image (H, W, 3) with at most `SIDE` pixels a side, for ``<img src>``."""
    image = Image.fromarray(pixels)
    image.thumbnail((SIDE, SIDE))
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
