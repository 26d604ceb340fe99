"""Several sweeps on one survey, side by side: other weights, layers trained, augmentation.

    python -m analysis.arms ray_results/A ray_results/B … [--out arms.md]

One row for each way of training, one column for each number of labels, and each way against
training from scratch with the same labels and augmentation.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pandas as pd
import tyro

from . import words
from .frames import Results
from .manifest import NotASweep
from .results import read
from .statistics import Arm, accuracy_difference, arm, spread
from .tables import to_markdown

TRAINED = {"head": "last layer trained", "all": "all layers trained", "as_run": "encoder frozen"}


@dataclass(frozen=True, kw_only=True)
class Arms:
    """Set the ways of training in several sweeps side by side."""

    sweeps: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="SWEEP …")]
    """Sweep folders; the data and its split must be the same."""
    out: Path | None = None
    """Also write the tables here, as Markdown."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way of training at every fraction of a sweep."""

    name: str
    augmented: bool
    scratch: bool
    cells: dict[int, Arm]
    """Training images → the complete trials."""


def ways(results: Results) -> list[Way]:
    """The ways of training in one sweep; a repeat under another protocol is left out."""
    found: dict[str, Way] = {}
    for protocol in results.protocols:
        own = results.only(protocol)
        for init in ("scratch", "pretrained"):
            runs = [c["run"] for c in own.manifest["cells"] if c["run"]["init"] == init]
            arms = (arm(own, init, f) for f in sorted({run["fraction"] for run in runs}))
            cells = {a.n_train: a for a in arms if a is not None}
            if cells:
                way = _way(runs[0], own.manifest["weights"], cells)
                found.setdefault(way.name, way)
    return list(found.values())


def _way(run: dict, weights: str | None, cells: dict[int, Arm]) -> Way:
    scratch, augmented = run["init"] == "scratch", run.get("augment", False)
    name = "from scratch" if scratch else f"{weights}, {TRAINED[run['trained']]}"
    return Way(
        name=name + ("; mirrored and turned" if augmented else ""),
        augmented=augmented,
        scratch=scratch,
        cells=cells,
    )


def side_by_side(sweeps: list[Results]) -> list[Way]:
    """All ways of all sweeps, the first of each name; plain before augmented, scratch first.

    Raises
    ------
    NotASweep
        Where the sweeps are not of one survey and selection of classes.
    """
    first, *others = (
        {"resample": False} | results.manifest["data"] | {"arch": results.manifest["arch"]}
        for results in sweeps
    )
    for other in others:
        for key, what in (
            ("sha256", "data"),
            ("class_names", "classes"),
            ("split", "split"),
            ("resample", "dependence of the split on the seed"),
            ("arch", "architecture"),
        ):
            if first[key] != other[key]:
                raise NotASweep(
                    f"the sweeps differ in their {what}: {first[key]} and {other[key]}; expected "
                    "sweeps of one survey and model"
                )
    found: dict[str, Way] = {}
    for results in sweeps:
        for way in ways(results):
            found.setdefault(way.name, way)
    if not found:
        raise NotASweep("no trial of these sweeps is complete")
    return sorted(found.values(), key=lambda way: (way.augmented, not way.scratch))


def accuracies(found: list[Way]) -> pd.DataFrame:
    """Best validation accuracy, %: mean ± standard deviation over seeds, and their number."""
    return _table(found, lambda _, a: f"{words.with_spread(*_percent(a), digits=1)} ({a.n})")


def against_scratch(found: list[Way]) -> pd.DataFrame:
    """Points over training from scratch with the same labels and augmentation, 95 % intervals."""
    scratch = {way.augmented: way for way in found if way.scratch}

    def text(way: Way, own: Arm) -> str:
        other = scratch[way.augmented].cells.get(own.n_train) if way.augmented in scratch else None
        return words.NONE if other is None else words.in_points(accuracy_difference(own, other), "")

    return _table([way for way in found if not way.scratch], text)


def augmentation(found: list[Way]) -> pd.DataFrame:
    """Points that mirrors and quarter turns add to each way, 95 % intervals."""
    plain = {way.name: way for way in found if not way.augmented}

    def text(way: Way, own: Arm) -> str:
        same = plain.get(way.name.partition(";")[0])
        other = None if same is None else same.cells.get(own.n_train)
        return words.NONE if other is None else words.in_points(accuracy_difference(own, other), "")

    return _table([way for way in found if way.augmented], text)


def _table(found: list[Way], text) -> pd.DataFrame:
    counts = sorted({n for way in found for n in way.cells})
    return pd.DataFrame(
        [
            {"way of training": way.name}
            | {f"{n:,}": text(way, way.cells[n]) if n in way.cells else words.NONE for n in counts}
            for way in found
        ]
    )


def _percent(own: Arm) -> tuple[float, float | None]:
    mean, std, _ = spread(own.accuracies)
    return 100 * mean, None if std is None else 100 * std


def write(found: list[Way]) -> str:
    """The tables as Markdown, with what they rest on."""
    cells = [a for way in found for a in way.cells.values()]
    n = f"{words.seeds(a.n for a in cells)} a cell, {cells[0].n_val[0]:,} "
    tables = [
        ("Best validation accuracy in % by number of labels, " + n + "validation images; "
         "mean ± standard deviation over seeds (how many).", accuracies(found)),
        ("Less training from scratch with the same labels and augmentation, points; 95 % interval.",
         against_scratch(found)),
        ("What mirrors and quarter turns of the training images add, points; 95 % intervals.",
         augmentation(found)),
    ]  # fmt: skip
    return "\n".join(to_markdown(table, title) for title, table in tables if len(table))


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    chosen = tyro.cli(Arms, args=arguments, prog="python -m analysis.arms")
    try:
        if not chosen.sweeps:
            raise NotASweep("no sweep given; expected one or more folders, e.g. ray_results/demo")
        text = write(side_by_side([read(sweep) for sweep in chosen.sweeps]))
    except NotASweep as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(text)
    if chosen.out:
        chosen.out.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
