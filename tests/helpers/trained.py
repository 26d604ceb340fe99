"""A sweep's folder with trials that are trained here, in this process: what `sweep.run` leaves, no Ray."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sweep.cells import describe, describe_cells
from sweep.grid import SweepConfig
from trainable import checkpoint
from trainable.make_run import make_run
from trainable.manifest import Manifest
from trainable.prepare import prepare

EXPERIMENT = "run-0"


def small_sweep(folder: Path, data: Path, weights: Path, **flags: object) -> Manifest:
    """A sweep of ``vit_demo`` with all labels, one seed and one epoch, where `flags` say nothing else."""
    given: dict[str, object] = {
        "data": str(data),
        "arch": ("vit_demo",),
        "weights": (str(weights),),
        "protocol": "demo",
        "fractions": (1.0,),
        "seeds": (0,),
        "probe_draws": 0,
        "max_epochs": 1,
        "gpus": 0,
    }
    return train_sweep(folder, SweepConfig(**given | flags))


def train_sweep(folder: Path, config: SweepConfig) -> Manifest:
    """Train every trial of a sweep; its folder gets ``sweep.json`` and a checkpoint for each."""
    prepared = prepare(config)
    wanted = config.cells(prepared.n_pool, len(prepared.selection.class_names))
    cells = describe_cells(prepared, wanted).require_all()
    manifest = describe(prepared, config, cells, folder.name, "python -m sweep.run")
    manifest = replace(manifest, experiments={EXPERIMENT: tuple(cell.id for cell in cells)})
    folder.mkdir(parents=True)
    (folder / "sweep.json").write_text(manifest.to_json())
    for cell in cells:
        run = make_run(cell.config)
        while not run.finished:
            run.step_epoch()
        target = folder / EXPERIMENT / cell.id / "checkpoint_000000"
        checkpoint.save(run, target, checkpoint.record(run))
    return manifest
