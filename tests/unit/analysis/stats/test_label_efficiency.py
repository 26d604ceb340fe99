from dataclasses import replace

import numpy as np
import pytest
from helpers import simulation, synthetic

from analysis.stats import label_efficiency as label_efficiency_module
from analysis.stats.label_efficiency import (
    BELOW,
    NEVER,
    CrossingPoint,
    Saving,
    crossing_points,
    first_fraction_reaching,
    isotonic_fit,
    label_efficiency,
)
from analysis.stats.seed_variances import seed_pools

FRACTIONS = (0.05, 0.1, 0.25, 0.5, 1.0)
CURVE = np.interp(np.log(FRACTIONS), np.log([0.05, 1.0]), [0.55, 0.75])  # straight in log labels
KNOWN = 0.2
BASELINE = float(np.interp(np.log(KNOWN), np.log([0.05, 1.0]), [0.55, 0.75]))


def test_isotonic_fit_evens_out_a_fall():
    assert isotonic_fit([0.1, 0.4, 0.2, 0.5]) == pytest.approx([0.1, 0.3, 0.3, 0.5])
    assert isotonic_fit([[0.1, 0.2], [0.4, 0.2]]) == pytest.approx(
        np.array([[0.1, 0.2], [0.3, 0.3]])
    )


def test_reach_is_linear_in_the_logarithm():
    curves = np.array([[0.4, 0.5, 0.6]] * 5)
    fractions = first_fraction_reaching(
        [0.01, 0.1, 1.0], curves, np.array([0.45, 0.5, 0.55, 0.3, 0.7])
    )
    assert fractions == pytest.approx([10**-1.5, 0.1, 10**-0.5, BELOW, NEVER])


def test_reach_on_a_flat_curve():
    flat = np.full((2, 3), 0.5)
    assert first_fraction_reaching([0.1, 0.5, 1.0], flat, np.array([0.5, 0.6])).tolist() == [
        BELOW,
        NEVER,
    ]


def simulated(number, baseline, *, n_val=300, n_seeds=3, resample=False):
    """The crossing of one made-up grid, one baseline cell at the end."""
    random = np.random.default_rng(number)
    truth = [*CURVE, baseline]
    made = simulation.cells(random, truth, n_val=n_val, n_seeds=n_seeds, resample=resample)
    *pretrained, scratch = made
    pretrained = [replace(c, fraction=f) for c, f in zip(pretrained, FRACTIONS, strict=True)]
    return crossing_points(pretrained, [scratch])[0]


def coverage(repeats, **setting):
    crossings = [simulated(number, BASELINE, **setting) for number in range(repeats)]
    return np.mean([crossing.low <= KNOWN <= crossing.high for crossing in crossings])


def test_interval_covers_a_known_crossing():
    low, high = simulation.allowed(60)
    assert low <= coverage(60) <= high


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n_val", "n_seeds", "resample"),
    [(300, 2, False), (300, 5, False), (1000, 3, False), (3000, 3, False), (300, 3, True)],
)
def test_interval_covers_a_known_crossing_at_many_settings(n_val, n_seeds, resample):
    """With two seeds too wide (99%), as little is known of their spread; never too narrow."""
    low, high = simulation.allowed(400, 2)
    covered = coverage(400, n_val=n_val, n_seeds=n_seeds, resample=resample)
    assert low <= covered <= (high if n_seeds > 2 else 1)


def test_few_seeds_leave_open_whether_their_variance_falls_with_the_labels(monkeypatch):
    """The interval covers those of both; with seeds enough for variances of their own there is one."""
    labels = np.geomspace(100, 2000, 5).round().astype(int).tolist()
    spreads = np.array([[0.3, 0.2, 0.1, 0.06, 0.03]] * 2)

    def interval(n_seeds):
        pairs = simulation.pairs(
            np.random.default_rng(0), 5, n_val=300, n_seeds=n_seeds, seeds=spreads, labels=labels
        )
        found = crossing_points(*zip(*pairs, strict=True), resamples=300)[2]
        return found.low, found.high

    few, many = interval(3), interval(6)
    monkeypatch.setattr(
        label_efficiency_module, "seed_pools", lambda cells: (seed_pools(cells)[0], np.ones(10))
    )
    level = interval(3)
    assert few[0] <= level[0] < level[1] <= few[1]
    assert interval(6) == many


def test_never_crossing():
    crossing = simulated(0, 0.9)
    assert (crossing.value, crossing.low, crossing.high) == (NEVER,) * 3
    assert str(crossing) == "> 100% (95% CI: > 100%)"


def test_crossing_below_the_smallest_fraction():
    crossing = simulated(0, 0.4)
    assert (crossing.value, crossing.low, crossing.high) == (BELOW,) * 3
    assert str(crossing) == "≤ 5% (95% CI: ≤ 5%)"


def test_only_an_end_of_the_interval_is_beyond():
    crossing = simulated(3, 0.745)
    assert crossing.low < 1
    assert crossing.high == NEVER
    assert crossing.interval == f"95% CI: {100 * crossing.low:.0f}% to > 100%"
    crossing = simulated(3, 0.56)
    assert crossing.low == BELOW
    assert 0.05 < crossing.high < 0.5
    assert crossing.interval.startswith("95% CI: ≤ 5% to ")


def test_one_seed_says_so():
    crossing = simulated(0, BASELINE, n_seeds=1)
    assert crossing.low <= crossing.value <= crossing.high
    assert "n = 1 seed, so without the variance between seeds" in crossing.how


def test_savings_in_factor():
    def factor(value, low, high):
        crossing = CrossingPoint(value=value, low=low, high=high, tested=(0.05, 1.0), how="a test")
        return Saving(fraction=0.5, n_labels=9, accuracy=0.7, crossing=crossing).times_fewer

    assert factor(0.2, 0.1, 0.25) == "2.5 (95% CI: 2 to 5)"
    assert factor(0.2, BELOW, NEVER) == "2.5 (95% CI: < 0.5 to ≥ 10)"
    assert factor(BELOW, BELOW, BELOW) == "≥ 10 (95% CI: ≥ 10)"
    assert factor(NEVER, NEVER, NEVER) == "< 0.5 (95% CI: < 0.5)"
    assert factor(0.2, None, None) == "2.5 (no interval: a test)"


def test_label_efficiency_of_a_grid(full_grid):
    answer = label_efficiency(full_grid)
    assert [saving.n_labels for saving in answer.savings] == [99, 248, 496, 992]
    assert answer.crossing == answer.savings[-1].crossing
    assert 0.1 < answer.crossing.low < answer.crossing.value < 0.25 < answer.crossing.high < 0.5
    assert label_efficiency(full_grid) == answer  # the draws are the same each time


def test_nothing_to_compare(make_results):
    answer = label_efficiency(make_results(synthetic.grid((0.5, 1.0), (0,), inits=("scratch",))))
    assert answer.savings == ()
    assert answer.crossing is None


def test_no_baseline_but_savings(make_results):
    answer = label_efficiency(make_results(synthetic.grid((0.1, 0.5), (0,))))
    assert answer.crossing is None
    assert len(answer.savings) == 2


def test_without_predictions_there_is_a_value_but_no_interval(make_results):
    results = make_results(synthetic.grid(seeds=(0,)))
    results.trials["checkpoint"] = None
    crossing = label_efficiency(results).crossing
    assert 0.1 < crossing.value < 0.25
    assert crossing.interval == "no interval: not all trials have stored predictions"
