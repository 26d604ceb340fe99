"""``sweep.json``: what a sweep consists of, as frozen dataclasses; no torch, no Ray.

`Manifest.from_json` and `Manifest.to_json` are the only reader and writer of the format, and
`differences` is the only comparison of two sweeps.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from trainable.config import TrainingConfig
from trainable.errors import SweepError
from trainable.protocol import Init, Split

FILE = "sweep.json"
"""Name of the manifest in a sweep's folder."""
FORMAT = 4
"""Version of the format; it changes whenever an older reader would misunderstand the file."""
ONE_BACKBONE = 3
"""The format before several architectures; it is read, too."""

Aspect = Literal["data", "architecture", "model", "weights", "recipe", "split", "settings"]
ASPECTS: frozenset[Aspect] = frozenset(get_args(Aspect))


def name_in_ids(arch: str) -> str:
    """An architecture's name as ids of trials have it, which are names of folders."""
    return re.sub(r"[^A-Za-z0-9._+-]+", "-", arch)


@dataclass(frozen=True, kw_only=True)
class DroppedClass:
    """A class of the data file that takes no part in the sweep."""

    label: int
    """As the file numbers it."""
    name: str
    n_images: int


@dataclass(frozen=True, kw_only=True)
class DataInfo:
    """The data of a sweep."""

    name: str
    """``galaxy10``, ``mock`` or the file's name."""
    path: str
    """Absolute path, of a file or a folder, at the time of the last start."""
    sha256: str
    is_galaxy10: bool
    image_size: str
    """Of the images as they are, e.g. ``256 × 256 pixels``, or the range of widths and heights."""
    class_names: tuple[str, ...]
    """C names, in the order of the labels 0 to C - 1."""
    class_counts: tuple[int, ...]
    """Images of each class, whatever they are used for."""
    label_values: tuple[int, ...]
    """The file's own label (of several merged ones, the first) of each class."""
    dropped: tuple[DroppedClass, ...] = ()
    split: Split
    resample: bool
    """The split varies with the seed."""
    n_pool: int
    """Images that label budgets are shares of; without a test set, all of them."""
    notes: tuple[str, ...] = ()
    """Sentences on images that were left out, and the like."""

    @property
    def scored_on(self) -> Literal["test", "validation"]:
        """Which images accuracies are of; ``validation`` images also chose the epoch."""
        return "test" if self.split == "budget" else "validation"

    @property
    def n_images(self) -> int:
        """Images in the file, those of dropped classes included."""
        return sum(self.class_counts) + sum(dropped.n_images for dropped in self.dropped)


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """An architecture of the sweep, and what its pre-trained trials start from."""

    arch: str
    weights: str | None
    """What the pre-trained weights are called; None if no trial starts from any."""
    weights_sha256: str | None
    """None also if they were not at hand when a plan was made."""
    image_size: int | None = None
    """Side of the input, pixels; None, like what follows, in sweeps that did not write it down."""
    mean: tuple[float, ...] | None = None
    """Subtracted from each channel of an image scaled to 0–1."""
    std: tuple[float, ...] | None = None
    """That each channel is divided by afterwards."""
    library: str | None = None
    """Name and version of the library whose code it is; empty if it is this project's."""
    licence: str | None = None
    """Of the architecture's default weights, if known."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One trial of the grid: its complete configuration, its images and its size."""

    id: str
    """Name of the trial and of its folder, unique in the sweep."""
    config: TrainingConfig
    protocols: tuple[str, ...]
    """Names of all protocols that prescribe the trial, its own first."""
    n_labels: int
    """The label budget; of a split without a test set, the training images."""
    n_train: int
    n_val: int
    n_test: int
    """0 without a test set."""
    folds: int
    """Of a cross-validated budget, whose labelled images all train and validate, or of a probe; else
    0."""
    split_hash: str
    """Identity of the training, validation and test images."""
    scored_hash: str
    """Identity of the images that the trial is scored on: test or, without, validation."""
    parameters: int
    trained_parameters: int
    forward_flops: int
    """Floating-point operations of one image's forward pass."""
    backward_flops: int | None = None
    """Of its backward pass; None in sweeps that did not count it, of which `PASSES` knows it."""

    @property
    def init(self) -> Init:
        """``scratch`` or ``pretrained``."""
        return self.config.init

    @property
    def n_scored(self) -> int:
        """Images that the trial's accuracy is of."""
        return self.n_test or self.n_val

    @property
    def fraction(self) -> float:
        """Share of the pool or of the training split, in (0, 1]."""
        return self.config.fraction

    @property
    def seed(self) -> int:
        """Seed of the initialisation and the batch order."""
        return self.config.seed


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Contents of ``sweep.json``."""

    name: str
    command: str
    """The command that started the sweep."""
    preset: str
    protocol: str
    """The sweep's own protocol; each cell names all that it runs for."""
    backbones: tuple[Backbone, ...]
    """The main architecture first."""
    settings: Mapping[str, Any]
    """The flags of the command line as plain values, for resuming."""
    data: DataInfo
    cells: tuple[Cell, ...]
    experiments: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Name of a Tune experiment in the sweep's folder → ids of the cells that it runs."""
    created: str
    """ISO 8601, UTC."""
    versions: Mapping[str, str]
    git_commit: str | None
    device: str

    @property
    def arch(self) -> str:
        """The main architecture."""
        return self.backbones[0].arch

    @property
    def archs(self) -> tuple[str, ...]:
        """All architectures, the main one first."""
        return tuple(backbone.arch for backbone in self.backbones)

    @property
    def weights(self) -> str | None:
        """What the pre-trained weights of the main architecture are called."""
        return self.backbones[0].weights

    @property
    def weights_sha256(self) -> Mapping[str, str]:
        """Architecture → SHA-256 of its pre-trained weights, of those that have some."""
        known = {backbone.arch: backbone.weights_sha256 for backbone in self.backbones}
        return {arch: sha256 for arch, sha256 in known.items() if sha256 is not None}

    def to_json(self) -> str:
        """The text of ``sweep.json``."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1)

    @classmethod
    def from_json(cls, text: str | bytes, source: str) -> Manifest:
        """Read the text of a ``sweep.json``.

        Parameters
        ----------
        source
            Where the text comes from, for the message.

        Raises
        ------
        SweepError
            Not JSON, another format, or a field is missing, unknown or of another form.
        """
        try:
            values = json.loads(text)
        except ValueError as error:
            raise SweepError(
                f"{source} is damaged and cannot be read as JSON ({error}); start the sweep again "
                "with its command and --replace"
            ) from error
        found = values.get("format") if isinstance(values, dict) else type(values).__name__
        if found == ONE_BACKBONE:
            values, found = _of_several(values), FORMAT
        if found != FORMAT:
            raise SweepError(
                f"{source} has format {found!r}, expected {FORMAT}; read it with the version of "
                "this project that wrote it"
            )
        del values["format"]
        try:
            manifest = cls(**values | _typed(values))
        except (KeyError, TypeError) as error:
            raise SweepError(f"{source} is not a complete manifest: {error}") from error
        if not manifest.cells:
            raise SweepError(f"{source} lists no cells; expected one for each trial of the grid")
        return manifest

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read the manifest of a sweep's folder on a disk; `SweepError` if there is none."""
        path = folder / FILE
        if not path.is_file():
            without = f"a folder without {FILE}" if folder.is_dir() else "a file"
            found = without if folder.exists() else "no such folder"
            raise SweepError(
                f"{folder} is not a sweep ({found}); expected a folder that `python -m sweep.run` "
                "wrote, e.g. ray_results/demo"
            )
        return cls.from_json(path.read_bytes(), str(path))

    def cell(self, cell_id: str) -> Cell:
        """The cell of that id; KeyError if there is none."""
        found = next((cell for cell in self.cells if cell.id == cell_id), None)
        if found is None:
            raise KeyError(cell_id)
        return found

    def only(self, protocol: str) -> Manifest:
        """The part of the sweep that one protocol prescribes."""
        cells = tuple(cell for cell in self.cells if protocol in cell.protocols)
        return replace(self, protocol=protocol, cells=cells)

    def of_arch(self, arch: str) -> Manifest:
        """The part of the sweep that is of one architecture."""
        return replace(
            self,
            backbones=tuple(backbone for backbone in self.backbones if backbone.arch == arch),
            cells=tuple(cell for cell in self.cells if cell.config.arch == arch),
        )

    @property
    def main(self) -> Manifest:
        """What the first protocol prescribes for the main architecture."""
        return self.of_arch(self.arch).only(self.protocol)

    def with_backbones(self, backbones: Iterable[Backbone]) -> Manifest:
        """The manifest with further architectures, and what these say of those that are here.

        Weights of a backbone that names none are those that are here.
        """
        merged = {backbone.arch: backbone for backbone in self.backbones}
        for backbone in backbones:
            here = merged.get(backbone.arch)
            if here is not None and backbone.weights_sha256 is None:
                backbone = replace(
                    backbone, weights=here.weights, weights_sha256=here.weights_sha256
                )
            merged[backbone.arch] = backbone
        return replace(self, backbones=tuple(merged.values()))

    def with_cells(self, cells: Iterable[Cell]) -> Manifest:
        """The manifest with further cells, and all cells with the locations that these name.

        A cell is here already if its id is, or if its configuration differs in nothing but the
        protocol's name and locations; it keeps its id and gains protocols. Locations (the paths of
        the data, their labels, the weights and the cache) are where things are now: those of `cells` replace the
        earlier ones in every cell. What the files are is their checksums' business.
        """
        added = list(cells)
        merged = {cell.id: cell for cell in self.cells}
        ids = {_without_names(cell.config): cell.id for cell in self.cells}
        for cell in added:
            known = cell.id if cell.id in merged else ids.get(_without_names(cell.config))
            if known is None:
                merged[cell.id] = cell
            else:
                here = merged[known]
                protocols = tuple(dict.fromkeys((*here.protocols, *cell.protocols)))
                merged[known] = replace(here, protocols=protocols)
        return replace(self, cells=tuple(_relocated(cell, added) for cell in merged.values()))


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Something in which two sweeps differ."""

    aspect: Aspect
    what: str
    """What it is, in words, e.g. ``learning_rate of pretrained by protocol demo``."""
    first: Any
    second: Any

    def __str__(self) -> str:
        return f"{self.what} is {self.first!r} in one and {self.second!r} in the other"


def differences(
    first: Manifest, second: Manifest, aspects: Collection[Aspect] = ASPECTS
) -> list[Difference]:
    """Everything in which two sweeps differ that decides whether their trials can be compared.

    Cells that only one sweep has are no difference; neither are weights that only one sweep uses.

    Parameters
    ----------
    aspects
        ``data``: file, classes, kind of split. ``architecture``: the main one. ``model``: the
        number of parameters of each architecture. ``weights``: the pre-trained ones of each.
        ``recipe``: how the trials of one protocol and init are trained.
        ``split``: the images of cells that both have. ``settings``: the protocol, and flags that
        every cell of one sweep shares.
    """
    here, there = (dict(_identity(manifest, first.arch)) for manifest in (first, second))
    return [
        Difference(aspect=aspect, what=what, first=value, second=there[aspect, what])
        for (aspect, what), value in here.items()
        if aspect in aspects and (aspect, what) in there and there[aspect, what] != value
    ]


SHARED_DATA = {
    "sha256": "the data's SHA-256",
    "class_names": "the list of classes",
    "label_values": "the labels of the classes",
    "image_size": "the image size",
    "split": "the split",
    "resample": "whether the split varies with the seed",
}
RECIPE = (
    "trained",
    "lora_rank",
    "transform",
    "learning_rate",
    "weight_decay",
    "batch_size",
    "augment",
    "schedule",
    "warmup",
    "layer_decay",
    "decay_vectors",
    "label_smoothing",
    "mixup",
    "precision",
    "deterministic",
)
"""What all trials of one protocol and init have in common, whatever their fraction and seed."""
SHARED_SETTINGS = ("split_seed", "test_fraction", "fixed_draw", "group_sky", "max_epochs")


def _identity(manifest: Manifest, main: str) -> Iterator[tuple[tuple[Aspect, str], Any]]:
    """What must agree; settings of the architecture `main` are named without it."""
    for name, what in SHARED_DATA.items():
        yield ("data", what), getattr(manifest.data, name)
    yield ("architecture", "the architecture"), manifest.arch
    for arch, sha256 in manifest.weights_sha256.items():
        yield ("weights", f"the SHA-256 of the weights{_of(arch, main)}"), sha256
    yield ("settings", "the protocol"), manifest.protocol
    for name in SHARED_SETTINGS:
        yield ("settings", name), manifest.settings.get(name)
    for cell in manifest.cells:
        yield ("model", f"the number of parameters of {cell.config.arch}"), cell.parameters
        yield ("split", f"the split of {cell.id}"), cell.split_hash
        for protocol in cell.protocols:
            for name in RECIPE:
                whose = _of(cell.config.arch, main)
                what = f"{name} of {cell.init} by protocol {protocol}{whose}"
                yield ("recipe", what), getattr(cell.config, name)


def _of(arch: str, main: str) -> str:
    """Whose something is, if it is not the main architecture's."""
    return "" if arch == main else f" of {arch}"


