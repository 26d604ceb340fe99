"""From sweep folders, or Ray Tune's result grid, to tidy frames.

What a trial did is read from the files that the trial itself wrote into its folder
``SWEEP/run-K/CELL_ID``; which trial it is, from the folder's name. Ray need not be installed.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis import formatting
from analysis.results.schema import (
    COMPLETE,
    EPOCH_COLUMNS,
    KEY,
    CorruptFile,
    Results,
    groups,
    npz_arrays,
    read_json,
    records,
)
from analysis.results.transfer import Transfer
from trainable.errors import SweepError
from trainable.manifest import Aspect, Cell, Manifest, differences, name_in_ids
from trainable.protocol import UNTRAINED, protocol_named

if TYPE_CHECKING:
    from ray.tune import ResultGrid

ASPECTS: frozenset[Aspect] = frozenset({"data", "model", "weights", "recipe"})
"""What sweeps that are read as one grid must agree in; their splits and seeds may differ."""
EXAMPLES = "examples.npz"
ACCURACY_TOLERANCE = 1e-4
"""Stored predictions and logged accuracy of a trial are the same number but for rounding."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What became of one cell: the columns of `Results.trials` that its trial's folder gives."""

    status: str = "not started"
    """``complete``, ``failed``, ``interrupted`` or ``not started``."""
    error: str = ""
    """What ended a failed trial, in one line."""
    epochs: int = 0
    accuracy: float | None = None
    """0–1: of the test images, at the epoch that the validation images chose; without a test set the
    best on the validation images. None if a trial with a test set is not finished."""
    loss: float | None = None
    """Nats: of the test images at that epoch; without a test set the lowest on the validation images."""
    best_val_accuracy: float | None = None
    """0–1."""
    best_val_loss: float | None = None
    """Lowest, nats."""
    best_epoch: int | None = None
    """The epoch that the validation images chose, from 1."""
    epoch_seconds: float | None = None
    """Mean."""
    total_seconds: float | None = None
    """Sum over epochs."""
    stopped_early: bool = False
    """The stopper ended it, not the limit of epochs."""
    checkpoint: str | None = None
    """Folder of its newest sound checkpoint."""
    strength: float | None = None
    """Of a probe: λ."""
    strength_edge: float | None = None
    """Of a probe: 1 or -1 if λ is the strongest or the weakest that it chose from, else 0."""


NEVER_STARTED = Trial()


@dataclass(frozen=True, kw_only=True)
class TrialAndEpochs:
    """A trial with one row for each of its epochs, in order."""

    trial: Trial
    epochs: pd.DataFrame


def read(*folders: Path | str) -> Results:
    """Read one or several sweep folders as one grid.

    Parameters
    ----------
    *folders
        Folders ``ray_results/NAME``. If several hold the same cell, a complete trial wins,
        then the first given. Trials of another protocol than the first folder's have its name in
        front of theirs.

    Raises
    ------
    SweepError
        A folder is not a sweep, or the sweeps differ in more than their cells.
    """
    paths = [Path(folder) for folder in folders]
    for path, count in Counter(path.resolve() for path in paths).items():
        if count > 1:
            raise SweepError(f"{path} is given {count} times; give each sweep once")
    manifests = [Manifest.read(path) for path in paths]
    _refuse_incomparable(manifests)
    manifests = _with_shared_scratch(manifests)
    notes: list[str] = []
    trials_by_cell = [
        _in_folder(path, manifest, notes) for path, manifest in zip(paths, manifests, strict=True)
    ]
    try:
        transfer = Transfer.read(paths[0])
    except CorruptFile as problem:
        transfer = None
        notes.append(f"{problem}; what the network knew without any label is left out.")
    results = _results(manifests, trials_by_cell, _examples(paths, notes), notes)
    return replace(results, transfer=transfer)


def from_result_grid(manifest: Manifest, grid: ResultGrid) -> Results:
    """The results of a sweep of which Ray Tune has just returned its grid.

    Parameters
    ----------
    manifest
        Of the sweep.
    grid
        As ``Tuner.fit()`` or ``Tuner.restore(path, trainable).get_results()`` returns it, on local
        storage. Of each result, its folder and its error are used.
    """
    notes: list[str] = []
    trials_by_cell: dict[str, TrialAndEpochs] = {}
    folders: list[Path] = []
    for result in grid:
        folder = Path(result.path)
        folders.append(folder.parents[1])
        error = None if result.error is None else str(result.error) or type(result.error).__name__
        tested = manifest.data.scored_on == "test"
        trials_by_cell[folder.name] = _trial(folder, error, tested, notes)
    return _results([manifest], [trials_by_cell], _examples(folders[:1], notes), notes)


