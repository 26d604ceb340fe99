from helpers import synthetic

from analysis import paper
from analysis.report.analysis import Analysis
from analysis.report.sections import paper_tables
from analysis.report.tables import BEST
from analysis.stats.estimates import wilson


def test_table_1_of_the_papers_grid(paper_grid):
    table = paper_tables.table_1(Analysis(everything=paper_grid))
    assert table["paper's trial"].tolist() == [trial.trial for trial in paper.TRIALS]
    assert table["paper: accuracy %"][0] == "69.49"
    ours = paper_grid.of("scratch", 1.0)["accuracy"].item()
    assert table["accuracy %"][0] == f"{ours * 100:.2f}"
    assert table["difference, points"][0] == f"{ours * 100 - 69.49:+.2f}".replace("-", "−")
    interval = wilson(ours, 3481)
    assert table["95% CI"][0] == f"{interval.low * 100:.1f}–{interval.high * 100:.1f}"
    assert set(table["seeds"]) == {"1"}


def test_table_1_of_other_data_has_no_difference(full_grid, full_analysis):
    table = paper_tables.table_1(full_analysis)
    assert not [name for name in table if "difference" in name]
    assert table["seeds"].tolist() == ["3"] * 8
    values = full_grid.of("pretrained", 0.25)["accuracy"] * 100
    row = table.set_index("trial").loc["pretrained 25%"]
    assert row["accuracy %"] == f"{values.mean():.2f} ± {values.std():.2f}"
    assert row["paper's trial"] == "–"


def test_table_2(paper_grid):
    table = paper_tables.table_2(paper_grid)
    trial = paper_grid.of("scratch", 1.0).iloc[0]
    assert table["epochs"][0] == str(trial["epochs"])
    assert table["total, min"][0] == f"{trial['total_seconds'] / 60:.2f}"
    assert table["paper: total, min"].tolist()[:2] == ["131", "29"]
    assert not [name for name in table if "difference" in name]


def test_incomplete_cells_show_dashes_and_the_limit_is_said(make_results):
    results = make_results(
        synthetic.grid((0.5, 1.0), (0,)), status={"scratch-50-s0": ("failed", "no")}
    )
    results.trials.loc[results.trials["trial"] == "scratch-100-s0", "stopped_early"] = False
    one, two = paper_tables.table_1(Analysis(everything=results)), paper_tables.table_2(results)
    assert one.loc[0, ["seeds", "accuracy %", "95% CI", "loss"]].tolist() == ["0", *"–––"]
    assert two["epochs"][0] == "–"
    assert two["epochs"][1].endswith("(limit)")
    assert "nan" not in one.to_string().lower() + two.to_string().lower()


def test_best_row(full_grid, make_results):
    (row,) = paper_tables.best_rows(full_grid)
    assert paper_tables.table_1(Analysis(everything=full_grid))["trial"][row] == "pretrained 100%"
    cells = synthetic.grid((1.0,), (0,))
    none = make_results(cells, status={cell.id: ("not started", "") for cell in cells})
    assert paper_tables.best_rows(none) == []


def test_the_best_cell_is_bold(full_grid, full_analysis):
    first, second = paper_tables.section(full_analysis).tables
    (row,) = paper_tables.best_rows(full_grid)
    assert first.marks == {(row, "trial"): BEST, (row, "accuracy %"): BEST}
    assert second.marks == {}


def test_the_papers_numbers_are_for_orientation_if_the_data_is_other(full_grid, paper_grid):
    said, none = (
        paper_tables.section(Analysis(everything=r)).paragraphs for r in (full_grid, paper_grid)
    )
    assert "not Galaxy10 DECaLS" in said[0]
    assert none == ()


def test_table_2_has_no_epochs_of_a_probe(make_results):
    results = make_results(synthetic.probed(synthetic.grid((1.0,), (0, 1))))
    table = paper_tables.table_2(results).set_index("trial")
    assert table.loc["pretrained 100%", ["epochs", "s per epoch"]].tolist() == ["–", "–"]
    assert "–" not in table.loc["scratch 100%", ["epochs", "s per epoch", "total, min"]].tolist()
    assert table.loc["pretrained 100%", "total, min"] != "–"
