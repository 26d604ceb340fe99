import json

import h5py
import numpy as np
import pytest
from helpers.surveys import leak_trials, write_survey

from analysis.report.render import render
from analysis.survey import sections
from analysis.survey.duplicates import find, fingerprint
from analysis.survey.leakage import Worth
from trainable.data.class_selection import select
from trainable.data.dataset import open_survey


def analysed(path, drop_labels=(), **settings):
    survey = open_survey(path)
    selection = select(survey, drop_labels)
    prints = fingerprint(survey, selection.rows)
    return sections.SurveyAnalysis(
        survey=survey,
        selection=selection,
        fingerprints=prints,
        duplicates=find(survey, selection, prints),
        **{"seeds": (0, 1), **settings},
    )


@pytest.fixture(scope="module")
def paired(tmp_path_factory):
    """Rows 0 and 24 at one position: kinds 0 and 1."""
    path = write_survey(tmp_path_factory.mktemp("paired") / "paired.h5", positions=True)
    with h5py.File(path, "r+") as file:
        for name in ("ra", "dec"):
            file[name][24] = file[name][0]
    return path


def named(path, names):
    """A survey with other class names."""
    write_survey(path)
    with h5py.File(path, "r+") as file:
        file.attrs["class_names"] = json.dumps(names)
    return path


def test_summary_counts_pairs(paired):
    said = sections.summary(analysed(paired)).paragraphs
    assert "1 pair, 1 with two different labels." in said[0]
    assert said[2].startswith("A plain random split puts 0.3 of the pairs")
    assert len(said) == 3
    trained = sections.summary(analysed(paired, leak_trials=leak_trials())).paragraphs
    assert "+10.0 points" in trained[3]


def test_pairs_without_positions(survey_path):
    analysis = analysed(survey_path)
    assert analysis.pairs_by_sky is None
    assert analysis.expected_leaks is None
    for section in (sections.pairs_by_sky(analysis), sections.leaks(analysis)):
        assert section.paragraphs[0].startswith("There are no positions in these data")
        assert section.data == {}


def test_no_pairs(tmp_path):
    analysis = analysed(write_survey(tmp_path / "apart.h5", positions=True))
    assert sections.pairs_by_sky(analysis).paragraphs[0] == "0 pairs."
    assert sections.leaks(analysis).paragraphs == ("Nothing: no galaxy is there twice.",)


def test_a_class_left_out_is_counted_and_named(survey_path):
    analysis = analysed(survey_path, drop_labels=(1,))
    counts = sections.counts(analysis).data["counts"]
    assert counts["kept"].tolist() == [True, False, True]
    assert analysis.selected_figure_names == ("kind 0", "kind 2")
    assert sections.image_statistics(analysis).tables[0].frame["class"].tolist() == [
        "kind 0",
        "kind 2",
    ]
    (facts,) = sections.the_file(analysis).blocks
    assert dict(facts.items)["classes left out"] == "kind 1"


def test_statistics_table_has_medians_in_their_units(survey_path):
    analysis = analysed(survey_path)
    section = sections.image_statistics(analysis)
    row = section.tables[0].frame.iloc[0]
    sky = analysis.fingerprints.statistics["sky"][analysis.selection.labels == 0]
    assert row["sky, counts, 0–255"].startswith(f"{np.median(sky):.2f} [")
    assert len(section.data["image_statistics"]) == 60


def test_worth_of_a_leak_in_words():
    said = sections.leak_sentences(Worth(trials=leak_trials()))
    assert "+10.0 points [" in said[0]
    assert "n = 3 seeds" in said[0]
    assert "n = 12" in said[1]
    assert "n = 288" in said[1]
    none = sections.leak_sentences(Worth(trials=leak_trials(leaked=0)))
    assert none[1] == "None of these plain splits leaked an image."
    alone = sections.leak_sentences(Worth(trials=leak_trials(seeds=(0,))))
    assert "no interval: n = 1 seed each" in alone[0]


def test_names_are_text_and_never_markup_or_mathematics(tmp_path):
    names = ["Ba$$in", "<script>x</script>", "a|b_{2}"]
    html = render(sections.report(analysed(named(tmp_path / "odd.h5", names)), "odd"))
    assert "<script>" not in html
    assert "Ba$$in" in html


def test_every_section_has_its_own_id(paired):
    page = sections.report(analysed(paired), "paired")
    ids = [section.id for section in page.sections]
    assert len(set(ids)) == len(ids) == len(sections.SECTIONS)