def _results(
    manifests: Sequence[Manifest],
    trials_by_cell: Sequence[Mapping[str, TrialAndEpochs]],
    examples: NDArray[np.uint8] | None,
    notes: list[str],
) -> Results:
    """Every cell of the manifests; `trials_by_cell`, for each manifest: cell id → its trial."""
    rows: list[tuple[dict[str, Any], pd.DataFrame | None]] = []
    for manifest, trials in zip(manifests, trials_by_cell, strict=True):
        for cell in manifest.cells:
            known = trials.get(cell.id)
            trial = known.trial if known else NEVER_STARTED
            row = _row(cell, manifest, trial, manifests[0])
            rows.append((row, known.epochs if known else None))
    trials, epochs = _without_repeats(rows, notes)
    results = Results(
        manifests=tuple(manifests),
        trials=trials,
        epochs=_joined_epochs(trials, epochs),
        examples=examples,
    )
    return replace(results, notes=(*notes, *_oddities(results), *_edges(results)))


def _refuse_incomparable(manifests: Sequence[Manifest]) -> None:
    """Raise `SweepError` if two sweeps differ in more than their protocols and cells."""
    for first, other in itertools.combinations(manifests, 2):
        for difference in differences(first, other, ASPECTS):
            raise SweepError(
                f"the sweeps {first.name!r} and {other.name!r} cannot be read as one grid: "
                f"{difference}; write a report for each"
            )
        if _test_sets_differ(first, other):
            raise SweepError(
                f"the sweeps {first.name!r} and {other.name!r} cannot be read as one grid: their test "
                "sets are not the same images (--test-fraction, --split-seed); write a report for each"
            )


def _with_shared_scratch(manifests: Sequence[Manifest]) -> list[Manifest]:
    """Training from scratch in one sweep is also that of protocols of others that prescribe the same.

    So is it within one sweep: ``--trained`` has no part in it.
    """
    if len(manifests) == 1:
        return list(manifests)
    of_arch: dict[str, dict[str, None]] = {}
    for cell in (cell for manifest in manifests for cell in manifest.cells):
        if cell.protocols[0] != UNTRAINED.name:
            of_arch.setdefault(cell.config.arch, {}).update(dict.fromkeys(cell.protocols))

    def shared(cell: Cell) -> Cell:
        own = cell.protocols[0]
        if cell.init != "scratch" or own == UNTRAINED.name:
            return cell
        others = (p for p in of_arch[cell.config.arch] if _same_scratch(own, p))
        return replace(cell, protocols=tuple(dict.fromkeys((*cell.protocols, *others))))

    return [replace(manifest, cells=tuple(map(shared, manifest.cells))) for manifest in manifests]


def _same_scratch(first: str, second: str) -> bool:
    """Two protocols of one name but for what is trained of pre-trained models agree on scratch."""
    if first == second:
        return True
    if first.partition("+")[0] != second.partition("+")[0]:
        return False
    here, there = (
        replace(protocol, name="", pretrained=protocol.scratch)
        for protocol in map(protocol_named, (first, second))
    )
    return here == there


def _test_sets_differ(first: Manifest, other: Manifest) -> bool:
    """A seed, or any two if the split does not vary with it, has other test images in one than in the other."""
    if not first.data.scored_on == other.data.scored_on == "test":
        return False  # accuracies of other images of one split are compared without pairing them

    def hashes(manifest: Manifest) -> set[tuple[int | None, str]]:
        varies = manifest.data.resample
        return {(cell.seed if varies else None, cell.scored_hash) for cell in manifest.cells}

    here, there = hashes(first), hashes(other)
    shared = {seed for seed, _ in here} & {seed for seed, _ in there}
    return any(
        {scored for s, scored in here if s == seed} != {scored for s, scored in there if s == seed}
        for seed in shared
    )


