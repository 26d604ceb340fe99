from dataclasses import replace

import numpy as np
import pytest
from helpers import power_simulation, simulation
from scipy import stats

from analysis.stats.power import (
    Budget,
    Spread,
    Variation,
    detectable,
    disagreement,
    measured,
    nearest,
    remedy,
    typical,
)


def budget(seeds=3, images=3000.0, pretrained=1.0, scratch=2.0, over_images=0.176, both=0.0):
    """Seeds vary by so many points; `over_images` and `both` as the shares of a `Variation`."""
    return Budget(
        n_labels=100,
        images=images,
        n_pretrained=seeds,
        n_scratch=seeds,
        variation=Variation(
            pretrained=Spread(seeds=pretrained / 100, disagreement=both),
            scratch=Spread(seeds=scratch / 100, disagreement=both),
            discordance=over_images + both,
        ),
    )


def in_points(*budgets):
    return [100 * smallest for smallest in detectable(budgets)]


def usual(of):
    """(t + t₀.₈) times the expected standard error, with Welch's degrees of freedom."""
    parts = np.square([s.seeds for s in (of.variation.pretrained, of.variation.scratch)])
    parts /= of.n_scratch
    total = parts.sum() + of.variation.over_images / of.images
    df = total**2 / (parts**2 / (of.n_scratch - 1)).sum()
    return 100 * (stats.t.ppf(0.975, df) + stats.t.ppf(0.8, df)) * np.sqrt(total)


@pytest.mark.parametrize(
    ("images", "seeds", "points", "averaged"),
    [
        (3000, 3, 5.2, 6.3),
        (3000, 5, 3.8, 4.0),
        (3000, 8, 3.2, 3.3),
        (302, 3, 7.8, 8.9),
        (302, 5, 7.4, 7.6),
        (302, 8, 7.1, 7.2),
    ],
)
def test_few_seeds_find_less_than_the_usual_formula_says(images, seeds, points, averaged):
    """What it says is the power of a sweep that knows how much seeds vary."""
    of = budget(seeds, images)
    assert usual(of) == pytest.approx(points, abs=0.06)
    assert in_points(of) == pytest.approx([averaged], abs=0.06)


def test_seeds_that_vary_much_leave_nothing_to_images():
    few, many, all_images = (in_points(budget(3, n, scratch=5))[0] for n in (302, 3000, np.inf))
    assert few == pytest.approx(many, rel=0.08)
    assert many == pytest.approx(all_images, rel=0.01)


def test_many_seeds_leave_the_normal_distribution():
    (of,) = in_points(budget(1000))
    se = np.sqrt(1e4 * 0.176 / 3000 + (1 + 4) / 1000)
    assert of == pytest.approx((1.96 + 0.8416) * se, rel=0.005)


def test_what_one_seed_gets_right_by_chance_counts_for_each_seed():
    (of,) = in_points(budget(1000, both=0.4))
    se = np.sqrt(1e4 * 0.176 / 3000 + (1 + 4 + 2 * 1e4 * 0.2 / 3000) / 1000)
    assert of == pytest.approx((1.96 + 0.8416) * se, rel=0.005)


def test_several_budgets_together_find_less():
    (one,) = in_points(budget(5))
    four = in_points(*[budget(5)] * 4)
    assert all(one * 1.05 < of < one * 1.5 for of in four)
    assert four == pytest.approx([np.mean(four)] * 4, rel=0.02)


def test_how_variances_fall_with_the_labels_is_uncertain_and_costs_most_at_few_labels():
    plan = [replace(budget(3), n_labels=labels) for labels in (100, 300, 1000, 3000)]
    found = in_points(*plan)
    assert found == sorted(found, reverse=True)
    assert found[0] > 1.05 * found[-1]
    own = in_points(*[replace(of, n_pretrained=5, n_scratch=5) for of in plan])
    assert own == pytest.approx([np.mean(own)] * 4, rel=0.02)


def test_one_seed_each_finds_nothing():
    assert detectable([budget(1), budget(1)]) == [None, None]
    assert detectable([budget(1), budget(3)])[0] is None


def test_one_init_of_one_seed_borrows_the_spread_of_the_other():
    of = replace(budget(5, scratch=2, pretrained=2), n_pretrained=1)
    both = budget(5, scratch=2, pretrained=2)
    assert in_points(of)[0] > in_points(both)[0]


