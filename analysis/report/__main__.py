"""One report of a sweep: figures, tables, claims and the answer.

    python -m analysis.report ray_results/NAME [more sweeps …] [--metric balanced_accuracy] [--out DIR]

Writes ``report.html`` (one file, nothing fetched), ``figures/``, ``tables/``, ``claims.md``,
``trials.csv`` and ``epochs.csv`` to ``ray_results/NAME/report``.
"""

from __future__ import annotations

import sys
import webbrowser
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Annotated

import tyro

from trainable.errors import EXIT_CODE, SettingsError, SweepError, UserError


@dataclass(frozen=True, kw_only=True)
class Report:
    """Write the report of a sweep, or of several that are read as one grid."""

    sweeps: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="SWEEP …")]
    """Sweep folders, e.g. ray_results/demo."""
    metric: str | None = None
    """accuracy, balanced_accuracy, macro_f1, or a scikit-learn scorer. None: the first sweep's."""
    out: Path | None = None
    """Where to write. None: report/ in the first sweep's folder."""
    of: str | None = None
    """Of several architectures, the pre-trained one to report on. None: the best by validation."""
    baseline: str | None = None
    """The architecture trained from scratch that it is compared with. None: the best by validation."""
    open: bool = False
    """Show the report in the browser, if there is a terminal and a browser."""
    authors_curves: bool = True
    """Lay the authors' own curves under ours, if data and model are the paper's."""
    target: float | None = None
    """An accuracy, e.g. 0.8: how many labels it would take."""
    more: int | None = None
    """How much so many more labels than the largest budget would bring. None: as many again."""

    def __post_init__(self) -> None:
        if self.target is not None and not 0 < self.target < 1:
            raise SettingsError(f"--target {self.target:g}: must be between 0 and 1; 80% is 0.8")
        if self.more is not None and self.more < 1:
            raise SettingsError(f"--more {self.more}: must be a number of labels, 1 or more")


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    try:
        chosen = tyro.cli(
            Report, args=arguments, prog="python -m analysis.report", description=Report.__doc__
        )
        write_report(chosen)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_CODE
    return 0


def write_report(chosen: Report) -> None:
    """Read the sweeps, write the report and print its answer."""
    if not chosen.sweeps:
        raise SweepError("no sweep given; expected one or more folders, e.g. ray_results/demo")
    # slow to import, which --help needs none of
    from analysis.metrics import ACCURACY
    from analysis.report.render import write
    from analysis.report.sections import report
    from analysis.results.load import read

    results = read(*chosen.sweeps)
    metric = chosen.metric or results.manifest.settings.get("metric", ACCURACY.name)
    results = results.with_metric(metric)
    page = report(
        results,
        authors_curves=chosen.authors_curves,
        target=chosen.target,
        more=chosen.more,
        of=chosen.of,
        baseline=chosen.baseline,
    )
    out = chosen.out or chosen.sweeps[0] / "report"
    first, *others = write(page, out / "report.html")
    if chosen.open and sys.stdout.isatty():
        webbrowser.open(first.absolute().as_uri())
    print(f"{len(results.complete)} of {len(results.trials)} trials complete.")
    print(page.sections[0].headline)
    for sentence in page.sections[0].paragraphs:
        print(f"  {sentence}")
    print(f"Wrote {first} and beside it:")
    for folder, paths in groupby(sorted(others), key=lambda path: path.parent):
        names = ", ".join(path.name for path in paths)
        print(f"  {folder.relative_to(out) / ''}: {names}" if folder != out else f"  {names}")


if __name__ == "__main__":
    sys.exit(main())
