import numpy as np
import pytest
from helpers import synthetic
from scipy import stats
from sklearn.metrics import f1_score, recall_score
from statsmodels.stats.proportion import proportion_confint

from analysis.stats import class_scores
from analysis.stats.class_scores import (
    NO_IMAGE,
    Resampling,
    class_by_class,
    f1,
    interval,
    recall,
    seeds_half_width,
)
from analysis.stats.estimates import student_half_width
from analysis.stats.seed_predictions import at_largest


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
    by_class = class_by_class(several)
    gains = by_class.gains[by_class.gains["score"] == "recall"].set_index("class")
    gained, lost = synthetic.NAMES[1], synthetic.NAMES[4]
    assert gains.loc[gained, "low"] > 0.2
    assert gains.loc[lost, "high"] < -0.2
    others = gains.drop([gained, lost])
    assert ((others["low"] < 0) & (others["high"] > 0)).all()
    text = by_class.sentences[0]
    assert text.startswith(f"Recall: pre-training gains in “{gained}” (+")
    assert f"pre-training loses in “{lost}” (−" in text
    assert "of 6 classes 0.3" in by_class.sentences[2]
    assert f"“{gained}” (recall, +" in by_class.sentences[2]


def test_intervals_for_all_classes_are_wider(full_grid):
    gains = class_by_class(full_grid).gains
    assert len(gains) == 12
    assert (gains["low_all"] <= gains["low"]).all()
    assert (gains["high_all"] >= gains["high"]).all()
    assert ((gains["low"] <= gains["value"]) & (gains["value"] <= gains["high"])).all()


def test_gain_is_the_difference_of_the_scores(full_grid):
    by_class = class_by_class(full_grid)
    table = by_class.scores.pivot(index=["class", "score"], columns="init", values="value")
    for row in by_class.gains.itertuples():
        pair = table.loc[(row[1], row.score)]
        assert row.value == pytest.approx(pair["pretrained"] - pair["scratch"])


def test_one_run_has_wilsons_interval(make_results):
    results = make_results(synthetic.grid((1.0,), (0,)))
    by_class = class_by_class(results)
    predictions = at_largest(results)["scratch"]
    row = by_class.scores.query("score == 'recall' and init == 'scratch'").iloc[0]
    right = (predictions.correct[0] & (predictions.labels == 0)).sum()
    expected = proportion_confint(right, (predictions.labels == 0).sum(), method="wilson")
    assert (row["low"], row["high"]) == pytest.approx(expected)
    assert "with one seed, without the variance between seeds" in by_class.how


def test_class_missing_in_validation_has_words(several):
    labels = LABELS[LABELS != 5]
    for trial in several.trials["trial"]:
        answer(several, trial, labels, labels)
    by_class = class_by_class(several)
    last = by_class.table.iloc[-1]
    assert last["images"] == "none"
    assert set(last.iloc[2:]) == {NO_IMAGE}
    assert synthetic.NAMES[5] not in set(by_class.gains["class"])
    assert "nan" not in by_class.table.to_string().lower()


def test_perfect_accuracy_is_no_gain_and_no_certainty(several):
    for trial in several.trials["trial"]:
        answer(several, trial, LABELS, LABELS)
    by_class = class_by_class(several)
    assert (by_class.scores["value"] == 1).all()
    assert ((by_class.scores["low"] > 0.9) & (by_class.scores["low"] < 1)).all()
    assert (by_class.gains["value"] == 0).all()
    assert by_class.sentences[0] == ("Recall: no significant difference in any class.")
    assert by_class.sentences[2].endswith("at once, none remains.")


def test_class_that_is_never_found(several):
    for trial in several.trials["trial"]:
        answer(several, trial, LABELS, np.where(LABELS == 2, 3, LABELS))
    scores = class_by_class(several).scores.query(f"`class` == '{synthetic.NAMES[2]}'")
    assert (scores["value"] == 0).all()
    assert (scores["low"] == 0).all()
    assert ((scores["high"] > 0) & (scores["high"] < 0.15)).all()


def test_one_init_has_scores_and_no_gain(make_results):
    by_class = class_by_class(make_results(synthetic.grid((1.0,), (0,), inits=("pretrained",))))
    assert by_class.gains.empty
    assert len(by_class.sentences) == 1
    assert "Only pretrained has complete trials" in by_class.sentences[0]
    assert len(by_class.table) == 6


def test_other_fractions_are_not_paired(make_results):
    cells = [synthetic.cell("scratch", 1.0, 0), synthetic.cell("pretrained", 0.5, 0)]
    by_class = class_by_class(make_results(cells))
    assert by_class.gains.empty
    assert "cannot be paired" in by_class.sentences[0]


def test_nothing_stored(several):
    several.trials["checkpoint"] = None
    assert class_by_class(several) is None


def answers(seed, n=90, seeds=3, classes=3):
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, n)
    said = np.where(
        random.random((seeds, n)) < 0.6, labels, random.integers(0, classes, (seeds, n))
    )
    return labels, said


