"""Several sweeps on one survey, side by side: other weights, layers trained, augmentation.

    python -m analysis.compare_sweeps ray_results/A ray_results/B … [--out comparison.md]

One row for each training method, one column for each number of labels, and each method against
training from scratch with the same labels and augmentation.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pandas as pd
import tyro

from analysis import formatting
from analysis.report.tables import to_markdown
from analysis.results.load import read
from analysis.results.schema import Results
from analysis.stats.estimates import accuracy_difference, spread
from analysis.stats.seed_predictions import CellRuns, cell_runs
from trainable.config import TrainingConfig
from trainable.errors import EXIT_CODE, SweepError, UserError
from trainable.manifest import differences
from trainable.protocol import INITS, last_blocks

TRAINED = {
    "head": "last layer trained",
    "all": "all layers trained",
    "non_encoder": "encoder frozen",
    "probe": "linear probe in closed form",
}
AUGMENTED = "with flips and 90° rotations"


@dataclass(frozen=True, kw_only=True)
class CompareSweeps:
    """Set the training methods of several sweeps side by side."""

    sweeps: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="SWEEP …")]
    """Sweep folders; the data and its split must be the same."""
    out: Path | None = None
    """Also write the tables here, as Markdown."""


@dataclass(frozen=True, kw_only=True)
class TrainingMethod:
    """One way to train, at every fraction of a sweep: weights, layers that train, augmentation."""

    name: str
    plain_name: str
    """Of the same method without augmentation."""
    augmented: bool
    scratch: bool
    cells: dict[int, CellRuns]
    """Training images → the complete trials."""


def training_methods(results: Results) -> list[TrainingMethod]:
    """The training methods of one sweep; a repeat under another protocol is left out.

    Of a sweep of several architectures, those of the first.
    """
    methods: dict[str, TrainingMethod] = {}
    of_arch = results.of_arch(results.manifest.arch)
    for protocol in of_arch.protocols:
        part = of_arch.only(protocol)
        for init in INITS:
            configs = [cell.config for cell in part.manifest.cells if cell.init == init]
            fractions = sorted({config.fraction for config in configs})
            runs = (cell_runs(part, init, fraction) for fraction in fractions)
            cells = {cell.n_labels: cell for cell in runs if cell is not None}
            if cells:
                method = _method(configs[0], part.manifest.weights, cells)
                methods.setdefault(method.name, method)
    return list(methods.values())


def trained_part(config: TrainingConfig) -> str:
    """What a trial trains of its network, in words."""
    if (blocks := last_blocks(config.trained)) is not None:
        return "last block trained" if blocks == 1 else f"last {blocks} blocks trained"
    if config.trained == "lora":
        return f"LoRA of rank {config.lora_rank}"
    return TRAINED[config.trained]


def _method(
    config: TrainingConfig, weights: str | None, cells: dict[int, CellRuns]
) -> TrainingMethod:
    scratch = config.init == "scratch"
    name = "from scratch" if scratch else f"{weights}, {trained_part(config)}"
    return TrainingMethod(
        name=name + (f"; {AUGMENTED}" if config.augment else ""),
        plain_name=name,
        augmented=config.augment,
        scratch=scratch,
        cells=cells,
    )


def side_by_side(sweeps: Sequence[Results]) -> list[TrainingMethod]:
    """All methods of all sweeps, the first of each name; plain before augmented, scratch first.

    Raises
    ------
    SweepError
        The sweeps are not of one survey, selection of classes and architecture.
    """
    first, *others = (results.manifest for results in sweeps)
    for other in others:
        for difference in differences(first, other, {"data", "architecture", "model"}):
            raise SweepError(
                f"the sweeps {first.name!r} and {other.name!r} cannot be compared: {difference}; "
                "expected sweeps of one survey and architecture"
            )
    methods: dict[str, TrainingMethod] = {}
    for results in sweeps:
        for method in training_methods(results):
            methods.setdefault(method.name, method)
    if not methods:
        raise SweepError("no trial of these sweeps is complete; expected one or more")
    return sorted(methods.values(), key=lambda method: (method.augmented, not method.scratch))


def accuracies(methods: Sequence[TrainingMethod]) -> pd.DataFrame:
    """Best validation accuracy, %: mean ± standard deviation over seeds, and their number."""
    return _table(
        methods, lambda _, cell: f"{formatting.with_spread(*_percent(cell), digits=1)} ({cell.n})"
    )


def against_scratch(methods: Sequence[TrainingMethod]) -> pd.DataFrame:
    """Points over training from scratch with the same labels and augmentation, 95% intervals."""
    scratch = {method.augmented: method for method in methods if method.scratch}
    return _table(
        [method for method in methods if not method.scratch],
        lambda method, cell: _difference(cell, scratch.get(method.augmented)),
    )


def augmentation(methods: Sequence[TrainingMethod]) -> pd.DataFrame:
    """Points that flips and 90° rotations add to each method, 95% intervals."""
    plain = {method.name: method for method in methods if not method.augmented}
    return _table(
        [method for method in methods if method.augmented],
        lambda method, cell: _difference(cell, plain.get(method.plain_name)),
    )


def _difference(cell: CellRuns, other: TrainingMethod | None) -> str:
    """The cell minus that of another method with as many labels, in points."""
    theirs = None if other is None else other.cells.get(cell.n_labels)
    return formatting.NONE if theirs is None else accuracy_difference(cell, theirs).in_points("")


def _table(
    methods: Sequence[TrainingMethod], text: Callable[[TrainingMethod, CellRuns], str]
) -> pd.DataFrame:
    """One row for each method, one column for each number of labels."""
    counts = sorted({n for method in methods for n in method.cells})
    rows: list[dict[str, str]] = []
    for method in methods:
        row = {"training method": method.name}
        for n in counts:
            cell = method.cells.get(n)
            row[f"{n:,}"] = formatting.NONE if cell is None else text(method, cell)
        rows.append(row)
    return pd.DataFrame(rows)


def _percent(cell: CellRuns) -> tuple[float, float | None]:
    mean, std, _ = spread(cell.accuracies)
    return 100 * mean, None if std is None else 100 * std


def write(methods: Sequence[TrainingMethod]) -> str:
    """The tables as Markdown, with the numbers of seeds and images that they rest on."""
    cells = [cell for method in methods for cell in method.cells.values()]
    n = f"{formatting.seeds(cell.n for cell in cells)} a cell, {cells[0].n_scored[0]:,} "
    tables = [
        (
            f"Best validation accuracy in % by number of labels, {n}validation images; "
            "mean ± standard deviation over seeds (how many).",
            accuracies(methods),
        ),
        (
            "The same minus training from scratch with the same labels and augmentation, points; "
            "95% intervals.",
            against_scratch(methods),
        ),
        (
            "What flips and 90° rotations of the training images add, points; 95% intervals.",
            augmentation(methods),
        ),
    ]
    return "\n".join(to_markdown(table, title) for title, table in tables if len(table))


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    chosen = tyro.cli(CompareSweeps, args=arguments, prog="python -m analysis.compare_sweeps")
    try:
        if not chosen.sweeps:
            raise SweepError("no sweep given; expected one or more folders, e.g. ray_results/demo")
        text = write(side_by_side([read(sweep) for sweep in chosen.sweeps]))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_CODE
    print(text)
    if chosen.out:
        chosen.out.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
