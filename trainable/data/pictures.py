"""Any picture as RGB with 8 bits, by stated rules.

- Grey pictures have their value in all three channels; a bit is 0 or 255.
- Values of 16 bits are divided by 257, so that 65535 becomes 255, and rounded; nothing is stretched.
  Pillow itself reads 16 bits a channel of a coloured picture as their upper byte, which differs by
  1 at most.
- Signed values, and values of 32 bits, integers or fractions, have no range of their own and are
  refused.
- A transparent pixel shows black, the colour of an empty sky, in proportion to its transparency.
- Palettes, CMYK, YCbCr, HSV and CIE Lab are converted as Pillow does; colour profiles are not used.
- Of several frames the first counts; a flip or rotation that EXIF asks for is made.
- What has more than `MAX_PIXELS` pixels, or sides in a ratio above `MAX_ASPECT`, is refused before it
  is decompressed: a file of kilobytes may hold gigabytes of one colour.

Light to import: the processes that decode import neither torch nor h5py.
"""

from __future__ import annotations

import io
import os
import stat
import struct
import zlib
from typing import Any, cast

import numpy as np
from PIL import Image

from trainable.errors import DataError

RULES = 2
"""Version of the rules above; a cache of decoded pictures is keyed on it."""
MAX_PIXELS = 1 << 26
"""8192 × 8192; below the size at which Pillow warns of a decompression bomb."""
MAX_BYTES = 1 << 30
"""Of a picture's file, which is read into memory."""
MAX_ASPECT = 100
"""A resize to a fixed shorter side makes the longer one that many times as long."""
ORIENTATION = 0x0112
"""EXIF's tag of how the camera was held."""
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Value of that tag → what makes the picture upright; 1 is upright."""
CORRUPT = (
    *(OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError, OverflowError),
    *(struct.error, zlib.error, Image.DecompressionBombError),
)
"""What Pillow's decoders raise for damaged files; SyntaxError is a broken PNG chunk."""
SIXTEEN_BITS = {"PNG", "PPM"}
"""Formats of which Pillow reads 16 bits in its 32-bit mode ``I``, depending on its version."""
TRANSPARENT = {"LA", "La", "PA", "RGBA", "RGBa"}


class PictureError(DataError):
    """A picture that cannot be decoded, or that no rule makes RGB."""


class UnavailableError(PictureError):
    """A picture whose file cannot be read now; it may be sound."""


def read_picture_file(path: str) -> bytes:
    """The contents of a picture's file.

    Raises
    ------
    UnavailableError
        It is missing, or cannot be read now.
    PictureError
        It is no regular file, or larger than `MAX_BYTES`.
    """
    try:
        details = os.stat(path)
        if not stat.S_ISREG(details.st_mode):  # reading a pipe would never end
            raise PictureError("it is no regular file")
        if details.st_size > MAX_BYTES:
            raise PictureError(
                f"it has {details.st_size:,} bytes, more than the {MAX_BYTES:,} that are read"
            )
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise UnavailableError(f"{error.strerror}") from error


def decode(encoded: bytes) -> Image.Image:
    """An encoded picture (PNG, JPEG, TIFF, …) as RGB with 8 bits.

    Raises
    ------
    PictureError
        It is damaged, of an unknown format, too large, or of 32-bit values.
    """
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            _require_size(image)
            image.load()
            return _upright(image)
    except CORRUPT as error:
        raise PictureError(_reason(encoded, error)) from error


def picture_bytes(value: bytes | dict[str, Any] | None) -> bytes:
    """The encoded picture in a cell of a table: bytes, or Hugging Face's struct of bytes and path.

    Raises
    ------
    PictureError
        The cell is null, or only names a file.
    """
    if isinstance(value, dict):
        if value["bytes"] is None and value.get("path") is not None:
            raise PictureError(
                f"it is only a path ({value['path']!r}), without bytes: embed the images in the "
                "shards"
            )
        value = cast("bytes | None", value["bytes"])
    if value is None:
        raise PictureError("it is null")
    return value


def _require_size(image: Image.Image) -> None:
    """Refuse a picture by the size that its header names."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise PictureError(
            f"it has {width} × {height} pixels, more than the {MAX_PIXELS:,} that are read: shrink "
            "it first"
        )
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise PictureError(
            f"it has {width} × {height} pixels, and one side may be at most {MAX_ASPECT} times the "
            "other: cut it first"
        )


def _upright(image: Image.Image) -> Image.Image:
    """A loaded picture as RGB, flipped or rotated as its EXIF data ask for."""
    try:
        orientation = image.getexif().get(ORIENTATION)
    except CORRUPT:  # what cannot be read asks for nothing
        orientation = None
    rgb = as_rgb(image)
    turn = TURNS.get(orientation) if isinstance(orientation, int) else None
    return rgb if turn is None else rgb.transpose(turn)


def _reason(encoded: bytes, error: Exception) -> str:
    if not encoded:
        return "it is empty"
    if isinstance(error, Image.UnidentifiedImageError):
        return f"its {len(encoded)} bytes are no picture of a known format"
    return f"it is damaged ({error})"


def as_rgb(image: Image.Image) -> Image.Image:
    """A picture of any mode as RGB with 8 bits, by the rules of this module.

    Raises
    ------
    PictureError
        Its values are signed or have 32 bits.
    """
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in SIXTEEN_BITS):
        return _from_sixteen_bits(image)
    if image.mode in ("I", "F"):
        kind = "signed integers or integers" if image.mode == "I" else "fractions"
        raise PictureError(
            f"its values are {kind} of 32 bits, which have no range of their own: scale them to 8 "
            "or 16 bits without a sign first"
        )
    if image.mode in TRANSPARENT or "transparency" in image.info:
        shown = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", shown.size, (0, 0, 0, 255)), shown).convert(
            "RGB"
        )
    return image.convert("RGB")


def _from_sixteen_bits(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.int64)  # (H, W), 0 … 65535
    grey = ((values + 128) // 257).astype(np.uint8)  # v / 257, rounded
    key = image.info.get("transparency")  # the one value that is transparent
    if isinstance(key, int):
        grey[values == key] = 0
    return Image.fromarray(np.repeat(grey[..., None], 3, axis=2))
