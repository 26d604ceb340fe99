"""The embedded default data: a small survey of galaxies, rendered from a seed.

The file has the layout of ``Galaxy10_DECals.h5``, its ten classes in its proportions, sorted
by class as there, and some galaxies twice, as there. It is rendered on first use::

    path = cached(MockSurvey(), Path("~/.cache/vit-label-sweep").expanduser())

These are mock galaxies: good for trying the sweep, worthless for astronomy.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import h5py
import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from trainable.data.cache import locked_folder
from trainable.data.sources.known_files import GALAXY10_CLASSES
from trainable.files import replace_file
from trainable.machine import usable_cpus
from trainable.mock.catalogue import Entry, MockSurvey, catalogue, own_test_set
from trainable.mock.profiles import FIELD_PIXELS, PIXEL_SCALE

RENDERER_VERSION = 1
"""Raise it with every change that alters a pixel: cached files are keyed on it."""

Progress = Callable[[int, int], None]
"""Called with the images done and the images in all."""


def _expose(settings: MockSurvey, row_and_entry: tuple[int, Entry]) -> NDArray[np.uint8]:
    # Imported here, as GalSim takes seconds to import and a cached survey needs none of it.
    from trainable.mock.camera import expose

    return expose(settings, *row_and_entry)


def _images(
    settings: MockSurvey, entries: list[Entry], workers: int
) -> Iterator[NDArray[np.uint8]]:
    expose = partial(_expose, settings)
    if workers == 1:
        yield from map(expose, enumerate(entries))
        return
    # Not forked, as the caller may hold threads and a GPU, nor spawned by multiprocessing, which
    # would have each process import the caller's main module, and torch and Ray with it.
    pool = Parallel(
        workers,
        return_as="generator",
        batch_size=16,  # pyright: ignore[reportArgumentType] - joblib annotates its default alone
    )
    exposed = pool(delayed(expose)(item) for item in enumerate(entries))
    yield from cast(Iterator[NDArray[np.uint8]], exposed)


def render(
    settings: MockSurvey, *, workers: int | None = None, progress: Progress | None = None
) -> dict[str, NDArray[Any]]:
    """Render the survey.

    Parameters
    ----------
    settings : MockSurvey
    workers : int, optional
        Processes; 1 renders in this one. By default one for each core, and no more than pay.
        The result does not depend on it.
    progress : callable, optional
        Called as ``progress(done, total)`` after each image.

    Returns
    -------
    dict of str to ndarray
        The datasets of the file: ``images`` (N, S, S, 3) uint8; ``ans`` (N,) uint8; ``ra`` and
        ``dec`` (N,) in degrees; ``redshift`` (N,); ``pxscale`` (N,) in arcsec/pixel; ``is_test``
        (N,) bool, if there is a test set.
    """
    entries = catalogue(settings)
    n, size = settings.n_images, settings.image_size
    if workers is None:
        workers = max(1, min(usable_cpus(), n // 100))  # a process takes about a second to start
    images = np.empty((n, size, size, 3), np.uint8)
    for row, image in enumerate(_images(settings, entries, workers)):
        images[row] = image
        if progress is not None:
            progress(row + 1, n)
    is_test = {"is_test": own_test_set(settings, entries)} if settings.test_share else {}
    return {
        **is_test,
        "images": images,
        "ans": np.array([e.label for e in entries], np.uint8),
        "ra": np.array([e.ra for e in entries]),
        "dec": np.array([e.dec for e in entries]),
        "redshift": np.array([e.redshift for e in entries]),
        "pxscale": np.full(n, PIXEL_SCALE * FIELD_PIXELS / size),
    }


def write(
    path: str | Path,
    settings: MockSurvey,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Render the survey into an HDF5 file in Galaxy10's layout, replacing what is there.

    The same settings give the same bytes, on one machine and set of library versions. Beside
    Galaxy10's datasets the file has the attributes ``class_names`` (JSON list), ``source`` and
    ``settings`` (JSON object). ``workers`` and ``progress`` are those of `render`.
    """
    arrays = render(settings, workers=workers, progress=progress)
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file.create_dataset(name, data=values, track_times=False)  # a date changes the bytes
        file.attrs["class_names"] = json.dumps(GALAXY10_CLASSES)
        file.attrs["source"] = (
            f"mock survey, rendered by trainable.mock.survey version {RENDERER_VERSION} "
            f"with GalSim {version('galsim')}, seed {settings.seed}"
        )
        file.attrs["settings"] = json.dumps(asdict(settings), sort_keys=True)


def cached(
    settings: MockSurvey,
    cache_dir: Path,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Path:
    """The survey's file, rendered on first use.

    A second process that asks at the same time waits for the first and takes its file.

    Parameters
    ----------
    settings : MockSurvey
    cache_dir : Path
        Made if it is missing.
    workers, progress
        As in `render`; not used if the file is there already.

    Returns
    -------
    Path
        Named after the settings, `RENDERER_VERSION` and GalSim's version.

    Raises
    ------
    SettingsError
        The folder cannot be written.
    """
    identity = {
        **asdict(settings),
        "renderer": RENDERER_VERSION,
        "galsim": version("galsim"),
    }
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    path = Path(cache_dir) / f"mock-survey-{key}.h5"
    if path.exists():
        return path
    with locked_folder(path):
        if not path.exists():
            with replace_file(path, only_writer=True) as unfinished:
                write(unfinished, settings, workers=workers, progress=progress)
    return path
