"""Decode every image once, before anything else: which cannot be read, and how large are the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import PIL
from numpy.typing import NDArray

from trainable.data.cache import cache_root, cached_array
from trainable.data.pictures import PictureError, UnavailableError
from trainable.data.pool import map_jobs, useful_processes
from trainable.data.sources.source import Images, Picture, Request, counted
from trainable.errors import DataError


def image_sizes(
    images: Images, n: int, identity: Mapping[str, Any], request: Request
) -> NDArray[np.int64]:
    """Height and width of `n` images, (n, 2); zeros for one that cannot be read.

    They are kept in the node's cache.

    Parameters
    ----------
    identity
        What the images are, by their contents.
    """

    def blocks() -> Iterator[np.ndarray]:
        pictures = images.pictures(np.arange(n))
        yield from map_jobs(_sizes, pictures, processes=useful_processes(n))

    key = {**identity, **images.key, "pillow": PIL.__version__}
    folder = cache_root(request.cache_dir) / "sizes"
    found = cached_array(
        folder, key, shape=(n, 2), dtype=np.int64, blocks=blocks, progress=request.progress
    )
    return np.array(found)


def _sizes(pictures: list[Picture]) -> NDArray[np.int64]:
    """Height and width of each picture, (n, 2); zeros for one that cannot be read."""
    sizes = np.zeros((len(pictures), 2), np.int64)
    for size, picture in zip(sizes, pictures, strict=True):
        try:
            size[:] = picture.rgb().shape[:2]
        except UnavailableError as error:  # not kept: it may be there next time
            raise DataError(f"{picture.name} cannot be read: {error}") from error
        except PictureError:
            continue
    return sizes


def leave_out_unreadable(
    images: Images, sizes: NDArray[np.int64], names: Sequence[str], request: Request
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Rows of the images that can be read, ascending, and a sentence on the others, if any.

    Raises
    ------
    DataError
        An image cannot be read and ``--skip-unreadable`` is not given, or none can be read.
    """
    unreadable = np.flatnonzero(sizes[:, 0] == 0)
    if not len(unreadable):
        return np.arange(len(sizes)), ()
    reasons = list(map(_reason, images.pictures(unreadable[:1])))
    first = f"the first is {names[unreadable[0]]}: {reasons[0]}"
    what = f"{len(unreadable):,} of {counted(len(sizes), 'image')} in {request.path}"
    if len(unreadable) == len(sizes):
        raise DataError(f"none of the images in {request.path} can be read, {first}")
    if not request.flags.skip_unreadable:
        raise DataError(
            f"{what} cannot be read, {first}. Mend or remove such images, or leave them out with "
            "--skip-unreadable"
        )
    return (
        np.flatnonzero(sizes[:, 0] > 0),
        (f"Left out: {what}, which cannot be read, {first}.",),
    )


def _reason(picture: Picture) -> str:
    try:
        picture.rgb()
    except PictureError as error:
        return str(error)
    raise DataError(
        f"{picture.name} can be read now and could not be before: choose another --cache-dir"
    )
