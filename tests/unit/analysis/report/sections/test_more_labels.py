import re

import pytest
from helpers import synthetic
from helpers.figures import overlaps, texts

from analysis.report.analysis import Analysis
from analysis.report.section import Note
from analysis.report.sections import SECTIONS, label_efficiency, more_labels

COLUMNS = ["method", "largest budget", "accuracy there", "with 990 more", "gain, points"]


def analysed(results, **asked):
    return Analysis(everything=results, **asked)


def notes(made):
    return [block.text for block in made.blocks if isinstance(block, Note)]


def test_it_follows_the_number_of_labels_that_is_enough():
    assert SECTIONS.index(more_labels.section) == SECTIONS.index(label_efficiency.section) + 1


def test_a_row_for_each_method(full_grid):
    made = more_labels.section(analysed(full_grid, target=0.65))
    (table,) = made.tables
    baseline = next(column for column in table.frame.columns if "baseline" in column)
    assert table.frame.columns.tolist() == [*COLUMNS, baseline, "labels for 65%"]
    rows = table.frame.set_index("method")
    assert rows.index.tolist() == ["pre-trained", "from scratch"]
    assert rows.loc["from scratch", baseline] == "992: the baseline"
    value, low, high = map(float, re.findall(r"[\d.]+", rows.loc["pre-trained", "gain, points"]))
    assert 0 <= low < value < high <= low + 10
    low, value, high = (
        float(x) for x in re.findall(r"\d+", rows.loc["pre-trained", baseline].replace(",", ""))
    )
    assert 99 < value < high < 992


def test_the_sentence_for_the_summary(full_grid):
    asked = analysed(full_grid, target=0.65, more=500)
    sentence = more_labels.sentence(asked)
    gains = [curve.gain(500).as_gain for curve in asked.learning_curves.values()]
    assert sentence.startswith(
        f"500 more labels than the largest budget would add {gains[0]} to the pre-trained model and "
        f"{gains[1]} to training from scratch. An accuracy of 65% takes this many labels: "
    )
    assert more_labels.section(asked).paragraphs == (sentence,)


def test_as_many_again_is_the_default(full_grid):
    assert analysed(full_grid).more_labels == 990
    assert more_labels.sentence(analysed(full_grid)).startswith("990 more labels")


def test_what_is_refused_is_refused_in_words(full_grid):
    made = more_labels.section(analysed(full_grid, more=4000))
    assert made.paragraphs[0] == (
        "What 4,000 more labels would buy is not predicted; pre-trained: 4,992 labels are more than 4 times "
        "the largest budget, 992, and nothing is predicted so far beyond it; from scratch: 4,992 labels "
        "are more than 4 times the largest budget, 992, and nothing is predicted so far beyond it."
    )
    assert "Not predicted, from scratch: 4,992 labels are more than 4 times" in " ".join(
        notes(made)
    )
    assert set(made.tables[0].frame["gain, points"]) == {"not predicted"}


@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2)])
@pytest.mark.parametrize("accuracy", [synthetic.accuracy_of, lambda *_: 1.0, lambda *_: 0.2])
def test_every_case_has_words_and_no_overlap(make_results, seeds, accuracy):
    made = more_labels.section(
        analysed(make_results(synthetic.grid(seeds=seeds), accuracy), target=0.9)
    )
    (figure,) = made.figures
    said = " ".join([*texts(figure.figure), *made.paragraphs, *notes(made)])
    said += " ".join(table.frame.to_string() for table in made.tables)
    assert not re.search(r"\b(nan|inf|None)\b", said)
    assert not overlaps(figure.figure)


def test_one_method_has_enough_budgets_and_the_other_has_not(paper_grid):
    made = more_labels.section(analysed(paper_grid))
    assert made.tables[0].frame["method"].tolist() == ["pre-trained"]
    assert "from scratch: a learning curve needs 3 numbers of labels" in " ".join(notes(made))
    assert any("baseline" in column for column in made.tables[0].frame)


def test_without_a_baseline_there_is_no_column_for_it(make_results):
    results = make_results(synthetic.grid((0.1, 0.25, 0.5), (0, 1), inits=("pretrained",)))
    (table,) = more_labels.section(analysed(results)).tables
    assert not any("baseline" in column for column in table.frame)


def test_none_with_fewer_than_three_numbers_of_labels(make_results):
    few = analysed(make_results(synthetic.grid((0.5, 1.0), (0,))))
    assert more_labels.section(few) is None
    assert more_labels.sentence(few) is None


def test_predictions_that_are_not_stored_are_told(make_results):
    results = make_results(synthetic.grid(seeds=(0,)))
    results.trials["checkpoint"] = None
    made = more_labels.section(analysed(results))
    assert "not all trials have stored predictions" in made.paragraphs[0]
    assert made.figures == ()


def test_predictions_are_of_accuracy_whatever_the_metric(full_grid):
    other = analysed(full_grid.with_metric("balanced_accuracy"))
    assert more_labels.sentence(other) == more_labels.sentence(analysed(full_grid))
