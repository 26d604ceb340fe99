"""Find Galaxy10 DECaLS in astroNN's cache, or fetch it there: once, whole and verified.

The file comes through astroNN, in a process of its own, and from Zenodo if astroNN does not
deliver. Whoever fetched it, only a file with Galaxy10's checksum gets its name. A wrong checksum is
a failure of that source, which is not asked again: there is no retry without end.
"""

from __future__ import annotations

import json
import logging.handlers
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from filelock import FileLock, Timeout

from trainable.data.cache import checksum, known_checksum
from trainable.data.sources.known_files import GALAXY10_SHA256
from trainable.errors import DataError

FILE_NAME = "Galaxy10_DECals.h5"
ZENODO_URL = f"https://zenodo.org/records/10845026/files/{FILE_NAME}?download=1"
FREE_BYTES = 3_400_000_000
"""The file, 2.54 GiB, and the fifth of it that exists twice while pypdl joins its parts."""
TIMEOUT_S = 60
"""Without a byte."""
RETRIES = 5
"""Of a dropped connection to Zenodo; each resumes."""
ASTRONN_FETCH = (sys.executable, "-W", "ignore", "-m", "trainable.data.astronn_fetch")
"""The command that fetches through astroNN into the folder that is its argument."""
WAYS_OUT = "Or fetch a copy yourself and give --data PATH, or try --preset demo, which needs none."


def galaxy10_path() -> Path:
    """Where astroNN keeps Galaxy10 DECaLS; only the home folder decides.

    Raises
    ------
    DataError
        This user has no home folder.
    """
    home = os.path.expanduser("~")
    if not os.path.isabs(home):
        raise DataError(
            "Galaxy10 is kept in ~/.astroNN, and no home folder is known: set HOME to a folder that "
            f"you can write to. {WAYS_OUT}"
        )
    return Path(home) / ".astroNN" / "datasets" / FILE_NAME


def find_galaxy10() -> Path | None:
    """Galaxy10 in astroNN's cache, unverified; None if it has not been fetched."""
    try:
        path = galaxy10_path()
    except DataError:  # nothing can be kept there
        return None
    return path if path.is_file() else None


def fetch_galaxy10(
    path: Path | None = None,
    *,
    url: str = ZENODO_URL,
    sha256: str = GALAXY10_SHA256,
    free_bytes: int = FREE_BYTES,
) -> Path:
    """Path of a verified Galaxy10, fetched first if it is not there.

    Parameters
    ----------
    path
        Where it is or shall be; None is astroNN's cache.
    url
        Where to fetch from if astroNN does not deliver.
    sha256
        Checksum of the file, lower-case hexadecimal.
    free_bytes
        Room that a download needs, partial files included.

    Raises
    ------
    DataError
        If the file is there and corrupt (it is left alone: it may be the user's), or if it could
        not be fetched. What was fetched from Zenodo by then is resumed by the next call.
    """
    path = path or galaxy10_path()
    if not path.is_file():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with _only_process(path):
                if not path.is_file():  # another process may just have fetched it
                    _require_room(path, free_bytes)
                    _fetch(path, url, sha256)
        except OSError as error:
            raise DataError(
                f"cannot store Galaxy10 as {path}: {error}. Set HOME to a folder that you can write "
                f"to. {WAYS_OUT}"
            ) from error
    _verify(path, sha256)
    return path


def _verify(path: Path, sha256: str) -> None:
    found = known_checksum(path)
    if found != sha256:
        raise DataError(
            f"{path} is not Galaxy10 DECaLS as published: its SHA-256 is {found}, expected "
            f"{sha256}. Remove it to have it fetched again. {WAYS_OUT}"
        )


