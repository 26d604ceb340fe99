import pytest
from helpers import synthetic
from helpers.protocols import a_cell

from analysis.report.analysis import Analysis
from analysis.report.section import Facts
from analysis.report.sections import settings


def section(results):
    return settings.section(Analysis(everything=results))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, settings.FIXED),
        ({"split": "subset-first"}, settings.SUBSET_FIRST),
        ({"resample": True}, settings.RESAMPLED),
    ],
)
def test_the_kind_of_split_is_said(full_grid, changes, said):
    paragraphs = section(synthetic.with_data(full_grid, **changes)).paragraphs
    assert paragraphs == (settings.SCORING + settings.VALIDATED, said)


def test_facts_name_data_and_classes_left_out(full_grid):
    (facts,) = [block for block in section(full_grid).blocks if isinstance(block, Facts)]
    facts = dict(facts.items)
    assert facts["SHA-256"] == synthetic.SHA
    assert facts["classes left out"] == "cigar (label 4, 34 images)"
    assert facts["parameters, pretrained"] == "774 trained of 806,000"
    assert facts["validation sets"] == "1: v"


def test_settings_of_each_init(full_grid):
    table = settings.protocol_table(full_grid).set_index("setting")
    assert table.loc["trained", ["scratch", "pretrained"]].tolist() == ["all", "head"]
    assert table.loc["δ"].tolist() == ["0.03", "0.03"]


def test_settings_that_the_paper_has_not_have_rows_if_a_trial_has_them(make_results, full_grid):
    assert "schedule" not in set(settings.protocol_table(full_grid)["setting"])
    cells = [a_cell(init, 1.0, 0, "modern") for init in ("scratch", "pretrained")]
    table = settings.protocol_table(make_results(cells)).set_index("setting")
    assert table.loc["layer decay", ["scratch", "pretrained"]].tolist() == ["1.0", "0.75"]
    assert table.loc["schedule"].tolist() == ["cosine", "cosine"]
    assert table.loc["stopper"].tolist() == ["none", "none"]


def test_subtitle_counts_trials_and_images(full_grid):
    text = settings.subtitle(full_grid)
    assert text.startswith(
        "24 of 24 trials complete, n = 3 seeds per cell; mock, 1,107 images in 6"
    )


def test_a_probe_has_no_settings_of_steps(make_results):
    results = make_results(synthetic.probed(synthetic.grid((1.0,), (0,))))
    assert section(results).paragraphs[0] == settings.PROBED
    table = settings.protocol_table(results).set_index("setting")
    assert table.loc["trained", "pretrained"] == "probe"
    of_steps = ["learning rate", "weight decay", "batch size", "max epochs", "stopper", "patience"]
    assert set(table.loc[of_steps, "pretrained"]) == {"–"}
    assert "–" not in set(table["scratch"])
