"""``--dry-run``: every trial with its images, size, work and disk, and what the sweep costs."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from analysis import formatting
from sweep.cells import explain
from sweep.grid import SweepConfig
from trainable import measured_rates
from trainable.data.dataset import Survey
from trainable.data.sources.galaxy10_hdf5 import Hdf5Images
from trainable.data.sources.known_files import GALAXY10_DECALS
from trainable.devices import device_label, suited_to
from trainable.flops import FLOPS_PER_WEIGHT, epoch_flops, head_epoch_flops, probe_flops
from trainable.manifest import Cell, Manifest
from trainable.measured_rates import Rate
from trainable.models.cut import cut_of
from trainable.prepare import Prepared, prepared
from trainable.protocol import IMAGE_STATISTICS, UNTRAINED, last_blocks

KEPT = 2  # checkpoints of a trial on disk
TENSORS = 4  # in a checkpoint for each trained parameter: itself, two of AdamW, the best
GPUS = (1, 4, 16)  # clusters whose cost is shown


def shared_features(cell: Cell) -> Hashable:
    """What trials on the cached outputs of frozen layers have in common; None if nothing is cached.

    Trials of one value share one pass of the frozen backbone over all images, on each node.
    """
    run = cell.config
    if not (run.on_features or run.on_tokens):
        return None
    drawn = run.init == "scratch" and run.arch != IMAGE_STATISTICS
    seed = run.seed if drawn else None  # of the backbone's parameters
    part = run.trained if run.on_tokens else None  # one pass gives the features of all heads
    return run.arch, run.weights, seed, run.transform, run.precision, part


def work(cell: Cell) -> float:
    """Floating-point operations of a trial that uses all its epochs, without shared features."""
    config, head = cell.config, FLOPS_PER_WEIGHT * cell.trained_parameters
    if config.trained == "probe":
        return head * cell.n_test + probe_flops(
            parameters=cell.trained_parameters, n_train=cell.n_train, folds=cell.folds
        )
    # each image of K folds is trained on K - 1 times an epoch, and once by the last model
    split = {"n_train": cell.n_train * max(1, cell.folds), "n_val": cell.n_val}
    if config.on_features:
        epoch = head_epoch_flops(parameters=cell.trained_parameters, **split)
        return epoch * config.max_epochs + head * cell.n_test
    forward = cell.forward_flops - _flops_below(cell) if config.on_tokens else cell.forward_flops
    epoch = epoch_flops(
        trained=config.trained,
        forward_flops=forward,
        backward_flops=cell.backward_flops,
        **split,
    )
    return epoch * config.max_epochs + forward * cell.n_test


def _flops_below(cell: Cell) -> int:
    """Of one image's forward pass, what is computed once for all trials."""
    config = cell.config
    if not config.on_tokens:
        return cell.forward_flops
    found = cut_of(config.arch, config.trained)
    return cell.forward_flops - found.flops_above if found else 0


def features_work(cells: Sequence[Cell], images: int) -> float:
    """Floating-point operations that a node spends on the features of all its trials.

    Parameters
    ----------
    images
        In the survey, those of dropped classes included.
    """
    passes = {shared: _flops_below(cell) for cell in cells if (shared := shared_features(cell))}
    return images * sum(passes.values())


def disk(cell: Cell, num_classes: int) -> float:
    """Bytes that a trial's checkpoints take."""
    # of the validation images twice, for the analysis and to resume; of the test images likewise
    probabilities = 2 * (cell.n_val + cell.n_test) * num_classes
    # a probe is saved once, and has no optimiser
    kept, tensors = (1, 2) if cell.config.trained == "probe" else (KEPT, TENSORS)
    return 4.0 * kept * (cell.trained_parameters * tensors + probabilities)  # all fp32


