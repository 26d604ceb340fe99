"""Which method needs the fewest labels, with intervals that hold together."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import backbone_coverage, simulation, synthetic

from analysis.stats.backbones import (
    Method,
    compare,
    methods_of,
    ratios_at_least,
    simultaneous_ends,
    usual_target,
)
from analysis.stats.estimates import percentiles
from analysis.stats.label_efficiency import BELOW, NEVER

FRACTIONS = (0.1, 0.25, 0.5, 1.0)


def method(name, fractions=FRACTIONS, accuracies=(0.5, 0.6, 0.7, 0.8), *, is_control=False):
    """A method with these mean accuracies, without predictions."""
    cells = (
        replace(simulation.runs((accuracy, accuracy)), fraction=fraction)
        for fraction, accuracy in zip(fractions, accuracies, strict=True)
    )
    return Method(name=name, example=None, is_control=is_control, cells=tuple(cells))


class TestSimultaneousEnds:
    def test_one_method_alone_has_its_percentiles(self):
        draws = np.random.default_rng(0).normal(size=(2000, 1))
        low, high = simultaneous_ends(draws)
        assert [low[0], high[0]] == pytest.approx(percentiles(draws[:, 0]), abs=0.01)

    def test_draws_lie_within_all_of_them_together(self):
        draws = np.random.default_rng(0).normal(size=(2000, 6)) * np.arange(1, 7)
        low, high = simultaneous_ends(draws)
        within = ((draws >= low) & (draws <= high)).all(axis=1).mean()
        assert 0.95 <= within < 0.955
        single = percentiles(draws[:, 0])
        assert low[0] < single[0] < single[1] < high[0]

    def test_methods_that_vary_together_need_no_correction(self):
        draws = np.random.default_rng(0).normal(size=(2000, 1)) * np.ones(6)
        low, high = simultaneous_ends(draws)
        assert [low[3], high[3]] == pytest.approx(percentiles(draws[:, 3]), abs=0.01)

    def test_what_is_never_reached_stays_so(self):
        random = np.random.default_rng(0)
        draws = np.stack([np.full(2000, NEVER), np.full(2000, BELOW), random.random(2000)], axis=1)
        low, high = simultaneous_ends(draws)
        assert (low[0], high[0]) == (NEVER, NEVER)
        assert (low[1], high[1]) == (BELOW, BELOW)
        assert 0 < low[2] < 0.03
        assert 0.97 < high[2] < 1


class TestRatiosAtLeast:
    def test_of_numbers_that_are_known(self):
        reached = np.tile([0.2, 0.4], (1000, 1))
        bounds = ratios_at_least([method("a"), method("b")], reached)
        assert np.exp(bounds[1, 0]) == pytest.approx(2)
        assert np.exp(bounds[0, 1]) == pytest.approx(0.5)
        assert np.isneginf(bounds[0, 0])

    @pytest.mark.parametrize(
        ("reached", "more", "fewer"),
        [
            ((BELOW, 0.4), 4, None),  # a: 0.1 or fewer
            ((0.2, NEVER), 5, None),  # b: more than 1
            ((BELOW, NEVER), 10, None),
            ((NEVER, NEVER), None, None),
            ((BELOW, BELOW), None, None),
        ],
    )
    def test_beyond_what_was_tested_is_not_guessed(self, reached, more, fewer):
        bounds = ratios_at_least([method("a"), method("b")], np.tile(reached, (1000, 1)))
        for bound, expected in ((bounds[1, 0], more), (bounds[0, 1], fewer)):
            if expected is None:
                assert np.isneginf(bound)
            else:
                assert np.exp(bound) == pytest.approx(expected)


def test_methods_without_predictions_have_no_intervals():
    worse = method("b", accuracies=(0.4, 0.5, 0.6, 0.7))
    control = method("c", accuracies=(0.7, 0.75, 0.8, 0.85), is_control=True)
    found = compare([worse, method("a"), control], 0.65, n_pool=1000)
    assert [needed.method.name for needed in found.needed] == ["c", "a", "b"]
    assert found.fewest.method.name == "a"  # a control is none
    first, second, third = found.needed
    assert first.crossing.text == "≤ 100"
    assert second.crossing.text == f"{1000 * np.sqrt(0.25 * 0.5):,.0f}"
    assert third.times == pytest.approx(np.sqrt(0.5 * 1.0) / np.sqrt(0.25 * 0.5))
    assert second.crossing.interval == "no interval: not all trials have stored predictions"
    assert all(needed.is_candidate and needed.times_low is None for needed in found.needed)


def test_no_network_may_be_enough():
    found = compare([method("a"), method("c", is_control=True)], 0.9)
    assert found.fewest is None
    assert [needed.crossing.value for needed in found.needed] == [NEVER, NEVER]


def test_who_was_tested_with_many_labels_alone_does_not_need_the_fewest():
    late = method("late", fractions=(1.0,), accuracies=(0.9,))
    early = method("early")  # reaches the target between its second and third budget
    found = compare([late, early], 0.65)
    assert [n.method.name for n in found.needed] == ["early", "late"]
    assert found.fewest.method.name == "early"
    at_once = method("at once", accuracies=(0.7, 0.7, 0.7, 0.8))
    assert compare([late, early, at_once], 0.65).fewest.method.name == "at once"


@pytest.mark.parametrize(
    ("best", "target"),
    [((0.83,), 0.8), ((0.83, 0.71), 0.8), ((0.83, 0.71, 0.6), 0.7), ((0.04,), None)],
)
def test_half_of_the_methods_reach_the_usual_target(best, target):
    methods = [method(str(b), accuracies=(0.01, 0.02, b, 0.9)) for b in best]
    assert usual_target(methods) == target
    assert usual_target([method("c", is_control=True)]) is None


@pytest.fixture
def several(make_results):
    """Two architectures, one of them pre-trained alone, and a control of the first."""
    first = synthetic.grid(FRACTIONS, n_val=1200)
    other = synthetic.grid(FRACTIONS, inits=("pretrained",), arch="other", n_val=1200)
    controls = synthetic.control(first)

    def better(init, n_train, seed):
        return synthetic.accuracy_of(init, 2 * n_train, seed)

    accuracy = {"vit_tiny": synthetic.accuracy_of, "other": better}
    return make_results([*first, *other, *controls], accuracy)


def test_the_methods_of_a_sweep(several):
    methods = methods_of(several)
    assert [m.name for m in methods] == [
        "vit_tiny (pre-trained, last layer)",
        "vit_tiny (from scratch)",
        "other (pre-trained, last layer)",
        "vit_tiny (untrained, linear probe)",
    ]
    assert [m.is_control for m in methods] == [False, False, False, True]
    assert all(m.fractions == list(FRACTIONS) for m in methods)


def test_one_that_needs_half_is_found(several):
    found = compare(methods_of(several), 0.65)
    assert found.fewest.method.name == "other (pre-trained, last layer)"
    worse = next(n for n in found.needed if n.method.name == "vit_tiny (pre-trained, last layer)")
    assert "other (pre-trained, last layer)" in worse.more_than
    assert 1 < worse.times_low < 2 == pytest.approx(worse.times, rel=0.15)
    assert worse.crossing.low < worse.crossing.value < worse.crossing.high
    assert "n = 3 seeds" in worse.crossing.how


def test_statements_about_several_methods_hold():
    """A sample of what `helpers.backbone_coverage` measures."""
    cover, wrong, _ = backbone_coverage.shares(20, methods=3, n_val=400, n_seeds=3, resamples=200)
    assert cover >= simulation.allowed(20)[0]
    assert wrong <= 0.25  # of 20 simulations, at 5%: more in 1 of 3,000 cases
