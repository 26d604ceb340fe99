"""From a sweep folder, or several, to tidy frames; the analysis meets Ray only here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from ray.tune import ExperimentAnalysis, ResultGrid

from .frames import COMPLETE, EPOCH_COLUMNS, KEY, Predictions, Results, of_cell
from .manifest import check_comparable, read_manifest

__all__ = ["Predictions", "Results", "read"]

NEVER_STARTED = {
    "status": "not started",
    "error": "",
    "epochs": 0,
    "best_val_accuracy": None,
    "best_val_loss": None,
    "best_epoch": None,
    "epoch_seconds": None,
    "total_seconds": None,
    "stopped_early": False,
    "checkpoint": None,
}


def read(*folders: Path | str) -> Results:
    """Read one or several sweep folders as one grid.

    Parameters
    ----------
    *folders
        Folders ``ray_results/NAME``. Where several hold the same cell, a complete trial wins,
        then the first given. Trials of another protocol than the first folder's have its name in
        front of theirs.

    Raises
    ------
    NotASweep
        Where a folder is not a sweep, or the sweeps differ in more than their cells.
    """
    paths = [Path(folder) for folder in folders]
    manifests = [read_manifest(path) for path in paths]
    check_comparable(manifests)
    rows: list[tuple[dict[str, Any], pd.DataFrame | None]] = []
    notes: list[str] = []
    for path, manifest in zip(paths, manifests, strict=True):
        found = dict(_trials(path, manifest, notes))
        for cell in manifest["cells"]:
            trial, frame = found.get(cell["id"], (None, None))
            rows.append((_row(cell, manifest, trial, manifests[0]["protocol"]), frame))
    trials, frames = _without_repeats(rows, notes)
    results = Results(
        manifests=tuple(manifests),
        trials=trials,
        epochs=_epochs(trials, frames),
        examples=_examples(paths),
    )
    return replace(results, notes=(*notes, *_oddities(results)))


def _without_repeats(
    rows: list[tuple[dict[str, Any], pd.DataFrame | None]], notes: list[str]
) -> tuple[pd.DataFrame, dict[str, pd.DataFrame | None]]:
    """One trial for each cell and protocol: a complete one, else the first; and their epochs."""
    order = list(dict.fromkeys(row["protocol"] for row, _ in rows))
    kept: dict[str, dict[str, Any]] = {}
    frames: dict[str, pd.DataFrame | None] = {}
    taken: set[tuple[Any, ...]] = set()
    for row, frame in sorted(rows, key=lambda item: item[0]["status"] != COMPLETE):
        name, cell = row["trial"], (row["init"], row["fraction"], row["seed"])
        free = tuple(p for p in row["protocols"] if (p, *cell) not in taken)
        taken |= {(p, *cell) for p in free}
        if name in kept:
            kept[name]["protocols"] += free
        elif free:
            kept[name], frames[name] = row | {"protocols": free}, frame
            continue
        if row["status"] == COMPLETE:
            notes.append(f"{name} of {row['sweep']} is a repeat and is not used.")

    def place(row: dict[str, Any]) -> tuple[Any, ...]:
        return (
            order.index(row["protocol"]),
            row["init"] == "pretrained",
            row["fraction"],
            row["seed"],
        )

    return pd.DataFrame(sorted(kept.values(), key=place)), frames


def _trials(
    folder: Path, manifest: dict[str, Any], notes: list[str]
) -> Iterator[tuple[str, tuple[dict[str, Any], pd.DataFrame]]]:
    """Cell id, what is known of its trial, and its epochs; the furthest trial of a cell last."""
    found = []
    for name in manifest["experiments"]:
        try:
            grid = ResultGrid(ExperimentAnalysis(str((folder / name).resolve())))
        except Exception as error:  # a torn state raises whatever the parser met
            notes.append(f"{name} of {manifest['name']} cannot be read: {_last_line(error)}")
            continue
        for result in grid:
            cell = (result.config or {}).get("cell")
            if cell is not None:
                found.append((cell, _of_result(result)))
    yield from sorted(found, key=lambda item: _rank(item[1][0]))


def _rank(row: dict[str, Any]) -> tuple[bool, int]:
    return row["status"] == COMPLETE, row["epochs"] or 0


def _of_result(result: Any) -> tuple[dict[str, Any], pd.DataFrame]:
    """One Ray result as what the frames want to know of it."""
    metrics = result.metrics or {}
    frame = _epochs_of(result)
    done = metrics.get("finished") == 1 and result.error is None
    started = "epoch" in metrics
    status = COMPLETE if done else "failed" if result.error else "interrupted"
    seconds = frame["epoch_seconds"] if "epoch_seconds" in frame and len(frame) else None
    best = frame["val_accuracy"].idxmax() if len(frame) else None
    row = {
        "status": status if started or result.error else "not started",
        "error": "" if result.error is None else _last_line(result.error),
        "epochs": int(metrics["epoch"]) if started else 0,
        "best_val_accuracy": metrics.get("best_val_accuracy"),
        "best_val_loss": metrics.get("min_loss"),
        "best_epoch": None if best is None else int(frame["epoch"][best]),
        "epoch_seconds": None if seconds is None else float(seconds.mean()),
        "total_seconds": None if seconds is None else float(seconds.sum()),
        "stopped_early": metrics.get("counter", 0) >= metrics.get("patience", np.inf),
        "checkpoint": result.checkpoint.path if result.checkpoint else None,
    }
    return row, frame


def _epochs_of(result: Any) -> pd.DataFrame:
    """Each epoch once and in order: from the checkpoint, else from Tune's log.

    Tune appends to its log as results come, so a kill can leave an epoch in it twice or tear a
    line; a checkpoint is written whole.
    """
    stored = Path(result.checkpoint.path) / "epochs.json" if result.checkpoint else None
    logged = result.metrics_dataframe
    if stored is not None and stored.is_file():
        frame = pd.DataFrame(json.loads(stored.read_text()))
        frame["training_iteration"] = frame["epoch"]
    elif logged is not None and "training_iteration" in logged:
        frame = logged.drop_duplicates("training_iteration", keep="last")
    else:
        frame = pd.DataFrame(columns=["training_iteration", *EPOCH_COLUMNS])
    return frame.sort_values("training_iteration", ignore_index=True)


def _last_line(error: BaseException) -> str:
    """The line of an error that says what happened; Ray puts a whole traceback in its text."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip(" ^\t")]
    return lines[-1] if lines else type(error).__name__


