import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import f1_score, recall_score

from analysis import ratios
from analysis.statistics import student_half_width


def answers(seed, n=90, seeds=3, classes=3):
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, n)
    said = np.where(
        random.random((seeds, n)) < 0.6, labels, random.integers(0, classes, (seeds, n))
    )
    return labels, said


@pytest.mark.parametrize(("of", "score"), [(ratios.recall, recall_score), (ratios.f1, f1_score)])
def test_scores_are_scikit_learns(of, score):
    labels, said = answers(0)
    for kind in range(3):
        expected = [score(labels, own, labels=[kind], average="macro") for own in said]
        assert of(labels, said, kind).by_seed == pytest.approx(expected)
        assert of(labels, said, kind).value == pytest.approx(np.mean(expected))


@pytest.mark.parametrize(("of", "score"), [(ratios.recall, recall_score), (ratios.f1, f1_score)])
def test_resampled_scores_are_scikit_learns_with_weights(of, score):
    labels, said = answers(1)
    drawn = ratios.Resampling(labels, 3)
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
    weights = ratios.Resampling(labels, 3).weights
    extended = np.concatenate([labels, [0, 0, 1, 1, 2, 2]])
    for kind in range(3):
        assert set(weights[:, extended == kind].sum(axis=1)) == {(extended == kind).sum()}


def test_images_that_a_seed_did_not_see_do_not_count():
    labels, said = answers(3, seeds=1)
    blind = said.copy()
    blind[0, 40:] = -1
    for of in (ratios.recall, ratios.f1):
        assert of(labels, blind, 1).value == of(labels[:40], said[:, :40], 1).value


def test_perfect_recall_is_not_certain():
    labels = np.zeros(20, int)
    perfect = ratios.recall(labels, np.zeros((2, 20), int), 0)
    drawn = ratios.Resampling(labels, 1).means(perfect, 0, right_first=True)
    low, high = ratios.interval(perfect.value, drawn, [perfect])
    assert perfect.value == high == 1
    assert 0.75 < low < 0.95


def test_both_perfect_differ_by_nothing_with_an_interval_about_it():
    labels = np.zeros(20, int)
    same = ratios.recall(labels, np.zeros((2, 20), int), 0)
    drawn = ratios.Resampling(labels, 1)
    difference = drawn.means(same, 0, right_first=True) - drawn.means(same, 0, right_first=False)
    low, high = ratios.interval(0.0, difference, [same, same])
    assert low < 0 < high


def test_seeds_that_agree_add_nothing():
    labels, said = answers(4, seeds=1)
    copies = ratios.recall(labels, np.repeat(said, 3, axis=0), 0)
    assert ratios.seeds_half_width([copies], [copies]) == 0


def test_one_seed_has_no_share_of_the_seeds():
    one = ratios.recall(*answers(5, seeds=1), 0)
    assert ratios.seeds_half_width([one, one], [one, one]) == 0


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
        yield ratios.recall(np.zeros(n, int), np.where(hit, 0, 1), 0)


@pytest.mark.parametrize(("n", "seeds", "seed_effect"), [(120, 1, 0.0), (120, 3, 0.3)])
def test_intervals_cover_the_truth(n, seeds, seed_effect, monkeypatch):
    monkeypatch.setattr(ratios, "RESAMPLES", 400)
    skill, tries = (0.4, 0.6), 250
    spread = np.sqrt(0.8**2 + 0.6**2 + seed_effect**2)
    truth = np.diff(stats.norm.cdf(np.array(skill) / spread))[0]
    drawn = ratios.Resampling(np.zeros(n, int), 1)
    covered = 0
    for number in range(tries):
        pair = list(made(np.random.default_rng(number), n, seeds, seed_effect, skill))
        means = [drawn.means(r, 0, right_first=k == 1) for k, r in enumerate(pair)]
        low, high = ratios.interval(pair[1].value - pair[0].value, means[1] - means[0], pair)
        covered += low <= truth <= high
    assert 0.92 * tries <= covered <= 0.985 * tries
