"""What the report says of several protocols, on synthetic trials."""

from __future__ import annotations

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import synthetic
from test_report import rendered

from analysis.protocol_section import dots, plate, section
from analysis.protocols import compared, sentences, table
from analysis.report import findings, write
from trainable.protocol import PROTOCOLS

NAMES = ("paper", "paper+trained", "as_run")


def a_cell(init, fraction, seed, *names):
    """A trial that the protocols `names` prescribe, by the first's settings."""
    cell, protocol = synthetic.cell(init, fraction, seed), PROTOCOLS[names[0]]
    recipe, stopping = protocol.recipe(init), protocol.stopping_for(init, fraction)
    settings = {
        "trained": recipe.trained,
        "transform": recipe.transform,
        "stopping": {k: getattr(stopping, k) for k in ("rule", "delta", "patience")},
        "max_epochs": protocol.max_epochs_for(init, fraction),
    }
    front = "" if names[0] == "paper" else f"{names[0]}-"
    return cell | {
        "id": front + cell["id"],
        "protocols": list(names),
        "run": cell["run"] | settings,
    }


def some_cells(seeds=(0, 1, 2), fractions=(0.4, 1.0)):
    """`NAMES` at two fractions; paper+trained shares the scratch trials of paper."""
    cells = []
    for seed in seeds:
        cells += [
            a_cell("scratch", 1.0, seed, "paper", "paper+trained"),
            a_cell("scratch", 1.0, seed, "as_run"),
            *(a_cell("pretrained", f, seed, name) for f in fractions for name in NAMES),
        ]
    return cells


@pytest.fixture
def several(make_results):
    return make_results(some_cells(), protocol="paper")


def better(results, trials, by):
    """The same results with other accuracies of some trials, and no stored predictions."""
    frame = results.trials.assign(checkpoint=None)
    frame.loc[trials(frame), "best_val_accuracy"] += by
    return replace(results, trials=frame)


def test_one_protocol_is_not_compared(full_grid):
    assert compared(full_grid) is None
    assert section(full_grid) is None
    assert findings(full_grid).protocols is None


def test_a_row_for_each_protocol_and_cell(several):
    frame = compared(several)
    assert frame["protocol"].tolist() == list(NAMES) * 3
    assert frame["init"].tolist() == ["scratch"] * 3 + ["pretrained"] * 6
    assert frame["fraction"].tolist() == [1.0] * 3 + [0.4] * 3 + [1.0] * 3
    assert (frame["n"] == 3).all()
    assert frame["same"].tolist() == [False, True] + [False] * 7
    assert frame["trained"].tolist() == ["all"] * 3 + ["head", "as_run", "as_run"] * 2
    assert frame["delta"].tolist() == [0.03, 0.03, 0.05, 0.03, 0.03, 1.0, 0.03, 0.03, 0.05]


def test_difference_is_to_the_first_protocol_and_gain_to_the_own_baseline(several):
    frame = compared(several)
    assert frame["difference"].notna().tolist() == [False, False, True] + [False, True, True] * 2
    assert frame["gain"].notna().tolist() == [False] * 3 + [True] * 6
    accuracy = frame["accuracies"].map(np.mean)
    for block, own in ((slice(3, 6), 0), (slice(6, 9), 0)):
        rows = frame[block]
        expected = accuracy[block] - accuracy[rows.index[own]]
        for row, value in zip(rows[1:].itertuples(), expected[1:], strict=True):
            assert row.difference.value == pytest.approx(value)
            assert "paired over 248 shared validation images" in row.difference.how
    for row in frame[6:].itertuples():
        scratch = accuracy[2] if row.protocol == "as_run" else accuracy[0]
        assert row.gain.value == pytest.approx(accuracy[row.Index] - scratch)


def test_table_shows_what_differs(several):
    text = table(compared(several), "paper")
    assert len(text) == 9
    assert text["trial"].tolist()[3:6] == ["pretrained 40 %", "", ""]
    as_run = text.iloc[5]
    assert as_run["trains"] == "all but encoder, 774"
    assert as_run["counter"] == "resets"
    assert (as_run["δ"], as_run["patience"], as_run["epoch limit"]) == ("1", "", "40")
    assert text.iloc[4]["image"] == ""
    assert text.iloc[1]["less paper, points"] == "same trials"
    assert "learning rate" not in text
    assert not text.map(lambda value: "nan" in value.lower() or "None" in value).any(axis=None)


def test_clear_differences_are_said(several):
    results = better(several, lambda t: t["trial"].str.startswith("as_run-pre"), 0.3)
    said = sentences(compared(results), "paper")
    assert "as_run is more accurate than paper at pretrained 40 %, 397 labels: +30.0" in said[1]
    assert "not to be told from paper at scratch 100 %" in said[1]
    assert "prescribes the very trials of paper at scratch 100 %" in said[0]
    assert "by paper, " in said[2]
    assert "by as_run" in said[2]


