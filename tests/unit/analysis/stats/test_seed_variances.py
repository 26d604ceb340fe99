import numpy as np
import pytest
from helpers import simulation

from analysis.stats.seed_variances import OWN_VARIANCE, STEEPEST, fitted_exponent, seed_pools

LABELS = (50, 100, 200, 400, 800)


def cells(exponent, *, n_seeds, spread=0.05, init="scratch", seed=0):
    """Cells whose variance between seeds goes with this power of the labels, exactly."""
    made = []
    for labels in LABELS:
        deviation = spread * np.sqrt((labels / LABELS[0]) ** exponent)
        steps = np.linspace(-1, 1, n_seeds)
        accuracies = 0.5 + deviation * steps / np.std(steps, ddof=1)
        made.append(simulation.runs(accuracies, init=init, n_labels=labels, n_scored=10_000))
    return made


@pytest.mark.parametrize("exponent", [0.0, -0.5, -1.2])
def test_few_seeds_share_a_variance_that_falls_with_the_labels(exponent):
    both = [
        *cells(exponent, n_seeds=3),
        *cells(exponent, n_seeds=3, spread=0.01, init="pretrained"),
    ]
    pools, scales = seed_pools(both)
    assert pools == [1] * 5 + [0] * 5
    expected = np.array(LABELS, float) ** exponent
    assert scales[:5] / scales[0] == pytest.approx(expected / expected[0])
    assert scales[5:] == pytest.approx(scales[:5])


def test_it_never_rises_and_falls_no_faster_than_can_be_believed():
    assert seed_pools(cells(0.8, n_seeds=3))[1] == pytest.approx(1.0)
    _, scales = seed_pools(cells(-5.0, n_seeds=3))
    assert scales[-1] / scales[0] == pytest.approx((LABELS[-1] / LABELS[0]) ** STEEPEST)


def test_many_seeds_have_variances_of_their_own():
    mixed = [*cells(-1.0, n_seeds=OWN_VARIANCE), *cells(-1.0, n_seeds=2, init="pretrained")]
    pools, scales = seed_pools(mixed)
    assert len(set(pools[:5])) == 5
    assert set(pools[5:]) == {0}
    assert scales[:5] == pytest.approx(1.0)
    assert scales[5] > scales[9]


def test_two_numbers_of_labels_tell_nothing():
    assert seed_pools(cells(-1.0, n_seeds=3)[:2])[1] == pytest.approx(1.0)


def test_exponents_of_many_sweeps_are_those_of_each():
    logs = np.random.default_rng(0).normal(size=(4, 10)) - np.linspace(0, 2, 10)
    labels, scratch = np.tile(np.log(LABELS), 2), np.repeat([True, False], 5)
    weights = np.repeat([1.0, 3.0], 5)
    several = fitted_exponent(labels, logs, scratch, weights)
    assert several == pytest.approx([fitted_exponent(labels, y, scratch, weights) for y in logs])
    assert np.ptp(several) > 0
