import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from helpers import synthetic

from analysis import paper
from analysis.report.analysis import Analysis
from analysis.report.sections import claims as section_of_claims
from analysis.report.sections.claims import (
    INCONCLUSIVE,
    NOT_SUPPORTED,
    SUPPORTED,
    verdict_on_difference,
    verdict_on_epochs,
    verdict_on_fraction,
    verdict_on_time,
)
from analysis.stats.comparisons import Crossing, against_baseline, crossing
from analysis.stats.estimates import Estimate
from analysis.stats.label_efficiency import BELOW, NEVER, CrossingPoint


def claims(results):
    return section_of_claims.claims(Analysis(everything=results))


@pytest.fixture(scope="module")
def full_claims(full_analysis):
    return section_of_claims.claims(full_analysis)


def estimate(value, low=None, high=None):
    return Estimate(value=value, low=low, high=high, how="a test")


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.01, 0.1, SUPPORTED),
        (-0.1, -0.01, NOT_SUPPORTED),
        (-0.01, 0.1, INCONCLUSIVE),
        (None, None, INCONCLUSIVE),
    ],
)
def test_verdict_on_difference(low, high, verdict):
    assert verdict_on_difference(estimate(0.05, low, high)) == verdict


@pytest.mark.parametrize(
    ("share", "low", "high", "verdict"),
    [
        (0.7, 0.6, 0.8, SUPPORTED),
        (0.7, 0.4, 1.1, INCONCLUSIVE),
        (1.3, 1.1, 1.5, NOT_SUPPORTED),
        (0.68, None, None, SUPPORTED),
        (0.95, None, None, INCONCLUSIVE),
        (1.05, None, None, INCONCLUSIVE),
        (1.5, None, None, NOT_SUPPORTED),
    ],
)
def test_verdict_on_time(share, low, high, verdict):
    assert verdict_on_time(estimate(share, low, high)) == verdict


@pytest.mark.parametrize(
    ("low", "high", "longer_cut", "shorter_cut", "verdict"),
    [
        (5, 9, False, False, SUPPORTED),
        (5, 9, True, False, SUPPORTED),
        (5, 9, False, True, INCONCLUSIVE),
        (-9, -5, False, True, NOT_SUPPORTED),
        (-9, -5, True, False, INCONCLUSIVE),
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
        (0.2, 0.4, SUPPORTED),
        (BELOW, BELOW, SUPPORTED),
        (0.45, 0.58, SUPPORTED),
        (0.45, 0.7, INCONCLUSIVE),
        (0.45, NEVER, INCONCLUSIVE),
        (0.7, 0.9, NOT_SUPPORTED),
        (NEVER, NEVER, NOT_SUPPORTED),
        (None, None, INCONCLUSIVE),
    ],
)
def test_verdict_on_fraction(low, high, verdict):
    point = CrossingPoint(value=0.5, low=low, high=high, tested=(0.1, 1.0), how="a test")
    assert verdict_on_fraction(point, 0.5) == verdict


def test_below_a_smallest_fraction_that_is_large_is_not_known():
    point = CrossingPoint(value=BELOW, low=BELOW, high=BELOW, tested=(0.8, 1.0), how="a test")
    assert verdict_on_fraction(point, 0.5) == INCONCLUSIVE


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


def test_all_claims_of_a_grid_where_pretraining_helps(full_claims):
    found = full_claims
    assert len(found) == 6
    assert [claim.verdict for claim in found] == [SUPPORTED] * 6
    assert "69.4% against 60.2%: +9.1 points [" in found[0].ours
    assert found[0].paper == "75.53% against 69.49%: +6.04 points (table 1)"
    assert found[2].paper == "68% of scratch's time: 206 against 302 s (table 2)"
    assert "36% of the baseline's time: 47 against 131 min" in found[5].paper
    assert "the seeds (3 and 3)" in found[0].why
    assert "in our interval" not in found[0].why  # other data and model than the paper's


def test_paper_grid_of_one_seed(paper_grid):
    """Nothing about the methods is decided from one seed each, however far the models differ."""
    found = claims(paper_grid)
    assert [found[n].verdict for n in (0, 1, 4, 5)] == [INCONCLUSIVE] * 4
    assert "these two trained models: [+" in found[0].ours
    assert "one seed each does not show how much seeds differ" in found[0].why
    assert "95% CI of these trained models" in found[4].ours
    assert "The paper's value lies" in found[0].why
    section = section_of_claims.section(Analysis(everything=paper_grid))
    assert "With one seed each, a claim about what the methods do is inconclusive" in str(
        section.blocks[0]
    )
    assert found[3].verdict == INCONCLUSIVE
    assert "no interval: n = 1 seed each" in found[3].why
    assert "no interval: n = 1 seed each" in found[2].why