def _fetch(path: Path, url: str, sha256: str) -> None:
    part, folder = path.with_name(f"{path.name}.part"), path.with_name(f"{path.name}.astroNN")
    sources: list[tuple[str, Callable[[], Path]]] = [
        ("astroNN", lambda: _from_astronn(folder)),
        (url, lambda: _from_zenodo(url, part)),
    ]
    if _is_resumable(part):  # astroNN would start over
        sources.reverse()
    failures: list[str] = []
    try:
        for name, source in sources:
            _say(f"Fetching {path.name} (2.5 GB) from {name}")
            try:
                return _accept(source(), path, sha256)
            except DataError as error:
                failures.append(f"{name}: {error}")
                _say(f"Nothing from {failures[-1]}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    raise DataError("\n  ".join([f"could not fetch {path}:", *failures, WAYS_OUT]))


def _accept(fetched: Path, path: Path, sha256: str) -> None:
    _say(f"Verifying {path.name}")
    if (found := checksum(fetched)) != sha256:
        fetched.unlink()
        raise DataError(f"the file that came has SHA-256 {found}, expected {sha256}")
    os.replace(fetched, path)


def _from_astronn(folder: Path, command: Sequence[str] | None = None) -> Path:
    """Let astroNN fetch into `folder`; a process of its own keeps TensorFlow out of this one."""
    child = subprocess.run(
        [*(command or ASTRONN_FETCH), str(folder.absolute())],
        cwd=Path(__file__).parents[2],  # where `-m` finds this package
        stdout=subprocess.PIPE,  # the reason of a failure; the progress bar is on stderr
        text=True,
    )
    fetched = folder / "datasets" / FILE_NAME
    if child.returncode or not fetched.is_file():
        reason = child.stdout.strip().splitlines() or [f"ended with code {child.returncode}"]
        raise DataError(reason[-1])
    return fetched


def _from_zenodo(url: str, part: Path) -> Path:
    """Fetch `url` into `part` in segments that a later call resumes.

    By pypdl, which takes up each segment where a dropped connection, or a process that was killed,
    left it. Others that were looked at: pooch and torch hub verify and do not resume;
    huggingface_hub resumes files of its own hub, and its ``http_get`` is not documented for others;
    parfive fetches in parts and does not resume; curl and aria2 are not installed everywhere.
    """
    import aiohttp
    from pypdl import Pypdl

    if not _is_resumable(part):
        for leftover in part.parent.glob(f"{part.name}*"):
            leftover.unlink()
    with _log_of_pypdl() as (logger, reasons):
        done = Pypdl(logger=logger).start(
            url,
            str(part),
            retries=RETRIES,
            etag_validation=False,  # the checksum decides
            display=sys.stdout.isatty(),
            timeout=aiohttp.ClientTimeout(sock_connect=TIMEOUT_S, sock_read=TIMEOUT_S),
        )
    if not done:
        if not reasons:
            raise DataError("no answer")
        reason = cast("object", reasons[-1].msg)  # pypdl logs the exception itself
        raise DataError(f"{type(reason).__name__}: {reason}")
    return part


def _is_resumable(part: Path) -> bool:
    """Whether pypdl left a record of its segments; it stumbles over one that was cut short."""
    try:
        return "segments" in json.loads(Path(f"{part}.json").read_text())
    except (OSError, ValueError, TypeError):
        return False


@contextmanager
def _log_of_pypdl() -> Generator[tuple[logging.Logger, list[logging.LogRecord]]]:
    """A logger that keeps its records; pypdl's own writes a file into the working folder."""
    logger = logging.Logger(__name__, logging.WARNING)
    handler = logging.handlers.BufferingHandler(capacity=1000)
    logger.addHandler(handler)
    yield logger, handler.buffer


@contextmanager
def _only_process(path: Path) -> Generator[None]:
    lock = FileLock(f"{path}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        _say(f"Another process is fetching {path.name}; waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _require_room(path: Path, free_bytes: int) -> None:
    here = sum(piece.stat().st_size for piece in path.parent.glob(f"{path.name}.part.*"))
    free = shutil.disk_usage(path.parent).free
    if free + here < free_bytes:
        raise DataError(
            f"{path.parent} has {free / 1e9:.1f} GB free, Galaxy10 needs "
            f"{(free_bytes - here) / 1e9:.1f}. {WAYS_OUT}"
        )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
