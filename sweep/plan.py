"""``--dry-run``: every trial with its images, size, work and disk."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.table import Table

from .manifest import Manifest

PASSES = {"all": 3, "as_run": 2, "head": 1}
"""Cost of a training step in forward passes: the backward pass costs two, one where only the
gradients of activations are needed, none below a frozen backbone."""
KEPT = 2  # checkpoints of a trial on disk
TENSORS = 4  # in a checkpoint for each trained parameter: itself, two of AdamW, the best


def work(cell: dict[str, Any]) -> float:
    """Floating-point operations of a trial that uses all its epochs."""
    training = cell["n_train"] * PASSES[cell["run"]["trained"]]
    return cell["forward_flops"] * (training + cell["n_val"]) * cell["run"]["max_epochs"]


def disk(cell: dict[str, Any], num_classes: int) -> float:
    """Bytes that a trial's checkpoints take."""
    probabilities = 2 * cell["n_val"] * num_classes  # for the analysis, and to go on
    return 4.0 * KEPT * (cell["trained_parameters"] * TENSORS + probabilities)  # all fp32


def plan(manifest: Manifest) -> Table:
    """The plan as a table; trials that an experiment has already are marked and not added up."""
    placed = {cell for cells in manifest.experiments.values() for cell in cells}
    classes = len(manifest.data["class_names"])
    data = manifest.data
    table = Table(
        box=box.SIMPLE_HEAD,
        title=f"sweep {manifest.name}: {manifest.arch}, protocol {manifest.protocol}, "
        f"{data['name']} ({sum(data['class_counts']):,} images in {classes} classes), "
        f"split {data['split']}",
        caption="epochs, work and disk at most: if no trial stops early",
        title_justify="left",
    )
    for name in ("trial", "trains", "train", "val.", "params", "epochs", "TFLOP", "MB"):
        table.add_column(
            name, justify="left" if name in ("trial", "trains") else "right", no_wrap=True
        )
    for cell in manifest.cells:
        table.add_row(
            cell["id"] + (" (there)" if cell["id"] in placed else ""),
            cell["run"]["trained"],
            f"{cell['n_train']:,}",
            f"{cell['n_val']:,}",
            f"{cell['trained_parameters']:,}",
            str(cell["run"]["max_epochs"]),
            f"{work(cell) / 1e12:,.1f}",
            f"{disk(cell, classes) / 1e6:,.1f}",
        )
    fresh = [cell for cell in manifest.cells if cell["id"] not in placed]
    table.add_section()
    table.add_row(
        f"{len(fresh)} trials",
        *[""] * 5,
        f"{sum(map(work, fresh)) / 1e12:,.1f}",
        f"{sum(disk(cell, classes) for cell in fresh) / 1e6:,.1f}",
    )
    return table
