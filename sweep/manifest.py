"""``sweep.json``: what a sweep consists of, written before its first trial.

Beside it, in the sweep's folder: ``examples.npz`` (one image per class) and one Tune experiment
``run-K`` for each time that trials were added.
"""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timezone
from typing import Any

import numpy as np
import torch

from trainable import backbones
from trainable.cache import checksum
from trainable.protocol import Init, ProtocolName
from trainable.record import device_name, git_commit, versions
from trainable.settings import Experiment
from trainable.splits import planned

from .space import SweepConfig, cell_id
from .storage import Folder

FILE = "sweep.json"
FORMAT = 1
COMPARABLE = (
    "arch",
    "protocol",
    "split",
    "split_seed",
    "group_sky",
    "resample",
    "max_epochs",
    "learning_rate",
    "scratch_learning_rate",
    "batch_size",
    "augment",
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
    """The sweep's own; each cell names all that it runs for."""
    arch: str
    weights: str | None
    weights_sha256: str | None
    config: dict[str, Any]
    """The `SweepConfig`, as given."""
    data: dict[str, Any]
    cells: list[dict[str, Any]]
    """One for each trial: id, complete configuration, protocols that prescribe it, images, split,
    size."""
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

    def add(self, cells: Sequence[dict[str, Any]]) -> None:
        """Take in the cells that are not here yet; of those that are, the protocols."""
        by_id = {cell["id"]: cell for cell in self.cells}
        by_run = {_of_any_protocol(cell["run"]): cell for cell in self.cells}
        for cell in cells:
            here = by_id.get(cell["id"]) or by_run.get(_of_any_protocol(cell["run"]))
            if here is None:
                self.cells.append(cell)
            else:
                known = here.get("protocols", [self.protocol])
                here["protocols"] = list(dict.fromkeys([*known, *cell["protocols"]]))

    def _identity(self) -> dict[str, Any]:
        weights = {"weights": self.weights_sha256} if self.weights_sha256 else {}
        return (
            {"data": self.data["sha256"], "labels": self.data["label_values"]}
            | {"classes": self.data["class_names"]}
            | {f"parameters of {cell['run']['arch']}": cell["parameters"] for cell in self.cells}
            | {key: getattr(self.sweep_config(), key) for key in COMPARABLE}
            | weights
            | {f"split of {cell['id']}": cell["split_hash"] for cell in self.cells}
        )


def describe_cells(
    experiment: Experiment,
    cells: Sequence[tuple[Init, float, int]],
    other_protocols: Sequence[ProtocolName] = (),
) -> list[dict[str, Any]]:
    """Each trial with its images, split and size; raises `DataError` where one cannot be split.

    A trial that several protocols prescribe is one, with the name of the first.
    """
    described, splits = {}, {}
    for (init, fraction, seed), other in itertools.product(cells, (None, *other_protocols)):
        run = experiment.run_config(init, fraction, seed, other)
        same = described.get(_of_any_protocol(run.to_dict()))
        if same is not None:
            same["protocols"].append(run.protocol)
            continue
        drawn = fraction, run.data.split_seed
        if drawn not in splits:
            splits[drawn] = planned(experiment.survey, experiment.selection, run)
        split = splits[drawn]
        described[_of_any_protocol(run.to_dict())] = {
            "id": cell_id(init, fraction, seed, other),
            "run": run.to_dict(),
            "protocols": [run.protocol],
            "n_train": len(split.train),
            "n_val": len(split.validation),
            "split_hash": split.hash,
            "val_hash": split.validation_hash,
            **_size(run.arch, len(experiment.selection.class_names), run.trained),
        }
    return list(described.values())


def _of_any_protocol(run: dict[str, Any]) -> str:
    """What two runs have in common that differ in nothing but the protocol's name."""
    return json.dumps(run | {"protocol": None}, sort_keys=True)


def _size(arch: str, num_classes: int, trained) -> dict[str, int]:
    return asdict(backbones.size(arch, num_classes=num_classes, trained=trained))


def describe(experiment: Experiment, config: SweepConfig, name: str, command: str) -> Manifest:
    """The manifest of a new sweep, before it has any Tune experiment."""
    cells = describe_cells(experiment, config.cells(), config.protocols[1:])
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
        weights=backbones.architecture(config.arch).weights_label(experiment.weights)
        if pretrained
        else None,
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
            "resample": config.resample,
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
