"""Classify pictures by the exported network: needs onnxruntime, numpy and Pillow alone.

    python classify.py galaxy.png another.jpg

prints a line of JSON for each picture. `probabilities` does the same from Python. The pictures are
framed as in training, by ``preprocessing.json`` beside this file; normalisation and temperature are
inside ``model.onnx``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

HERE = Path(__file__).parent
UNSCALED = ("I", "F")
"""Modes of Pillow whose values have 16 or 32 bits, for which training has rules of its own."""


def preprocessing(folder: Path = HERE) -> dict[str, Any]:
    """How pictures are framed: ``size``, ``resize``, ``mode``, ``interpolation``, ``class_names``."""
    return json.loads((folder / "preprocessing.json").read_text(encoding="utf-8"))


def frame(picture: Image.Image, how: dict[str, Any]) -> np.ndarray:
    """A picture as the network's input, (S, S, 3) uint8.

    Raises
    ------
    ValueError
        Its values have 16 or 32 bits: scale them to 8 first.
    """
    if picture.mode.startswith(UNSCALED):
        raise ValueError(f"a picture of mode {picture.mode}: scale its values to 8 bits first")
    upright = ImageOps.exif_transpose(picture)
    if "A" in upright.mode or "transparency" in upright.info:  # transparent shows black
        shown = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", shown.size, (0, 0, 0, 255)), shown)
    rgb, resize, size = upright.convert("RGB"), how["resize"], how["size"]
    width, height = rgb.size
    if how["mode"] == "squash":
        target = resize, resize
    elif width <= height:
        target = resize, int(resize * height / width)
    else:
        target = int(resize * width / height), resize
    if target != rgb.size:
        rgb = rgb.resize(target, Image.Resampling[how["interpolation"].upper()])
    left, top = (round((side - size) / 2) for side in rgb.size)
    return np.asarray(rgb.crop((left, top, left + size, top + size)))


def probabilities(pictures: Sequence[Image.Image], folder: Path = HERE) -> np.ndarray:
    """Probabilities of the classes, (n, C) float32, of some pictures."""
    import onnxruntime  # pyright: ignore[reportMissingImports] - of whoever runs this

    how = preprocessing(folder)
    session = onnxruntime.InferenceSession(
        str(folder / "model.onnx"), providers=onnxruntime.get_available_providers()
    )
    images = np.stack([frame(picture, how) for picture in pictures])
    return np.asarray(session.run(["probabilities"], {"images": images})[0])


def main(paths: Sequence[str]) -> None:
    """Print a line of JSON for each picture."""
    names = preprocessing()["class_names"]
    for path in paths:
        with Image.open(path) as picture:
            (found,) = probabilities([picture])
        shown = {name: round(float(p), 6) for name, p in zip(names, found, strict=True)}
        best = names[int(found.argmax())]
        print(json.dumps({"path": path, "class": best, "probabilities": shown}))


if __name__ == "__main__":
    main(sys.argv[1:])
