"""``python -m trainable.data.astronn_fetch FOLDER [ORIGIN]``: astroNN's own download of Galaxy10.

A process of its own, as astroNN imports TensorFlow, and as two things in astroNN 1.1.0 have to be
replaced from outside, which is all that this file does:

- its loader has no other folder than ``~/.astroNN``, where an unfinished file would look finished;
- right behind the download come a retry that on a wrong checksum calls itself without end, and a
  reading of all images into memory. The loader is left at the checksum, which the caller compares.

Prints one line, the reason, and ends with code 1 if astroNN does not deliver. With ORIGIN the file
comes from there and not from astroNN's server.
"""

from __future__ import annotations

import http.client
import os
import socket
import sys
from collections.abc import Sequence
from typing import Any

TIMEOUT_S = 60
"""Without a byte; astroNN sets none."""


class DownloadedError(Exception):
    """AstroNN's loader has come to the checksum of what it fetched."""


def fetch(folder: str, origin: str | None = None) -> None:
    """Let astroNN fetch Galaxy10 to ``FOLDER/datasets``.

    Raises
    ------
    OSError, http.client.HTTPException
        The download failed.
    ImportError
        AstroNN or its TensorFlow cannot be imported.
    RuntimeError
        The installed version of astroNN has another loader.
    """
    socket.setdefaulttimeout(TIMEOUT_S)
    from astroNN.datasets import galaxy10

    loader: Any = galaxy10
    if not {"astroNN_CACHE_DIR", "filehash", "load_data", "_G10_ORIGIN"} <= set(vars(loader)):
        raise RuntimeError("this version of astroNN has another loader")
    loader.astroNN_CACHE_DIR = folder
    loader.filehash = _leave
    if origin is not None:
        setattr(loader, "_G10_ORIGIN", origin)  # noqa: B010 - a private name, for tests and mirrors
    try:
        loader.load_data(flag=1)
    except DownloadedError:
        return
    raise RuntimeError("this version of astroNN has another loader")


def _leave(*arguments: object, **settings: object) -> str:
    raise DownloadedError(arguments, settings)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    folder, *origin = sys.argv[1:] if arguments is None else arguments
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")  # a download needs no GPU
    try:
        fetch(folder, *origin)
    # AttributeError: what TensorFlow raises if one of its parts is of another version
    except (OSError, http.client.HTTPException, ImportError, AttributeError, RuntimeError) as error:
        print(f"{type(error).__name__}: {' '.join(str(error).split())}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
