"""Pre-trained weights: find or fetch the file, read its tensors, fit them to a model."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlparse

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn


class WeightsError(ValueError):
    """Weights that cannot be had or do not fit; the message says what to do."""


def find_weights(weights: str, known: Mapping[str, str | Path]) -> Path:
    """Path of a weights file, fetched into torch hub's cache where it is not there yet.

    Parameters
    ----------
    weights
        One of the names in `known`, or the path of a ``.pth``, ``.pt`` or ``.safetensors``.
    known
        Name → the address of a file, or a file that ships with the package.

    Raises
    ------
    WeightsError
        No such name or file, or the download failed.
    """
    source = known.get(weights, weights)
    if weights in known and isinstance(source, str):
        return _fetch(source)
    path = Path(source).expanduser().absolute()
    if not path.is_file():
        raise WeightsError(
            f"no weights {weights!r}: neither a file nor one of the architecture's names "
            f"({', '.join(known)})"
        )
    return path


def _fetch(url: str) -> Path:
    name = os.path.basename(urlparse(url).path)
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    hash_prefix = re.search(r"-([a-f0-9]*)\.", name)  # torch hub's naming: NAME-HASH.pth
    try:
        torch.hub.download_url_to_file(url, str(path), hash_prefix and hash_prefix.group(1))
    except (OSError, RuntimeError) as error:  # URLError is an OSError; a wrong hash RuntimeError
        raise WeightsError(
            f"could not fetch {url}: {error}. Fetch it on another machine and put it at {path}, "
            "give a file with --weights PATH, or try --preset demo, which needs no download."
        ) from error
    return path


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a weights file; pickled code in it is never run."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        mapped = zipfile.is_zipfile(path)  # else of a torch before 1.6, or torn
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except (OSError, RuntimeError, SafetensorError, EOFError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read as weights: {error}") from error
    except Exception as error:  # pickle.UnpicklingError and what a crafted file may raise
        raise WeightsError(
            f"{path} holds more than tensors and was not loaded ({type(error).__name__}). "
            "Save it again with torch.save(model.state_dict(), …) or as .safetensors."
        ) from error
    for key in ("state_dict", "model"):  # how training scripts nest it
        state = state.get(key, state) if isinstance(state, dict) else state
    if not (isinstance(state, dict) and all(isinstance(t, torch.Tensor) for t in state.values())):
        raise WeightsError(f"{path} is not a state dict (names → tensors)")
    return state


def load_backbone(model: nn.Module, state: Mapping[str, torch.Tensor], head: str) -> None:
    """Put pre-trained tensors into `model`, all but those of its head.

    Raises
    ------
    WeightsError
        Keys or shapes differ; the message lists them.
    """
    own = {k: v for k, v in model.state_dict().items() if not k.startswith(f"{head}.")}
    given = {k: v for k, v in state.items() if not k.startswith(f"{head}.")}
    problems = [f"missing {k} {tuple(own[k].shape)}" for k in own.keys() - given.keys()]
    problems += [f"unexpected {k} {tuple(given[k].shape)}" for k in given.keys() - own.keys()]
    problems += [
        f"{k} is {tuple(given[k].shape)}, expected {tuple(own[k].shape)}"
        for k in own.keys() & given.keys()
        if own[k].shape != given[k].shape
    ]
    if problems:
        shown = "; ".join(sorted(problems)[:8])
        more = f"; and {len(problems) - 8} more" if len(problems) > 8 else ""
        raise WeightsError(f"the weights are of another architecture: {shown}{more}")
    model.load_state_dict(given, strict=False)