def test_what_only_ends_elsewhere_needs_no_interval(several):
    """as_run with the stored predictions of paper, as where the best epochs are the same."""
    frame = several.trials.set_index("trial")
    for trial in frame.index[frame.index.str.startswith("as_run-pretrained-100")]:
        columns = ["checkpoint", "best_val_accuracy"]
        frame.loc[trial, columns] = frame.loc[trial.removeprefix("as_run-"), columns]
    compare = compared(replace(several, trials=frame.reset_index()))
    assert compare["alike"].tolist() == [False] * 8 + [True]
    assert compare["difference"].iloc[8] is None
    assert table(compare, "paper")["less paper, points"].iloc[8] == "0.0 on each image"
    said = sentences(compare, "paper")[1]
    assert "as_run is not to be told from paper at scratch" in said
    assert "It is right on the very images that paper is right on, seed by seed, at pret" in said


def test_one_seed_and_none(make_results):
    cells = some_cells(seeds=(0,))
    lost = [c["id"] for c in cells if c["protocols"] == ["as_run"] and c["run"]["fraction"] == 1.0]
    results = make_results(cells, protocol="paper", status=dict.fromkeys(lost, ("failed", "x")))
    frame = compared(results)
    text = table(frame, "paper")
    assert text["seeds"].tolist() == ["1", "1", "0", "1", "1", "1", "1", "1", "0"]
    assert text.iloc[2]["accuracy %"] == text.iloc[2]["less paper, points"] == "–"
    assert "±" not in text.iloc[0]["accuracy %"]
    _, ax = plt.subplots()
    dots(frame[frame["init"] == "scratch"], ax, first="paper", baseline=0.5)
    assert "none complete" in [t.get_text() for t in ax.texts]
    plt.close("all")


def test_protocols_without_a_common_cell(make_results):
    cells = [a_cell("pretrained", 0.4, 0, "paper"), a_cell("pretrained", 1.0, 0, "as_run")]
    results = make_results(cells, protocol="paper")
    frame = compared(results)
    assert frame["difference"].isna().all()
    assert "The same images and seeds by 2" in section(results).lead
    assert sentences(frame, "paper") == (
        "as_run cannot be set against paper: they share no cell that is complete.",
    )


def test_figure_shows_every_seed_and_marks_what_is_the_same(several):
    frame = compared(several)
    _, ax = plt.subplots()
    cell = frame[frame["init"] == "scratch"]
    dots(cell, ax, first="paper", baseline=0.5)
    assert [t.get_text() for t in ax.get_yticklabels()] == list(NAMES)
    seeds = [line for line in ax.lines if line.get_marker() == "."]
    assert [sorted(line.get_xdata()) for line in seeds] == [sorted(a) for a in cell["accuracies"]]
    filled = [c[0].get_markerfacecolor() for c in ax.containers]
    assert filled[1] == "white"
    assert "white" not in (filled[0], filled[2])
    plt.close("all")


def test_figure_leaves_out_cells_in_which_nothing_differs(several):
    frame = compared(several)
    drawn = plate(frame, "paper")
    everywhere = frame[~((frame["init"] == "scratch") & (frame["protocol"] == "as_run"))]
    fewer = plate(everywhere, "paper")
    titles = [[ax.get_title() for ax in p.figure.axes if ax.get_visible()] for p in (drawn, fewer)]
    assert titles[1] == [title for title in titles[0] if "scratch" not in title] != titles[0]
    said = "Left out, as all protocols prescribe the same: scratch 100 %."
    assert said in fewer.caption
    assert "Left out" not in drawn.caption
    all_the_same = plate(everywhere[everywhere["init"] == "scratch"], "paper")
    assert [ax.get_title() for ax in all_the_same.figure.axes] == ["scratch 100 %, 992 labels"]
    assert "Left out" not in all_the_same.caption
    plt.close("all")


def test_report_is_about_the_first_and_compares_all(several, tmp_path):
    found = findings(several)
    page = rendered(several)
    assert "The same images, splits and seeds by 3 protocols" in page.text
    assert "What the protocols change" in page.headings
    assert "3 protocols: paper, paper+trained and as_run" in page.text
    assert "9 of 9 trials complete, n = 3 seeds per cell" in page.text
    assert "as_run-pretrained-100-s0" in page.text
    own = findings(several.only("paper"))
    assert (found.answer, found.claims) == (own.answer, own.claims)
    written = {path.name for path in write(several, found, tmp_path)}
    assert {"protocols.svg", "protocols.png", "protocols.md", "protocols.tex"} <= written
    trials = (tmp_path / "trials.csv").read_text().splitlines()
    assert len(trials) - 1 == len(several.trials) == 24
