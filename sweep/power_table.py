"""``--dry-run``: the smallest difference that a plan finds, and what would make it smaller."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from analysis.results.load import read
from analysis.stats.comparisons import pairs_at_equal_labels
from analysis.stats.estimates import LEVEL, POWER
from analysis.stats.power import (
    Budget,
    Remedy,
    Variation,
    detectable,
    measured,
    nearest,
    remedy,
    typical,
)
from trainable.errors import SweepError
from trainable.manifest import Cell, Manifest


@dataclass(frozen=True, kw_only=True)
class Pilot:
    """What a sweep that is there tells about the next one."""

    name: str
    variation: tuple[tuple[int, Variation], ...]
    """Number of labels → what makes a difference uncertain."""
    seeds: int
    """The fewest of a cell."""


def read_pilot(folder: str) -> Pilot:
    """Measure a sweep's variation; `SweepError` if it has no budget with both inits."""
    results = read(Path(folder)).main
    pairs = [
        pair
        for pair in pairs_at_equal_labels(results)
        if all(cell.predictions is not None for cell in pair)
    ]
    if not pairs:
        raise SweepError(
            f"--pilot {folder}: no number of labels has complete trials of both inits with stored "
            "predictions; expected a sweep of scratch and pretrained, e.g. ray_results/demo"
        )
    return Pilot(
        name=folder,
        variation=tuple(measured(pairs)),
        seeds=min(cell.n for pair in pairs for cell in pair),
    )


def budgets_of(manifest: Manifest, pilot: Pilot | None = None) -> list[Budget]:
    """Each number of labels that a sweep has both inits at, from few to many.

    Of a sweep with several protocols or architectures, the first one's; of an architecture that does
    not train from scratch there are none.
    """
    cells: dict[tuple[str, float], list[Cell]] = {}
    for cell in manifest.main.cells:
        cells.setdefault((cell.init, cell.fraction), []).append(cell)
    fractions = sorted(fraction for init, fraction in cells if init == "pretrained")
    return [
        _budget(manifest, cells["pretrained", fraction], cells["scratch", fraction], pilot)
        for fraction in fractions
        if ("scratch", fraction) in cells
    ]


def _budget(
    manifest: Manifest, pretrained: Sequence[Cell], scratch: Sequence[Cell], pilot: Pilot | None
) -> Budget:
    n_labels = round(float(np.mean([cell.n_labels for cell in pretrained])))
    if pilot is None:
        variation = typical(n_labels, frozen=pretrained[0].config.trained in ("head", "probe"))
    else:
        variation = nearest(pilot.variation, n_labels)
    images = float(np.mean([cell.n_scored for cell in (*pretrained, *scratch)]))
    if manifest.data.resample:  # the more seeds, the more of all images are scored on
        share = images / sum(manifest.data.class_counts)
        images /= share + (1 - share) / len(pretrained)
    return Budget(
        n_labels=n_labels,
        images=images,
        n_pretrained=len(pretrained),
        n_scratch=len(scratch),
        variation=variation,
    )


def power_table(manifest: Manifest, detect: float, pilot: Pilot | None) -> RenderableType | None:
    """The smallest difference found at each budget; None if no budget has both inits.

    It is that of the first architecture which has both.

    Parameters
    ----------
    detect
        Points.
    """
    by_arch = {arch: budgets_of(manifest.of_arch(arch), pilot) for arch in manifest.archs}
    arch, budgets = next(((a, b) for a, b in by_arch.items() if b), (None, []))
    if not budgets:
        return None
    found = detectable(budgets)
    whose = f"{arch}: " if arch is not None and len(manifest.archs) > 1 else ""
    return Group(
        _table(budgets, found, whose),
        Text(f"{_advice(budgets, found, detect)}\n{_assumed(pilot)}"),
    )


def _table(budgets: Sequence[Budget], found: Sequence[float | None], whose: str) -> Table:
    together = f" for all {len(budgets)} together" if len(budgets) > 1 else ""
    table = Table(
        box=box.SIMPLE_HEAD,
        title=f"{whose}smallest difference found in {POWER:.0%} of such sweeps, "
        f"at {1 - LEVEL:.0%}{together}",
        title_justify="left",
        padding=0,
        pad_edge=False,
    )
    names = ["labels", "images", "seeds", "models differ", "s.d. scratch", "s.d. pretrained"]
    for name in [*names, "points"]:
        table.add_column(name, justify="right")
    for budget, smallest in zip(budgets, found, strict=True):
        of = budget.variation
        seeds = {budget.n_pretrained, budget.n_scratch}
        table.add_row(
            f"{budget.n_labels:,}",
            f"{budget.images:,.0f}",
            "/".join(map(str, seeds if len(seeds) == 1 else budget.seeds)),
            f"{of.discordance:.0%}",
            *(f"{100 * spread.seeds:.1f}" for spread in (of.scratch, of.pretrained)),
            "none" if smallest is None else f"{100 * smallest:.1f}",
        )
    return table


def _assumed(pilot: Pilot | None) -> str:
    meaning = (
        "Images: those that trials are scored on. Models differ: exactly one of a pre-trained model "
        "and one from scratch is right. S.d.: of the accuracy between seeds, in points."
    )
    if pilot is None:
        return (
            f"{meaning} The last two are typical values, measured with the small ViT on 300 to 428 test "
            "images; measure yours by --pilot ray_results/NAME."
        )
    few = (
        f" With {pilot.seeds} seeds they are uncertain: the s.d. may be twice as large."
        if pilot.seeds < 10
        else ""
    )
    return f"{meaning} Measured from {pilot.name}.{few}"


def _advice(budgets: Sequence[Budget], found: Sequence[float | None], detect: float) -> str:
    """What would let the plan find `detect` points where it finds only the largest differences."""
    known = {number: smallest for number, smallest in enumerate(found) if smallest is not None}
    if not known:
        return "One seed each: no difference between methods can be found. Give --seeds 0 1 2."
    worst = max(known, key=lambda number: known[number])
    if 100 * known[worst] <= detect:
        return f"Differences of {detect:g} points are found."
    needed = _in_words(remedy(budgets, worst, detect / 100), budgets[worst])
    return f"To find {detect:g} points with {budgets[worst].n_labels:,} labels: {needed}."


def _in_words(found: Remedy, budget: Budget) -> str:
    enough: list[str] = []
    alone: list[str] = []
    if found.images is None:
        seeds = min(budget.seeds)
        alone.append(
            f"no number of images alone, as {seeds} seeds differ too much"
            if seeds > 1
            else "no number of images alone, as one seed may be far from the mean"
        )
    else:
        enough.append(f"{found.images:,} images")
    if found.seeds is None:
        alone.append(f"no number of seeds alone on {budget.images:,.0f} images")
    else:
        enough.append(f"{found.seeds} seeds")
    if found.both is not None and alone:
        enough.append(f"{found.both[0]} seeds and {found.both[1]:,} images")
    return "; ".join([*([" or ".join(enough)] if enough else []), *alone])