def _without_repeats(
    rows: Iterable[tuple[dict[str, Any], pd.DataFrame | None]], notes: list[str]
) -> tuple[pd.DataFrame, dict[str, pd.DataFrame | None]]:
    """One trial for each cell and protocol: a complete one, else the first; and their epochs."""
    rows = list(rows)
    order = list(dict.fromkeys(row["protocol"] for row, _ in rows))
    archs = list(dict.fromkeys(row["arch"] for row, _ in rows))
    kept: dict[str, dict[str, Any]] = {}
    epochs: dict[str, pd.DataFrame | None] = {}
    taken: set[tuple[Any, ...]] = set()
    for row, frame in sorted(rows, key=lambda item: item[0]["status"] != COMPLETE):
        name, cell = row["trial"], (row["arch"], row["init"], row["fraction"], row["seed"])
        free = tuple(p for p in row["protocols"] if (p, *cell) not in taken)
        taken |= {(p, *cell) for p in free}
        if name in kept:
            kept[name]["protocols"] += free
        elif free:
            kept[name], epochs[name] = row | {"protocols": free}, frame
            continue
        if row["status"] == COMPLETE:
            notes.append(f"{name} of {row['sweep']} is a repeat and is not used.")

    def position(row: Mapping[str, Any]) -> tuple[int, int, bool, float, int]:
        arch, protocol = archs.index(row["arch"]), order.index(row["protocol"])
        return arch, protocol, row["init"] == "pretrained", row["fraction"], row["seed"]

    return pd.DataFrame(sorted(kept.values(), key=position)), epochs


def _in_folder(folder: Path, manifest: Manifest, notes: list[str]) -> dict[str, TrialAndEpochs]:
    """Cell id → the furthest of its trials that have a folder in the sweep's experiments."""
    furthest: dict[str, TrialAndEpochs] = {}
    for experiment, cells in manifest.experiments.items():
        for cell in cells:
            path = folder / experiment / cell
            if not path.is_dir():
                continue
            file = path / "error.txt"
            error = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else None
            here = _trial(path, error, manifest.data.scored_on == "test", notes)
            if cell not in furthest or _progress(here.trial) > _progress(furthest[cell].trial):
                furthest[cell] = here
    return furthest


def _progress(trial: Trial) -> tuple[bool, int]:
    return trial.status == COMPLETE, trial.epochs


def _trial(folder: Path, error: str | None, tested: bool, notes: list[str]) -> TrialAndEpochs:
    """What a trial did, from its newest sound checkpoint or, without one, from Tune's log.

    Parameters
    ----------
    tested
        The split has a test set.
    error
        Text of the trial's last failure, None without one. It does not count if the trial was
        resumed and finished after it.
    notes
        Gets a sentence for each file that cannot be read.
    """
    finished = stopped_early = False
    checkpoint = None
    for path in sorted(folder.glob("checkpoint_*"), reverse=True):
        try:
            finished, stopped_early, rows = _read_checkpoint(path)
        except CorruptFile as problem:
            notes.append(f"{problem}; that checkpoint is left out.")
        else:
            checkpoint = str(path)
            break
    else:
        rows = _logged(folder / "result.json", notes)
    failed = error is not None and not finished
    last = rows[-1] if rows else {}
    seconds = [row["epoch_seconds"] for row in rows if row.get("epoch_seconds") is not None]
    trial = Trial(
        status=COMPLETE if finished else "failed" if failed else "interrupted",
        error=_last_line(error or "") if failed else "",
        epochs=len(rows),
        accuracy=last.get("test_accuracy" if tested else "best_val_accuracy"),
        loss=last.get("test_loss" if tested else "min_loss"),
        best_val_accuracy=last.get("best_val_accuracy"),
        best_val_loss=last.get("min_loss"),
        best_epoch=last.get("best_epoch"),
        epoch_seconds=float(np.mean(seconds)) if seconds else None,
        total_seconds=float(np.sum(seconds)) if seconds else None,
        stopped_early=stopped_early,
        checkpoint=checkpoint,
        strength=last.get("strength"),
        strength_edge=last.get("strength_edge"),
    )
    epochs = pd.DataFrame([{name: row.get(name) for name in EPOCH_COLUMNS} for row in rows])
    return TrialAndEpochs(trial=trial, epochs=epochs)


def _read_checkpoint(folder: Path) -> tuple[bool, bool, list[dict[str, Any]]]:
    """Whether the trial is finished, whether by its stopper, and its epochs, in order.

    Raises
    ------
    CorruptFile
        A file is missing or corrupt, as if a kill came while Ray copied the checkpoint.
    """
    status, rows = read_json(folder / "status.json"), read_json(folder / "epochs.json")
    if not isinstance(status, dict) or not {"epoch", "finished", "stopped_early"} <= status.keys():
        raise CorruptFile(
            f"{folder / 'status.json'} is corrupt: it does not say how far the run is"
        )
    if not _are_epochs(rows) or len(rows) != status["epoch"]:
        raise CorruptFile(
            f"{folder / 'epochs.json'} is corrupt: it does not list the {status['epoch']} epochs "
            "of its checkpoint"
        )
    return bool(status["finished"]), bool(status["stopped_early"]), rows


def _are_epochs(rows: object) -> TypeGuard[list[dict[str, Any]]]:
    return isinstance(rows, list) and all(isinstance(row, dict) and "epoch" in row for row in rows)


