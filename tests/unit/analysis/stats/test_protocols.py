"""What several protocols on the same images are compared by."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers import synthetic
from helpers.protocols import NAMES, a_cell, some_cells

from analysis.stats.protocols import compared, sentences, table


@pytest.fixture
def several(make_results):
    return make_results(some_cells(), protocol="paper")


def better(results, trials, by):
    """The same results with other accuracies of some trials, and no stored predictions."""
    frame = results.trials.assign(checkpoint=None)
    frame.loc[trials(frame), "accuracy"] += by
    return replace(results, trials=frame)


def test_one_protocol_is_not_compared(full_grid):
    assert compared(full_grid) is None


def test_a_row_for_each_protocol_and_cell(several):
    frame = compared(several)
    assert frame["protocol"].tolist() == list(NAMES) * 3
    assert frame["init"].tolist() == ["scratch"] * 3 + ["pretrained"] * 6
    assert frame["fraction"].tolist() == [1.0] * 3 + [0.4] * 3 + [1.0] * 3
    assert (frame["n"] == 3).all()
    assert frame["same"].tolist() == [False, True] + [False] * 7
    assert frame["trained"].tolist() == ["all"] * 3 + ["head", "non_encoder", "non_encoder"] * 2
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
        scratch = accuracy[2] if row.protocol == "authors" else accuracy[0]
        assert row.gain.value == pytest.approx(accuracy[row.Index] - scratch)


def test_table_shows_what_differs(several):
    text = table(compared(several), "paper")
    assert len(text) == 9
    assert text["trial"].tolist()[3:6] == ["pretrained 40%", "", ""]
    authors = text.iloc[5]
    assert authors["trains"] == "all but encoder, 774"
    assert authors["counter"] == "resets"
    assert (authors["δ"], authors["patience"], authors["epoch limit"]) == ("1", "", "40")
    assert text.iloc[4]["image"] == ""
    assert text.iloc[1]["minus paper, points"] == "same trials"
    assert "learning rate" not in text
    assert not text.map(lambda value: "nan" in value.lower() or "None" in value).any(axis=None)


def test_a_schedule_and_what_comes_with_it_have_columns_if_protocols_differ_in_them(make_results):
    cells = [
        a_cell("pretrained", 1.0, seed, name) for seed in (0, 1) for name in ("paper", "modern")
    ]
    text = table(compared(make_results(cells, protocol="paper")), "paper").set_index("protocol")
    paper, modern = text.loc["paper"], text.loc["modern"]
    assert (paper["counter"], modern["counter"]) == ("never resets", "no stopper")
    assert (paper["δ"], modern["δ"], modern["patience"]) == ("0.03", "–", "–")
    assert (paper["schedule"], modern["schedule"]) == ("constant", "cosine")
    assert (paper["layer-wise decay"], modern["layer-wise decay"]) == ("1", "0.75")
    assert (paper["label smoothing"], modern["label smoothing"]) == ("0", "0.1")
    assert (paper["flips, rotations"], modern["flips, rotations"]) == ("no", "yes")
    assert "learning rate" not in text


def test_clear_differences_are_said(several):
    results = better(several, lambda t: t["trial"].str.startswith("authors-pre"), 0.3)
    said = sentences(compared(results), "paper")
    assert "authors is more accurate than paper at pretrained 40%, 397 labels: +30.0" in said[1]
    assert "no significant difference from paper at scratch 100%" in said[1]
    assert "prescribes the same trials as paper at scratch 100%" in said[0]
    assert "by paper, " in said[2]
    assert "by authors" in said[2]


def test_what_only_ends_elsewhere_needs_no_interval(several):
    """authors with the stored predictions of paper, as where the best epochs are the same."""
    frame = several.trials.set_index("trial")
    for trial in frame.index[frame.index.str.startswith("authors-pretrained-100")]:
        columns = ["checkpoint", "accuracy"]
        frame.loc[trial, columns] = frame.loc[trial.removeprefix("authors-"), columns]
    compare = compared(replace(several, trials=frame.reset_index()))
    assert compare["alike"].tolist() == [False] * 8 + [True]
    assert compare["difference"].iloc[8] is None
    assert table(compare, "paper")["minus paper, points"].iloc[8] == "0.0 on each image"
    said = sentences(compare, "paper")[1]
    assert "authors shows no significant difference from paper at scratch" in said
    assert "It is right on the same images as paper, seed by seed, at pret" in said


def test_one_seed_and_none(make_results):
    cells = some_cells(seeds=(0,))
    lost = [c.id for c in cells if c.protocols == ("authors",) and c.fraction == 1.0]
    results = make_results(cells, protocol="paper", status=dict.fromkeys(lost, ("failed", "x")))
    frame = compared(results)
    text = table(frame, "paper")
    assert text["seeds"].tolist() == ["1", "1", "0", "1", "1", "1", "1", "1", "0"]
    assert text.iloc[2]["accuracy %"] == text.iloc[2]["minus paper, points"] == "–"
    assert "±" not in text.iloc[0]["accuracy %"]


def test_protocols_without_a_common_cell(make_results):
    cells = [a_cell("pretrained", 0.4, 0, "paper"), a_cell("pretrained", 1.0, 0, "authors")]
    results = make_results(cells, protocol="paper")
    frame = compared(results)
    assert frame["difference"].isna().all()
    assert sentences(frame, "paper") == (
        "authors cannot be compared with paper: they share no cell that is complete.",
    )


def test_a_probe_has_no_settings_of_steps(make_results):
    heads = [a_cell("pretrained", 1.0, seed, "paper") for seed in (0, 1)]
    probes = [
        replace(cell, id=f"paper+probe-{cell.id}", protocols=("paper+probe",))
        for cell in synthetic.probed(heads)
    ]
    text = table(compared(make_results([*heads, *probes], protocol="paper")), "paper")
    head, probe = text.to_dict("records")
    assert (head["δ"], head["patience"], head["epoch limit"]) == ("0.03", "3", "100")
    assert probe["trains"] == "last layer, in closed form, 774"
    of_steps = ("counter", "δ", "patience", "epoch limit", "learning rate")
    assert {probe[name] for name in of_steps} == {"–"}
