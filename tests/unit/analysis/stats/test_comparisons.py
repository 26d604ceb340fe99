from dataclasses import replace

import numpy as np
import pytest
from helpers import simulation, synthetic
from scipy import stats

from analysis.stats.comparisons import against_baseline, at_equal_labels, crossing, simultaneous
from analysis.stats.estimates import Estimate, accuracy_difference

RESAMPLES = 400


def together(pairs):
    singles = [accuracy_difference(*pair, resamples=100) for pair in pairs]
    return simultaneous(pairs, singles, resamples=RESAMPLES)


def share_clear(repeats, fractions, **setting):
    """Share of sweeps without a difference in which at least one fraction is clear of 0."""
    clear = 0
    for number in range(repeats):
        pairs = simulation.pairs(np.random.default_rng(number), fractions, **setting)
        clear += any(estimate.sign for estimate in together(pairs))
    return clear / repeats


def binomial(p, repeats):
    """Three standard errors of a share."""
    return 3 * np.sqrt(p * (1 - p) / repeats)


def test_few_sweeps_without_a_difference_are_clear():
    assert share_clear(60, 5, n_val=200, n_seeds=3) <= 0.05 + binomial(0.05, 60)


@pytest.mark.slow
@pytest.mark.parametrize("fractions", [5, 8])
@pytest.mark.parametrize("seeds", [simulation.SEEDS, (0.134, 0.03)])
def test_few_sweeps_without_a_difference_are_clear_at_many_settings(fractions, seeds):
    share = share_clear(400, fractions, n_val=300, n_seeds=3, seeds=seeds)
    assert share <= 0.05 + binomial(0.05, 400) / 3


def test_one_comparison_stays_single():
    pairs = simulation.pairs(np.random.default_rng(0), 1, n_val=300, n_seeds=3)
    single = accuracy_difference(*pairs[0], resamples=RESAMPLES)
    assert simultaneous(pairs, [single], resamples=RESAMPLES) == [single]


def test_one_seed_each_stays_as_it_is():
    pairs = simulation.pairs(np.random.default_rng(0), 3, n_val=300, n_seeds=1)
    singles = [accuracy_difference(*pair, resamples=RESAMPLES) for pair in pairs]
    assert simultaneous(pairs, singles) == singles
    assert all(single.models is not None for single in singles)


def test_without_predictions_bonferroni():
    pairs = simulation.pairs(np.random.default_rng(0), 4, n_val=300, n_seeds=4)
    pairs = [tuple(replace(cell, predictions=None) for cell in pair) for pair in pairs]
    singles = [accuracy_difference(*pair) for pair in pairs]
    for single, estimate in zip(singles, simultaneous(pairs, singles), strict=True):
        assert estimate.low < single.low < single.high < estimate.high
        expected = stats.t.ppf(1 - 0.05 / 2 / 4, single.df)
        assert estimate.high - estimate.value == pytest.approx(expected * single.se)


def test_seeds_that_differ_more_than_those_of_other_budgets_keep_their_own_variance():
    """Three seeds that differ much at one budget, and little at four others of as many labels."""
    spread = np.array([[0.3, 0.01, 0.01, 0.01, 0.01]] * 2)
    pairs = simulation.pairs(np.random.default_rng(0), 5, n_val=2000, n_seeds=3, seeds=spread)
    singles = [accuracy_difference(*pair, resamples=RESAMPLES) for pair in pairs]
    first, *others = simultaneous(pairs, singles, resamples=RESAMPLES)
    alone = singles[0].high - singles[0].low
    assert first.high - first.low == pytest.approx(alone, rel=0.05)
    assert first.critical * first.se == pytest.approx(alone / 2)
    assert (first.se, first.df) == (singles[0].se, singles[0].df)
    assert all(other.critical > 2.5 and other.high - other.low < alone for other in others)


@pytest.mark.parametrize("compare", [against_baseline, at_equal_labels])
def test_rows_state_the_interval_that_decides(full_grid, compare):
    frame = compare(full_grid)
    for row in frame.to_dict("records"):
        estimate, single = row["estimate"], row["single"]
        assert (row["low"], row["high"], row["sign"]) == (
            estimate.low, estimate.high, estimate.sign,
        )  # fmt: skip
        assert "one of 4 simultaneous intervals" in row["how"]
        assert single.critical is None
        assert estimate.critical > 2
        assert estimate.low <= single.value == estimate.value <= estimate.high


def test_fractions_of_one_seed_are_tested_but_not_compared(make_results):
    cross = crossing(against_baseline(make_results(synthetic.grid((0.5, 1.0), (0,)))))
    assert cross.without == (0.5, 1.0)
    assert cross.below == cross.level == cross.above == ()
    assert cross.why_none == "not reached at any fraction tested"


@pytest.mark.parametrize("df", [2.0, 7.0, 40.0])
@pytest.mark.parametrize("critical", [None, 3.0])
def test_detectable_is_found_by_a_t_test_in_80_percent(df, critical):
    """Drawn: a normal difference over a standard error with so many degrees of freedom."""
    half = stats.t.ppf(0.975, df) if critical is None else critical
    one = Estimate(value=0.0, low=-0.03, high=0.03, how="", se=0.01, df=df, critical=critical)
    random, n = np.random.default_rng(0), 200_000
    measured = one.detectable / 0.01 + random.standard_normal(n)
    share = np.mean(measured > half * np.sqrt(random.chisquare(df, n) / df))
    assert share == pytest.approx(0.8, abs=3 * np.sqrt(0.16 / n))


def test_the_power_is_said_of_what_is_not_significant():
    plain = Estimate(value=0.0, low=-0.03, high=0.03, how="", se=0.01, df=7.0)
    assert f"above {100 * plain.detectable:.1f} points would have been found in 80%" in plain.power
    assert replace(plain, low=0.01).power is None
    vague = Estimate(value=0.2, low=-0.4, high=0.9, how="", se=0.1, df=1.0)
    assert vague.detectable > 1
    assert vague.power.startswith("no difference, however large, would have been found in 80%")


def found(repeats, gain, decide, fractions):
    """Detectable difference of the first fraction, on average, and the share of it found."""
    estimates = [
        decide(simulation.pairs(
            np.random.default_rng(number), fractions, n_val=300, n_seeds=5, gain=gain
        ))[0]
        for number in range(repeats)
    ]  # fmt: skip
    return np.mean([e.detectable for e in estimates]), np.mean([e.sign == 1 for e in estimates])


def single(pairs):
    return [accuracy_difference(*pairs[0], resamples=RESAMPLES)]


@pytest.mark.parametrize(
    ("decide", "fractions", "repeats"),
    [
        pytest.param(single, 1, 100, id="single"),
        pytest.param(together, 4, 200, id="simultaneous", marks=pytest.mark.slow),
        pytest.param(single, 1, 500, id="single, many", marks=pytest.mark.slow),
    ],
)
def test_detectable_difference_is_found_in_80_percent(decide, fractions, repeats):
    gain, _ = found(repeats // 2, 0.0, decide, fractions)
    _, share = found(repeats, gain, decide, fractions)
    assert share == pytest.approx(0.8, abs=binomial(0.8, repeats))
