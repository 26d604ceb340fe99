"""The cells of a sweep and its manifest, made from the flags, the data and the weights."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

import numpy as np
import torch

from sweep.grid import SweepConfig, Wanted
from trainable.config import TrainingConfig
from trainable.data.cache import checksum
from trainable.data.splits import Partition, draw_seed, planned
from trainable.errors import DataError, SettingsError
from trainable.manifest import Backbone, Cell, DataInfo, DroppedClass, Manifest
from trainable.models import architectures
from trainable.prepare import Prepared, is_path
from trainable.provenance import device_name, git_commit, versions


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The cells of a grid, and those that its data cannot fill."""

    cells: tuple[Cell, ...]
    cannot_run: Mapping[str, str]
    """Cell id → why, for cells whose images cannot be split; they are not among `cells`."""

    def require_all(self) -> tuple[Cell, ...]:
        """`cells`, if every cell can run; else `DataError` names all that cannot."""
        if self.cannot_run:
            raise DataError(
                f"{len(self.cannot_run)} of {len(self.cells) + len(self.cannot_run)} trials "
                f"cannot run:\n  {explain(self.cannot_run)}"
            )
        return self.cells


def explain(cannot_run: Mapping[str, str]) -> str:
    """One line for each reason, with the ids of the cells that it holds for."""
    ids: dict[str, list[str]] = {}
    for cell, reason in cannot_run.items():
        ids.setdefault(reason, []).append(cell)
    return "\n  ".join(f"{', '.join(cells)}: {reason}" for reason, cells in ids.items())


def describe_cells(prepared: Prepared, cells: Sequence[Wanted]) -> Grid:
    """Each cell with its images, split and size.

    A cell that several protocols prescribe is one, with the id of the first.

    Raises
    ------
    SettingsError
        An architecture has no such part as is to be trained, or no weights.
    """
    described: dict[TrainingConfig, Cell] = {}
    splits: dict[tuple[float | int, ...], Partition | DataError] = {}
    cannot_run: dict[str, str] = {}
    for wanted in cells:
        fraction, method = wanted.fraction, wanted.method
        config = prepared.training_config(
            wanted.init,
            fraction,
            wanted.seed,
            method.protocol,
            arch=method.arch,
            per_class=wanted.per_class,
        )
        same = dataclasses.replace(config, protocol="")
        if (cell := described.get(same)) is not None:
            protocols = (*cell.protocols, config.protocol)
            described[same] = dataclasses.replace(cell, protocols=protocols)
            continue
        drawn = (
            *(fraction, config.per_class or 0, config.data.split_seed, draw_seed(config)),
            config.trained == "probe",
        )
        if drawn not in splits:
            splits[drawn] = _split(prepared, config)
        split = splits[drawn]
        if isinstance(split, DataError):
            cannot_run[wanted.id] = str(split)
            continue
        size = _size(config, len(prepared.selection.class_names))
        described[same] = Cell(
            id=wanted.id,
            config=config,
            protocols=(config.protocol,),
            n_labels=split.n_labels,
            n_train=len(split.train),
            n_val=len(split.validation),
            n_test=len(split.test),
            folds=0 if split.folds is None else int(split.folds.max()) + 1,
            split_hash=split.hash,
            scored_hash=split.scored_hash,
            parameters=size.parameters,
            trained_parameters=size.trained_parameters,
            forward_flops=size.forward_flops,
            backward_flops=size.backward_flops,
        )
    return Grid(cells=tuple(described.values()), cannot_run=cannot_run)


def _size(config: TrainingConfig, num_classes: int) -> architectures.Size:
    try:
        return architectures.size(
            config.arch,
            num_classes=num_classes,
            trained=config.trained,
            lora_rank=config.lora_rank,
        )
    except SettingsError as error:
        raise SettingsError(f"--arch {config.arch}: {error}") from error


def _split(prepared: Prepared, config: TrainingConfig) -> Partition | DataError:
    try:
        return planned(prepared.survey, prepared.selection, config)
    except DataError as error:
        return error


def describe(
    prepared: Prepared,
    config: SweepConfig,
    cells: tuple[Cell, ...],
    name: str,
    command: str,
    *,
    fetch: bool = True,
) -> Manifest:
    """The manifest of a new sweep, before it has any Tune experiment.

    Parameters
    ----------
    cells
        Those of `describe_cells`.
    fetch
        Fetch weights that are not on this machine, for their checksum; without, a plan has none.
    """
    selection, survey = prepared.selection, prepared.survey
    counts = np.bincount(survey.labels, minlength=len(survey.class_names))
    return Manifest(
        name=name,
        command=command,
        preset=config.preset,
        protocol=config.protocols[0],
        backbones=tuple(
            _backbone(arch, cells, fetch=fetch)
            for arch in dict.fromkeys((*config.archs, *(cell.config.arch for cell in cells)))
        ),
        settings=config.to_settings(),
        data=DataInfo(
            name=survey.path.name if is_path(config.data) else config.data,
            path=str(survey.path),
            sha256=survey.sha256,
            is_galaxy10=survey.is_galaxy10,
            image_size=survey.size_text,
            class_names=selection.class_names,
            class_counts=tuple(selection.counts.tolist()),
            label_values=selection.label_values,
            dropped=tuple(
                DroppedClass(
                    label=label, name=survey.class_names[label], n_images=int(counts[label])
                )
                for label in prepared.data.drop_labels
            ),
            split=config.split,
            resample=config.resample,
            n_pool=prepared.n_pool,
            notes=prepared.notes,
        ),
        cells=cells,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        versions=versions(),
        git_commit=git_commit(),
        device=device_name(torch.device("cpu")),
    )


def _backbone(arch: str, cells: Sequence[Cell], *, fetch: bool) -> Backbone:
    """An architecture as the manifest has it; `fetch` as of `describe`."""
    spec = architectures.architecture(arch)
    of_arch = (cell.config.weights for cell in cells if cell.config.arch == arch)
    weights = next((weights for weights in of_arch if weights is not None), None)
    path = None
    if weights is not None and (fetch or not must_be_fetched(arch, weights)):
        path = architectures.weights_file(arch, weights)
    return Backbone(
        arch=arch,
        weights=None if weights is None else spec.weights_label(weights),
        weights_sha256=checksum(path) if path else None,
        image_size=spec.image_size,
        mean=spec.mean,
        std=spec.std,
        library=spec.library,
        licence=spec.licence,
    )


def must_be_fetched(arch: str, weights: str) -> bool:
    """Whether weights have an address and are not known to be on this machine."""
    return isinstance(architectures.architecture(arch).weights.get(weights), str)


def examples(prepared: Prepared) -> bytes:
    """``examples.npz``: the middle image of each class as it is shown, (C, S, S, 3) uint8."""
    selection = prepared.selection
    of_class = [selection.rows[selection.labels == c] for c in range(len(selection.class_names))]
    buffer = io.BytesIO()
    middle = [rows[len(rows) // 2] for rows in of_class]
    np.savez_compressed(buffer, images=prepared.survey.read_squares(middle))
    return buffer.getvalue()
