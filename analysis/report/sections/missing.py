"""Trials that are not in the numbers, and what was odd in the sweep's folder."""

from __future__ import annotations

import pandas as pd

from analysis.report.analysis import Analysis
from analysis.report.section import Block, Section
from analysis.report.tables import ReportTable
from analysis.results.schema import records


def section(analysis: Analysis) -> Section:
    """Trials that failed, were interrupted or never started."""
    missing = analysis.everything.missing
    rows = [
        {
            "trial": trial["trial"],
            "status": trial["status"],
            "epochs done": str(trial["epochs"]),
            "error": trial["error"] or "none",
        }
        for trial in records(missing)
    ]
    first: Block = "None: every trial of the grid is complete."
    if rows:
        first = ReportTable(frame=pd.DataFrame(rows), numbers=False)
    return Section(
        id="missing", title="Missing or failed", blocks=(first, *analysis.everything.notes)
    )
