"""Open a survey, whatever it comes from, and find images that show nothing.

`open_survey` asks each of `sources` in turn whether the data are of its kind.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from trainable.config import DataConfig, SourceFlags
from trainable.data.cache import cache_root, cached_array
from trainable.data.sources.source import Progress, Request, Source, Survey
from trainable.errors import DataError

__all__ = [
    "Survey",
    "constant",
    "constant_images",
    "describe_constant",
    "note_constant",
    "open_as_configured",
    "open_survey",
    "sources",
]

LOG = logging.getLogger(__name__)

BLOCK = 256
"""Images read at a time."""


def sources() -> tuple[Source, ...]:
    """All kinds of data; the first that recognises a path opens it."""
    # pandas, PyArrow and h5py come with them: slow to import, and not needed to compute
    from trainable.data.sources import catalogue, class_folders, galaxy10_hdf5, hugging_face

    return catalogue, hugging_face, class_folders, galaxy10_hdf5


def open_survey(
    path: str | Path,
    *,
    labels: str | Path | None = None,
    flags: SourceFlags = SourceFlags(),  # noqa: B008 - frozen
    cache_dir: str | Path | None = None,
    progress: Progress | None = None,
) -> Survey:
    """Open labelled images of any kind and check everything that is read from them.

    Parameters
    ----------
    path
        A folder of class folders; a folder of images, if `labels` is given; a data set of Hugging
        Face; or an HDF5 file in Galaxy10's layout.
    labels
        Catalogue of the images below `path`.
    flags
        How images and labels are read.
    cache_dir
        Where it is kept what is known of files; None: the node's cache.
    progress
        Called with (images done, images in all) while they are read for the first time.

    Raises
    ------
    DataError
        The data are missing, damaged or not of one of these kinds; the message says what and where.
    """
    request = Request(
        path=_absolute(path),
        labels=None if labels is None else _absolute(labels),
        flags=flags,
        cache_dir=cache_dir,
        progress=progress,
    )
    source = next(source for source in sources() if source.recognises(request))
    return source.open_images(request)


def open_as_configured(data: DataConfig, progress: Progress | None = None) -> Survey:
    """The survey that a run's configuration names, as it says; see `open_survey`."""
    return open_survey(
        data.path,
        labels=data.labels,
        flags=data.source,
        cache_dir=data.cache_dir,
        progress=progress,
    )


def _absolute(path: str | Path) -> Path:
    """An absolute path; a ``~`` that stands for no home folder stays as it is."""
    return Path(os.path.expanduser(path)).absolute()


def constant(images: Iterable[np.ndarray]) -> np.ndarray:
    """(n,) bool: which of some images, (H, W, 3) each, have the same colour in every pixel."""
    return np.array([_of_one_colour(image) for image in images], dtype=np.bool_)


def _of_one_colour(image: np.ndarray) -> bool:
    """Row by row, as the first tells of nearly every image that it is not."""
    colour = image[0, 0]
    return all(bool((row == colour).all()) for row in image)


def constant_images(
    survey: Survey,
    *,
    cache_dir: str | Path | None = None,
    flags: np.ndarray | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Which images of a survey show nothing: every pixel has the same colour.

    They are black if a file was moved without its parts, or if a download failed. All images have
    to be read to know, so it is noted in the cache by whoever reads them first.

    Parameters
    ----------
    flags
        What somebody who has just read all images found by `constant`; None: they are read.
    progress
        Called with (images done, images in all) while they are read.

    Returns
    -------
    numpy.ndarray
        Shape (N,), bool.
    """

    def blocks() -> Iterator[np.ndarray]:
        n = len(survey.labels)
        for start in range(0, n, BLOCK):
            yield constant(survey.read_images(range(start, min(start + BLOCK, n))))

    return cached_array(
        cache_root(cache_dir) / "constant",
        {"sha256": survey.sha256, "constant": 1, **survey.images.key},
        shape=(len(survey.labels),),
        dtype=np.bool_,
        blocks=blocks if flags is None else lambda: [flags],
        progress=progress if flags is None else None,
    )


def describe_constant(survey: Survey, flags: np.ndarray) -> str | None:
    """A sentence on `constant_images` for the user; None if every image shows something.

    Raises
    ------
    DataError
        If most of the images show nothing.
    """
    shows_nothing = flags & (survey.image_sizes > 1).any(axis=1)  # one pixel always has one colour
    if not shows_nothing.any():
        return None
    rows = np.flatnonzero(shows_nothing)
    what = (
        f"{len(rows)} of the {len(flags)} images of {survey.path} have the same colour in every "
        f"pixel ({survey.names_of(rows)})"
    )
    if len(rows) > len(flags) / 2:
        raise DataError(
            f"{what}: nothing can be learned from them. Write the file again, or copy it with all "
            "of its parts"
        )
    return what


def note_constant(survey: Survey, flags: np.ndarray, cache_dir: str | Path | None) -> None:
    """Keep, and say, what was found while all images were read; see `describe_constant`."""
    sentence = describe_constant(survey, flags)
    constant_images(survey, cache_dir=cache_dir, flags=flags)
    if sentence:
        LOG.warning(sentence)