def _logged(log: Path, notes: list[str]) -> list[dict[str, Any]]:
    """The epochs in Tune's log, each once and in order.

    Tune appends to it as results come, so a kill can leave an epoch in it twice or cut a line.
    """
    rows: dict[int, dict[str, Any]] = {}
    lines = log.read_bytes().splitlines() if log.is_file() else []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except ValueError:
            notes.append(f"{log} is corrupt in line {number}, which is left out.")
            continue
        if isinstance(row, dict) and "epoch" in row:  # Tune reports for itself too
            rows[int(row["epoch"])] = row
    return [rows[epoch] for epoch in sorted(rows)]


def _last_line(error: str) -> str:
    """The line of an error that says what happened; Ray puts a whole traceback in its text."""
    lines = [line.strip() for line in error.splitlines() if line.strip(" ^\t")]
    return lines[-1] if lines else "no reason is on record"


def _row(cell: Cell, manifest: Manifest, trial: Trial, main: Manifest) -> dict[str, Any]:
    arch, own = cell.config.arch, cell.protocols[0]
    name = f"{name_in_ids(arch)}-"
    of_arch = "" if arch == main.arch else name
    bare = cell.id.removeprefix(name).removeprefix(f"{own}-")
    return {
        "trial": of_arch + (bare if own == main.protocol else f"{own}-{bare}"),
        "cell": cell.id,
        "arch": arch,
        "init": cell.init,
        "fraction": cell.fraction,
        "seed": cell.seed,
        "protocol": cell.protocols[0],
        "protocols": cell.protocols,
        "sweep": manifest.name,
        "n_labels": cell.n_labels,
        "n_train": cell.n_train,
        "n_val": cell.n_val,
        "n_scored": cell.n_scored,
        "split_hash": cell.split_hash,
        "scored_hash": cell.scored_hash,
        "trained_parameters": cell.trained_parameters,
        "parameters": cell.parameters,
        "forward_flops": cell.forward_flops,
        "max_epochs": cell.config.max_epochs,
        **asdict(trial),
    }


def _joined_epochs(trials: pd.DataFrame, epochs: Mapping[str, pd.DataFrame | None]) -> pd.DataFrame:
    """One row per trial and epoch."""
    parts: list[pd.DataFrame] = []
    for row in records(trials):
        frame = epochs[row["trial"]]
        if frame is None or frame.empty:
            continue
        part = frame.copy()
        for position, name in enumerate(KEY):
            part.insert(position, name, row[name])
        parts.append(part)
    if not parts:
        return pd.DataFrame(columns=[*KEY, *EPOCH_COLUMNS])
    return pd.concat(parts, ignore_index=True)


def _examples(folders: Iterable[Path], notes: list[str]) -> NDArray[np.uint8] | None:
    """(C, S, S, 3): one image of each class, of the first folder that has them."""
    for path in (folder / EXAMPLES for folder in folders):
        if path.is_file():
            try:
                (images,) = npz_arrays(path, "images")
            except CorruptFile as problem:
                notes.append(f"{problem}; the report is without example images.")
            else:
                return images
    return None


def _oddities(results: Results) -> Iterator[str]:
    """What is wrong with the stored predictions of complete trials."""
    for row in records(results.complete):
        trial, accuracy = row["trial"], row["accuracy"]
        stored = results.predictions(trial)
        if stored is None:
            yield f"{trial}: no stored predictions, so its images cannot be paired."
        elif abs(stored.correct.mean() - accuracy) > ACCURACY_TOLERANCE:
            yield (
                f"{trial}: its stored predictions are right on {stored.correct.mean():.4f} "
                f"of the images, its log says {accuracy:.4f}."
            )
    yield from (f"{problem}." for problem in results.corrupt)


EDGES = {
    1: "the strongest: the features of these images say little about the classes, or nothing",
    -1: "the weakest: they might be more accurate with less still",
}
"""`Trial.strength_edge` → what it means."""


def _edges(results: Results) -> Iterator[str]:
    """Which probes have a strength at an end of the path that they chose it from."""
    several = len(results.archs) > 1
    for (arch, protocol, init, fraction), probes in groups(
        results.complete, "arch", "protocol", "init", "fraction"
    ):
        whose = f"{arch}, {protocol}" if several else protocol
        for edge, meaning in EDGES.items():
            at_edge = np.count_nonzero(probes["strength_edge"] == edge)
            if at_edge:
                yield (
                    f"{whose}, {init} at {formatting.fraction(fraction)}: {at_edge} of "
                    f"{len(probes)} probes chose the end of the path of penalties that is {meaning}."
                )
