"""``--dry-run``: every trial with its images, size, work and disk, and what the sweep costs."""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from trainable.protocol import PASSES

from .manifest import Manifest

KEPT = 2  # checkpoints of a trial on disk
TENSORS = 4  # in a checkpoint for each trained parameter: itself, two of AdamW, the best
GPUS = (1, 4, 16)  # clusters whose cost is shown
Cell = dict[str, Any]


def shared_features(cell: Cell) -> Hashable:
    """What trials of a head on cached features have in common; None where nothing is cached.

    Trials of one value share one pass of the frozen backbone over all images, on each node.
    """
    run = cell["run"]
    if run["trained"] != "head" or not run.get("cache_features", True):
        return None
    seed = run["seed"] if run["init"] == "scratch" else None  # of the backbone's parameters
    return run["arch"], run["weights"], seed, run["transform"], run["precision"]


def work(cell: Cell) -> float:
    """Floating-point operations of a trial that uses all its epochs, without shared features."""
    run = cell["run"]
    if shared_features(cell):
        forward, passes = 2 * cell["trained_parameters"], PASSES["all"]  # the head is all there is
    else:
        forward, passes = cell["forward_flops"], PASSES[run["trained"]]
    return forward * (passes * cell["n_train"] + cell["n_val"]) * run["max_epochs"]


def features_work(cells: Sequence[Cell], images: int) -> float:
    """Floating-point operations that a node spends on the features of all its trials.

    Parameters
    ----------
    images
        In the survey, those of dropped classes included.
    """
    passes = {shared_features(cell): cell["forward_flops"] for cell in cells}
    return images * sum(flops for shared, flops in passes.items() if shared)


def disk(cell: Cell, num_classes: int) -> float:
    """Bytes that a trial's checkpoints take."""
    probabilities = 2 * cell["n_val"] * num_classes  # for the analysis, and to go on
    return 4.0 * KEPT * (cell["trained_parameters"] * TENSORS + probabilities)  # all fp32


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
        """GPU-hours paid for where every GPU is kept to the end."""
        return self.gpus * self.wall


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


def plan(manifest: Manifest, tflops: float | None = None) -> RenderableType:
    """The plan; trials that an experiment has already are marked and not added up.

    Parameters
    ----------
    tflops
        Sustained rate of a GPU, TFLOP/s, for the hours. None: that of the sweep's settings.
    """
    tflops = tflops or manifest.config.get("tflops")
    placed = {cell for cells in manifest.experiments.values() for cell in cells}
    fresh = [cell for cell in manifest.cells if cell["id"] not in placed]
    data = manifest.data
    images = sum(data["class_counts"]) + sum(count for _, _, count in data["dropped"])
    table = _trials(manifest, fresh, images, tflops)
    return Group(table, _costs(fresh, images, tflops)) if tflops else table


def _trials(manifest: Manifest, fresh: list[Cell], images: int, tflops: float | None) -> Table:
    data, classes = manifest.data, len(manifest.data["class_names"])
    table = Table(
        box=box.SIMPLE_HEAD,
        title=f"sweep {manifest.name}: {manifest.arch}, {_protocols(manifest)}, "
        f"{data['name']} ({sum(data['class_counts']):,} images in {classes} classes), "
        f"split {data['split']}",
        caption="epochs, work and disk at most: if no trial stops early",
        title_justify="left",
    )
    columns = ["trial", "trains", "train", "val.", "params", "epochs", "TFLOP", "MB"]
    for name in [*columns, "hours"] if tflops else columns:
        left = name in ("trial", "trains")
        table.add_column(name, justify="left" if left else "right", no_wrap=True)

    def amounts(flops: float, size: float | None) -> list[str]:
        hours = [f"{in_hours(flops, tflops):,.2f}"] if tflops else []
        return [f"{flops / 1e12:,.1f}", "" if size is None else f"{size / 1e6:,.1f}", *hours]

    for cell in manifest.cells:
        table.add_row(
            cell["id"] + ("" if cell in fresh else " (there)"),
            cell["run"]["trained"],
            f"{cell['n_train']:,}",
            f"{cell['n_val']:,}",
            f"{cell['trained_parameters']:,}",
            str(cell["run"]["max_epochs"]),
            *amounts(work(cell), disk(cell, classes)),
        )
    features = features_work(fresh, images)
    if features:
        row = ["features, once a node", "", f"{images:,}", *[""] * 3]
        table.add_row(*row, *amounts(features, None))
    table.add_section()
    total = sum(map(work, fresh)) + features, sum(disk(cell, classes) for cell in fresh)
    table.add_row(f"{len(fresh)} trials", *[""] * 5, *amounts(*total))
    return table


def _protocols(manifest: Manifest) -> str:
    others = [name for cell in manifest.cells for name in cell.get("protocols", ())]
    names = list(dict.fromkeys([manifest.protocol, *others]))
    return f"protocol{'s' if len(names) > 1 else ''} {', '.join(names)}"


def _costs(cells: list[Cell], images: int, tflops: float) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD,
        title=f"at {tflops:g} TFLOP/s, one GPU a trial, the longest first",
        caption="arithmetic alone; start-up, checkpoints and, for a head on cached features, the "
        "overhead of its steps come on top",
        title_justify="left",
    )
    for name in ("GPUs", "hours", "GPU-hours busy", "GPU-hours held to the end"):
        table.add_column(name, justify="right")
    for gpus in GPUS:
        of = cost(cells, images, tflops, gpus)
        table.add_row(str(gpus), f"{of.wall:,.2f}", f"{of.busy:,.2f}", f"{of.held:,.2f}")
    return table
