import re

import pytest
from helpers import synthetic

from analysis.report.analysis import Analysis
from analysis.report.sections import more_labels, summary
from analysis.stats.estimates import Estimate


def answered(results):
    return summary.section(Analysis(everything=results))


def test_yes(full_grid):
    found = answered(full_grid)
    assert found.headline.startswith(
        "Yes: with 992 labels the pre-trained model is 9.1 points more"
    )
    assert found.headline.count(". ") == 0  # one sentence
    assert "23% of the labels (95% CI: 1" in found.headline
    text = " ".join(found.paragraphs)
    assert "n = 3 seeds" in text
    assert "with about 223 labels (23%)" in text
    assert "bootstrap over 248 validation images and n = 3 seeds" in text
    assert "less accurate with 99" in text
    assert "99 (+" in text
    assert "the most common class" in text


def test_no(make_results):
    results = make_results(
        synthetic.grid(), lambda init, n, seed: 0.8 if init == "scratch" else 0.6 + n / 10_000
    )
    found = answered(results)
    assert found.headline.startswith("No: with 992 labels the pre-trained model is 10.")
    assert "at no number of labels" in found.headline
    text = " ".join(found.paragraphs)
    assert "does not reach the baseline" in text
    assert "closest with 992" in text
    assert "99 (−" in text


def test_value_and_interval_of_the_headline_are_one_quantity(make_results):
    results = make_results(
        synthetic.grid(), lambda init, n, seed: 0.8 if init == "scratch" else 0.6 + n / 10_000
    )
    headline = answered(results).headline
    value = float(headline.split(" points less")[0].split()[-1])
    low, high = (float(end) for end in headline.split("CI: ")[1].split(")")[0].split(" to "))
    assert 0 < low < value < high


def test_undecided(make_results):
    results = make_results(synthetic.grid((1.0,), (0,)), lambda *_: 0.7)
    found = answered(results)
    assert found.headline.startswith("Inconclusive: with 992 labels")
    assert "pre-trained minus scratch" in found.headline
    assert "fewer may suffice" in found.paragraphs[1]


def test_few_labels_have_another_answer_than_many(make_results):
    """Pre-training ahead at few labels, behind at many: the headline says both."""
    results = make_results(
        synthetic.grid(), lambda init, n, seed: 0.75 if init == "pretrained" else 0.5 + n / 2500
    )
    headline = answered(results).headline
    assert headline.startswith("No: with 992 labels the pre-trained model is")
    assert headline.endswith(
        "; with 99, 248 and 496 labels the pre-trained model is more accurate."
    )


def test_nothing_complete(make_results):
    cells = synthetic.grid((1.0,), (0,))
    results = make_results(cells, status={cell.id: ("not started", "") for cell in cells})
    found = answered(results)
    assert found.headline.startswith("No answer yet: no trial pretrained at 100%")
    assert found.paragraphs[0].startswith("2 of the grid's trials")


@pytest.mark.parametrize("init", ["scratch", "pretrained"])
def test_one_init_alone(make_results, init):
    found = answered(make_results(synthetic.grid((0.5, 1.0), (0,), inits=(init,))))
    assert found.headline.startswith("No answer yet: the grid has no trial")


def test_no_baseline_but_equal_labels(make_results):
    found = answered(make_results(synthetic.grid((0.1, 0.5), (0,))))
    assert "with 496 labels" in found.headline
    assert "the grid has no trial scratch at 100%" in found.paragraphs[1]


def test_baseline_but_no_equal_labels(make_results):
    cells = [*synthetic.grid((0.1, 0.5), (0,), inits=("pretrained",)),
             *synthetic.grid((1.0,), (0,), inits=("scratch",))]  # fmt: skip
    headline = answered(make_results(cells)).headline
    assert headline.startswith("Only in part")
    assert "match training from scratch on all labels" in headline or "at no number" in headline


def test_one_seed_each_compares_two_models_not_methods(make_results):
    """A gain of many points from one seed each is no answer about the methods."""
    results = make_results(
        synthetic.grid((0.5, 1.0), (0,)), lambda init, *_: 0.8 if init == "pretrained" else 0.6
    )
    found = answered(results)
    assert found.headline.startswith("Inconclusive: with 992 labels")
    assert "these two trained models differ by +" in found.headline
    text = " ".join(found.paragraphs)
    assert "one seed each does not show how much seeds differ" in text
    assert "simultaneous" not in text
    assert "more accurate" not in found.headline


