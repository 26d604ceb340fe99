"""Pre-trained weights: find or fetch the file, read its tensors, fit them to a model."""

from __future__ import annotations

import argparse
import http.client
import os
import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlparse

import torch
from torch import nn

from trainable.errors import WeightsError

State = Mapping[str, torch.Tensor]
"""Names → tensors."""

NESTED_IN = (
    *("state_dict_ema", "model_ema"),  # timm's training script: the average before the last step
    *("state_dict", "model_state_dict", "model"),
    *("teacher", "student"),  # DINO: its evaluations take the teacher
)
"""Keys under which training scripts keep the state dict, next to optimiser and epoch; the first that
is there counts."""
WRAPPERS = ("module.", "_orig_mod.", "model.", "backbone.", "encoder.")
"""Prefixes before every name of a network: of DataParallel, of torch.compile, and of the module that
has the network as its attribute, such as Lightning's or DINO's."""
OTHER_HEADS = (
    *("head", "heads", "head_dist", "aux_head", "fc", "classifier", "last_linear", "last_layer"),
    *("dino_head", "ibot_head", "projector", "projection_head", "predictor"),
)
"""Names of what stands behind a backbone in other networks; it is left out, and that is said."""
HUB = "hf-hub:"
"""Before the name of a repository of the Hugging Face hub, as timm has it; ``@`` and a revision may
follow."""
HUB_FILES = ("model.safetensors", "pytorch_model.bin")
"""Weights in a repository of timm's models; the first that is there counts, as in timm's loading."""
SHOWN = 4
"""Missing and unexpected names that a message shows of each."""


def find_weights(weights: str, known: Mapping[str, str | Path]) -> Path:
    """Path of a weights file, fetched into torch hub's or the Hugging Face hub's cache if need be.

    Parameters
    ----------
    weights
        One of the names in `known`, or the path of a ``.pth``, ``.pt`` or ``.safetensors``.
    known
        Name → the address of a file or (`HUB`) a repository, or a file that is there.

    Raises
    ------
    WeightsError
        No such name or file, or the download failed.
    """
    source = known.get(weights, weights)
    if weights in known and isinstance(source, str):
        hub = source.startswith(HUB)
        return fetch_from_hub(source.removeprefix(HUB), HUB_FILES) if hub else _fetch(source)
    path = Path(os.path.expanduser(source)).absolute()
    if not path.is_file():
        raise WeightsError(
            f"no weights {weights!r}: neither a file nor one of the architecture's names "
            f"({', '.join(known) or 'it has none'})"
        )
    return path


def fetch_from_hub(repository: str, names: Collection[str]) -> Path:
    """The first of some files that a repository of the Hugging Face hub has, in that hub's cache.

    Parameters
    ----------
    repository
        ``OWNER/NAME``, perhaps with ``@REVISION`` behind it.

    Raises
    ------
    WeightsError
        It has none of them, or cannot be reached, and they are not in the cache.
    """
    from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError, RemoteEntryNotFoundError

    name, _, revision = repository.partition("@")
    try:
        cached = [try_to_load_from_cache(name, f, revision=revision or None) for f in names]
    except HFValidationError as error:
        raise WeightsError(f"no repository of the Hugging Face hub: {error}") from error
    for path in cached:
        if isinstance(path, str):  # no trial asks a server about a file that is here
            return Path(path)
    for file in names:
        try:
            return Path(hf_hub_download(name, file, revision=revision or None))
        except RemoteEntryNotFoundError:
            continue
        except OSError as error:  # no such repository, no connection, no right, no room
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise WeightsError(
                f"could not fetch {file} of {name} from the Hugging Face hub: {reason} Fetch it on "
                f"another machine (hf download {repository.replace('@', ' --revision ')}) and copy "
                f"its folder into {constants.HF_HUB_CACHE}, or give a file with --weights PATH"
            ) from error
    raise WeightsError(f"{name} on the Hugging Face hub has none of {', '.join(names)}")


