from dataclasses import replace

import numpy as np
import pytest
from helpers import simulation, synthetic
from helpers.simulation import cell
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

from analysis.stats import estimates
from analysis.stats.bootstrap import draw
from analysis.stats.estimates import PLUS_FOUR, Estimate, accuracies, wilson
from analysis.stats.seed_predictions import cell_runs


def right(n, k):
    """(n,) bool, the first k true."""
    return np.arange(n) < k


def two_models(a, b):
    """The difference of two single runs, its interval where that of methods would be."""
    estimate = estimates.accuracy_difference(a, b)
    assert (estimate.low, estimate.high, estimate.sign) == (None, None, None)
    return replace(estimate, low=estimate.models[0], high=estimate.models[1], models=None)


def test_wilson_known_value():
    estimate = estimates.wilson(0.9, 10)
    assert (estimate.low, estimate.high) == pytest.approx((0.59585, 0.98212), abs=1e-4)


def test_wilson_of_perfect_accuracy_stays_below_certainty():
    estimate = estimates.wilson(1.0, 50)
    assert estimate.high == pytest.approx(1.0)
    assert 0.9 < estimate.low < 1


def test_wilson_without_images_says_what_is_wrong():
    with pytest.raises(ValueError, match="expected at least one image"):
        estimates.wilson(0.5, 0)


def test_paired_interval_agrees_with_the_normal_one_on_many_images():
    random = np.random.default_rng(1)
    easy = random.random(4000)
    a, b = easy + random.normal(0, 0.2, 4000) > 0.35, easy + random.normal(0, 0.2, 4000) > 0.4
    estimate = two_models(cell(a), cell(b))
    d = a.astype(float) - b
    expected = stats.ttest_1samp(d, 0).confidence_interval()
    assert estimate.value == pytest.approx(d.mean())
    assert (estimate.low, estimate.high) == pytest.approx(tuple(expected), abs=1.5e-3)
    assert "paired over 4,000 shared" in estimate.how


@pytest.mark.parametrize(("only_a", "only_b"), [(3, 0), (4, 0), (8, 0), (12, 1), (6, 5), (20, 6)])
def test_paired_interval_is_as_strict_as_mcnemar(only_a, only_b):
    n, both = 400, 200
    a, b = right(n, both), right(n, both)
    a[both : both + only_a] = True
    b[both + only_a : both + only_a + only_b] = True
    neither = n - both - only_a - only_b
    p = mcnemar([[both, only_a], [only_b, neither]], exact=True).pvalue
    estimate = two_models(cell(a), cell(b))
    assert (estimate.sign == 1) == (p < 0.05)


def test_pairing_is_sharper_than_two_samples():
    a, b = right(1000, 700), right(1000, 680)
    paired = two_models(cell(a), cell(b))
    half = two_models(cell(a), cell(b, rows=np.arange(1000) + 500))
    other = two_models(cell(a), cell(b, rows=np.arange(1000) + 1000))
    assert paired.sign == 1
    assert half.sign == other.sign == 0
    assert "paired over 1,000 shared" in paired.how
    assert "over 1,000 and 1,000 test images, 500 of them shared and paired" in half.how
    assert "none shared" in other.how


def test_unpaired_interval_is_newcombes():
    a, b = right(1000, 700), right(1000, 660)
    drawn = two_models(cell(a), cell(b, rows=np.arange(1000) + 1000))
    low, high = estimates.proportions_difference(0.7, 1000, 0.66, 1000)
    assert (drawn.low, drawn.high) == pytest.approx((low, high), abs=4e-3)


@pytest.mark.parametrize(("a", "b"), [(60, 60), (0, 0), (60, 0), (0, 60), (30, 30)])
def test_degenerate_accuracies_give_finite_intervals(a, b):
    estimate = two_models(cell(right(60, a)), cell(right(60, b)))
    assert np.isfinite([estimate.value, estimate.low, estimate.high]).all()
    assert estimate.low < estimate.high
    assert estimate.sign == np.sign(a - b)


def test_one_seed_each_has_no_interval_of_the_methods():
    """Whatever the two models: of how much seeds differ, nothing is known."""
    estimate = estimates.accuracy_difference(cell(right(60, 60)), cell(right(60, 0)))
    assert (estimate.low, estimate.high, estimate.sign, estimate.power) == (None,) * 4
    low, high = estimate.models
    assert 0 < low < high
    assert "one seed each does not show how much seeds differ" in estimate.how
    assert estimate.in_points().startswith("+100.0 points (these two trained models: [+")


def test_two_single_runs_have_mcnemars_p():
    a, b = right(60, 40), right(60, 30)
    estimate = estimates.accuracy_difference(cell(a), cell(b))
    assert estimate.p == pytest.approx(2 * 0.5**10)
    assert estimates.accuracy_difference(cell([a] * 2), cell(b)).p is None


def test_seeds_widen_the_interval():
    calm = [right(500, 400)] * 3
    wild = [right(500, k) for k in (370, 400, 430)]
    base = cell([right(500, 350)] * 3)
    narrow = estimates.accuracy_difference(cell(calm), base)
    wide = estimates.accuracy_difference(cell(wild), base)
    assert narrow.value == pytest.approx(wide.value)
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)
    assert "the seeds (3 and 3)" in wide.how


