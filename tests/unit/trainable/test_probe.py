from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from trainable.errors import NonFiniteLossError
from trainable.probe import (
    EXACT,
    STRENGTHS,
    _Fits,
    components_of,
    fit_probe,
    out_of_fold_logits,
    principal_components,
)

FOLDS = 5


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def galaxies(n: int, width: int, *, signal: float = 0.25, seed: int = 0):
    """Correlated features, of very different scales, about a centre for each class."""
    random = np.random.RandomState(seed)
    labels = np.concatenate(
        [np.arange(4), np.arange(4), random.choice(4, n - 8, p=[0.5, 0.3, 0.1, 0.1])]
    )
    centres = signal * random.normal(size=(4, width))
    noise = random.normal(size=(n, width)) @ random.normal(size=(width, width)) / np.sqrt(width)
    scales = np.geomspace(0.01, 100, width)
    features = (centres[labels] + noise) * scales + 3 * scales
    return features.astype(np.float32), labels.astype(np.int64)


def folded(labels: np.ndarray) -> np.ndarray:
    """Five folds over which each class is spread evenly."""
    folds = np.empty(len(labels), np.int64)
    folds[np.argsort(labels, kind="stable")] = np.arange(len(labels)) % FOLDS
    return folds


def fitted(features: np.ndarray, labels: np.ndarray):
    return fit_probe(features, labels, folded(labels))


def slow(
    features: np.ndarray, labels: np.ndarray, strength: float
) -> tuple[np.ndarray, np.ndarray]:
    """Weights and biases for features as they are, by scikit-learn."""
    mean, deviation = features.mean(0, dtype=np.float64), features.std(0, dtype=np.float64)
    model = LogisticRegression(C=1 / strength, solver="newton-cholesky", tol=1e-10, max_iter=1000)
    model.fit((features - mean) / deviation, labels)
    weight = model.coef_ / deviation
    return weight, model.intercept_ - weight @ mean


def shares(logits: np.ndarray) -> np.ndarray:
    """Probabilities."""
    return torch.from_numpy(logits).softmax(1).numpy()


def assert_close(actual: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    """Equal within `tolerance` of the largest magnitude."""
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize(("n", "width"), [(150, 12), (60, 90)])
def test_it_is_what_a_slow_solver_finds(n, width):
    features, labels = galaxies(n, width)
    probe = fitted(features, labels)
    weight, bias = slow(features, labels, probe.strength)
    deviation = features.std(0, dtype=np.float64)
    assert_close(probe.weight * deviation, weight * deviation, 1e-6)
    assert_close(probe.bias, bias, 1e-6)


def test_out_of_fold_means_by_a_fit_without_the_fold():
    features, labels = galaxies(100, 8)
    probe = fitted(features, labels)
    folds = folded(labels)
    scaled = (features - features.mean(0, dtype=np.float64)) / features.std(0, dtype=np.float64)
    expected = np.empty((100, 4))
    for fold in range(FOLDS):
        model = LogisticRegression(C=1 / probe.strength, solver="newton-cholesky", tol=1e-10)
        model.fit(scaled[folds != fold], labels[folds != fold])
        expected[folds == fold] = model.predict_proba(scaled[folds == fold])
    np.testing.assert_allclose(shares(probe.logits), expected, atol=1e-6)
    assert probe.loss == pytest.approx(-np.log(expected[np.arange(100), labels]).mean(), abs=1e-6)
    assert probe.accuracy == (expected.argmax(1) == labels).mean()


@pytest.mark.parametrize(("power", "tolerance"), [(8, 1e-4), (0, 1e-3), (-8, 1e-2)])
def test_the_path_is_accurate_enough_to_choose_by(power, tolerance):
    features, labels = galaxies(100, 30)
    probe = fitted(features, labels)
    strength = 30 * 2.0**power
    at = int(np.flatnonzero(probe.strengths == strength)[0])
    folds = folded(labels)
    scaled = (features - features.mean(0, dtype=np.float64)) / features.std(0, dtype=np.float64)
    losses = np.empty(100)
    for fold in range(FOLDS):
        model = LogisticRegression(C=1 / strength, solver="newton-cholesky", tol=1e-8)
        model.fit(scaled[folds != fold], labels[folds != fold])
        log = model.predict_log_proba(scaled[folds == fold])
        losses[folds == fold] = -log[np.arange(len(log)), labels[folds == fold]]
    assert probe.losses[at] == pytest.approx(losses.mean(), abs=tolerance)


def test_it_chooses_the_lowest_out_of_fold_loss():
    probe = fitted(*galaxies(150, 12))
    assert len(probe.strengths) == len(probe.losses) == len(STRENGTHS) >= 20
    assert probe.strength == probe.strengths[probe.losses.argmin()]
    assert probe.edge is None
    assert probe.loss == pytest.approx(probe.losses.min(), abs=1e-3)


def test_features_that_teach_nothing_lie_on_the_strong_edge():
    _, labels = galaxies(150, 12)
    noise = np.random.RandomState(1).normal(size=(150, 12)).astype(np.float32)
    probe = fitted(noise, labels)
    assert (probe.edge, probe.strength) == ("strongest", probe.strengths[0])
    frequencies = np.bincount(labels) / 150
    np.testing.assert_allclose(shares(probe.logits).mean(0), frequencies, atol=0.01)


def test_classes_far_apart_lie_on_the_weak_edge():
    features, labels = galaxies(150, 12, signal=200)
    probe = fitted(features, labels)
    assert (probe.edge, probe.strength) == ("weakest", probe.strengths[-1])
    assert probe.accuracy == 1


def test_the_scale_and_origin_of_a_feature_do_not_matter():
    features, labels = galaxies(80, 10)
    factors, shifts = 2.0 ** np.arange(-5, 5), np.arange(10.0)
    probe = fitted(features, labels)
    other = fitted(features * factors + shifts, labels)
    assert other.strength == probe.strength
    np.testing.assert_allclose(shares(other.logits), shares(probe.logits), atol=1e-6)
    assert_close(other.weight * factors, probe.weight, 1e-6)
    assert_close(other.bias, probe.bias - other.weight @ shifts, 1e-5)


def test_it_is_deterministic():
    first, again = (fitted(*galaxies(90, 100)) for _ in range(2))
    for name in ("weight", "bias", "losses", "logits"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))


