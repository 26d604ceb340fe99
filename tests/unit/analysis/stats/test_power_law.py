from dataclasses import replace

import numpy as np
import pytest
from helpers import curve_coverage, simulation

from analysis.stats import power_law
from analysis.stats.label_efficiency import BELOW, NEVER
from analysis.stats.power_law import LabelsNeeded, LearningCurve, Prediction, Refused, fit, rounded

LABELS = (50, 100, 200, 400)


def curve(n):
    return 0.8 - 1.2 * np.asarray(n, dtype=float) ** -0.5


def cells(labels=LABELS, *, form=curve, n_images=3000, n_seeds=5, seeds=0.02, number=0):
    random = np.random.default_rng(number)
    made = simulation.cells(random, form(labels), n_val=n_images, n_seeds=n_seeds, seeds=seeds)
    return [replace(cell, n_labels=n) for cell, n in zip(made, labels, strict=True)]


@pytest.fixture(scope="module")
def fitted():
    return fit(cells())


def test_the_gain_of_more_labels_is_a_small_interval_around_the_truth(fitted):
    gain = fitted.gain(400)
    true = curve(800) - curve(400)
    assert gain.low < true < gain.high
    assert gain.value == pytest.approx(true, abs=0.01)
    assert gain.high - gain.low < 0.06
    ends = (gain.value, gain.low, gain.high)
    value, low, high = (f"{100 * end:+.1f}".replace("-", "−") for end in ends)
    assert gain.as_gain == f"{value} points (95% prediction interval {low} to {high})"


def test_the_accuracy_is_that_at_the_largest_budget_and_the_gain(fitted):
    """Images and seeds are in the accuracy, and cancel in the gain."""
    accuracy, gain = fitted.accuracy(800), fitted.gain(400)
    assert accuracy.value == pytest.approx(fitted.accuracy(400).value + gain.value, abs=0.005)
    assert accuracy.low < curve(800) < accuracy.high
    assert accuracy.as_accuracy.startswith(f"{100 * accuracy.value:.1f}% (95% prediction interval")


def test_few_images_widen_the_accuracy_more_than_the_gain():
    few = fit(cells(n_images=200))
    many = fit(cells(n_images=3000))
    widths = [
        [np.ptp([p.low, p.high]) for p in (c.accuracy(400), c.gain(200))] for c in (few, many)
    ]
    (accuracy_few, gain_few), (accuracy_many, gain_many) = widths
    assert accuracy_few > 2 * accuracy_many
    assert gain_few / gain_many < accuracy_few / accuracy_many


def test_curves_never_fall_and_stay_in_range(fitted):
    assert (np.diff(fitted.curves, axis=1) >= 0).all()
    assert fitted.curves.min() >= 0
    assert fitted.curves.max() <= 1
    assert set(LABELS) <= set(np.round(fitted.labels, 6))
    assert fitted.labels[-1] == pytest.approx(4 * 400)


def test_accuracies_that_fall_by_chance_are_fitted_by_a_level_curve():
    falling = fit(cells(form=lambda n: 0.7 - 0.0002 * np.asarray(n)))
    assert falling.gain(400).low == pytest.approx(0, abs=0.001)


def test_beyond_four_times_the_largest_budget_nothing_is_predicted(fitted):
    assert isinstance(fitted.gain(1201), Refused)
    assert "more than 4 times the largest budget, 400" in fitted.gain(1201).reason
    assert isinstance(fitted.accuracy(1601), Refused)
    assert "fewer than the smallest budget, 50" in fitted.accuracy(49).reason


def test_what_is_too_uncertain_is_refused():
    one_seed = fit(cells(n_images=150, n_seeds=1, seeds=0.2))
    refused = one_seed.gain(1200)
    assert isinstance(refused, Refused)
    assert "points wide, and nothing is predicted above 10" in refused.reason
    assert isinstance(one_seed.accuracy(1600), Refused)
    assert 400 <= one_seed.furthest < 1600


def test_labels_for_an_accuracy(fitted):
    found = fitted.needed(float(curve(300)))
    assert found.low < 300 < found.high
    assert str(found) == f"{found.text} (95% prediction interval {found.ends})"


def test_labels_for_an_accuracy_that_is_never_or_always_reached(fitted):
    never = fitted.needed(0.99)
    assert (never.value, never.low, never.high) == (NEVER,) * 3
    assert never.ends == f"> {fitted.furthest:,}"
    below = fitted.needed(0.3)
    assert below.value == BELOW
    assert str(below) == "≤ 50 (95% prediction interval ≤ 50)"