@pytest.mark.parametrize(("of", "score"), [(recall, recall_score), (f1, f1_score)])
def test_scores_are_scikit_learns(of, score):
    labels, said = answers(0)
    for kind in range(3):
        expected = [score(labels, own, labels=[kind], average="macro") for own in said]
        assert of(labels, said, kind).by_seed == pytest.approx(expected)
        assert of(labels, said, kind).value == pytest.approx(np.mean(expected))


@pytest.mark.parametrize(("of", "score"), [(recall, recall_score), (f1, f1_score)])
def test_resampled_scores_are_scikit_learns_with_weights(of, score):
    labels, said = answers(1)
    drawn = Resampling(labels, 3)
    extended = np.append(labels, [1, 1])  # two more of class 1: one found, one taken for class 9
    more = np.hstack([said, np.tile([1, 9], (len(said), 1))])
    weights = np.hstack([drawn.weights[:, :90], drawn.weights[:, 92:94]])
    means = drawn.means(of(labels, said, 1), 1, right_first=True)
    for b in (0, 17, 1999):
        expected = [
            score(extended, own, labels=[1], average="macro", sample_weight=weights[b])
            for own in more
        ]
        assert means[b] == pytest.approx(np.mean(expected), abs=1e-5)


def test_classes_keep_their_size_in_every_draw():
    labels, _ = answers(2)
    weights = Resampling(labels, 3).weights
    extended = np.concatenate([labels, [0, 0, 1, 1, 2, 2]])
    for kind in range(3):
        assert set(weights[:, extended == kind].sum(axis=1)) == {(extended == kind).sum()}


def test_images_that_a_seed_did_not_see_do_not_count():
    labels, said = answers(3, seeds=1)
    blind = said.copy()
    blind[0, 40:] = -1
    for of in (recall, f1):
        assert of(labels, blind, 1).value == of(labels[:40], said[:, :40], 1).value


def test_perfect_recall_is_not_certain():
    labels = np.zeros(20, int)
    perfect = recall(labels, np.zeros((2, 20), int), 0)
    drawn = Resampling(labels, 1).means(perfect, 0, right_first=True)
    low, high = interval(perfect.value, drawn, [perfect])
    assert perfect.value == high == 1
    assert 0.75 < low < 0.95


def test_both_perfect_differ_by_nothing_with_an_interval_about_it():
    labels = np.zeros(20, int)
    same = recall(labels, np.zeros((2, 20), int), 0)
    drawn = Resampling(labels, 1)
    difference = drawn.means(same, 0, right_first=True) - drawn.means(same, 0, right_first=False)
    low, high = interval(0.0, difference, [same, same])
    assert low < 0 < high


def test_seeds_that_agree_add_nothing():
    labels, said = answers(4, seeds=1)
    copies = recall(labels, np.repeat(said, 3, axis=0), 0)
    assert seeds_half_width([copies], [copies]) == 0


def test_one_seed_has_no_share_of_the_seeds():
    one = recall(*answers(5, seeds=1), 0)
    assert seeds_half_width([one, one], [one, one]) == 0


def test_students_share_is_that_of_known_variances():
    a, b = [0.5, 0.6, 0.7], [0.2, 0.3, 0.5]
    half = student_half_width([(np.var(a, ddof=1), 3), (np.var(b, ddof=1), 3)], [3, 3])
    low, high = stats.ttest_ind(a, b).confidence_interval()
    assert half == pytest.approx((high - low) / 2)


def made(random, n, seeds, seed_effect, skill):
    """Recall of one class from a probit model of images, seeds and chance."""
    image = random.normal(0, 0.8, n)
    for height in skill:
        luck = random.normal(0, seed_effect, (seeds, 1))
        hit = image + luck + random.normal(0, 0.6, (seeds, n)) > -height
        yield recall(np.zeros(n, int), np.where(hit, 0, 1), 0)


@pytest.mark.parametrize(
    ("n", "seeds", "seed_effect"),
    [pytest.param(120, 1, 0.0, marks=pytest.mark.slow), (120, 3, 0.3)],
)
def test_intervals_cover_the_truth(n, seeds, seed_effect, monkeypatch):
    monkeypatch.setattr(class_scores, "RESAMPLES", 400)
    skill, tries = (0.4, 0.6), 250
    spread = np.sqrt(0.8**2 + 0.6**2 + seed_effect**2)
    truth = np.diff(stats.norm.cdf(np.array(skill) / spread))[0]
    drawn = Resampling(np.zeros(n, int), 1)
    covered = 0
    for number in range(tries):
        pair = list(made(np.random.default_rng(number), n, seeds, seed_effect, skill))
        means = [drawn.means(r, 0, right_first=k == 1) for k, r in enumerate(pair)]
        low, high = interval(pair[1].value - pair[0].value, means[1] - means[0], pair)
        covered += low <= truth <= high
    assert 0.92 * tries <= covered <= 0.985 * tries