def test_seeds_with_a_split_each_are_paired_within_the_seed():
    """An easy set favours both cells, so only what differs within a seed makes them differ."""
    n, easy = 400, (300, 340, 320)
    seen = np.repeat(np.eye(3, dtype=bool), n, axis=1)

    def split_cell(shift):
        correct = np.tile(right(n, 0), 3) & seen
        for seed, k in enumerate(easy):
            correct[seed, seed * n : seed * n + k + shift] = True
        return cell(correct, seen)

    estimate = estimates.accuracy_difference(split_cell(12), split_cell(0))
    assert estimate.value == pytest.approx(0.03)
    assert 0.015 < estimate.low < estimate.high < 0.045
    assert "each seed has a split of its own; seeds are paired" in estimate.how


def test_mean_difference_is_welchs():
    a, b = [50.0, 47.0, 55.0], [26.0, 29.0]
    estimate = estimates.mean_difference(a, b)
    expected = stats.ttest_ind(a, b, equal_var=False)
    assert (estimate.low, estimate.high) == pytest.approx(tuple(expected.confidence_interval()))
    assert estimate.df == pytest.approx(expected.df)


def test_mean_difference_of_one_seed_each_has_words_for_an_interval():
    estimate = estimates.mean_difference([50.0], [26.0])
    assert (estimate.value, estimate.low, estimate.sign) == (24.0, None, None)
    assert estimate.how == "no interval: n = 1 seed each"


def test_seeds_that_do_not_differ_give_no_interval_of_no_width():
    estimate = estimates.mean_difference([40.0, 40.0], [14.0, 14.0])
    assert (estimate.value, estimate.low, estimate.sign) == (26.0, None, None)
    assert estimate.how == "no interval: the seeds that could tell do not differ"


def test_ratio():
    estimate = estimates.ratio([100.0, 100.0], [200.0, 200.0])
    assert (estimate.low, estimate.high) == (None, None)  # nothing tells how much seeds differ
    assert estimate.value == pytest.approx(0.5)
    assert estimates.ratio([47.0], [131.0]).value == pytest.approx(47 / 131)
    with pytest.raises(ValueError, match="expected positive"):
        estimates.ratio([0.0], [1.0])


def test_spread_of_one_seed_has_no_deviation():
    assert estimates.spread([0.7]) == (0.7, None, 1)
    assert estimates.spread([1.0, 3.0]) == pytest.approx((2.0, np.sqrt(2), 2))


def test_cell_runs_without_stored_predictions_is_unpaired(make_results):
    results = make_results(synthetic.grid((1.0,), (0,)))
    results.trials["checkpoint"] = None
    a, b = (cell_runs(results, init, 1.0) for init in ("pretrained", "scratch"))
    assert a.predictions is None
    difference = estimates.accuracy_difference(a, b)
    assert "two samples of 248 and 248" in difference.how
    assert difference.p is None


def test_in_points():
    bare = Estimate(value=0.06, how="no interval: one seed each")
    assert bare.in_points() == "+6.0 points (no interval: one seed each)"
    whole = Estimate(value=0.06, low=-0.01, high=0.13, how="")
    assert whole.in_points() == "+6.0 points [−1.0, +13.0]"


def test_one_seed_is_wilsons(make_results):
    frame = accuracies(make_results(synthetic.grid((0.5, 1.0), (0,))))
    for row in frame.itertuples():
        expected = wilson(row.accuracy, 248)
        assert (row.n, row.low, row.high) == (1, expected.low, expected.high)
        assert "without the variance between seeds" in row.how


def test_several_seeds(full_grid):
    frame = accuracies(full_grid)
    assert frame["init"].tolist() == ["scratch"] * 4 + ["pretrained"] * 4
    assert frame["n_labels"].tolist() == [99, 248, 496, 992] * 2
    assert (frame["low"] < frame["accuracy"]).all()
    assert (frame["accuracy"] < frame["high"]).all()
    assert set(frame["how"]) == {"over 248 validation images and 3 seeds"}


def test_a_cell_of_one_seed_among_others_is_wilsons(make_results):
    cells = [c for c in synthetic.grid((0.5, 1.0), (0, 1)) if c.id != "scratch-100-s1"]
    frame = accuracies(make_results(cells)).set_index(["init", "fraction"])
    assert "Wilson" in frame.loc[("scratch", 1.0), "how"]
    assert "2 seeds" in frame.loc[("scratch", 0.5), "how"]


def test_perfect_accuracy_and_nothing_complete(make_results):
    frame = accuracies(make_results(synthetic.grid((0.5, 1.0), (0, 1)), lambda *_: 1.0))
    assert (frame["high"] == 1).all()
    assert frame["low"].between(0.9, 0.999).all()
    cells = synthetic.grid((1.0,), (0,))
    none = make_results(cells, status={cell.id: ("not started", "") for cell in cells})
    assert accuracies(none).empty


@pytest.mark.parametrize("resample", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_intervals_of_accuracies_cover_the_truth(resample):
    """Four cells of one init share their variance between seeds."""
    truth, covered = (0.6, 0.66, 0.7, 0.72), []
    for number in range(80):
        random = np.random.default_rng(number)
        cells = simulation.cells(random, truth, n_val=250, n_seeds=3, resample=resample)
        means = draw(cells, extra=np.tile(PLUS_FOUR, (4, 1)), resamples=600).means
        low, high = np.quantile(means, (0.025, 0.975), axis=0)
        covered.append((low <= truth) & (truth <= high))
    low, high = simulation.allowed(80)  # as if one cell, since the four share their images
    assert low <= np.mean(covered) <= high