def test_fewer_images_than_features_give_what_the_unrotated_features_give():
    features, labels = galaxies(40, 90)
    scaled = torch.from_numpy((features - features.mean(0)) / features.std(0)).double()
    truth, all_of_them = torch.from_numpy(labels), torch.ones(1, 40, dtype=torch.float64)
    components, axes = principal_components(scaled)
    assert components.shape == (40, 39)  # centred
    np.testing.assert_allclose(components, scaled @ axes, atol=1e-10)
    rotated = _Fits(components, truth, all_of_them, 4)
    plain = _Fits(scaled, truth, all_of_them, 4)
    weights = rotated.minimum(rotated.zeros(), 10.0, EXACT)
    expected = plain.minimum(plain.zeros(), 10.0, EXACT)
    turned_back = weights[0, :, :-1] @ axes.T
    assert_close(turned_back.numpy(), expected[0, :, :-1].numpy(), 1e-6)
    bias, expected_bias = weights[0, :, -1].numpy(), expected[0, :, -1].numpy()
    assert_close(bias - bias.mean(), expected_bias - expected_bias.mean(), 1e-6)


def test_constant_features_have_no_weight_and_change_nothing():
    features, labels = galaxies(90, 10)
    constant = np.full((90, 1), 7.1, np.float32)
    constant[::2] = np.nextafter(constant[::2], np.float32(8))  # float32's rounding
    probe = fitted(features, labels)
    other = fitted(np.hstack([features, constant, 0 * constant]), labels)
    np.testing.assert_array_equal(other.weight[:, 10:], 0)
    np.testing.assert_array_equal(other.weight[:, :10], probe.weight)
    assert other.strength == probe.strength


def test_without_any_feature_that_varies_it_knows_how_frequent_the_classes_are():
    _, labels = galaxies(90, 10)
    probe = fitted(np.ones((90, 3), np.float32), labels)
    odds = np.exp(probe.bias - probe.bias[0])
    counts = np.bincount(labels)
    np.testing.assert_allclose(odds, counts / counts[0], rtol=1e-6)
    assert probe.edge == "strongest"


def test_two_classes():
    features, labels = galaxies(60, 5)
    probe = fitted(features, labels % 2)
    weight, _ = slow(features, labels % 2, probe.strength / 2)  # of one weight vector, not of two
    deviation = features.std(0, dtype=np.float64)
    difference = probe.weight[1:] - probe.weight[:1]
    assert_close(difference * deviation, weight * deviation, 1e-6)


def test_a_class_that_a_fit_would_not_know_is_refused():
    features, labels = galaxies(60, 4)
    with pytest.raises(ValueError, match="class 3 has no images in two folds"):
        fit_probe(features, labels, np.where(labels == 3, 0, folded(labels)))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_features_that_are_no_numbers_are_an_error(bad):
    features, labels = galaxies(50, 4)
    features[7, 2] = bad
    with pytest.raises(NonFiniteLossError, match="features of 1 of 50 images are NaN or infinite"):
        fitted(features, labels)


@pytest.mark.parametrize(("n", "width", "signal"), [(120, 20, 0.25), (60, 100, 0.5), (150, 8, 0.0)])
def test_out_of_fold_logits_in_a_fraction_of_the_time(n, width, signal):
    features, labels = galaxies(n, width, signal=signal)
    slow_path = fitted(features, labels)
    quick = out_of_fold_logits(components_of(features), labels, folded(labels))
    probabilities = [torch.from_numpy(x).softmax(1).numpy() for x in (quick, slow_path.logits)]
    assert np.abs(probabilities[0] - probabilities[1]).max() < 0.01


def test_components_of_features_that_are_no_numbers_are_an_error():
    features, _ = galaxies(50, 4)
    features[7, 2] = np.nan
    with pytest.raises(NonFiniteLossError, match="features of 1 of 50 images are NaN or infinite"):
        components_of(features)