def _without_names(config: TrainingConfig) -> TrainingConfig:
    """What two configurations have in common if they train the same way on the same files."""
    data = replace(config.data, path="", labels=None, cache_dir=None)
    return replace(config, protocol="", data=data, weights=config.weights and "")


def _relocated(cell: Cell, newest: Sequence[Cell]) -> Cell:
    """The cell with the locations that `newest` name for the files that it uses."""
    config = cell.config
    for other in newest[:1]:
        data = other.config.data
        places = {"path": data.path, "labels": data.labels, "cache_dir": data.cache_dir}
        config = replace(config, data=replace(config.data, **places))
    if config.weights is not None:
        alike = (c.config.weights for c in newest if c.config.arch == config.arch)
        weights = next((weights for weights in alike if weights is not None), None)
        config = replace(config, weights=weights or config.weights)
    return replace(cell, config=config)


def _of_several(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a manifest of the format before several architectures, as of today's.

    A key that is missing stays missing, and is told with those of today's format.
    """
    changed = dict(values)
    own = {
        name: changed.pop(name) for name in ("arch", "weights", "weights_sha256") if name in changed
    }
    if len(own) == 3:
        changed["backbones"] = [own]
    settings = dict(changed.get("settings", {}))
    if "arch" in settings:
        settings["arch"] = [settings["arch"]]
    if "weights" in settings:
        settings["weights"] = [] if settings["weights"] is None else [settings["weights"]]
    return changed | {"settings": settings}


DATA_LISTS = ("class_names", "class_counts", "label_values", "notes")


def _typed(values: Mapping[str, Any]) -> dict[str, Any]:
    """The nested values of a manifest as dataclasses."""
    data = values["data"]
    return {
        "data": DataInfo(
            **data
            | {name: tuple(data[name]) for name in DATA_LISTS if name in data}
            | {"dropped": tuple(DroppedClass(**dropped) for dropped in data["dropped"])}
        ),
        "backbones": tuple(
            Backbone(
                **backbone
                | {
                    name: tuple(backbone[name])
                    for name in ("mean", "std")
                    if backbone.get(name) is not None
                }
            )
            for backbone in values["backbones"]
        ),
        "cells": tuple(
            Cell(
                **cell
                | {
                    "config": TrainingConfig.from_dict(cell["config"]),
                    "protocols": tuple(cell["protocols"]),
                }
            )
            for cell in values["cells"]
        ),
        "experiments": {name: tuple(ids) for name, ids in values["experiments"].items()},
    }