def _fetch(url: str) -> Path:
    name = os.path.basename(urlparse(url).path)
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    path = folder / name
    if path.is_file():
        return path
    ways_out = (
        f"Fetch {url} on another machine and put it at {path}, give a file with --weights PATH, or "
        "try --preset demo, which needs no download."
    )
    try:
        if not folder.is_absolute():  # torch takes a ~ that stands for nothing as it is
            raise FileNotFoundError(f"no home folder is known: {folder}")
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(f"no right to write in {folder}")
    except OSError as error:
        raise WeightsError(
            f"cannot store weights in torch hub's cache {folder}: {error}. Set TORCH_HOME to a "
            f"folder that you can write to. {ways_out}"
        ) from error
    hash_prefix = re.search(r"-([a-f0-9]*)\.", name)  # torch hub's naming: NAME-HASH.pth
    try:
        torch.hub.download_url_to_file(url, str(path), hash_prefix and hash_prefix.group(1))
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        # URLError is an OSError; a wrong hash is a RuntimeError; HTTPException: a dropped line
        raise WeightsError(f"could not fetch {url}: {error}. {ways_out}") from error
    return path


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a weights file; pickled code in it is never run.

    The state dict may lie under one of `NESTED_IN`, or under several, one in the other.

    Raises
    ------
    WeightsError
        The file cannot be read, holds more than tensors, or has no state dict.
    """
    return read_nested(path)[0]


def read_nested(path: Path) -> tuple[dict[str, torch.Tensor], tuple[str, ...]]:
    """As `read_weights`, and the keys under which the tensors lie."""
    state = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    keys: list[str] = []
    while isinstance(state, dict) and (key := _key_of_state(state)):
        state = state[key]
        keys.append(key)
    if not (isinstance(state, dict) and all(isinstance(t, torch.Tensor) for t in state.values())):
        raise WeightsError(
            f"{path} is not a state dict (names → tensors), nor has it one under "
            f"{', '.join(map(repr, NESTED_IN))}: it is {_describe(state)}. Save "
            "model.state_dict() alone"
        )
    return cast("dict[str, torch.Tensor]", state), tuple(keys)


def _key_of_state(state: Mapping[Any, Any]) -> str | None:
    """The key under which the state dict lies; None if none is there."""
    return next((key for key in NESTED_IN if isinstance(state.get(key), dict)), None)


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError  # here, as a network is built without it
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path} cannot be read as weights: {error}") from error


def _read_pickle(path: Path) -> Any:
    try:
        mapped = zipfile.is_zipfile(path)  # else of a torch before 1.6, or corrupt
        with warnings.catch_warnings():  # of the protocol of a pickle, which it then refuses
            warnings.simplefilter("ignore", UserWarning)
            with torch.serialization.safe_globals([argparse.Namespace]):  # the script's flags
                return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        reason = re.search("WeightsUnpickler error: (.+)", str(error))
        raise WeightsError(
            f"{path} holds more than tensors, or is corrupt, and was not loaded "
            f"({reason[1].strip() if reason else 'torch refuses it'}). Save it again with "
            "torch.save(model.state_dict(), …) or as .safetensors."
        ) from error
    # A flipped bit in a pickle makes other opcodes of it; these are what torch's unpickler raised
    # for thousands of files with flipped or missing bytes.
    except (
        *(OSError, EOFError, RuntimeError, ValueError, TypeError),
        *(LookupError, AttributeError, AssertionError, OverflowError, struct.error),
    ) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise WeightsError(
            f"{path} cannot be read as weights, it may be corrupt: {reason}"
        ) from error


def _describe(state: object) -> str:
    if isinstance(state, dict):
        keys = list(map(str, cast("dict[object, object]", state)))
        return f"a dict with {_some(keys) or 'nothing in it'}"
    return f"a {type(state).__name__}"


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """Tensors under the names, and with the shapes, of a model."""

    state: State
    notes: tuple[str, ...]
    """What was done to make them fit, a clause each; none if nothing was."""


def load_backbone(
    model: nn.Module,
    state: State,
    head: str | None,
    *,
    file_heads: Collection[str] = (),
    adapt: Callable[[State, nn.Module], State] | None = None,
) -> tuple[str, ...]:
    """Put pre-trained tensors into `model`, all but those of its head; see `fit`.

    Returns
    -------
    tuple of str
        What was done to make them fit.
    """
    fitted = fit(model, state, head, file_heads=file_heads, adapt=adapt)
    model.load_state_dict(fitted.state, strict=False)
    return fitted.notes


def fit(
    model: nn.Module,
    state: State,
    head: str | None,
    *,
    file_heads: Collection[str] = (),
    adapt: Callable[[State, nn.Module], State] | None = None,
) -> Fitted:
    """Tensors of a file as `model` wants them, all but those of its head.

    Of the prefixes made of `WRAPPERS` that names of the file have, the one that fits most names of
    the model is left out. Heads (`head`, `file_heads`, `OTHER_HEADS`), behind that prefix or beside
    it, are left out, too. BatchNorm's counts of batches may be missing.

    Parameters
    ----------
    model
        May be on the meta device.
    head
        Dotted name of the model's own last layer; None if it has none.
    file_heads
        Dotted names of last layers in files.
    adapt
        Tried if names or shapes do not fit.

    Raises
    ------
    WeightsError
        Names or shapes differ; the message has some of the missing and of the unexpected names,
        how many there are, and the prefix that would make them fit, if there is one.
    """
    own = () if head is None else (head,)
    expected = {k: v for k, v in model.state_dict().items() if not _below(k, own)}
    prefix = _common_prefix(expected, state)
    given = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    beside = {k: v for k, v in state.items() if not k.startswith(prefix)}
    notes = [f"names behind the prefix {prefix!r}"] if prefix else []
    fitting, heads = _without_heads(expected, given, (*own, *file_heads))
    other = {k: v for k, v in beside.items() if _below(_unwrapped(k), OTHER_HEADS)}
    rest = {k: v for k, v in beside.items() if k not in other}
    problems = _problems(expected, fitting | rest)
    if problems and adapt is not None and not rest:
        adapted = _adapted(adapt, given, model)
        if adapted is not None:
            adapted, heads_then = _without_heads(expected, adapted, (*own, *file_heads))
            if not _problems(expected, adapted):
                notes += _changes(fitting, adapted)
                fitting, heads, problems = adapted, heads_then, []
    if problems:
        which = f" its head {head!r}" if head else " its head"
        raise WeightsError(
            f"the weights do not fit the architecture, which has {len(expected)} tensors besides"
            f"{which}; {'; '.join(problems)}.{_hint(expected, state)}"
        )
    if other := heads | other:
        notes.append(f"without {len(other)} tensors of another head: {_some(_with_shapes(other))}")
    return Fitted(state=fitting, notes=tuple(notes))


def _below(name: str, modules: Collection[str]) -> bool:
    return any(name.startswith(f"{module}.") for module in modules)


def _unwrapped(name: str) -> str:
    """A name without the prefixes of `WRAPPERS` that it has."""
    while wrapper := next((w for w in WRAPPERS if name.startswith(w)), ""):
        name = name.removeprefix(wrapper)
    return name


def _common_prefix(expected: Iterable[str], given: Iterable[str]) -> str:
    """The prefix made of `WRAPPERS` behind which most of the expected names are, or nothing."""
    wanted, given = set(expected), list(given)
    prefixes = {""}
    for name in given:
        rest = name
        while wrapper := next((w for w in WRAPPERS if rest.startswith(w)), ""):
            rest = rest.removeprefix(wrapper)
            prefixes.add(name.removesuffix(rest))
    fitting = {
        prefix: sum(n.startswith(prefix) and n.removeprefix(prefix) in wanted for n in given)
        for prefix in prefixes
    }
    return max(sorted(fitting, key=len), key=fitting.__getitem__)


def _without_heads(
    expected: State, given: State, known: Collection[str]
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """The tensors that are of no head, and those of heads that are not `known`, but of others."""
    heads = {
        k: v for k, v in given.items() if k not in expected and _below(k, (*known, *OTHER_HEADS))
    }
    rest = {k: v for k, v in given.items() if k not in heads}
    return rest, {k: v for k, v in heads.items() if not _below(k, known)}


def _adapted(
    adapt: Callable[[State, nn.Module], State], state: State, model: nn.Module
) -> State | None:
    """What `adapt` makes of some tensors; None if it cannot."""
    try:
        return adapt(dict(state), model)
    except (LookupError, RuntimeError, ValueError, TypeError, AttributeError, AssertionError):
        return None  # it knows a few layouts and takes any other for one of them


def _problems(expected: State, given: State) -> list[str]:
    """What keeps some tensors from being those of a model, a clause for each kind."""
    missing = {
        k: v
        for k, v in expected.items()
        if k not in given and not k.endswith(".num_batches_tracked")
    }
    unexpected = {k: v for k, v in given.items() if k not in expected}
    reshaped = [
        f"{k} is {tuple(given[k].shape)}, expected {tuple(v.shape)}"
        for k, v in expected.items()
        if k in given and given[k].shape != v.shape
    ]
    kinds = {
        "missing": _with_shapes(missing),
        "unexpected": _with_shapes(unexpected),
        "of another shape": reshaped,
    }
    return [f"{len(names)} {kind}: {_some(names)}" for kind, names in kinds.items() if names]


def _with_shapes(tensors: State) -> list[str]:
    return [f"{name} {tuple(tensor.shape)}" for name, tensor in tensors.items()]


def _changes(before: State, after: State) -> list[str]:
    """What was changed to make tensors fit: their shapes, or their names."""
    reshaped = [
        f"{k} resampled from {tuple(before[k].shape)} to {tuple(v.shape)}"
        for k, v in after.items()
        if k in before and before[k].shape != v.shape
    ]
    renamed = sum(name not in before for name in after)
    return [*reshaped, *([f"{renamed} names of another layout translated"] if renamed else [])]


def _some(names: list[str]) -> str:
    """The first few of some names."""
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")


def _hint(expected: Mapping[str, torch.Tensor], given: Mapping[str, torch.Tensor]) -> str:
    """What would make the names fit: a prefix, or another name of the head; else nothing."""
    prefix, fitting = _best_prefix(expected, given)
    if prefix and fitting > sum(name in given for name in expected):
        return (
            f" Of its names, {fitting} are there behind the prefix {prefix!r}: save the tensors "
            "of that module alone, under names without the prefix."
        )
    extra = [name for name in given if name not in expected]
    if all(name in given for name in expected) and {name.rpartition(".")[2] for name in extra} <= {
        "weight",
        "bias",
    }:
        return " If what is unexpected is a head under another name, leave it out of the file."
    return ""


def _best_prefix(expected: Iterable[str], given: Iterable[str]) -> tuple[str, int]:
    """The prefix behind which most expected names are among those given, and how many."""
    expected, given = list(expected), set(given)
    prefixes = {
        name.removesuffix(expected[0]) for name in given if name.endswith(f".{expected[0]}")
    }
    counts = {prefix: sum(prefix + name in given for name in expected) for prefix in prefixes}
    best = max(sorted(counts), key=counts.__getitem__, default="")
    return best, counts.get(best, 0)
