"""One report of a sweep: figures, tables, claims and the answer.

    python -m analysis.report ray_results/NAME [more sweeps …] [--out DIR]

Writes ``report.html`` (one file, nothing fetched), ``figures/``, ``tables/``, ``claims.md``,
``trials.csv`` and ``epochs.csv`` to ``ray_results/NAME/report``.
"""

from __future__ import annotations

import base64
import sys
import webbrowser
from dataclasses import dataclass
from io import BytesIO
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import matplotlib
import tyro

from . import baseline, figures, page, paper, tables
from .answer import Answer, answer
from .calibration import Calibration, calibration
from .claims import claims
from .class_plates import class_plates
from .classes import ClassByClass, class_by_class
from .crossing import enough
from .frames import Results
from .gallery_plates import Galaxies, galaxies
from .labels import Labels, labels
from .manifest import NotASweep
from .plates import Plate, plates
from .protocol_section import Section, section
from .results import read
from .verdicts import Claim


@dataclass(frozen=True, kw_only=True)
class Report:
    """Write the report of a sweep, or of several that are read as one grid."""

    sweeps: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="SWEEP …")]
    """Sweep folders, e.g. ray_results/demo."""
    out: Path | None = None
    """Where to write; the first sweep's folder report/ unless given."""
    open: bool = False
    """Show the report in the browser, where there is a terminal and a browser."""
    authors_curves: bool = True
    """Lay the authors' own curves under ours, where data and model are the paper's."""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Everything that the report says, before it is written."""

    answer: Answer
    claims: list[Claim]
    plates: list[Plate]
    protocols: Section | None
    """Where several were run; its plate is among `plates`."""
    classes: ClassByClass | None
    calibration: Calibration | None
    galaxies: Galaxies | None
    labels: Labels | None
    """How many labels are enough; None where there is no baseline or nothing to hold against it."""

    @property
    def drawn(self) -> list[Plate]:
        """Every figure of the report."""
        return [*([self.labels.plate] if self.labels else []), *self.plates]


def findings(results: Results, *, with_authors: bool = True) -> Findings:
    """Compute the report's contents from the results.

    Parameters
    ----------
    with_authors
        Show the authors' curves; they are left out anyway where data or model differ.
    """
    protocols, results = section(results), results.main
    against = baseline.against_baseline(results)
    equal = baseline.at_equal_labels(results)
    cross, found = baseline.crossing(against), enough(results)
    comparable = paper.why_not_comparable(results.manifest) is None
    by_class, calibrated, looks = (f(results) for f in (class_by_class, calibration, galaxies))
    return Findings(
        answer=answer(results, against, equal, cross, found),
        claims=claims(results, against, found),
        plates=[
            *plates(results, with_authors=with_authors and comparable),
            *([protocols.plate] if protocols else []),
            *class_plates(results, by_class, calibrated),
            *(looks.plates if looks else ()),
        ],
        labels=labels(results, cross, found),
        protocols=protocols,
        classes=by_class,
        calibration=calibrated,
        galaxies=looks,
    )


def write(results: Results, found: Findings, out: Path) -> list[Path]:
    """Write the report's files under `out` and return their paths, the page first."""
    written: list[Path] = []

    def put(name: str, content: str | bytes) -> None:
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        written.append(path)

    drawn = {plate.name: {kind: _drawn(plate, kind) for kind in ("svg", "png")}
             for plate in found.drawn}  # fmt: skip
    put("report.html", page.render(results, found, _sources(drawn, found.drawn)))
    for name, kinds in drawn.items():
        for kind, content in kinds.items():
            put(f"figures/{name}.{kind}", content)
    shown = page.paper_tables(results.main) | (found.labels.tables if found.labels else {})
    if found.protocols:
        shown["protocols"] = (found.protocols.title, found.protocols.table, [])
    for name, (title, table, bold) in shown.items():
        put(f"tables/{name}.md", tables.to_markdown(table, title, bold))
        put(f"tables/{name}.tex", tables.to_latex(table, title, bold))
    put("claims.md", tables.to_markdown(tables.claims_table(found.claims), page.CLAIMS_TITLE))
    put("trials.csv", tables.trials_csv(results).to_csv(index=False))
    put("epochs.csv", results.epochs.to_csv(index=False))
    return written


def _drawn(plate: Plate, kind: str) -> bytes:
    buffer = BytesIO()
    with matplotlib.rc_context(figures.STYLE):
        plate.figure.savefig(
            buffer,
            format=kind,
            dpi=plate.dots_per_inch,  # None: the style's
            metadata={"Date": None} if kind == "svg" else None,
        )
    return buffer.getvalue()


def _sources(drawn: dict[str, dict[str, bytes]], plates: list[Plate]) -> dict[str, str]:
    """Each figure as a data URI: vectors, but for photographs."""
    sources, photographs = {}, {plate.name for plate in plates if plate.dots_per_inch}
    for name, kinds in drawn.items():
        kind, mime = ("png", "png") if name in photographs else ("svg", "svg+xml")
        sources[name] = f"data:image/{mime};base64,{base64.b64encode(kinds[kind]).decode()}"
    return sources


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    report: Any = tyro.cli(Report, args=arguments, prog="python -m analysis.report")
    try:
        if not report.sweeps:
            raise NotASweep("no sweep given; expected one or more folders, e.g. ray_results/demo")
        results = read(*report.sweeps)
    except NotASweep as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    found = findings(results, with_authors=report.authors_curves)
    out = report.out or report.sweeps[0] / "report"
    written = write(results, found, out)
    if report.open and sys.stdout.isatty():
        webbrowser.open(written[0].absolute().as_uri())
    print(f"{len(results.complete)} of {len(results.trials)} trials complete.")
    print(found.answer.headline)
    for sentence in found.answer.sentences:
        print(f"  {sentence}")
    print(f"Wrote {written[0]} and beside it:")
    for folder, paths in groupby(written[1:], key=lambda path: path.parent):
        names = ", ".join(path.name for path in paths)
        print(f"  {folder.relative_to(out) / ''}: {names}" if folder != out else f"  {names}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