def test_several_fractions_have_simultaneous_intervals_and_say_so(full_grid):
    text = " ".join(answered(full_grid).paragraphs)
    assert (
        text.count("4 intervals are simultaneous 95% intervals") == 1
    )  # once, though two paragraphs rest on it
    (row, *_) = Analysis(everything=full_grid).at_equal_labels.to_dict("records")
    assert f"99 ({row['estimate'].in_points()})" in text


def test_where_nothing_is_found_the_power_is_stated(make_results):
    results = make_results(synthetic.grid((0.5, 1.0), (0, 1, 2)), lambda *_: 0.7)
    analysis = Analysis(everything=results)
    text = " ".join(summary.section(analysis).paragraphs)
    rows = analysis.at_equal_labels.to_dict("records")
    assert [row["sign"] for row in rows] == [0, 0]
    ends = sorted({f"{100 * row['estimate'].detectable:.1f}" for row in rows}, key=float)
    assert f"a difference above {' to '.join(ends)} points" in text
    assert "would have been found in 80% of such sweeps" in text


@pytest.mark.parametrize(
    ("errors", "said"),
    [
        ((0.1, 0.2), "significant difference, none, however large, would have been found in 80%"),
        ((0.01, 0.1), "a difference above 16.3 to more than 100 points, depending on"),
    ],
)
def test_no_difference_is_larger_than_all_images(errors, said):
    rows = [
        {"estimate": Estimate(value=0.0, low=-0.5, high=0.5, how="", se=error, df=1.0)}
        for error in errors
    ]
    assert said in summary._power(rows)


def test_what_more_labels_would_buy(full_grid):
    asked = Analysis(everything=full_grid, more=500)
    told = [
        text for text in summary.section(asked).paragraphs if text.startswith("500 more labels")
    ]
    assert told == [more_labels.sentence(asked)]
    assert "95% prediction interval" in told[0]


def test_nothing_is_said_of_more_labels_if_few_numbers_of_them_were_run(make_results):
    results = make_results(synthetic.grid((0.5, 1.0), (0, 1)), lambda *_: 0.7)
    assert "more labels" not in " ".join(answered(results).paragraphs)


def test_another_metric_has_its_own_words(full_grid):
    found = answered(full_grid.with_metric("balanced_accuracy"))
    assert re.match(
        r"Yes: with 992 labels the pre-trained model is \d+\.\d points higher in balanced accuracy "
        r"than training from scratch \(95% CI: ",
        found.headline,
    )
    text = " ".join(found.paragraphs)
    assert "has a validation balanced accuracy of" in text
    assert "lower in balanced accuracy with 99" in text
    assert "accurate" not in text
    assert "most common class" not in text


def test_a_metric_that_is_no_share_has_plain_numbers(make_results):
    results = make_results(synthetic.grid((1.0,), (0, 1)))
    found = answered(results.with_metric("neg_log_loss"))
    text = " ".join((found.headline, *found.paragraphs))
    assert re.search(r"is 0\.\d{3} higher in negative log loss than training from scratch", text)
    assert re.search(r"baseline \(from scratch on all labels, −\d\.\d{3}\)", text)
    assert "points" not in text


def test_a_baseline_that_may_be_within_reach_is_not_denied(make_results):
    """On average it is not reached, but the interval begins below the most labels."""
    results = make_results(
        synthetic.grid(), lambda init, n, seed: 0.72 if init == "scratch" else 0.6 + n / 9000
    )
    found = answered(results)
    assert found.headline.startswith("Inconclusive: with 992 labels")
    low, high, bound = map(
        float,
        re.search(
            r"\[−([\d.]+), \+([\d.]+)\].*, and none above ([\d.]+) points", found.headline
        ).groups(),
    )
    assert bound == max(low, high)
    assert re.search(
        r"and it seems to need more labels than were tested \(95% CI: \d+% to > 100%\) to match "
        "training from scratch on all labels",
        found.headline,
    )
