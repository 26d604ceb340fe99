import numpy as np
import pytest
from helpers import simulation

from analysis.stats.bootstrap import draw
from analysis.stats.estimates import accuracy_difference, wilson

EACH = np.eye(2)
TRUTH = (0.72, 0.69)


def coverage(repeats, **setting):
    """Share of made-up pairs of cells whose 95% interval covers the true difference."""
    covered = 0
    for number in range(repeats):
        made = simulation.cells(np.random.default_rng(number), TRUTH, **setting)
        drawn = draw(made, pools=[0, 1], extra=EACH, resamples=600).contrasts([[1, -1]])
        low, high = np.quantile(drawn.draws, (0.025, 0.975))
        covered += low <= TRUTH[0] - TRUTH[1] <= high
    return covered / repeats


@pytest.mark.parametrize(
    ("n_val", "n_seeds", "resample"),
    [
        (250, 3, False),
        pytest.param(250, 3, True, marks=pytest.mark.slow),
        pytest.param(250, 5, False, marks=pytest.mark.slow),
        pytest.param(800, 2, False, marks=pytest.mark.slow),
    ],
)
def test_intervals_cover_the_truth(n_val, n_seeds, resample):
    low, high = simulation.allowed(150)
    assert low <= coverage(150, n_val=n_val, n_seeds=n_seeds, resample=resample) <= high


@pytest.mark.slow
@pytest.mark.parametrize("n_seeds", [2, 3, 5])
@pytest.mark.parametrize(
    ("n_val", "resample"), [(250, False), (1000, False), (3500, False), (250, True), (1000, True)]
)
def test_intervals_cover_the_truth_at_many_settings(n_val, n_seeds, resample):
    low, high = simulation.allowed(1000, 2)
    assert low <= coverage(1000, n_val=n_val, n_seeds=n_seeds, resample=resample) <= high


def test_single_runs_cover_their_own_accuracy():
    """One seed each: the interval is of these two runs, over images; Wilson's of one of them."""
    pairs, single, low_high = [], [], simulation.allowed(300)
    for number in range(300):
        random = np.random.default_rng(number)
        made = simulation.cells(random, TRUTH, n_val=300, n_seeds=1, seeds=0)
        a, b = made
        estimate = accuracy_difference(a, b)
        pairs.append(estimate.models[0] <= TRUTH[0] - TRUTH[1] <= estimate.models[1])
        one = wilson(a.accuracy, 300)
        single.append(one.low <= TRUTH[0] <= one.high)
    assert low_high[0] <= np.mean(pairs) <= low_high[1]
    assert low_high[0] <= np.mean(single) <= low_high[1]


def cells(correct, of_cell, seen=None):
    """Cells from trials: (T, N) right or wrong, and the cell of each trial."""
    correct, of_cell = np.asarray(correct, dtype=bool), np.asarray(of_cell)
    seen = np.ones_like(correct) if seen is None else np.asarray(seen, dtype=bool)
    return [
        simulation.cell(correct[of_cell == number], seen[of_cell == number])
        for number in np.unique(of_cell)
    ]


def test_images_are_paired():
    """Two cells that are right on the same images never differ."""
    one = np.random.default_rng(0).random(100) < 0.7
    drawn = draw(cells([one, one], [0, 1]))
    assert not drawn.with_seeds
    assert (drawn.means[:, 0] == drawn.means[:, 1]).all()
    assert drawn.means.std() == pytest.approx(np.sqrt(0.7 * 0.3 / 100), rel=0.15)


def test_sets_without_a_common_image_are_not_paired():
    one = np.random.default_rng(0).random(200) < 0.7
    seen = np.arange(200) < 100
    drawn = draw(cells([one & seen, one & ~seen], [0, 1], [seen, ~seen])).means
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.1


def test_seeds_that_dominate_give_students_interval():
    """Every image alike, so that seeds alone differ: t on two degrees of freedom, two by two."""
    n = 20_000
    shares = (0.70, 0.72, 0.66, 0.64)
    made = cells([np.arange(n) < share * n for share in shares], [0, 0, 1, 1])
    means = draw(made, resamples=4000).means
    high = np.quantile(means[:, 0] - means[:, 1], 0.975)
    pooled = 0.01 * np.sqrt(2)  # both spreads are two points over √2, pooled over two cells
    assert high - 0.06 == pytest.approx(4.303 * pooled, rel=0.15)


def test_a_cell_of_one_seed_borrows_the_spread_of_the_others():
    random = np.random.default_rng(2)
    made = cells(random.random((4, 300)) < [[0.6], [0.7], [0.8], [0.6]], [0, 0, 0, 1])
    assert draw(made, pools=[0, 1]).with_seeds


def test_perfect_accuracy_is_not_certain():
    made = cells(np.ones((4, 50)), [0, 0, 1, 1])
    means = draw(made, extra=EACH).means
    assert np.isfinite(means).all()
    assert np.ptp(means[:, 0] - means[:, 1]) > 0


def test_a_variance_of_its_own_has_the_freedom_that_its_trials_have():
    """Splits that vary: what is left of two cells and three seeds has two degrees of freedom."""
    random = np.random.default_rng(0)
    made = simulation.cells(random, TRUTH, n_val=400, n_seeds=3, resample=True)
    pooled, own = (np.ptp(draw(made, pools=p).means, axis=0) for p in ([0, 0], [0, 1]))
    assert (own < 2 * pooled).all()  # one degree of freedom would make it many times wider


def test_unequal_seeds_with_splits_of_their_own_still_show_their_spread():
    random = np.random.default_rng(1)
    seen = np.zeros((3, 300), dtype=bool)
    seen[[0, 2], :100] = seen[1, 100:200] = True
    made = cells(random.random((3, 300)) < 0.7, [0, 0, 1], seen)
    assert draw(made).with_seeds
