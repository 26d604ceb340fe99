"""One report of a sweep: figures, tables, claims and the answer.

    python -m analysis.report ray_results/NAME [more sweeps …] [--out DIR]

Writes ``report.html`` (one file, nothing fetched), ``figures/``, ``tables/``, ``claims.md``,
``trials.csv`` and ``epochs.csv`` to ``ray_results/NAME/report``.
"""

from __future__ import annotations

import base64
import sys
from dataclasses import dataclass
from io import BytesIO
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import matplotlib
import tyro
from matplotlib.figure import Figure

from . import baseline, figures, page, paper, tables
from .answer import Answer, answer
from .claims import claims
from .frames import Results
from .manifest import NotASweep
from .plates import Plate, plates
from .results import read
from .verdicts import Claim


@dataclass(frozen=True, kw_only=True)
class Report:
    """Write the report of a sweep, or of several that are read as one grid."""

    sweeps: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="SWEEP …")]
    """Sweep folders, e.g. ray_results/demo."""
    out: Path | None = None
    """Where to write; the first sweep's folder report/ unless given."""
    authors_curves: bool = True
    """Lay the authors' own curves under ours, where data and model are the paper's."""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Everything that the report says, before it is written."""

    answer: Answer
    claims: list[Claim]
    plates: list[Plate]


def findings(results: Results, *, with_authors: bool = True) -> Findings:
    """Compute the report's contents from the results.

    Parameters
    ----------
    with_authors
        Show the authors' curves; they are left out anyway where data or model differ.
    """
    against = baseline.against_baseline(results)
    equal = baseline.at_equal_labels(results)
    comparable = paper.why_not_comparable(results.manifest) is None
    return Findings(
        answer=answer(results, against, equal, baseline.crossing(against)),
        claims=claims(results, against),
        plates=plates(results, with_authors=with_authors and comparable),
    )


def write(results: Results, found: Findings, out: Path) -> list[Path]:
    """Write the report's files under `out` and return their paths, the page first."""
    written: list[Path] = []

    def put(name: str, content: str | bytes) -> None:
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        written.append(path)

    drawn = {plate.name: {kind: _drawn(plate.figure, kind) for kind in ("svg", "png")}
             for plate in found.plates}  # fmt: skip
    put("report.html", page.render(results, found, _sources(drawn)))
    for name, kinds in drawn.items():
        for kind, content in kinds.items():
            put(f"figures/{name}.{kind}", content)
    for name, (title, table, bold) in page.paper_tables(results).items():
        put(f"tables/{name}.md", tables.to_markdown(table, title, bold))
        put(f"tables/{name}.tex", tables.to_latex(table, title, bold))
    put("claims.md", tables.to_markdown(tables.claims_table(found.claims), page.CLAIMS_TITLE))
    put("trials.csv", tables.trials_csv(results).to_csv(index=False))
    put("epochs.csv", results.epochs.to_csv(index=False))
    return written


def _drawn(figure: Figure, kind: str) -> bytes:
    buffer = BytesIO()
    with matplotlib.rc_context(figures.STYLE):
        figure.savefig(buffer, format=kind, metadata={"Date": None} if kind == "svg" else None)
    return buffer.getvalue()


def _sources(drawn: dict[str, dict[str, bytes]]) -> dict[str, str]:
    """Each figure as a data URI: vectors, but for the example images."""
    sources = {}
    for name, kinds in drawn.items():
        kind, mime = ("png", "png") if name == "figure_2" else ("svg", "svg+xml")
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
