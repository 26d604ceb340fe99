"""The folder that a run writes after an epoch, and resumes from.

``state.pt``          all that the next epoch depends on (`Run.state_dict`)
``best.safetensors``  what was trained, at the epoch that the validation images chose
``predictions.npz``   ``rows``, ``labels``, ``probabilities`` of the images that the run is scored on at
                      that epoch, and ``epoch``: the test set, once the run is finished; without one,
                      the validation set after every epoch
``validation.npz``    the same of the validation set, if there is a test set
``calibration.json``  of a finished run, the temperature that its validation predictions ask for
``epochs.json``       one row of numbers for each epoch so far
``record.json``       configuration, versions, commit, split, device; of a probe, its path of strengths
``status.json``       how far the run is (`Status`); written last, so all else is there with it
"""

from __future__ import annotations

import errno
import io
import json
import os
import pickle
import shutil
import struct
import tempfile
import time
import weakref
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as safetensors_bytes

from trainable import calibration
from trainable.data.splits import Partition
from trainable.errors import CheckpointError
from trainable.files import DISK_ERRORS, replace_file
from trainable.models.architectures import fit_of_weights
from trainable.provenance import device_name, git_commit, versions
from trainable.run import Best, Row, Run

if TYPE_CHECKING:
    from typing_extensions import Buffer

RESERVE = 16_000_000
"""Bytes left free on a disk, for the small files of a sweep."""

BEST = "best.safetensors"
NOT_SHARED = frozenset(
    {errno.ENOENT, errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.EOPNOTSUPP}
)
"""``OSError.errno`` of a file that is gone, or of file systems that cannot give it a second name."""

CORRUPT_STATE = (
    OSError,  # missing, or not readable
    EOFError,  # empty
    RuntimeError,  # not a whole archive
    pickle.UnpicklingError,  # a pickle that is damaged or holds more than plain values and tensors
    ValueError,  # UnicodeDecodeError among them, and so on: instructions of a damaged pickle
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    struct.error,
)
"""What ``torch.load(..., weights_only=True)`` raises for a corrupt or foreign file."""


@dataclass(frozen=True, kw_only=True)
class Status:
    """Contents of ``status.json``."""

    epoch: int
    """Epochs done."""
    max_epochs: int
    finished: bool
    """No epoch is left: the stopper ended the run, or it reached `max_epochs`."""
    stopped_early: bool
    """The stopper ended the run."""
    best_epoch: int | None
    """Epoch that the validation images chose, counted from 1; None before the first."""
    best_val_accuracy: float | None
    """Its validation accuracy, 0 to 1."""
    test_accuracy: float | None
    """Its accuracy on the test set, 0 to 1; None if the run is not finished or has no test set."""

    @classmethod
    def of(cls, run: Run) -> Status:
        """The status of a run as it stands."""
        return cls(
            epoch=run.epoch,
            max_epochs=run.config.max_epochs,
            finished=run.finished,
            stopped_early=run.stopping.should_stop,
            best_epoch=run.best["epoch"] if run.best else None,
            best_val_accuracy=run.best["val_accuracy"] if run.best else None,
            test_accuracy=run.history[-1].get("test_accuracy") if run.history else None,
        )