def _row(
    cell: dict[str, Any], manifest: dict[str, Any], trial: dict[str, Any] | None, main: str
) -> dict[str, Any]:
    run = cell["run"]
    protocols = of_cell(cell, manifest)
    bare = cell["id"].removeprefix(f"{protocols[0]}-")
    return {
        "trial": bare if protocols[0] == main else f"{protocols[0]}-{bare}",
        **{key: run[key] for key in ("init", "fraction", "seed")},
        "protocol": protocols[0],
        "protocols": protocols,
        "sweep": manifest["name"],
        **{key: cell.get(key) for key in ("n_train", "n_val", "split_hash", "val_hash")},
        **{key: cell.get(key) for key in ("trained_parameters", "parameters", "forward_flops")},
        "max_epochs": run.get("max_epochs"),
        **(trial or NEVER_STARTED),
    }


def _epochs(trials: pd.DataFrame, frames: dict[str, pd.DataFrame | None]) -> pd.DataFrame:
    parts = []
    for _, trial in trials.iterrows():
        frame = frames[trial["trial"]]
        if frame is None or frame.empty:
            continue
        part = frame.reindex(columns=list(EPOCH_COLUMNS))
        part["epoch"] = frame["training_iteration"].astype(int)
        for position, key in enumerate(KEY):
            part.insert(position, key, trial[key])
        parts.append(part)
    if not parts:
        return pd.DataFrame(columns=[*KEY, *EPOCH_COLUMNS])
    return pd.concat(parts, ignore_index=True)


def _examples(folders: list[Path]) -> np.ndarray | None:
    for path in (folder / "examples.npz" for folder in folders):
        if path.is_file():
            with np.load(path) as stored:
                return stored["images"]
    return None


def _oddities(results: Results) -> Iterator[str]:
    """Where a complete trial's log and its stored predictions do not fit together."""
    for trial in results.complete.itertuples():
        logged = results.epochs.loc[results.epochs["trial"] == trial.trial, "epoch"]
        lost = sorted(set(range(1, trial.epochs + 1)) - set(logged))
        if lost:
            yield f"{trial.trial}: {len(lost)} of {trial.epochs} epochs are not in its log."
        stored = results.predictions(trial.trial)
        if stored is None:
            yield f"{trial.trial}: no stored predictions, so its images cannot be paired."
        elif abs(stored.correct.mean() - trial.best_val_accuracy) > 1e-4:
            yield (
                f"{trial.trial}: its stored predictions are right on {stored.correct.mean():.4f} "
                f"of the images, its log says {trial.best_val_accuracy:.4f}."
            )
