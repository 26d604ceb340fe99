import numpy as np
import pytest
from helpers import synthetic

from analysis.report.analysis import Analysis
from analysis.report.sections import claims, paper_tables


def test_why_cells_are_absent(make_results):
    results = make_results(
        synthetic.grid((1.0,), (0, 1)), status={"pretrained-100-s0": ("failed", "no")}
    )
    results.trials.loc[results.trials["trial"] == "pretrained-100-s1", "status"] = "interrupted"
    analysis = Analysis(everything=results)
    assert analysis.why_no_baseline is None
    assert analysis.why_absent(1.0) == (
        "no trial pretrained at 100% is complete (failed and interrupted)"
    )
    assert analysis.why_absent(0.5, "scratch") == "the grid has no trial scratch at 50%"


def test_what_sections_share_is_computed_once(full_grid):
    analysis = Analysis(everything=full_grid)
    assert analysis.results is analysis.results
    assert analysis.predictions is analysis.predictions
    assert analysis.label_efficiency is analysis.label_efficiency


def test_comparisons_are_of_the_first_protocol(full_grid):
    analysis = Analysis(everything=full_grid)
    frame = analysis.against_baseline
    assert frame["fraction"].tolist() == [0.1, 0.25, 0.5, 1.0]
    scratch = full_grid.of("scratch", 1.0)["accuracy"].mean()
    assert np.allclose(frame["scratch"], scratch)
    assert analysis.crossing.fraction == pytest.approx(0.25)


def test_names_of_dropped_classes_come_last(full_grid):
    analysis = Analysis(everything=full_grid)
    assert analysis.figure_names.names == (*synthetic.NAMES, "cigar")


def test_what_is_set_against_the_paper_stays_with_accuracy(full_grid):
    """Claims, the paper's tables and its figures are the same whatever the metric."""
    plain, other = (
        Analysis(everything=full_grid.with_metric(name)) for name in ("accuracy", "macro_f1")
    )
    assert plain.by_accuracy is plain
    assert claims.claims_table(claims.claims(other.by_accuracy)).equals(
        claims.claims_table(claims.claims(plain))
    )
    first, second = (paper_tables.section(a).tables[0] for a in (plain, other))
    assert first.frame.equals(second.frame)
    assert first.title == second.title
    assert not plain.accuracies.equals(other.accuracies)


def test_a_trial_without_a_value_is_left_out_and_said(make_results):
    results = make_results(synthetic.grid((1.0,), (0, 1)))
    (results.checkpoint("scratch-100-s1") / "predictions.npz").unlink()
    other = results.with_metric("balanced_accuracy")
    row = Analysis(everything=other).at_equal_labels.iloc[0]
    assert (row["n_scratch"], row["n_pretrained"]) == (1, 2)
    assert any("scratch-100-s1: no balanced accuracy" in note for note in other.notes)