def test_an_interval_that_says_nothing_is_refused():
    level = fit(cells(form=lambda n: 0.6 + 0 * np.asarray(n), n_images=100, n_seeds=2))
    assert "or fewer to more than" in level.needed(level.cells[-1].accuracy).reason


def test_texts_of_numbers_of_labels():
    found = LabelsNeeded(
        accuracy=0.7, value=1934.4, low=BELOW, high=NEVER, smallest=50, furthest=4000
    )
    assert found.text == "1,930"
    assert found.ends == "≤ 50 to > 4,000"
    assert replace(found, value=234.5).text == "230"
    assert [rounded(1711), rounded(992), rounded(85)] == [1700, 990, 85]


def test_the_baseline_is_drawn_together_with_the_curves():
    """Shared images cancel: the labels for its accuracy are known better than those for a number."""
    random = np.random.default_rng(3)
    truth = [*curve(LABELS), curve(200)]
    *made, scratch = simulation.cells(random, truth, n_val=300, n_seeds=5, seeds=0.02)
    made = [replace(cell, n_labels=n) for cell, n in zip(made, LABELS, strict=True)]
    found = fit(made, [replace(scratch, n_labels=400)])
    assert found.baseline.mean() == pytest.approx(scratch.accuracy, abs=0.02)
    assert np.corrcoef(found.baseline, found.curves[:, -20])[0, 1] > 0.3
    paired = found.needed(found.baseline)
    alone = found.needed(np.random.default_rng(0).permutation(found.baseline))
    assert paired.low < 200 < paired.high
    assert np.log(paired.high / max(paired.low, 50)) < np.log(alone.high / max(alone.low, 50))


def test_two_budgets_are_no_curve():
    assert (
        "needs 3 numbers of labels or more, and complete trials have 2" in fit(cells()[:2]).reason
    )


def test_without_predictions_nothing_is_predicted():
    bare = [replace(cell, predictions=None) for cell in cells()]
    assert fit(bare).reason == "not all trials have stored predictions"


def test_every_method_has_a_curve_and_the_others_the_baseline():
    methods = {"a": cells(), "b": cells(number=1), "c": cells()[:2]}
    curves = power_law.learning_curves(methods, "b")
    assert curves["b"].baseline is None
    assert isinstance(curves["a"].baseline, np.ndarray)
    assert isinstance(curves["c"], Refused)
    assert power_law.learning_curves(methods)["a"].baseline is None


def test_one_trial_a_budget_borrows_its_spread_from_the_residuals():
    steady = fit(cells(n_seeds=1, seeds=0.0))
    restless = fit(cells(n_seeds=1, seeds=0.3, number=5))
    assert isinstance(steady, LearningCurve)
    width = [
        np.ptp(np.quantile(c._at(800) - c._at(400), [0.025, 0.975])) for c in (steady, restless)
    ]
    assert width[0] < width[1]


def test_a_mode_of_the_posterior_is_the_weighted_least_squares_fit(monkeypatch):
    """Without deviation and prior, the slope and level are those of SciPy's curve_fit."""
    from scipy.optimize import curve_fit

    monkeypatch.setattr(power_law, "MODEL_ERROR", 1e-9)
    monkeypatch.setattr(power_law, "EXPONENT", (0.5, 10.0))
    labels = (50, 100, 200, 400, 800, 1600)
    made = cells(labels, n_images=3000, n_seeds=20, seeds=0.005)
    known = power_law.observed(made)
    law = power_law._posterior(known, np.random.default_rng(0))
    doublings = np.log2(known.labels / known.labels[-1])
    covariance = np.linalg.inv(law.precision[0])

    def form(n, a, b, c):
        return a - b * n**-c

    best, _ = curve_fit(form, known.labels, known.means, (0.8, 1, 0.5), sigma=covariance)
    expected = form(known.labels, *best)
    assert np.median(law.at(doublings), axis=0) == pytest.approx(expected, abs=0.003)


def test_predictions_cover_curves_of_other_families():
    """A sample of what `helpers.curve_coverage` measures: 90% or more."""
    rows = curve_coverage.simulations(curve_coverage.deviating, 5, 100)
    repeats = len(rows) / 3  # the three of one sweep stand or fall together
    low = 0.90 - 3 * np.sqrt(0.9 * 0.1 / repeats)
    assert rows["gain covered"].mean() >= low
    assert rows["accuracy covered"].mean() >= low
    assert rows.query("times == 1.5")["gain width"].median() < 8


def test_predictions_are_plain_numbers(fitted):
    assert isinstance(fitted.gain(100), Prediction)
    assert fitted.how == "4 budgets from 50 to 400 labels, n = 5 seeds, 3,000 images"