def record(run: Run) -> dict[str, Any]:
    """The trial's provenance, the contents of ``record.json``."""
    return {
        "config": run.config.to_dict(),
        "class_names": run.selection.class_names,
        "split_hash": run.partition.hash,
        "scored_hash": run.partition.scored_hash,
        "n_labels": run.partition.n_labels,
        "n_train": len(run.partition.train),
        "n_val": len(run.partition.validation),
        "n_test": len(run.partition.test),
        "weights_fit": fit_of_weights(run.config.arch, run.config.weights),
        "device": device_name(run.device),
        "versions": versions(),
        "git_commit": git_commit(),
    }


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The contents of a checkpoint, which stay what they are while the run trains on."""

    record: dict[str, Any]
    history: list[Row]
    state: dict[str, Any]
    """`Run.state_dict`, without the best weights."""
    best: Best | None
    test: torch.Tensor | None
    partition: Partition
    status: Status

    @classmethod
    def of(cls, run: Run, provenance: dict[str, Any], *, apart: bool = False) -> Snapshot:
        """What a run would be saved with.

        Parameters
        ----------
        provenance
            The result of `record`.
        apart
            Copy what the next epoch changes, to the CPU's memory.
        """
        state, best = run.state_dict(), run.best
        if best:
            state["best"] = {name: value for name, value in best.items() if name != "weights"}
        return cls(
            record=provenance | run.details,
            history=list(run.history),
            state=_copied(state) if apart else state,
            best=best,  # another one takes its place, with other tensors
            test=run.test,
            partition=run.partition,
            status=Status.of(run),
        )


def save(run: Run, folder: Path, provenance: dict[str, Any]) -> None:
    """Write the checkpoint; each file appears whole or not at all.

    Parameters
    ----------
    provenance
        The result of `record`.

    Raises
    ------
    CheckpointError
        The disk is full, over quota, broken or read-only. Every other exception is a bug.
    """
    write(Snapshot.of(run, provenance), folder)


def write(contents: Snapshot, folder: Path, best_weights: Path | None = None) -> None:
    """Write what a run is saved with; see `save`.

    Parameters
    ----------
    best_weights
        A file of an earlier checkpoint with the same best weights, which the new one then shares with it.
    """
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / "record.json", contents.record, indent=1)
    _write_json(folder / "epochs.json", contents.history)
    if best := contents.best:
        target = folder / BEST
        if best_weights is None or not _share(best_weights, target):
            weights = safetensors_bytes(_compact(best["weights"]))
            write_file(target, lambda file: file.write(weights))
        partition, epoch = contents.partition, best["epoch"]
        if contents.status.finished:
            temperature = calibration.fit_temperature(
                best["probabilities"].numpy(), partition.validation_labels
            )
            content = calibration.as_json(temperature).encode()
            write_file(folder / calibration.FILE, lambda file: file.write(content))
        of_validation = (partition.validation, partition.validation_labels, best["probabilities"])
        if not len(partition.test):
            _write_predictions(folder / "predictions.npz", *of_validation, epoch)
        else:
            _write_predictions(folder / "validation.npz", *of_validation, epoch)
        if contents.test is not None:
            of_test = (partition.test, partition.test_labels, contents.test)
            _write_predictions(folder / "predictions.npz", *of_test, epoch)
    write_file(folder / "state.pt", lambda file: torch.save(contents.state, file))
    _write_json(folder / "status.json", asdict(contents.status))


class Writer:
    """Writes the checkpoints of one run, in a thread if asked to, and the best weights once.

    Parameters
    ----------
    provenance
        The result of `record`.

    Attributes
    ----------
    seconds : float
        How long the last checkpoint took to be written.
    """

    def __init__(self, provenance: dict[str, Any]) -> None:
        self.provenance, self.seconds = provenance, 0.0
        self._own: Path | None = None  # a folder, for as long as the writer lives
        self._best: tuple[int, Path] | None = None  # an epoch, and a file with its weights
        self._thread = ThreadPoolExecutor(1)
        self._pending: Future[None] | None = None

    @property
    def pending(self) -> bool:
        """Whether a checkpoint was begun that has not been handed over."""
        return self._pending is not None

    @property
    def ready(self) -> bool:
        """Whether it is there, or could not be written."""
        return self._pending is not None and self._pending.done()

    def save(self, run: Run, folder: Path) -> None:
        """Write a checkpoint now; one that was begun is given up. See `checkpoint.save`."""
        self.close()
        self._write(Snapshot.of(run, self.provenance), folder)

    def begin(self, run: Run) -> None:
        """Write a checkpoint of the run as it is, while it trains on."""
        if self._own is None:
            self._own = Path(tempfile.mkdtemp(prefix="checkpoint-"))
            weakref.finalize(self, shutil.rmtree, self._own, ignore_errors=True)
        contents = Snapshot.of(run, self.provenance, apart=True)
        self._pending = self._thread.submit(self._write, contents, self._unfinished)

    def hand_over(self, folder: Path) -> None:
        """Wait for the checkpoint that was begun, and move it to `folder`, ``status.json`` last.

        Raises
        ------
        CheckpointError
            It could not be written, see `save`.
        """
        pending, self._pending = self._pending, None
        assert pending is not None, "a checkpoint was begun"
        pending.result()
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            names = sorted(os.listdir(self._unfinished), key=lambda name: name == "status.json")
            for name in names:
                shutil.move(self._unfinished / name, folder / name)

    def close(self) -> None:
        """Wait for a checkpoint that was begun, and give it up, whatever the disk did to it."""
        pending, self._pending = self._pending, None
        if pending is not None:
            error = pending.exception()
            shutil.rmtree(self._unfinished, ignore_errors=True)
            if error is not None and not isinstance(error, CheckpointError):
                raise error

    @property
    def _unfinished(self) -> Path:
        assert self._own is not None, "a checkpoint was begun"
        return self._own / "checkpoint"

    def _write(self, contents: Snapshot, folder: Path) -> None:
        start = time.perf_counter()
        epoch = contents.best["epoch"] if contents.best else 0
        known = self._best[1] if self._best and self._best[0] == epoch else None
        write(contents, folder, known)
        if contents.best and known is None:
            self._best = epoch, self._kept(folder / BEST)
        self.seconds = time.perf_counter() - start

    def _kept(self, weights: Path) -> Path:
        """A name of our own for a file that may be moved or deleted; its own if there can be none."""
        if self._own is None:
            return weights
        kept = self._own / BEST
        return kept if _share(weights, kept) else weights


def require_room(source: Path, target: Path) -> None:
    """Make sure that the disk of `target` has room for the files of `source`.

    Raises
    ------
    CheckpointError
        It has not.
    """
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
        It is missing, corrupt, or of a run with other trained parameters; the message names the
        file. `run` is as it was.
    """
    run.load_state_dict(_read(folder, run))