def wall_hours(hours: Sequence[float], gpus: int) -> float:
    """Hours until the last trial ends: each GPU that is free takes the longest one left."""
    busy = [0.0] * gpus
    for longest in sorted(hours, reverse=True):
        heapq.heapreplace(busy, busy[0] + longest)
    return max(busy)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What trials cost on a cluster, in hours."""

    gpus: int
    wall: float
    busy: float
    """GPU-hours of work."""

    @property
    def held(self) -> float:
        """GPU-hours paid for if every GPU is kept to the end."""
        return self.gpus * self.wall

    @property
    def busy_share(self) -> float:
        """Share of those hours in which a GPU works, 0 to 1; the rest it waits for the longest trial."""
        return self.busy / self.held if self.held else 1.0


def cost(cells: Sequence[Cell], images: int, tflops: float, gpus: int) -> Cost:
    """Cost of trials that use all their epochs, one GPU each, each GPU a node of its own.

    Parameters
    ----------
    images
        In the survey, those of dropped classes included.
    tflops
        Sustained rate of a GPU, TFLOP/s.
    """
    hours = [in_hours(work(cell), tflops) for cell in cells]
    features = in_hours(features_work(cells, images), tflops)
    return Cost(
        gpus=gpus, wall=features + wall_hours(hours, gpus), busy=gpus * features + sum(hours)
    )


def in_hours(flops: float, tflops: float) -> float:
    """Hours that `flops` operations take at `tflops` TFLOP/s."""
    return flops / tflops / 1e12 / 3600


def galaxy10_without_its_file(config: SweepConfig) -> Prepared | None:
    """What a plan needs of Galaxy10 DECaLS if it has not been fetched; None if a file is at hand.

    The numbers of images are exact for each class. Which of them train is not known without their
    positions in the sky.
    """
    if config.data != "galaxy10":
        return None
    from trainable.data.download import find_galaxy10, galaxy10_path  # slow to import

    if find_galaxy10():
        return None
    counts = list(GALAXY10_DECALS.counts.values())
    labels = np.repeat(np.arange(len(counts)), counts)
    survey = Survey(
        path=galaxy10_path(),
        sha256=GALAXY10_DECALS.sha256,
        images=Hdf5Images(path=galaxy10_path()),
        image_sizes=np.full((len(labels), 2), GALAXY10_DECALS.image_size),
        labels=labels,
        class_names=tuple(GALAXY10_DECALS.counts),
        right_ascension=None,
        declination=None,
        pixel_scale=None,
        known=GALAXY10_DECALS,
    )
    return prepared(suited_to((), config), survey)


def measured_rate(config: SweepConfig) -> Rate | None:
    """What the device that the trials would run on has been measured to do; None if it is not known.

    Of a GPU only that of this machine is known, and nothing of a cluster's nodes.
    """
    if config.address is not None or (config.gpus and not torch.cuda.is_available()):
        return None
    device = torch.device("cuda" if config.gpus else "cpu")
    return measured_rates.latest(device_label(device), config.archs[0])


def plan(
    manifest: Manifest,
    tflops: float | None = None,
    cannot_run: Mapping[str, str] | None = None,
    *,
    file_is_here: bool = True,
    measured: Rate | None = None,
) -> RenderableType:
    """The plan; trials that an experiment has already are marked and not added up.

    Parameters
    ----------
    tflops
        Sustained rate of a GPU, TFLOP/s, for the hours. None: that of `measured`.
    cannot_run
        Id of each cell that cannot run → why.
    file_is_here
        Whether the data's file was read. Without, it is said that the split is not known.
    measured
        Gives the hours if `tflops` does not. None: without hours. Those of a CPU are of the whole
        machine, and no cost of a cluster is made of them.
    """
    rate = tflops or (measured.tflops if measured else None)
    placed = {cell for cells in manifest.experiments.values() for cell in cells}
    fresh = [cell for cell in manifest.cells if cell.id not in placed]
    images = manifest.data.n_images
    parts: list[RenderableType] = [_trials(manifest, fresh, images, rate, cannot_run or {})]
    if len(manifest.backbones) > 1:
        parts.append(_backbones(manifest, images))
    if not file_is_here:
        parts.append(
            Text(
                f"{manifest.data.name} is not on this machine. The images of each class are counted "
                "exactly; which of them train and validate is known once it has been fetched, and "
                "images of one galaxy kept together may change a trial's numbers by a few."
            )
        )
    if cannot_run:
        parts.append(Text(f"cannot run:\n  {explain(cannot_run)}"))
    parts += [Text(line) for line in what_is_kept(fresh, images, manifest.settings.get("cache_gb"))]
    if measured and not tflops:
        parts.append(Text(f"hours: at {measured.text}; --tflops gives another rate"))
    if rate and (tflops or (measured and measured.on_gpu)):
        parts.append(_costs(fresh, images, rate, manifest.settings.get("gpus") or 1))
    return Group(*parts)


def what_is_kept(cells: Sequence[Cell], images: int, cache_gb: float | None) -> list[str]:
    """Sentences on what frozen layers give: kept on each node, or computed in every epoch, and why.

    Parameters
    ----------
    images
        In the survey, those of dropped classes included.
    cache_gb
        Gigabytes that a node may keep.
    """
    sentences: dict[str, None] = {}
    several = len({cell.config.arch for cell in cells}) > 1
    for config in (cell.config for cell in cells):
        blocks = last_blocks(config.trained) is not None
        if not blocks and config.trained != "head":
            continue
        found = cut_of(config.arch, config.trained) if blocks else None
        size = images * found.image_bytes(config.precision) / 1e9 if found else 0
        if config.augment:
            what = "images are augmented, so nothing can be kept of"
        elif config.on_tokens:
            what = (
                f"{size:,.1f} GB are kept on each node ("
                f"{'bf16' if config.precision == 'bf16' else 'fp32'}), computed once, of"
            )
        elif not blocks:
            continue
        elif found is None:
            what = "the network cannot be cut there, so nothing is kept of"
        elif cache_gb is not None and size > cache_gb:
            what = f"{size:,.1f} GB would be needed and --cache-gb is {cache_gb:g}, so nothing is kept of"
        else:
            what = "nothing is kept of"
        again = "" if config.on_tokens else ", which compute in every epoch"
        whose = f"{config.arch}, {config.trained}" if several else config.trained
        sentences[f"{whose}: {what} the outputs of the frozen layers{again}."] = None
    return list(sentences)


def _trials(
    manifest: Manifest,
    fresh: list[Cell],
    images: int,
    tflops: float | None,
    cannot_run: Mapping[str, str],
) -> Table:
    data, classes = manifest.data, len(manifest.data.class_names)
    table = Table(
        box=box.SIMPLE_HEAD,
        title=f"sweep {manifest.name}: {_archs(manifest)}, {_protocols(manifest)}, "
        f"{data.name} ({sum(data.class_counts):,} images in {classes} classes), "
        f"split {data.split}",
        caption="params: those that train; work and disk of all seeds of a row, at most: if no trial "
        "stops early",
        title_justify="left",
        padding=0,  # 80 columns are enough for the names and numbers of the paper's trials
        pad_edge=False,
    )
    columns = ["trial", "trains", "train", "val.", "test", "params", "epochs", "TFLOP", "MB"]
    if not any(cell.n_test for cell in manifest.cells):
        columns.remove("test")
    for name in [*columns, "hours"] if tflops else columns:
        left = name in ("trial", "trains")
        table.add_column(name, justify="left" if left else "right", no_wrap=True)

    def amounts(flops: float, size: float | None) -> list[str]:
        hours = [f"{in_hours(flops, tflops):,.2f}"] if tflops else []
        return [_rounded(flops / 1e12), "" if size is None else _rounded(size / 1e6), *hours]

    placed = {cell.id for cell in manifest.cells} - {cell.id for cell in fresh}
    for name, cells in _by_row(manifest.cells, placed).items():
        cell = cells[0]
        table.add_row(
            name,
            cell.config.trained,
            _range(of_row.n_train for of_row in cells),
            *_validation_and_test(cells, data.scored_on == "test"),
            _short(cell.trained_parameters),
            str(cell.config.max_epochs),
            *amounts(sum(map(work, cells)), sum(disk(cell, classes) for cell in cells)),
        )
    for cell_id in cannot_run:
        table.add_row(cell_id, "cannot run", style="red")
    features = features_work(fresh, images)
    for backbone in manifest.backbones:
        of_arch = [cell for cell in fresh if cell.config.arch == backbone.arch]
        if any(map(shared_features, of_arch)):
            whose = f" of {backbone.arch}" if len(manifest.backbones) > 1 else ""
            row = [f"features{whose}, per node", "", f"{images:,}", *[""] * (len(columns) - 5)]
            table.add_row(*row, *amounts(features_work(of_arch, images), None))
    table.add_section()
    total = sum(map(work, fresh)) + features, sum(disk(cell, classes) for cell in fresh)
    table.add_row(f"{len(fresh)} trials", *[""] * (len(columns) - 3), *amounts(*total))
    return table


def _archs(manifest: Manifest) -> str:
    return ", ".join(arch for arch in manifest.archs if arch != IMAGE_STATISTICS)


def _backbones(manifest: Manifest, images: int) -> Table:
    """What the architectures do not share; images, split and seeds are the same for all."""
    table = Table(
        box=box.SIMPLE_HEAD,
        title="architectures, on the same images, split and seeds",
        caption="features: numbers of one image, MB of all images and seeds in each node's cache",
        title_justify="left",
        padding=0,
        pad_edge=False,
    )
    names = (
        "architecture",
        "input",
        "mean",
        "s.d.",
        "params",
        "GFLOP",
        "features",
        "MB",
        "weights",
    )
    for name in names:
        table.add_column(name, justify="left" if name in ("architecture", "weights") else "right")
    for backbone in manifest.backbones:
        cells = [cell for cell in manifest.cells if cell.config.arch == backbone.arch]
        cached = {shared_features(cell): cell for cell in cells if cell.config.on_features}
        widths = {  # of the head's input: a weight for each of its numbers, and a bias, for a class
            cell.trained_parameters // len(manifest.data.class_names) - 1
            for cell in cached.values()
        }
        size = 4 * images * sum(widths) * len(cached) / 1e6
        table.add_row(
            backbone.arch,
            f"{backbone.image_size} px",
            _channels(backbone.mean),
            _channels(backbone.std),
            _short(max((cell.parameters for cell in cells), default=0)),
            f"{max((cell.forward_flops for cell in cells), default=0) / 1e9:,.2f}",
            "/".join(map(str, sorted(widths))),
            _rounded(size) if widths else "",
            formatting.weights(backbone.weights),
        )
    return table


def _channels(values: tuple[float, ...] | None) -> str:
    """0.485 0.456 0.406, or one number if all are the same."""
    return " ".join(dict.fromkeys(f"{value:.3g}" for value in values or ()))


def _by_row(cells: Sequence[Cell], placed: Collection[str]) -> dict[str, list[Cell]]:
    """Name of a row → its trials, which differ in their seed alone."""
    rows: dict[tuple[str, bool], list[Cell]] = {}
    for cell in cells:
        stem = cell.id.removesuffix(f"-s{cell.seed}")
        rows.setdefault((stem, cell.id in placed), []).append(cell)
    named: dict[str, list[Cell]] = {}
    for (stem, is_placed), of_row in rows.items():
        what = "draws" if of_row[0].config.trained == "probe" else "seeds"
        name = f"{stem}, {len(of_row)} {what}" if len(of_row) > 1 else of_row[0].id
        named[name + (" (there)" if is_placed else "")] = of_row
    return named


def _range(counts: Iterable[int]) -> str:
    """1,391, or 191–193 if the seeds differ."""
    known = sorted(set(counts))
    return f"{known[0]:,}" if len(known) == 1 else f"{known[0]:,}–{known[-1]:,}"


def _validation_and_test(cells: Sequence[Cell], tested: bool) -> list[str]:
    """Numbers of images; "5-fold" if the labelled images validate in turn."""
    if any(cell.folds for cell in cells):
        validation = f"{_range(cell.folds for cell in cells)}-fold"
    else:
        validation = _range(cell.n_val for cell in cells)
    return [validation, _range(cell.n_test for cell in cells)] if tested else [validation]


def _rounded(value: float) -> str:
    """12,345 or 1.2: of a small number one decimal."""
    return f"{value:,.0f}" if value >= 100 else f"{value:,.1f}"


def _short(count: int) -> str:
    """6,921 or 85.8 M."""
    return f"{count:,}" if count < 1_000_000 else f"{count / 1e6:,.1f} M"


def _protocols(manifest: Manifest) -> str:
    others = [name for cell in manifest.cells for name in cell.protocols]
    names = [n for n in dict.fromkeys([manifest.protocol, *others]) if n != UNTRAINED.name]
    return f"protocol{'s' if len(names) > 1 else ''} {', '.join(names)}"


def _costs(cells: list[Cell], images: int, tflops: float, own: int) -> Table:
    """Costs on `GPUS`, and on the sweep's `own` number of GPUs."""
    table = Table(
        box=box.SIMPLE_HEAD,
        title=f"at {tflops:g} TFLOP/s, one GPU a trial, the longest first",
        caption="arithmetic alone; start-up, checkpoints and, for a head on cached features, the "
        "overhead of its steps come on top",
        title_justify="left",
    )
    for name in ("GPUs", "hours", "GPU-hours busy", "GPU-hours held to the end", "busy"):
        table.add_column(name, justify="right")
    for gpus in sorted({*GPUS, own}):
        of = cost(cells, images, tflops, gpus)
        hours = (f"{value:,.2f}" for value in (of.wall, of.busy, of.held))
        table.add_row(str(gpus), *hours, f"{of.busy_share:.0%}")
    return table
