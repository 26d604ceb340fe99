"""Images at the model's size, made once as uint8 and mapped by every trial of a node.

The transforms of the protocols and of the networks' own evaluations run through PIL, image by image,
exactly as torchvision's ``transforms.Resize`` and ``CenterCrop`` on a PIL image do; the cache holds
what ``ToTensor`` would be given. Scaling to 0–1 and normalising happen on the device: see
`trainable.data.pixels`.

Images of any size and shape become squares of one size. ``resize`` squashes an image that is not
square, as the paper's transform does; ``resize_crop`` keeps its proportions and cuts out the centre.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import PIL
import torchvision
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

from trainable.data.cache import cache_root, cached_array
from trainable.data.dataset import Survey, constant, note_constant
from trainable.data.pool import map_jobs, useful_processes
from trainable.data.sources.source import Picture, decoded
from trainable.protocol import Transform


@dataclass(frozen=True, kw_only=True)
class EvaluationTransform:
    """How the published evaluation of a network frames an image: resize it, then cut out the centre."""

    resize: int
    """Pixels that the image is resized to, at least the side of what is cut out."""
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bilinear"
    mode: Literal["center", "squash"] = "center"
    """``center``: the shorter side is resized. ``squash``: both sides are, whatever the proportion."""

    def to_size(self, size: int) -> Callable[[Image.Image], Image.Image]:
        """The transform of one PIL image to `size` × `size` pixels."""
        how = InterpolationMode(self.interpolation)
        target = (self.resize, self.resize) if self.mode == "squash" else self.resize
        return Compose([Resize(target, interpolation=how), CenterCrop(size)])


def transform_images(
    transform: Transform, size: int, evaluation: EvaluationTransform | None = None
) -> Callable[[Image.Image], Image.Image]:
    """The transform of one PIL image, up to but without ``ToTensor``.

    ``resize_crop`` keeps the proportion of torchvision's ImageNet evaluation, 256 to 224.

    Parameters
    ----------
    evaluation
        The network's own, which ``evaluation`` needs.
    """
    if transform == "resize":
        return Resize((size, size))
    if transform == "evaluation":
        if evaluation is None:
            raise ValueError("the transform 'evaluation' needs the network's own")
        return evaluation.to_size(size)
    return Compose([Resize(round(size * 256 / 224)), CenterCrop(size)])


def cached_images(
    survey: Survey,
    *,
    transform: Transform,
    size: int,
    evaluation: EvaluationTransform | None = None,
    cache_dir: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """All images of a survey, preprocessed, as a read-only memory map.

    Built under a lock by whoever comes first, in a pool of processes if there are many; others wait,
    then map the same file.

    Parameters
    ----------
    survey
        Its checksum, not its path, identifies the cache.
    evaluation
        The network's own transform, which ``evaluation`` needs.
    progress
        Called with (images done, images in all) while the cache is built.

    Returns
    -------
    numpy.memmap
        Shape (N, size, size, 3), uint8, in the order of the survey.
    """
    prepare, n = transform_images(transform, size, evaluation), len(survey.labels)

    def blocks() -> Iterator[np.ndarray]:
        flags: list[np.ndarray] = []
        pictures = survey.images.pictures(np.arange(n))
        job = partial(_prepared, prepare)
        processes = useful_processes(n, int(survey.image_sizes.prod(1).sum()))
        for images, of_one_colour in map_jobs(job, pictures, processes=processes):
            flags.append(of_one_colour)
            yield images
        # before the array gets its name: images that show nothing are not kept
        note_constant(survey, np.concatenate(flags), cache_dir)

    return cached_array(
        cache_root(cache_dir) / "images",
        image_key(survey, transform=transform, size=size, evaluation=evaluation),
        shape=(n, size, size, 3),
        dtype=np.uint8,
        blocks=blocks,
        progress=progress,
    )


def _prepared(
    prepare: Callable[[Image.Image], Image.Image], pictures: list[Picture]
) -> tuple[np.ndarray, np.ndarray]:
    """Transformed images (n, S, S, 3) uint8, and which had one colour in every pixel, (n,)."""
    images = list(map(decoded, pictures))
    ready = [np.asarray(prepare(Image.fromarray(image))) for image in images]
    return np.stack(ready), constant(images)


def image_key(
    survey: Survey,
    *,
    transform: Transform,
    size: int,
    evaluation: EvaluationTransform | None = None,
) -> dict[str, Any]:
    """Everything that a preprocessed image depends on; the key of its cache.

    Networks that frame images alike share one, whatever their names.
    """
    own = {"evaluation": asdict(evaluation)} if evaluation and transform == "evaluation" else {}
    return {
        "sha256": survey.sha256,
        "transform": transform,
        "size": size,
        "torchvision": torchvision.__version__,
        "pillow": PIL.__version__,
        **survey.images.key,
        **own,
    }