def test_paper_grid_where_the_paper_is_right(make_results):
    def published(init, n_train, seed):
        return paper.published(init, n_train / 13_921 if init == "pretrained" else 1.0).accuracy

    cells = synthetic.paper_grid()
    cells = [replace(cell, n_train=cell.fraction * 13_921) for cell in cells]
    names = [f"class {number}" for number in range(9)]
    results = make_results(cells, published, galaxy10=True, arch="vit_b_16", names=names)
    found = claims(results)
    assert "+6.0 points" in found[0].ours
    assert "lies in that of these two trained models" in found[0].why
    assert found[4].ours.startswith("49% (95% CI of these trained models: 45%")


def test_claims_where_scratch_wins(make_results):
    flipped = {"scratch": "pretrained", "pretrained": "scratch"}
    results = make_results(
        synthetic.grid(), lambda init, n, seed: synthetic.accuracy_of(flipped[init], n, seed)
    )
    found = claims(results)
    assert found[0].verdict == NOT_SUPPORTED
    assert found[4].verdict == NOT_SUPPORTED
    assert found[4].ours.startswith("> 100% (95% CI: > 100%")
    assert found[5].verdict == INCONCLUSIVE
    assert found[5].why == "the baseline is not reached at any fraction tested"


def test_claims_without_a_baseline_say_why(make_results):
    cells = [cell for cell in synthetic.grid((0.5, 1.0), (0,)) if cell.id != "scratch-100-s0"]
    for claim in claims(make_results(cells)):
        assert claim.verdict == INCONCLUSIVE
        assert claim.why == "the grid has no trial scratch at 100%"


def test_claims_with_a_failed_baseline_say_why(make_results):
    results = make_results(
        synthetic.grid((1.0,), (0,)), status={"scratch-100-s0": ("failed", "RuntimeError: no")}
    )
    assert claims(results)[0].why == "no trial scratch at 100% is complete (failed)"


def test_claims_without_small_fractions_or_times(make_results):
    results = make_results(synthetic.grid((0.8, 1.0), (0, 1)))
    results.trials["epoch_seconds"] = np.nan
    found = claims(results)
    assert found[2].why == "the epochs' times are not in the logs"
    assert found[4].verdict == INCONCLUSIVE
    assert found[4].ours.startswith("≤ 80% (95% CI: ≤ 80%")


def test_first_epochs_need_three(make_results):
    results = make_results(synthetic.grid((1.0,), (0,)))
    results = replace(results, epochs=results.epochs[results.epochs["epoch"] <= 2])
    assert claims(results)[1].why == "a trial of pretrained at 100% has fewer than 3 epochs"


def test_against_baseline_counts_seeds(full_grid):
    frame = against_baseline(full_grid)
    assert frame["n_pretrained"].tolist() == [3] * 4
    assert frame["fraction"].is_monotonic_increasing
    assert frame["scratch"].nunique() == 1


def test_a_share_of_time_and_its_interval_are_one_quantity(full_claims):
    """36% of the time [30% to 40%], not 64% less [30% to 40%]."""
    for claim in (full_claims[2], full_claims[5]):
        value, low, high = map(
            float, re.findall(r"([\d.]+)%", claim.ours.replace("95% CI", ""))[:3]
        )
        assert low <= value <= high < 100


def test_section_marks_each_verdict(full_analysis):
    (table,) = section_of_claims.section(full_analysis).tables
    assert table.frame["verdict"].tolist() == [SUPPORTED] * 6
    assert table.marks == {(row, "verdict"): "verdict supported" for row in range(6)}
    assert table.path == "claims"


def test_claims_about_epochs_are_inconclusive_for_a_probe(make_results):
    results = make_results(synthetic.probed(synthetic.grid((0.5, 1.0), (0, 1))))
    found = claims(results)
    why = [claim.why for claim in found]
    assert [text == section_of_claims.NO_EPOCHS for text in why] == [False, True, True, True] + [
        False
    ] * 2
    assert {claim.verdict for claim in found[1:4]} == {INCONCLUSIVE}
