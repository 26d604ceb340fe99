import pandas as pd
import pytest
import synthetic

from analysis import paper, tables
from analysis.claims import claims
from analysis.statistics import wilson


def test_table_1_of_the_papers_grid(paper_grid):
    table = tables.table_1(paper_grid)
    assert table["paper's trial"].tolist() == [trial.trial for trial in paper.TRIALS]
    assert table["paper: accuracy %"][0] == "69.49"
    ours = paper_grid.of("scratch", 1.0)["best_val_accuracy"].item()
    assert table["accuracy %"][0] == f"{ours * 100:.2f}"
    assert table["difference, points"][0] == f"{ours * 100 - 69.49:+.2f}".replace("-", "−")
    interval = wilson(ours, 3481)
    assert table["95 % interval"][0] == f"{interval.low * 100:.1f}–{interval.high * 100:.1f}"
    assert set(table["seeds"]) == {"1"}


def test_table_1_of_other_data_has_no_difference(full_grid):
    table = tables.table_1(full_grid)
    assert not [name for name in table if "difference" in name]
    assert table["seeds"].tolist() == ["3"] * 8
    values = full_grid.of("pretrained", 0.25)["best_val_accuracy"] * 100
    row = table.set_index("trial").loc["pretrained 25 %"]
    assert row["accuracy %"] == f"{values.mean():.2f} ± {values.std():.2f}"
    assert row["paper's trial"] == "–"


def test_table_2(paper_grid):
    table = tables.table_2(paper_grid)
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
    one, two = tables.table_1(results), tables.table_2(results)
    assert one.loc[0, ["seeds", "accuracy %", "95 % interval", "loss"]].tolist() == ["0", *"–––"]
    assert two["epochs"][0] == "–"
    assert two["epochs"][1].endswith("(limit)")
    assert "nan" not in one.to_string().lower() + two.to_string().lower()


def test_best_row(full_grid, make_results):
    assert tables.table_1(full_grid)["trial"][tables.best_rows(full_grid)[0]] == "pretrained 100 %"
    cells = synthetic.grid((1.0,), (0,))
    none = make_results(cells, status={cell["id"]: ("not started", "") for cell in cells})
    assert tables.best_rows(none) == []


def test_trials_table_and_csv(make_results):
    results = make_results(
        synthetic.grid((1.0,), (0, 1)), status={"scratch-100-s1": ("not started", "")}
    )
    table = tables.trials_table(results)
    assert table["status"].tolist() == ["complete", "not started", "complete", "complete"]
    assert table.loc[1, "accuracy %"] == "–"
    csv = tables.trials_csv(results)
    assert list(csv) == [
        *("trial", "init", "fraction", "seed", "protocol", "n_train", "n_val", "epochs"),
        *("best_val_accuracy", "best_val_loss", "epoch_seconds", "total_seconds", "status"),
    ]


@pytest.fixture
def small():
    return pd.DataFrame({"trial": ["a_1", "b"], "accuracy %": ["70 ± 1", "−2"]})


def test_markdown(small):
    text = tables.to_markdown(small, "Table 1. A title.", [0])
    assert text.startswith("Table 1. A title.\n\n| trial")
    assert "| **a_1** | **70 ± 1**   |" in text


def test_latex(small):
    text = tables.to_latex(small, "Table 1. Shares in %", [0])
    assert r"\caption{Shares in \%}" in text
    assert r"\textbf{a\_1} & \textbf{70 $\pm$ 1} \\" in text
    assert r"b & $-$2 \\" in text
    assert r"\toprule" in text


def test_claims_table(paper_grid):
    table = tables.claims_table(claims(paper_grid))
    assert list(table) == ["claim", "verdict", "here", "the paper", "why"]
    assert len(table) == 6
