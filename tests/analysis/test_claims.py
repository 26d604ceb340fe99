from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import synthetic

from analysis import paper
from analysis.baseline import Crossing, against_baseline, crossing
from analysis.claims import claims
from analysis.crossing import BELOW, NEVER, Place
from analysis.statistics import Estimate
from analysis.verdicts import (
    FAILS,
    HOLDS,
    UNKNOWN,
    verdict_on_difference,
    verdict_on_epochs,
    verdict_on_fraction,
    verdict_on_time,
)


def estimate(value, low=None, high=None):
    return Estimate(value=value, low=low, high=high, how="a test")


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.01, 0.1, HOLDS), (-0.1, -0.01, FAILS), (-0.01, 0.1, UNKNOWN), (None, None, UNKNOWN)],
)
def test_verdict_on_difference(low, high, verdict):
    assert verdict_on_difference(estimate(0.05, low, high)) == verdict


@pytest.mark.parametrize(
    ("share", "low", "high", "verdict"),
    [
        (0.7, 0.6, 0.8, HOLDS),
        (0.7, 0.4, 1.1, UNKNOWN),
        (1.3, 1.1, 1.5, FAILS),
        (0.68, None, None, HOLDS),
        (0.95, None, None, UNKNOWN),
        (1.05, None, None, UNKNOWN),
        (1.5, None, None, FAILS),
    ],
)
def test_verdict_on_time(share, low, high, verdict):
    assert verdict_on_time(estimate(share, low, high)) == verdict


@pytest.mark.parametrize(
    ("low", "high", "longer_cut", "shorter_cut", "verdict"),
    [
        (5, 9, False, False, HOLDS),
        (5, 9, True, False, HOLDS),
        (5, 9, False, True, UNKNOWN),
        (-9, -5, False, True, FAILS),
        (-9, -5, True, False, UNKNOWN),
    ],
)
def test_verdict_on_epochs_minds_the_limit(low, high, longer_cut, shorter_cut, verdict):
    more = estimate((low + high) / 2, low, high)
    cut = {"longer_cut_short": longer_cut, "shorter_cut_short": shorter_cut}
    assert verdict_on_epochs(more, **cut) == verdict


def compared(*rows):
    """Fraction, difference, half-width."""
    frame = pd.DataFrame(rows, columns=["fraction", "difference", "half"])
    frame["low"] = frame["difference"] - frame["half"]
    frame["high"] = frame["difference"] + frame["half"]
    frame["sign"] = (frame["low"] > 0).astype(int) - (frame["high"] < 0).astype(int)
    return frame


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.2, 0.4, HOLDS),
        (BELOW, BELOW, HOLDS),
        (0.45, 0.58, HOLDS),
        (0.45, 0.7, UNKNOWN),
        (0.45, NEVER, UNKNOWN),
        (0.7, 0.9, FAILS),
        (NEVER, NEVER, FAILS),
        (None, None, UNKNOWN),
    ],
)
def test_verdict_on_fraction(low, high, verdict):
    place = Place(value=0.5, low=low, high=high, tested=(0.1, 1.0), how="a test")
    assert verdict_on_fraction(place, 0.5) == verdict


def test_below_a_smallest_fraction_that_is_large_is_not_known():
    place = Place(value=BELOW, low=BELOW, high=BELOW, tested=(0.8, 1.0), how="a test")
    assert verdict_on_fraction(place, 0.5) == UNKNOWN


def test_crossing():
    cross = crossing(compared((0.1, -0.1, 0.02), (0.5, 0.01, 0.02), (1.0, 0.06, 0.02)))
    assert cross == Crossing(fraction=0.5, below=(0.1,), level=(0.5,), above=(1.0,))


def test_crossing_evens_out_ups_and_downs():
    """A lucky fraction with a worse one after it is not yet the crossing."""
    frame = compared((0.1, -0.1, 0.02), (0.25, 0.002, 0.02), (0.5, -0.02, 0.02), (1, 0.05, 0.02))
    assert crossing(frame).fraction == 1


