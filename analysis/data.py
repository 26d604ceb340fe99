"""What is in a survey before anything is trained on it: one page, and its tables.

    python -m analysis.data --data {mock | galaxy10 | PATH.h5} [--drop-labels …] [--leak]

Writes ``data.html`` (one file, nothing fetched), ``*.csv`` and ``figures/*.png`` to
``ray_results/data-NAME``.
"""

from __future__ import annotations

import base64
import sys
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from trainable.galaxy10 import Survey, open_survey
from trainable.protocol import Init
from trainable.selection import Selection, default_drop_labels, select
from trainable.settings import Settings, data_path

from . import data_sections, duplicates, leak, leak_section, pair_sections, truth
from .data_sections import Section, styled
from .fingerprints import fingerprint
from .html import template


@dataclass(frozen=True, kw_only=True)
class DataReport:
    """Write the report of a survey."""

    data: str = "galaxy10"
    """galaxy10 (fetched once, 2.5 GB), mock (rendered once, offline), or the path of an HDF5 file
    in Galaxy10's layout."""
    drop_labels: tuple[int, ...] | None = None
    """Labels to leave out, as the file numbers them. None: 4 for Galaxy10, nothing otherwise."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Of the splits that are looked at and, with --leak, of the trials."""
    leak: bool = False
    """Train with plain and grouped splits to see what the leak is worth: two trials a seed."""
    arch: str = "vit_demo"
    """Architecture of these trials."""
    init: Init = "scratch"
    """scratch or pretrained, of these trials."""
    device: str = "cpu"
    """A torch device, of these trials."""
    out: Path | None = None
    """Folder to write. None: ray_results/data-NAME."""
    cache_dir: Path | None = None
    """Folder for rendered and preprocessed images. None: $SWEEP_CACHE_DIR, else the user's."""

    def __post_init__(self) -> None:
        if not self.seeds:
            raise ValueError("--seeds: at least one, e.g. 0 1 2")


Step = Callable[[int, int], None]


def examine(options: DataReport, survey: Survey, selection: Selection, show) -> list[Section]:
    """All sections of the page.

    Parameters
    ----------
    show
        Called with the name of what is done; gives a function of (done, total).
    """
    prints = fingerprint(survey, selection.rows, show("reading images"))
    found = duplicates.find(survey, selection, prints)
    known = truth.true_pairs(survey.path)
    pairs = None
    if found.by_sky is not None:
        pairs = selection.rows[found.by_sky[["first", "second"]].to_numpy()]
    wanted = options.leak and pairs is not None and len(pairs) > 0
    worth = trials(options, pairs, show("training")) if wanted else None
    return [
        styled(data_sections.counts, survey, selection),
        styled(data_sections.sheet, survey, selection),
        styled(data_sections.image_statistics, survey, selection, prints),
        styled(pair_sections.by_sky, survey, selection, found, known),
        styled(pair_sections.by_image, survey, selection, found, known),
        leak_section.leaks(survey, selection, pairs, options.seeds, worth),
    ]


def trials(options: DataReport, pairs, progress: Step) -> leak.Worth:
    """The same trial with plain and with grouped splits, for every seed."""
    done, total = [], 2 * len(options.seeds)
    for seed in options.seeds:
        for group_sky in (False, True):
            settings = Settings(
                data=options.data,
                arch=options.arch,
                protocol="demo",
                drop_labels=options.drop_labels,
                split_seed=seed,
                group_sky=group_sky,
                cache_dir=options.cache_dir,
            )
            done.append(leak.trial(settings, pairs, options.init, seed, options.device))
            progress(len(done), total)
    return leak.Worth(trials=tuple(done))


def page(survey: Survey, selection: Selection, name: str, sections: list[Section], sources) -> str:
    """The page as HTML; `sources` gives each figure's data URI."""
    dropped = [survey.class_names[c] for c in sorted(set(range(len(survey.class_names)))
               - set(selection.label_values))]  # fmt: skip
    size, scale = survey.image_size, survey.pixel_scale
    facts = [
        ("path", str(survey.path)),
        ("SHA-256", survey.sha256),
        ("classes left out", ", ".join(dropped) or "none"),
        ("image size", f"{size} pixels"),
        ("pixel scale", "not in the file" if scale is None else
            f"{scale.min():.3f} to {scale.max():.3f} arcsec/pixel"),
        ("positions", "not in the file" if survey.right_ascension is None else "right ascension "
            "and declination, degrees"),
    ]  # fmt: skip
    return template("data.html").render(
        title=name,
        subtitle=f"{len(selection.rows):,} images of {size} × {size} pixels in "
        f"{len(selection.class_names)} classes",
        summary=[section.headline for section in sections if section.headline],
        sections=sections,
        sources=sources,
        facts=facts,
    )


def write(survey: Survey, selection: Selection, name: str, sections: list[Section], out: Path):
    """Write the page, its figures and its tables."""
    (out / "figures").mkdir(parents=True, exist_ok=True)
    sources = {}
    for section in sections:
        for plate in section.plates:
            buffer = BytesIO()
            plate.figure.savefig(buffer, format="png")
            (out / "figures" / f"{plate.name}.png").write_bytes(buffer.getvalue())
            encoded = base64.b64encode(buffer.getvalue()).decode()
            sources[plate.name] = f"data:image/png;base64,{encoded}"
        for table_name, table in section.csv.items():
            table.to_csv(out / f"{table_name}.csv", index=False)
    (out / "data.html").write_text(page(survey, selection, name, sections, sources))


def run(options: DataReport, console: Console) -> Path:
    """Examine, write, and say where."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:

        def show(what: str) -> Step:
            task = progress.add_task(what, total=None)
            return lambda done, total: progress.update(task, completed=done, total=total)

        survey = open_survey(data_path(options.data, options.cache_dir, show("finding the data")))
        drop = default_drop_labels(survey) if options.drop_labels is None else options.drop_labels
        selection = select(survey, drop)
        sections = examine(options, survey, selection, show)
    name = options.data if options.data in ("galaxy10", "mock") else survey.path.stem
    out = options.out or Path("ray_results") / f"data-{name}"
    write(survey, selection, name, sections, out)
    for section in sections:
        if section.headline:
            console.print(f"{section.title}.", *section.texts, highlight=False)
    console.print(f"Wrote {out / 'data.html'}")
    return out


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    try:
        options: Any = tyro.cli(DataReport, args=arguments, prog="python -m analysis.data")
        run(options, Console())
    except ValueError as error:  # DataError, WeightsError, settings: of the user's making
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
