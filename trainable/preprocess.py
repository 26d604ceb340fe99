"""Images at the model's size, made once as uint8 and mapped by every trial of a node.

The protocol's transforms run through PIL, image by image, exactly as torchvision's
``transforms.Resize`` and ``CenterCrop`` on a PIL image do; what is cached is what ``ToTensor``
would have been given. Scaling to 0–1 and normalising happen on the device.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import filelock
import numpy as np
import PIL
import torch
import torchvision
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, Resize

from .cache import cache_root
from .galaxy10 import Survey
from .protocol import Transform

BLOCK = 256  # images read and written at a time


def transform_images(transform: Transform, size: int) -> Callable[[Image.Image], Image.Image]:
    """The protocol's transform of one PIL image, up to but without ``ToTensor``.

    ``resize_crop`` keeps the proportion of torchvision's ImageNet evaluation, 256 to 224.
    """
    if transform == "resize":
        return Resize((size, size))
    return Compose([Resize(round(size * 256 / 224)), CenterCrop(size)])


def cached_images(
    survey: Survey,
    *,
    transform: Transform,
    size: int,
    cache_dir: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """All images of a survey, preprocessed, as a read-only memory map.

    Built under a lock by whoever comes first; others wait, then map the same file.

    Parameters
    ----------
    survey
        Its checksum, not its path, identifies the cache.
    progress
        Called with (images done, images in all) while the cache is built.

    Returns
    -------
    numpy.memmap
        Shape (N, size, size, 3), uint8, in the order of the survey.
    """
    key = {
        "sha256": survey.sha256,
        "transform": transform,
        "size": size,
        "torchvision": torchvision.__version__,
        "pillow": PIL.__version__,
    }
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:20]
    folder = cache_root(cache_dir) / "images"
    target = folder / f"{digest}.npy"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(f"{target}.lock"):
            if not target.exists():
                _build(target, survey, transform_images(transform, size), progress)
    return np.load(target, mmap_mode="r")


def _build(target: Path, survey: Survey, transform, progress) -> None:
    total = len(survey.labels)
    size = transform(Image.fromarray(survey.read_images([0])[0])).size[0]
    unfinished = target.with_suffix(f".{os.getpid()}.tmp")
    try:
        out = np.lib.format.open_memmap(
            unfinished, mode="w+", dtype=np.uint8, shape=(total, size, size, 3)
        )
        for start in range(0, total, BLOCK):
            rows = range(start, min(start + BLOCK, total))
            out[rows.start : rows.stop] = [
                np.asarray(transform(Image.fromarray(image))) for image in survey.read_images(rows)
            ]
            if progress:
                progress(rows.stop, total)
        out.flush()
        del out
        os.replace(unfinished, target)
    finally:
        unfinished.unlink(missing_ok=True)


def normalise(
    images: torch.Tensor, mean: tuple[float, ...], std: tuple[float, ...]
) -> torch.Tensor:
    """What ``ToTensor`` and ``Normalize`` do, for a batch, on its device.

    Parameters
    ----------
    images
        Shape (B, S, S, 3), uint8.

    Returns
    -------
    torch.Tensor
        Shape (B, 3, S, S), float32.
    """
    scaled = images.permute(0, 3, 1, 2).to(torch.float32).div_(255)  # (B, 3, S, S)
    shape = (1, 3, 1, 1)
    return scaled.sub_(scaled.new_tensor(mean).view(shape)).div_(scaled.new_tensor(std).view(shape))