def load_newest(run: Run, folder: Path) -> int:
    """Restore `run` to `folder` or, if that is corrupt, to the newest sound one beside it.

    All of them are states of one deterministic run, so each leads to the same end.

    Returns
    -------
    int
        How many corrupt checkpoints were passed over.

    Raises
    ------
    CheckpointError
        None is sound. A run never starts over in silence.
    """
    beside = sorted(p for p in folder.parent.glob("checkpoint_*") if p.name != folder.name)
    problems: list[str] = []
    for candidate in (folder, *reversed(beside)):
        try:
            state = _read(candidate, run)
        except CheckpointError as error:
            problems.append(str(error))
            continue
        run.load_state_dict(state)
        return len(problems)
    raise CheckpointError(
        "; ".join(problems)
        + ". Put one of them back, or run this trial in a new sweep under another --name."
    )


@contextmanager
def disk_errors(path: Path) -> Generator[None]:
    """Turn what a disk does to the writing of `path` into a `CheckpointError`, nothing else."""
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        what = "make room" if full else "mend the disk, or make it writable"
        raise CheckpointError(
            f"{path} could not be written: {error.strerror}. What was there before is intact: "
            f"{what}, then resume"
        ) from error


def read_state(path: Path) -> Any:
    """The contents of a file that ``torch.save`` wrote, on the CPU; pickled code is never run.

    Raises
    ------
    CheckpointError
        It is missing, corrupt, or holds more than plain values and tensors.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except CORRUPT_STATE as error:
        raise CheckpointError(f"{path} is missing or corrupt: {error}") from error


def _read(folder: Path, run: Run) -> dict[str, Any]:
    """The state in a checkpoint, checked to be one that `run` can take."""
    path, weights = folder / "state.pt", folder / BEST
    state = read_state(path)
    expected = run.state_dict()
    if not isinstance(state, dict) or state.keys() != expected.keys():
        raise CheckpointError(f"{path} is not the state of a training run")
    if _shapes(state["model"]) != _shapes(expected["model"]):
        raise CheckpointError(
            f"{path} is of another run: the names or shapes of what it trains are not "
            f"those of {run.config.arch} with {run.config.trained!r} trained"
        )
    if state["best"]:
        try:
            state["best"]["weights"] = load_file(weights)
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{weights} is missing or corrupt: {error}") from error
    return state


def _share(source: Path, target: Path) -> bool:
    """Have `target` be the file `source`, which nobody changes; False if that cannot be."""
    if source == target:
        return source.exists()
    try:
        with replace_file(target, only_writer=True) as unfinished:
            os.link(source, unfinished)
    except OSError as error:
        if error.errno not in NOT_SHARED:
            raise
        return False
    return True


def _copied(value: Any) -> Any:
    """Plain containers with copies of their tensors on the CPU."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _copied(inner) for key, inner in cast("dict[Any, Any]", value).items()}
    if isinstance(value, list):
        return [_copied(inner) for inner in cast("list[Any]", value)]
    return value


def _shapes(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in tensors.items()}


def _compact(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}


def _write_predictions(
    path: Path, rows: np.ndarray, labels: np.ndarray, probabilities: torch.Tensor, epoch: int
) -> None:
    write_file(
        path,
        lambda file: np.savez(
            file, rows=rows, labels=labels, probabilities=probabilities.numpy(), epoch=epoch
        ),
    )


def _write_json(path: Path, values: Any, indent: int | None = None) -> None:
    data = json.dumps(values, indent=indent).encode()
    write_file(path, lambda file: file.write(data))


def write_file(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file through an object of our own, so that a disk error keeps its number.

    Given a path, torch and safetensors make an exception of their own of it, without the number.
    """
    with disk_errors(path), replace_file(path, only_writer=True) as unfinished:
        raw = _RememberingFile(unfinished, "wb")
        try:
            with io.BufferedWriter(raw) as file:
                write(file)
        except RuntimeError as error:
            if raw.error is None:
                raise
            raise raw.error from error


class _RememberingFile(io.FileIO):
    """A file that remembers its last error: torch closes its archive and hides it by another."""

    error: OSError | None = None

    def write(self, data: Buffer) -> int:
        try:
            return super().write(data)
        except OSError as error:
            self.error = error
            raise
