import numpy as np
import pytest
from helpers import sequential_simulation
from scipy import stats

from analysis.stats import sequential
from analysis.stats.estimates import Estimate
from analysis.stats.sequential import ALPHA, Looks, decision, looks_of, nominal, planned, spent


def estimate(low, high):
    return Estimate(value=(low + high) / 2, low=low, high=high, how="")


def test_all_is_spent_at_the_last_look_and_more_at_each():
    assert spent(1.0) == pytest.approx(ALPHA)
    shares = [spent(share) for share in np.linspace(0, 1, 9)]
    assert shares[0] == 0
    assert all(np.diff(shares) > 0)


def test_boundaries_are_the_published_ones(monkeypatch):
    """Lan & DeMets (1983) with Pocock's function, five equal looks, 5% on two sides."""
    monkeypatch.setattr(sequential, "ALPHA", 0.05)
    boundaries = stats.norm.isf(np.array(nominal.__wrapped__((1, 2, 3, 4, 5))) / 2)
    assert boundaries == pytest.approx([2.438, 2.427, 2.410, 2.397, 2.386], abs=0.001)


@pytest.mark.parametrize("seeds", [(3, 4, 5), (3, 5, 10), (4, 5, 6, 7)])
def test_looks_together_miss_what_is_to_be_spent(seeds):
    n = np.array(seeds)
    correlation = np.sqrt(np.minimum.outer(n, n) / np.maximum.outer(n, n))
    z = stats.norm.isf(np.array(nominal(seeds)) / 2)
    inside = stats.multivariate_normal.cdf(z, cov=correlation, lower_limit=-z, rng=0)
    assert 1 - inside == pytest.approx(ALPHA, abs=1e-4)


def test_one_look_spends_all():
    assert nominal((3,)) == pytest.approx((ALPHA,))


def test_looks_are_at_every_number_of_seeds():
    looks = planned(3, 6)
    assert looks.seeds == (3, 4, 5, 6)
    assert len(looks.levels) == 4
    assert [looks.reached(n) for n in (1, 3, 4, 6, 20)] == [0, 0, 1, 3, 3]
    assert Looks(seeds=(3, 6)).reached(4) == 1  # a trial is missing: the wider interval


def test_looks_are_those_of_the_settings():
    settings = {"until_decided": True, "seeds": [0, 1, 2, 2], "max_seeds": 5}
    assert looks_of(settings) == planned(3, 5)
    assert looks_of(settings | {"until_decided": False}) is None
    assert looks_of({}) is None


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.01, 0.09, "different"),
        (-0.09, -0.01, "different"),
        (-0.01, 0.015, "alike"),
        (0.001, 0.01, "different"),  # and smaller than what matters
        (-0.01, 0.02, None),
        (-0.05, 0.05, None),
    ],
)
def test_decisions(low, high, expected):
    assert decision(estimate(low, high), detect=0.02) == expected


def test_without_an_interval_nothing_is_decided():
    assert decision(Estimate(value=0.5, how="one seed each"), detect=0.02) is None


def test_few_sweeps_without_a_difference_stop_falsely():
    repeats = 60
    found = sequential_simulation.simulated(
        repeats, budgets=2, points=(1, 2), gain=0.0, n_val=150, most=5, resamples=100
    )
    assert found.false_stops <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / repeats)


def test_large_differences_end_a_sweep_early():
    found = sequential_simulation.simulated(
        20, budgets=1, points=(1, 2), gain=0.25, n_val=300, most=6, resamples=100
    )
    assert found.different == 1
    assert found.trials < 0.7 * found.most_trials
