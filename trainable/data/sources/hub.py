"""A data set by its name on the hub of Hugging Face: ``--data hf:USER/NAME`` or ``hf:USER/NAME:CONFIG``.

The extra ``datasets`` fetches it into the node's cache, where it is a data set on disk as any other.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from trainable.data.cache import locked_folder, writing_to
from trainable.errors import DataError

PREFIX = "hf:"


def is_hub_name(data: str) -> bool:
    """Whether ``--data`` names a data set on the hub."""
    return data.startswith(PREFIX)


def fetch(data: str, cache_dir: Path) -> Path:
    """The folder of a data set, fetched if it is not there yet.

    Parameters
    ----------
    data
        ``hf:NAME`` or ``hf:NAME:CONFIGURATION``.
    cache_dir
        Of the node; made if it is missing.

    Raises
    ------
    DataError
        The extra is not installed, or the data set cannot be fetched.
    """
    name, _, configuration = data.removeprefix(PREFIX).partition(":")
    folder = cache_dir / "hub" / re.sub(r"[^\w.-]+", "--", data.removeprefix(PREFIX))
    if folder.is_dir():
        return folder
    try:
        from datasets import load_dataset
        from datasets.exceptions import DatasetsError
    except ImportError as error:
        raise DataError(
            f"--data {data} needs the package datasets: pip install datasets, or give the folder of a "
            "data set"
        ) from error
    with locked_folder(folder):
        if folder.is_dir():
            return folder
        try:
            found = load_dataset(name, configuration or None)
        # FileNotFoundError and ConnectionError among the first, an unknown configuration the second
        except (OSError, ValueError, DatasetsError) as error:
            raise DataError(f"--data {data} cannot be fetched from the hub: {error}") from error
        unfinished = folder.with_name(f".{folder.name}.part")
        with writing_to(folder.parent):
            shutil.rmtree(unfinished, ignore_errors=True)
            found.save_to_disk(unfinished)
            unfinished.rename(folder)
    return folder
