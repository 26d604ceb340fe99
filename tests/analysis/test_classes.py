import numpy as np
import pytest
import synthetic
from statsmodels.stats.proportion import proportion_confint

from analysis.classes import NO_IMAGE, class_by_class
from analysis.stacks import at_largest


def answer(results, trial, labels, predicted, n_classes=6):
    """Overwrite what a trial stored."""
    folder = results.trials.loc[results.trials["trial"] == trial, "checkpoint"].item()
    chances = np.full((len(labels), n_classes), 0.2 / (n_classes - 1), np.float32)
    chances[np.arange(len(labels)), predicted] = 0.8
    np.savez(
        f"{folder}/predictions.npz",
        rows=np.arange(len(labels)),
        labels=labels,
        probabilities=chances,
        epoch=1,
    )


@pytest.fixture
def several(make_results):
    """Results of both inits, one fraction, three seeds each."""
    return make_results(synthetic.grid((1.0,), (0, 1, 2)))


LABELS = np.repeat(np.arange(6), 60)


def wrong_in(kinds, share, seed):
    """Every image of `kinds` is wrong with chance `share`, taken for the class before."""
    missed = np.isin(LABELS, kinds) & (np.random.default_rng(seed).random(len(LABELS)) < share)
    return np.where(missed, (LABELS - 1) % 6, LABELS)


def test_gain_and_loss_are_found_and_said(several):
    for seed in range(3):
        answer(several, f"scratch-100-s{seed}", LABELS, wrong_in([1], 0.7, seed))
        answer(several, f"pretrained-100-s{seed}", LABELS, wrong_in([4], 0.6, seed + 3))
    found = class_by_class(several)
    recall = found.gains[found.gains["score"] == "recall"].set_index("class")
    gained, lost = synthetic.NAMES[1], synthetic.NAMES[4]
    assert recall.loc[gained, "low"] > 0.2
    assert recall.loc[lost, "high"] < -0.2
    others = recall.drop([gained, lost])
    assert ((others["low"] < 0) & (others["high"] > 0)).all()
    text = found.sentences[0]
    assert text.startswith(f"Recall: pre-training gains in “{gained}” (+")
    assert f"pre-training loses in “{lost}” (−" in text
    assert "of 6 classes 0.3 may be expected to" in found.sentences[2]
    assert f"“{gained}” (recall, +" in found.sentences[2]


def test_intervals_for_all_classes_are_wider(full_grid):
    gains = class_by_class(full_grid).gains
    assert len(gains) == 12
    assert (gains["low_all"] <= gains["low"]).all()
    assert (gains["high_all"] >= gains["high"]).all()
    assert ((gains["low"] <= gains["value"]) & (gains["value"] <= gains["high"])).all()


def test_gain_is_the_difference_of_the_scores(full_grid):
    found = class_by_class(full_grid)
    table = found.scores.pivot(index=["class", "score"], columns="init", values="value")
    for row in found.gains.itertuples():
        pair = table.loc[(row[1], row.score)]
        assert row.value == pytest.approx(pair["pretrained"] - pair["scratch"])


def test_one_run_has_wilsons_interval(make_results):
    results = make_results(synthetic.grid((1.0,), (0,)))
    found = class_by_class(results)
    stack = at_largest(results)["scratch"]
    row = found.scores.query("score == 'recall' and init == 'scratch'").iloc[0]
    right = (stack.correct[0] & (stack.labels == 0)).sum()
    expected = proportion_confint(right, (stack.labels == 0).sum(), method="wilson")
    assert (row["low"], row["high"]) == pytest.approx(expected)
    assert "with one seed, the seed's share is not in them" in found.how


def test_class_missing_in_validation_has_words(several):
    labels = LABELS[LABELS != 5]
    for trial in several.trials["trial"]:
        answer(several, trial, labels, labels)
    found = class_by_class(several)
    last = found.table.iloc[-1]
    assert last["validation images"] == "none"
    assert set(last.iloc[2:]) == {NO_IMAGE}
    assert synthetic.NAMES[5] not in set(found.gains["class"])
    assert "nan" not in found.table.to_string().lower()


def test_perfect_accuracy_is_no_gain_and_no_certainty(several):
    for trial in several.trials["trial"]:
        answer(several, trial, LABELS, LABELS)
    found = class_by_class(several)
    assert (found.scores["value"] == 1).all()
    assert ((found.scores["low"] > 0.9) & (found.scores["low"] < 1)).all()
    assert (found.gains["value"] == 0).all()
    assert found.sentences[0] == (
        "Recall: in no class does pre-training change it beyond its interval."
    )
    assert found.sentences[2].endswith("at once, none remains.")


def test_class_that_is_never_found(several):
    for trial in several.trials["trial"]:
        answer(several, trial, LABELS, np.where(LABELS == 2, 3, LABELS))
    scores = class_by_class(several).scores.query(f"`class` == '{synthetic.NAMES[2]}'")
    assert (scores["value"] == 0).all()
    assert (scores["low"] == 0).all()
    assert ((scores["high"] > 0) & (scores["high"] < 0.15)).all()


def test_one_init_has_scores_and_no_gain(make_results):
    found = class_by_class(make_results(synthetic.grid((1.0,), (0,), inits=("pretrained",))))
    assert found.gains.empty
    assert found.sentences == (
        "Only pretrained has complete trials with predictions: no gain can be told.",
    )
    assert len(found.table) == 6


def test_other_fractions_are_not_paired(make_results):
    cells = [synthetic.cell("scratch", 1.0, 0), synthetic.cell("pretrained", 0.5, 0)]
    found = class_by_class(make_results(cells))
    assert found.gains.empty
    assert "cannot be paired" in found.sentences[0]


def test_nothing_stored(several):
    several.trials["checkpoint"] = None
    assert class_by_class(several) is None
