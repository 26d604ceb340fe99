"""From a configuration to a sweep that is checked, laid out on disk, and run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import filelock
import torch
from ray import tune

from trainable import backbones
from trainable.features import features_folder
from trainable.preprocess import cached_images
from trainable.settings import Experiment, prepare

from . import cluster
from .manifest import FILE, Manifest, describe, examples
from .progress import LiveTable
from .recovery import repair
from .space import SweepConfig
from .storage import Folder
from .tuner import (
    extra_callbacks,
    finished_cells,
    is_finished,
    resources,
    run_experiment,
    start_ray,
)

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A sweep whose data, weights and trials have been found and checked."""

    config: SweepConfig
    folder: Folder
    experiment: Experiment
    manifest: Manifest
    lock: filelock.FileLock | None
    """Held while the sweep is in hand; None for a plan, or where the store has none."""


@dataclass(kw_only=True)
class Outcome:
    """What became of the cells."""

    finished: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    """Cell → its error, in a line."""
    unfinished: set[str] = field(default_factory=set)


def check_gpus(config: SweepConfig) -> None:
    """`ValueError` where this machine lacks the GPUs asked for."""
    present = torch.cuda.device_count()
    if not config.dry_run and config.address is None and config.gpus > present:
        raise ValueError(
            f"--gpus {config.gpus}, but torch sees {present or 'no'} GPU on this machine. "
            "Use --gpus 0 to train on the CPU (with --arch vit_demo: vit_b_16 takes days there), "
            "or --preset demo for a sweep of a few minutes."
        )


def lay_out(config: SweepConfig, resumed: Folder | None, command: str, progress: Progress) -> Sweep:
    """Find the data and the weights and check every trial; nothing is written yet.

    Raises
    ------
    ValueError
        Whatever would keep a trial from running, with what to do about it.
    """
    check_gpus(config)
    extra_callbacks(config, name="")
    name = config.name or f"{config.preset}-{datetime.now():%Y%m%d-%H%M%S}"
    folder = resumed or Folder(config.storage_path).child(name)
    if not resumed and folder.exists(FILE) and not config.replace:
        raise ValueError(
            f"{folder} holds a sweep already: go on with it by --resume {name}, start over with "
            "--replace, or choose another --name"
        )
    experiment = prepare(config, progress)
    manifest = describe(experiment, config, name, command)
    if manifest.weights:
        _check_weights(experiment)
    lock = None if config.dry_run else folder.hold()
    if resumed:
        earlier = Manifest.load(resumed)
        for name in () if config.dry_run else earlier.experiments:
            for repaired in repair(resumed.child(name)):
                print(repaired)
        earlier.refuse_incomparable(manifest)
        earlier.add(manifest.cells)
        if manifest.weights:
            earlier.weights, earlier.weights_sha256 = manifest.weights, manifest.weights_sha256
        manifest = earlier
    return Sweep(config=config, folder=folder, experiment=experiment, manifest=manifest, lock=lock)


def _check_weights(experiment: Experiment) -> None:
    """Weights of another architecture are refused before any trial starts."""
    run = experiment.run_config("pretrained", 1.0, 0)
    classes = len(experiment.selection.class_names)
    backbones.build(
        run.arch,
        num_classes=classes,
        init=run.init,
        weights=run.weights,
        trained=run.trained,
        seed=0,
    )


def build_caches(sweep: Sweep, progress: Progress) -> None:
    """Preprocess the images for this machine's trials, once for each transform."""
    if sweep.config.address:
        return  # each node of a cluster builds its own
    experiment = sweep.experiment
    for transform in sorted({cell["run"]["transform"] for cell in sweep.manifest.cells}):
        cached_images(
            experiment.survey,
            transform=transform,
            size=backbones.architecture(sweep.config.arch).image_size,
            cache_dir=experiment.data.cache_dir,
            progress=progress,
        )


def start(sweep: Sweep, say: Callable[[str], None]) -> None:
    """Start Ray, or join the cluster, and see that it can run the trials.

    Raises
    ------
    ValueError
        It cannot; the message says what it has and what is asked, or which node lacks what.
    """
    config, manifest = sweep.config, sweep.manifest
    start_ray(config)
    runs = [cell["run"] for cell in manifest.cells]
    needs = _distinct(resources(config, run) for run in runs)
    where = config.address or "this machine"
    cluster.require(needs, where, wait=config.wait_for_resources, say=say)
    if config.address:
        kinds = _distinct(run | {"fraction": 1.0, "seed": 0} for run in runs)
        cluster.check(needs, kinds, manifest.weights_sha256, Folder(config.storage_path))
        cluster.prepare(needs, kinds)


def _distinct(values: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return list({json.dumps(value, sort_keys=True): value for value in values}.values())


def execute(sweep: Sweep) -> Outcome:
    """Run what has not finished. Ray must have been started."""
    folder, manifest, config = sweep.folder, sweep.manifest, sweep.config
    if config.replace and folder.exists(FILE):
        folder.delete()
    placed = {cell for cells in manifest.experiments.values() for cell in cells}
    if new := [cell["id"] for cell in manifest.cells if cell["id"] not in placed]:
        manifest.experiments[f"run-{len(manifest.experiments)}"] = new
    manifest.save(folder)
    folder.write("examples.npz", examples(sweep.experiment))
    runs = {cell["id"]: cell["run"] for cell in manifest.cells}
    features = None if config.address else features_folder(config.cache_dir)
    outcome = Outcome()
    for name, cells in manifest.experiments.items():
        done = finished_cells(folder.child(name))
        outcome.finished |= done
        if set(cells) <= done:
            continue
        table = LiveTable(manifest.cells, manifest.name, outcome.finished, features)
        callbacks = [table, *extra_callbacks(config, manifest.name)]
        grid = run_experiment(config, folder, name, {c: runs[c] for c in cells}, callbacks)
        _take_in(outcome, grid, cells)
        if outcome.unfinished:
            break  # interrupted
    return outcome


def _take_in(outcome: Outcome, grid: tune.ResultGrid, cells: list[str]) -> None:
    for result in grid:
        cell = (result.config or {}).get("cell")
        if is_finished(result):
            outcome.finished.add(cell)
        elif result.error:
            outcome.failed[cell] = str(result.error).strip().splitlines()[-1]
    outcome.unfinished |= set(cells) - outcome.finished - set(outcome.failed)
