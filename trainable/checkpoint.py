"""The folder that a run leaves after each epoch, and reads to go on.

``state.pt``          all that the next epoch depends on (`Run.state_dict`)
``best.safetensors``  what was trained, at the epoch with the highest validation accuracy
``predictions.npz``   ``rows``, ``labels``, ``probabilities`` of the validation set, ``epoch``
``epochs.json``       one row of numbers for each epoch so far
``record.json``       configuration, versions, commit, checksums, split, device
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from .engine import Run
from .record import device_name, git_commit, versions

RESERVE = 16_000_000  # bytes left free on a disk, for the small files of a sweep


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be read or written."""


def record(run: Run) -> dict[str, Any]:
    """The trial's provenance."""
    return {
        "config": run.config.to_dict(),
        "class_names": run.selection.class_names,
        "split_hash": run.partition.hash,
        "val_hash": run.partition.validation_hash,
        "n_train": len(run.partition.train),
        "n_val": len(run.partition.validation),
        "device": device_name(run.device),
        "versions": versions(),
        "git_commit": git_commit(),
    }


def save(run: Run, folder: Path, provenance: dict[str, Any]) -> None:
    """Write the checkpoint; each file appears whole or not at all, or `CheckpointError`."""
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "record.json", lambda p: p.write_text(json.dumps(provenance, indent=1)))
    _write(folder / "epochs.json", lambda p: p.write_text(json.dumps(run.history)))
    if run.best:
        _write(folder / "best.safetensors", lambda p: save_file(_compact(run.best["weights"]), p))
        _write(folder / "predictions.npz", lambda p: _save_predictions(run, p))
    state = run.state_dict()
    if run.best:  # its weights are in their own file
        state["best"] = {k: v for k, v in run.best.items() if k != "weights"}
    _write(folder / "state.pt", lambda p: torch.save(state, p))  # last: it completes


def require_room(source: Path, target: Path) -> None:
    """`CheckpointError` where the disk of `target` has no room for the files of `source`."""
    needed = sum(path.stat().st_size for path in source.iterdir())
    if (free := shutil.disk_usage(target).free) < needed + RESERVE:
        raise CheckpointError(
            f"no space for a checkpoint in {target}: {needed / 1e6:.1f} MB are needed and "
            f"{RESERVE / 1e6:.0f} MB kept free, {free / 1e6:.1f} MB are there. The last "
            "checkpoint is intact: make room, then resume"
        )


def load(run: Run, folder: Path) -> None:
    """Restore `run` to the checkpoint; pickled code in it is never run.

    Raises
    ------
    CheckpointError
        Missing, torn or foreign; the message names the file.
    """
    path = folder / "state.pt"
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state["best"]:
            state["best"]["weights"] = load_file(folder / "best.safetensors")
        run.load_state_dict(state)
    except Exception as error:  # torch raises many kinds for a torn or foreign file
        raise CheckpointError(f"{path} is not a whole checkpoint of this run: {error}") from error


def load_newest(run: Run, folder: Path) -> int:
    """Restore `run` to `folder` or, where that is damaged, to the newest sound one beside it.

    All of them are states of one deterministic run, so each leads to the same end.

    Returns
    -------
    int
        How many damaged checkpoints were passed over.

    Raises
    ------
    CheckpointError
        None is sound. A run never starts over in silence.
    """
    beside = sorted(p for p in folder.parent.glob("checkpoint_*") if p.name != folder.name)
    problems = []
    for candidate in (folder, *reversed(beside)):
        try:
            load(run, candidate)
            return len(problems)
        except CheckpointError as error:
            problems.append(str(error))
    raise CheckpointError(
        "; ".join(problems)
        + ". Put one of them back, or run this trial in a new sweep under another --name."
    )


def _save_predictions(run: Run, path: Path) -> None:
    with path.open("wb") as file:  # numpy would append .npz to a name
        np.savez(
            file,
            rows=run.partition.validation,
            labels=run.partition.validation_labels,
            probabilities=run.best["probabilities"].numpy(),
            epoch=run.best["epoch"],
        )


def _compact(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}


def _write(path: Path, write) -> None:
    unfinished = path.with_name(f"{path.name}.tmp")
    try:
        write(unfinished)
        os.replace(unfinished, path)
    except Exception as error:  # torch and safetensors raise their own kinds on a full disk
        unfinished.unlink(missing_ok=True)
        raise CheckpointError(
            f"{path} could not be written ({error}); its disk has "
            f"{shutil.disk_usage(path.parent).free / 1e6:.1f} MB free. The file before it is "
            "intact: make room, then resume"
        ) from error
