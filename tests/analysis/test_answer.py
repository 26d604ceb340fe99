import pytest
import synthetic

from analysis.answer import answer
from analysis.baseline import against_baseline, at_equal_labels, crossing
from analysis.crossing import enough


def answered(results):
    against = against_baseline(results)
    return answer(results, against, at_equal_labels(results), crossing(against), enough(results))


def test_yes(full_grid):
    found = answered(full_grid)
    assert found.headline.startswith("Yes: with 992 labels the pre-trained model is more accurate")
    text = " ".join(found.sentences)
    assert "n = 3 seeds" in text
    assert "with 23 % of the labels, about 223 images" in text
    assert "95 % interval from 1" in text
    assert "bootstrap over 248 validation images and n = 3 seeds" in text
    assert "clearly below it at 10 %" in text
    assert "pre-training helps at 99 (" in text
    assert "always answering" in text


def test_no(make_results):
    results = make_results(
        synthetic.grid(), lambda init, n, seed: 0.8 if init == "scratch" else 0.6 + n / 10_000
    )
    found = answered(results)
    assert found.headline.startswith("No: with 992 labels training from scratch is more accurate")
    text = " ".join(found.sentences)
    assert "does not reach the baseline" in text
    assert "closest at 100 %" in text
    assert "training from scratch is better at 99 (" in text


def test_undecided(make_results):
    results = make_results(synthetic.grid((1.0,), (0,)), lambda *_: 0.7)
    found = answered(results)
    assert found.headline.startswith("With 992 labels the two cannot be told apart")
    assert "the smallest fraction tested (fewer may do)" in found.sentences[1]


def test_few_labels_tell_another_story_than_many(make_results):
    """Pre-training ahead at few labels, behind at many: the headline says both."""
    results = make_results(
        synthetic.grid(), lambda init, n, seed: 0.75 if init == "pretrained" else 0.5 + n / 2500
    )
    headline = answered(results).headline
    assert headline.startswith("No: with 992 labels training from scratch is more accurate")
    assert headline.endswith("With 99, 248 and 496 labels pre-training helps.")


def test_nothing_complete(make_results):
    cells = synthetic.grid((1.0,), (0,))
    results = make_results(cells, status={cell["id"]: ("not started", "") for cell in cells})
    found = answered(results)
    assert found.headline.startswith("This sweep cannot tell yet: no trial pretrained at 100 %")
    assert found.sentences == ()


@pytest.mark.parametrize("init", ["scratch", "pretrained"])
def test_one_init_alone(make_results, init):
    found = answered(make_results(synthetic.grid((0.5, 1.0), (0,), inits=(init,))))
    assert found.headline.startswith("This sweep cannot tell yet")


def test_no_baseline_but_equal_labels(make_results):
    found = answered(make_results(synthetic.grid((0.1, 0.5), (0,))))
    assert "with 496 labels" in found.headline.lower()
    assert "cannot be told: the grid has no trial scratch at 100 %" in found.sentences[1]
