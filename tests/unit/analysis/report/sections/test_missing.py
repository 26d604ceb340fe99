from dataclasses import replace

from helpers import synthetic

from analysis.report.analysis import Analysis
from analysis.report.sections import missing


def test_failed_trials_with_their_errors_and_notes(make_results):
    results = make_results(
        synthetic.grid((1.0,), (0,)), status={"scratch-100-s0": ("failed", "RuntimeError: no")}
    )
    section = missing.section(Analysis(everything=replace(results, notes=("Odd.",))))
    (row,) = section.tables[0].frame.to_dict("records")
    assert (row["trial"], row["status"], row["error"]) == (
        "scratch-100-s0",
        "failed",
        "RuntimeError: no",
    )
    assert section.paragraphs == ("Odd.",)


def test_nothing_is_missing(full_grid):
    section = missing.section(Analysis(everything=full_grid))
    assert section.tables == ()
    assert section.paragraphs == ("None: every trial of the grid is complete.",)