def test_crossing_not_reached_or_not_tested():
    none = crossing(compared((0.1, -0.1, 0.02), (1.0, -0.05, 0.02)))
    assert none.fraction is None
    assert none.why_none == "not reached at any fraction tested"
    assert crossing(compared()).why_none == "not tested"


def test_all_claims_of_a_grid_where_pretraining_helps(full_grid):
    found = claims(full_grid)
    assert len(found) == 6
    assert [claim.verdict for claim in found] == [HOLDS] * 6
    assert "69.4 % against 60.2 %: +9.1 points [" in found[0].ours
    assert found[0].paper == "75.53 % against 69.49 %: +6.04 points (table 1)"
    assert found[2].paper == "32 % less: 206 against 302 s (table 2)"
    assert "36 % of it: 47 of 131 min" in found[5].paper
    assert "the seeds (3 and 3)" in found[0].why
    assert "in our interval" not in found[0].why  # other data and model than the paper's


def test_paper_grid_of_one_seed(paper_grid):
    found = claims(paper_grid)
    assert found[0].verdict == HOLDS
    assert "The paper's value lies" in found[0].why
    assert found[3].verdict == UNKNOWN
    assert "no interval: n = 1 seed each" in found[3].why
    assert "no interval: n = 1 seed each" in found[2].why


def test_paper_grid_where_the_paper_is_right(make_results):
    def published(init, n_train, seed):
        return paper.published(init, n_train / 13_921 if init == "pretrained" else 1.0).accuracy

    cells = synthetic.paper_grid()
    for cell in cells:
        cell["n_train"] = cell["run"]["fraction"] * 13_921
    names = [f"class {number}" for number in range(9)]
    results = make_results(cells, published, galaxy10=True, arch="vit_b_16", names=names)
    found = claims(results)
    assert found[0].verdict == found[4].verdict == HOLDS
    assert "+6.0 points" in found[0].ours
    assert "lies in our interval" in found[0].why
    assert found[4].ours.startswith("49 %; 95 % interval from 45 %")


def test_claims_where_scratch_wins(make_results):
    flipped = {"scratch": "pretrained", "pretrained": "scratch"}
    results = make_results(
        synthetic.grid(), lambda init, n, seed: synthetic.accuracy_of(flipped[init], n, seed)
    )
    found = claims(results)
    assert found[0].verdict == FAILS
    assert found[4].verdict == FAILS
    assert found[4].ours.startswith("not reached at 100 %, the largest fraction tested; so in the")
    assert found[5].verdict == UNKNOWN
    assert found[5].why == "the baseline is not reached at any fraction tested"


def test_claims_without_a_baseline_say_why(make_results):
    cells = [cell for cell in synthetic.grid((0.5, 1.0), (0,)) if cell["id"] != "scratch-100-s0"]
    for claim in claims(make_results(cells)):
        assert claim.verdict == UNKNOWN
        assert claim.why == "the grid has no trial scratch at 100 %"


def test_claims_with_a_failed_baseline_say_why(make_results):
    results = make_results(
        synthetic.grid((1.0,), (0,)), status={"scratch-100-s0": ("failed", "RuntimeError: no")}
    )
    assert claims(results)[0].why == "no trial scratch at 100 % is complete (failed)"


def test_claims_without_small_fractions_or_times(make_results):
    results = make_results(synthetic.grid((0.8, 1.0), (0, 1)))
    results.trials["epoch_seconds"] = np.nan
    found = claims(results)
    assert found[2].why == "the epochs' times are not in the logs"
    assert found[4].verdict == UNKNOWN
    assert found[4].ours.startswith("at or below 80 %, the smallest fraction tested")


def test_first_epochs_need_three(make_results):
    results = make_results(synthetic.grid((1.0,), (0,)))
    results = replace(results, epochs=results.epochs[results.epochs["epoch"] <= 2])
    assert claims(results)[1].why == "a trial of pretrained at 100 % has fewer than 3 epochs"


def test_against_baseline_counts_seeds(full_grid):
    frame = against_baseline(full_grid)
    assert frame["n_pretrained"].tolist() == [3] * 4
    assert frame["fraction"].is_monotonic_increasing
    assert frame["scratch"].nunique() == 1
