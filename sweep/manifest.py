"""``sweep.json``: what a sweep consists of, written before its first trial.

Beside it, in the sweep's folder: ``examples.npz`` (one image per class) and one Tune experiment
``run-K`` for each time that trials were added.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timezone
from typing import Any

import numpy as np
import torch

from trainable import backbones
from trainable.cache import checksum
from trainable.protocol import Init
from trainable.record import device_name, git_commit, versions
from trainable.settings import Experiment
from trainable.splits import partition

from .space import SweepConfig, cell_id
from .storage import Folder

FILE = "sweep.json"
FORMAT = 1
COMPARABLE = (
    "arch",
    "protocol",
    "split",
    "split_seed",
    "max_epochs",
    "learning_rate",
    "batch_size",
    "precision",
)
"""Settings that every trial of one grid has in common."""


@dataclass(kw_only=True)
class Manifest:
    """Contents of ``sweep.json``."""

    name: str
    command: str
    preset: str
    protocol: str
    arch: str
    weights: str | None
    weights_sha256: str | None
    config: dict[str, Any]
    """The `SweepConfig`, as given."""
    data: dict[str, Any]
    cells: list[dict[str, Any]]
    """One for each trial: id, complete configuration, images, split, size."""
    experiments: dict[str, list[str]]
    """Tune experiment → the cells it runs."""
    created: str
    versions: dict[str, str]
    git_commit: str | None
    device: str
    format: int = FORMAT

    def save(self, folder: Folder) -> None:
        """Write ``sweep.json``, whole or not at all."""
        folder.write(FILE, json.dumps(asdict(self), indent=1).encode())

    @classmethod
    def load(cls, folder: Folder) -> Manifest:
        """Read ``sweep.json``; `ValueError` where it is missing, torn or of another format."""
        try:
            values = json.loads(folder.read(FILE))
        except FileNotFoundError:
            raise ValueError(f"{folder} is not a sweep: it has no {FILE}") from None
        except json.JSONDecodeError as error:
            raise ValueError(f"{folder}/{FILE} is damaged: {error}") from error
        if values.get("format") != FORMAT:
            raise ValueError(
                f"{folder}/{FILE} has format {values.get('format')}, this version reads {FORMAT}"
            )
        return cls(**values)

    def sweep_config(self) -> SweepConfig:
        """The configuration, to be overridden by what is given on resuming."""
        known = {f.name for f in fields(SweepConfig)}
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in self.config.items()}
        return SweepConfig(**{k: v for k, v in values.items() if k in known})

    def refuse_incomparable(self, other: Manifest) -> None:
        """`ValueError`, naming what differs, where trials of both cannot share a grid."""
        mine, theirs = self._identity(), other._identity()
        differing = [
            f"{key} was {mine[key]!r}, is now {theirs[key]!r}"
            for key in mine
            if key in theirs and mine[key] != theirs[key]
        ]
        if differing:
            raise ValueError(
                f"sweep {self.name!r} cannot go on with other settings: {'; '.join(differing)}. "
                "Start a new sweep with another --name."
            )

    def _identity(self) -> dict[str, Any]:
        weights = {"weights": self.weights_sha256} if self.weights_sha256 else {}
        return (
            {"data": self.data["sha256"], "labels": self.data["label_values"]}
            | {key: self.config[key] for key in COMPARABLE}
            | weights
            | {f"split of {cell['id']}": cell["split_hash"] for cell in self.cells}
        )


def describe_cells(
    experiment: Experiment, cells: Sequence[tuple[Init, float, int]]
) -> list[dict[str, Any]]:
    """Each trial with its images, split and size; raises `DataError` where one cannot be split."""
    described, splits = [], {}
    for init, fraction, seed in cells:
        run = experiment.run_config(init, fraction, seed)
        if fraction not in splits:
            splits[fraction] = partition(
                experiment.survey,
                experiment.selection,
                fraction=fraction,
                split=run.data.split,
                seed=run.data.split_seed,
                validation_fraction=run.data.validation_fraction,
            )
        split = splits[fraction]
        described.append(
            {
                "id": cell_id(init, fraction, seed),
                "run": run.to_dict(),
                "n_train": len(split.train),
                "n_val": len(split.validation),
                "split_hash": split.hash,
                "val_hash": split.validation_hash,
                **_size(run.arch, len(experiment.selection.class_names), run.trained),
            }
        )
    return described


def _size(arch: str, num_classes: int, trained) -> dict[str, int]:
    return asdict(backbones.size(arch, num_classes=num_classes, trained=trained))


def describe(experiment: Experiment, config: SweepConfig, name: str, command: str) -> Manifest:
    """The manifest of a new sweep, before it has any Tune experiment."""
    cells = describe_cells(experiment, config.cells())
    pretrained = "pretrained" in config.inits
    path = backbones.weights_file(config.arch, experiment.weights) if pretrained else None
    selection, survey = experiment.selection, experiment.survey
    counts = np.bincount(survey.labels, minlength=len(survey.class_names))
    device = torch.device("cuda" if config.gpus and torch.cuda.is_available() else "cpu")
    return Manifest(
        name=name,
        command=command,
        preset=config.preset,
        protocol=config.protocol,
        arch=config.arch,
        weights=experiment.weights if pretrained else None,
        weights_sha256=path and checksum(path),
        config=json.loads(json.dumps(asdict(config), default=str)),
        data={
            "name": config.data if config.data in ("galaxy10", "mock") else survey.path.name,
            "path": str(survey.path),
            "sha256": survey.sha256,
            "is_galaxy10": survey.is_galaxy10,
            "image_size": survey.image_size,
            "class_names": list(selection.class_names),
            "class_counts": selection.counts.tolist(),
            "label_values": list(selection.label_values),
            "dropped": [
                [label, survey.class_names[label], int(counts[label])]
                for label in experiment.data.drop_labels
            ],
            "split": config.split,
        },
        cells=cells,
        experiments={},
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        versions=versions(),
        git_commit=git_commit(),
        device=device_name(device),
    )


def examples(experiment: Experiment) -> bytes:
    """``examples.npz``: the middle image of each class, (C, S, S, 3) uint8."""
    selection = experiment.selection
    of_class = [selection.rows[selection.labels == c] for c in range(len(selection.class_names))]
    buffer = io.BytesIO()
    middle = [rows[len(rows) // 2] for rows in of_class]
    np.savez_compressed(buffer, images=experiment.survey.read_images(middle))
    return buffer.getvalue()
