"""Images at the model's size, made once as uint8 and mapped by every trial of a node.

The protocol's transforms run through PIL, image by image, exactly as torchvision's
``transforms.Resize`` and ``CenterCrop`` on a PIL image do; what is cached is what ``ToTensor``
would have been given. Scaling to 0–1 and normalising happen on the device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import PIL
import torch
import torchvision
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, Resize

from .cache import cache_root, cached_array
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
    prepare = transform_images(transform, size)

    def blocks() -> Iterator[np.ndarray]:
        for start in range(0, len(survey.labels), BLOCK):
            images = survey.read_images(range(start, min(start + BLOCK, len(survey.labels))))
            yield np.stack([np.asarray(prepare(Image.fromarray(image))) for image in images])

    return cached_array(
        cache_root(cache_dir) / "images",
        image_key(survey, transform=transform, size=size),
        shape=(len(survey.labels), size, size, 3),
        dtype=np.uint8,
        blocks=blocks,
        progress=progress,
    )


def image_key(survey: Survey, *, transform: Transform, size: int) -> dict[str, str | int]:
    """What a preprocessed image depends on."""
    return {
        "sha256": survey.sha256,
        "transform": transform,
        "size": size,
        "torchvision": torchvision.__version__,
        "pillow": PIL.__version__,
    }


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


def mirror_and_turn(images: torch.Tensor, ways: torch.Tensor) -> torch.Tensor:
    """Each image in one of the eight ways that mirrors and quarter turns can show it.

    Parameters
    ----------
    images
        Shape (B, C, S, S).
    ways
        Shape (B, 3), bool: mirrored left to right, top to bottom, along the diagonal.
    """
    across, down, diagonal = ways.T[:, :, None, None, None]  # (B, 1, 1, 1) each
    images = torch.where(across, images.flip(3), images)
    images = torch.where(down, images.flip(2), images)
    return torch.where(diagonal, images.transpose(2, 3), images)
