import numpy as np
import pytest
import simulation
import synthetic

from analysis.crossing import BELOW, NEVER, Place, Saving, enough, monotone, places, reach

FRACTIONS = (0.05, 0.1, 0.25, 0.5, 1.0)
CURVE = np.interp(np.log(FRACTIONS), np.log([0.05, 1.0]), [0.55, 0.75])  # straight in log labels
KNOWN = 0.2
BASELINE = float(np.interp(np.log(KNOWN), np.log([0.05, 1.0]), [0.55, 0.75]))


def test_monotone_evens_out_a_fall():
    assert monotone([0.1, 0.4, 0.2, 0.5]) == pytest.approx([0.1, 0.3, 0.3, 0.5])
    assert monotone([[0.1, 0.2], [0.4, 0.2]]) == pytest.approx(np.array([[0.1, 0.2], [0.3, 0.3]]))


def test_reach_is_linear_in_the_logarithm():
    curves = np.array([[0.4, 0.5, 0.6]] * 5)
    found = reach([0.01, 0.1, 1.0], curves, np.array([0.45, 0.5, 0.55, 0.3, 0.7]))
    assert found == pytest.approx([10**-1.5, 0.1, 10**-0.5, BELOW, NEVER])


def test_reach_on_a_flat_curve():
    flat = np.full((2, 3), 0.5)
    assert reach([0.1, 0.5, 1.0], flat, np.array([0.5, 0.6])).tolist() == [BELOW, NEVER]


def simulated(number, baseline, *, n_val=300, n_seeds=3, resample=False):
    """The place of one made-up grid, one baseline cell at the end."""
    random = np.random.default_rng(number)
    truth = [*CURVE, baseline]
    made = simulation.runs(random, truth, n_val=n_val, n_seeds=n_seeds, resample=resample)
    *ours, theirs = simulation.arms(made)
    return places(FRACTIONS, ours, [theirs])[0]


def coverage(repeats, **setting):
    found = [simulated(number, BASELINE, **setting) for number in range(repeats)]
    return np.mean([place.low <= KNOWN <= place.high for place in found])


def test_interval_covers_a_known_crossing():
    low, high = simulation.allowed(60)
    assert low <= coverage(60) <= high


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n_val", "n_seeds", "resample"),
    [(300, 2, False), (300, 5, False), (1000, 3, False), (3000, 3, False), (300, 3, True)],
)
def test_interval_covers_a_known_crossing_at_many_settings(n_val, n_seeds, resample):
    """With two seeds too wide (99 %), as little is known of their spread; never too narrow."""
    low, high = simulation.allowed(400, 2)
    found = coverage(400, n_val=n_val, n_seeds=n_seeds, resample=resample)
    assert low <= found <= (high if n_seeds > 2 else 1)


def test_never_crossing():
    place = simulated(0, 0.9)
    assert (place.value, place.low, place.high) == (NEVER,) * 3
    assert place.words == "not reached at 100 %, the largest fraction tested"
    assert place.interval.endswith("in the whole 95 % interval")


def test_crossing_below_the_smallest_fraction():
    place = simulated(0, 0.4)
    assert (place.value, place.low, place.high) == (BELOW,) * 3
    assert place.words == "at or below 5 %, the smallest fraction tested"


def test_only_an_end_of_the_interval_is_beyond():
    place = simulated(3, 0.745)
    assert place.low < 1
    assert place.high == NEVER
    assert place.interval.endswith("to not reached at 100 %, the largest fraction tested")
    place = simulated(3, 0.56)
    assert place.low == BELOW
    assert 0.05 < place.high < 0.5
    assert "from at or below 5 %, the smallest fraction tested to" in place.interval


def test_one_seed_says_so():
    place = simulated(0, BASELINE, n_seeds=1)
    assert place.low <= place.value <= place.high
    assert "n = 1 seed, so without its share" in place.how


def test_savings_in_words():
    def words(value, low, high):
        place = Place(value=value, low=low, high=high, tested=(0.05, 1.0), how="a test")
        return Saving(fraction=0.5, n_train=9, accuracy=0.7, place=place).words

    assert words(0.2, 0.1, 0.25) == "2.5 [2 to 5]"
    assert words(0.2, BELOW, NEVER) == "2.5 [below 0.5 to 10 or more]"
    assert words(BELOW, BELOW, BELOW) == "10 or more (whole interval)"
    assert words(NEVER, NEVER, NEVER) == "below 0.5 (whole interval)"
    assert words(0.2, None, None) == "2.5 (no interval: a test)"


def test_enough_of_a_grid(full_grid):
    found = enough(full_grid)
    assert [saving.n_train for saving in found.savings] == [99, 248, 496, 992]
    assert found.crossing == found.savings[-1].place
    assert 0.1 < found.crossing.low < found.crossing.value < 0.25 < found.crossing.high < 0.5
    assert enough(full_grid) == found  # the draws are the same each time


def test_nothing_to_compare(make_results):
    found = enough(make_results(synthetic.grid((0.5, 1.0), (0,), inits=("scratch",))))
    assert found.savings == ()
    assert found.crossing is None


def test_no_baseline_but_savings(make_results):
    found = enough(make_results(synthetic.grid((0.1, 0.5), (0,))))
    assert found.crossing is None
    assert len(found.savings) == 2


def test_without_predictions_there_is_a_value_but_no_interval(make_results):
    results = make_results(synthetic.grid(seeds=(0,)))
    results.trials["checkpoint"] = None
    place = enough(results).crossing
    assert 0.1 < place.value < 0.25
    assert place.interval == "no interval: not all trials have stored predictions"
