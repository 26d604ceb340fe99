from dataclasses import replace

import numpy as np
import pytest
from helpers import synthetic

from analysis.stats import calibration
from analysis.stats.calibration import BINS, errors_by_seed
from analysis.stats.seed_predictions import SeedPredictions


def predictions(confidence, correct, n_classes=4):
    """Predictions from (S, n) confidences and right or wrong; the true class is 0."""
    confidence, correct = np.atleast_2d(confidence), np.atleast_2d(correct)
    seeds, n = confidence.shape
    probabilities = np.repeat(((1 - confidence) / (n_classes - 1))[..., None], n_classes, axis=2)
    kind = np.where(correct, 0, 1)
    np.put_along_axis(probabilities, kind[..., None], confidence[..., None], axis=2)
    return SeedPredictions(
        init="scratch",
        fraction=1.0,
        trials=tuple(f"s{k}" for k in range(seeds)),
        rows=np.arange(n),
        labels=np.zeros(n, int),
        probabilities=probabilities,
        seen=np.ones((seeds, n), bool),
    )


def drawn(random, n, gap=0.0, seeds=1):
    confidence = random.uniform(0.4, 1, (seeds, n))
    return confidence, random.random((seeds, n)) < np.clip(confidence - gap, 0, 1)


def plain_error(confidence, correct):
    """Guo et al. 2017, equation 5, bin by bin."""
    total = 0.0
    for m in range(1, BINS + 1):
        inside = (confidence > (m - 1) / BINS) & (confidence <= m / BINS)
        if inside.any():
            total += inside.sum() * abs(correct[inside].mean() - confidence[inside].mean())
    return total / len(confidence)


def test_error_is_the_plain_one():
    confidence, correct = drawn(np.random.default_rng(0), 500, gap=0.1, seeds=2)
    expected = [plain_error(*pair) for pair in zip(confidence, correct, strict=True)]
    assert errors_by_seed(confidence, correct) == pytest.approx(expected)


def test_weights_repeat_images():
    confidence, correct = drawn(np.random.default_rng(1), 60, seeds=2)
    weights = np.random.default_rng(2).integers(0, 3, 60)
    repeated = [np.repeat(a, weights, axis=1) for a in (confidence, correct)]
    assert errors_by_seed(confidence, correct, weights) == pytest.approx(errors_by_seed(*repeated))


def test_many_resamples_at_once_are_one_after_the_other(monkeypatch):
    random = np.random.default_rng(5)
    made = predictions(*drawn(random, 90, seeds=3))
    seen = random.random((3, 90)) < 0.8
    made = replace(made, seen=seen, probabilities=made.probabilities * seen[..., None])
    counts = random.integers(0, 4, (7, 90))
    one_by_one = [
        errors_by_seed(made.confidence, made.correct, of_one * seen).mean() for of_one in counts
    ]
    errors = calibration.ResampledErrors(made)
    assert errors(counts.astype(float)) == pytest.approx(one_by_one)
    interval = calibration.over_images(90, errors)
    monkeypatch.setattr(calibration, "CHUNK", 33)
    assert calibration.over_images(90, errors) == interval


@pytest.mark.parametrize(("confidence", "number"), [(1 / 15, 0), (1.0, 14), (0.5, 7), (0.0, 0)])
def test_bins_are_closed_above(confidence, number):
    assert calibration.bin_of(np.array(confidence)) == number


def test_certain_and_right_has_no_error():
    (estimate,) = calibration.expected_errors(
        [predictions(np.ones((2, 40)), np.ones((2, 40), bool))]
    )
    assert (estimate.value, estimate.low, estimate.high) == (0, 0, 0)


def test_certain_and_wrong_has_all_of_it():
    (estimate,) = calibration.expected_errors(
        [predictions(np.ones((1, 40)), np.zeros((1, 40), bool))]
    )
    assert estimate.value == estimate.low == estimate.high == 1
    assert "without the variance between seeds" in estimate.how


def test_perfectly_calibrated_shows_what_is_expected_of_it():
    random = np.random.default_rng(3)
    errors = [errors_by_seed(*drawn(random, 400))[0] for _ in range(100)]
    expected = calibration.perfect_error(predictions(*drawn(random, 400)))
    assert expected == pytest.approx(np.mean(errors), rel=0.1)


def test_interval_covers_the_true_error(monkeypatch):
    """Of models that are 15 points too sure, whose true error is 0.15."""
    monkeypatch.setattr(calibration, "RESAMPLES", 120)
    covered = 0
    for number in range(60):
        made = predictions(*drawn(np.random.default_rng(number), 400, gap=0.15))
        (estimate,) = calibration.expected_errors([made])
        covered += estimate.low <= 0.15 <= estimate.high
    assert 52 <= covered <= 60


def test_reliability_counts_every_image():
    bins = calibration.reliability(predictions(*drawn(np.random.default_rng(4), 300, seeds=3)))
    assert bins["images"].sum() == pytest.approx(300)
    assert bins["share"].sum() == pytest.approx(1)
    assert ((bins["low"] <= bins["accuracy"]) & (bins["accuracy"] <= bins["high"])).all()


def test_sentences(full_grid, make_results):
    said = calibration.calibration(full_grid).sentences
    assert said[0].startswith("Scratch at 100%, n = 3 seeds: mean confidence 70.0%")
    assert "a perfectly calibrated model would show" in said[1]
    assert "15 bins of equal width" in said[-1]
    one = make_results(synthetic.grid((1.0,), (0,), inits=("pretrained",)))
    said = calibration.calibration(one).sentences
    assert len(said) == 2
    assert "one seed, so without the variance between seeds" in said[-1]


def test_no_predictions_no_calibration(make_results):
    results = make_results(synthetic.grid((1.0,), (0,)))
    results.trials["checkpoint"] = None
    assert calibration.calibration(results) is None
