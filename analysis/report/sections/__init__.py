"""The sections of a sweep's report.

A new section is a file here with a function ``section(analysis) -> Section | None`` and a line in
`SECTIONS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from analysis.report.analysis import Analysis
from analysis.report.render import Page
from analysis.report.section import Section, build
from analysis.report.sections import (
    backbones,
    calibration,
    claims,
    classes,
    examples,
    label_efficiency,
    limits,
    missing,
    more_labels,
    paper_figures,
    paper_tables,
    protocols,
    reproduce,
    settings,
    summary,
    transfer,
    trials,
)
from analysis.results.schema import Results

SECTIONS: tuple[Callable[[Analysis], Section | None], ...] = (
    summary.section,
    label_efficiency.section,
    more_labels.section,
    backbones.section,
    transfer.section,
    claims.section,
    paper_tables.section,
    paper_figures.section,
    protocols.section,
    classes.section,
    calibration.section,
    examples.section,
    settings.section,
    trials.section,
    missing.section,
    limits.section,
    reproduce.section,
)
"""In the order of the page."""


def report(
    results: Results,
    *,
    authors_curves: bool = True,
    target: float | None = None,
    more: int | None = None,
    of: str | None = None,
    baseline: str | None = None,
    sections: Sequence[Callable[[Analysis], Section | None]] = SECTIONS,
) -> Page:
    """The report of a sweep.

    Parameters
    ----------
    authors_curves
        Show the authors' own curves; they are left out anyway if data or model differ.
    target
        An accuracy, 0–1, whose number of labels is asked for.
    more
        Labels beyond the largest budget whose gain is asked for. None: as many again.
    of, baseline
        Of several architectures, the pre-trained one that most sections are about, and the one that is
        trained from scratch. None: those with the highest validation accuracy.

    Raises
    ------
    SweepError
        No trial of an architecture that is named.
    """
    analysis = Analysis(
        everything=results,
        with_authors=authors_curves,
        target=target,
        more=more,
        of=of,
        baseline=baseline,
    )
    name = " + ".join(manifest.name for manifest in results.manifests)
    return Page(
        name=f"{name}: sweep report",
        title=f"{name}: from scratch or pre-trained?",
        subtitle=settings.subtitle(analysis.results),
        sections=build(sections, analysis, analysis.all_class_names),
    )