def test_a_wider_interval_finds_less():
    assert detectable([budget()], 0.99)[0] > detectable([budget()])[0]


@pytest.mark.parametrize("points", [((1,), (2,)), ((5, 1.5, 1), (4, 3, 2))])
def test_simulated_sweeps_find_what_is_printed(points):
    repeats = 60
    planned = power_simulation.budgets(300, 4, points)
    shares = power_simulation.found(planned, points, repeats, resamples=200)
    assert abs(shares - 0.8).max() <= 3 * np.sqrt(0.8 * 0.2 / repeats) + 0.02


class TestRemedy:
    def test_more_images_or_seeds(self):
        plan = [budget(5, 800)]
        target = 0.045
        found = remedy(plan, 0, target)
        assert found.images > 800
        assert found.seeds > 5
        for seeds, images in ((5, found.images), (found.seeds, 800), found.both):
            assert detectable([plan[0].of_size(seeds, images)])[0] <= target * 1.001
        for seeds, images in ((5, 0.95 * found.images), (found.seeds - 1, 800)):
            assert detectable([plan[0].of_size(seeds, images)])[0] > target

    def test_no_number_of_images_if_seeds_differ_too_much(self):
        found = remedy([budget(3, 3000)], 0, 0.03)
        assert found.images is None
        assert 8 <= found.seeds <= 12

    def test_no_number_of_seeds_if_images_are_too_few(self):
        found = remedy([budget(3, 302)], 0, 0.03)
        assert found.images is None
        assert found.seeds is None
        assert found.both[0] > 3

    def test_an_init_that_has_more_seeds_keeps_them(self):
        plan = replace(budget(3, 3000), n_pretrained=20)
        assert plan.of_size(8, 500).seeds == (20, 8)
        assert remedy([plan], 0, 0.03).seeds < remedy([budget(3, 3000)], 0, 0.03).seeds

    def test_one_seed_needs_a_second(self):
        found = remedy([budget(1, 3000)], 0, 0.05)
        assert found.images is None
        assert found.seeds >= 3


def test_disagreement_by_hand():
    a = simulation.cell([[1, 1, 0, 0], [1, 0, 0, 1]]).predictions
    b = simulation.cell([[1, 1, 0, 0]]).predictions
    assert disagreement(a, b) == pytest.approx((0 + 2 / 4) / 2)
    assert disagreement(a, a) == pytest.approx(2 / 4)
    assert disagreement(b, b) is None


def test_disagreement_on_the_images_that_both_are_scored_on():
    seen = np.array([[True, True, True, False], [False, True, True, True]])
    a = simulation.cell([[1, 1, 0, 0], [0, 0, 0, 1]], seen).predictions
    assert disagreement(a, a) == pytest.approx(1 / 2)
    elsewhere = simulation.cell([[1, 1]], rows=[3, 9]).predictions
    assert disagreement(a, elsewhere) == pytest.approx(0)  # the last image of the second seed


def test_a_pilot_measures_what_made_it_vary():
    points = ((2.0, 2.0), (4.0, 4.0))
    pairs = simulation.pairs(
        np.random.default_rng(0), 2, n_val=4000, n_seeds=25, own_ease=0.15,
        seeds=power_simulation.spreads(points),
    )  # fmt: skip
    expected = power_simulation.budgets(4000, 25, points)
    for (n_labels, found), known in zip(measured(pairs), expected, strict=True):
        assert n_labels == 100
        assert found.discordance == pytest.approx(known.variation.discordance, abs=0.02)
        assert found.scratch.disagreement == pytest.approx(
            known.variation.scratch.disagreement, abs=0.02
        )
        assert found.scratch.seeds == pytest.approx(0.04, rel=0.35)
        assert found.pretrained.seeds == pytest.approx(0.02, rel=0.35)


def test_a_pilot_of_one_seed_keeps_the_typical_spread():
    pairs = simulation.pairs(np.random.default_rng(0), 1, n_val=300, n_seeds=1)
    ((_, found),) = measured(pairs)
    assert found.scratch == typical(100).scratch
    assert found.discordance != typical(100).discordance


def test_the_nearest_number_of_labels():
    few, many = typical(100), typical(1000)
    known = [(100, few), (1000, many)]
    assert nearest(known, 310) is few
    assert nearest(known, 330) is many
    assert typical(1000, frozen=False).pretrained == many.scratch
