from dataclasses import replace

import pytest
from helpers import synthetic

from analysis.stats.cost import AS_TRAINED, EVERY_EPOCH, costs, shares
from analysis.stats.estimates import ratio
from trainable.flops import probe_flops


def row(frame, trial, counted):
    return frame[(frame["trial"] == trial) & (frame["counted"] == counted)].iloc[0]


def test_a_scratch_epoch_is_three_passes_of_training_and_one_of_validation(full_grid):
    frame = costs(full_grid)
    epochs = full_grid.trials.set_index("trial").loc["scratch-100-s0", "epochs"]
    for counted in (EVERY_EPOCH, AS_TRAINED):
        whole = row(frame, "scratch-100-s0", counted)
        assert whole["images"] == epochs * (992 + 248)
        assert whole["flops"] == epochs * 26e6 * (3 * 992 + 248)


def test_a_head_on_cached_features_sees_each_image_once(full_grid):
    frame = costs(full_grid)
    epochs = full_grid.trials.set_index("trial").loc["pretrained-25-s0", "epochs"]
    full = row(frame, "pretrained-25-s0", EVERY_EPOCH)
    once = row(frame, "pretrained-25-s0", AS_TRAINED)
    assert full["flops"] == epochs * 26e6 * (248 + 248)
    assert once["images"] == 248 + 248
    assert once["flops"] == 26e6 * (248 + 248) + epochs * 2 * 774 * (3 * 248 + 248)
    assert full.isna()["seconds"]
    assert once["seconds"] > 0


def test_without_a_cache_both_ways_of_counting_are_one(make_results):
    grid = synthetic.grid((0.5, 1.0), (0, 1))
    cells = [synthetic.configured(cell, cache_features=False) for cell in grid]
    results = make_results(cells)
    assert [s.counted for s in shares(results, 0.5)] == [EVERY_EPOCH] * 3


def test_a_probe_sees_each_image_once(make_results):
    (probe,) = synthetic.probed([synthetic.cell("pretrained", 0.5, 0)])
    results = make_results([synthetic.cell("scratch", 1.0, 0), probe])
    results.trials.loc[results.trials["trial"] == probe.id, "epochs"] = 1
    fits = probe_flops(parameters=774, n_train=496, folds=5)
    for counted in (EVERY_EPOCH, AS_TRAINED):
        counts = row(costs(results), probe.id, counted)
        assert counts["images"] == 496 + 248
        assert counts["flops"] == 26e6 * (496 + 248) + fits


def test_shares_of_the_baseline(full_grid):
    compared = {(s.quantity, s.counted): s for s in shares(full_grid, 0.25)}
    assert set(compared) == {
        *(("images", counted) for counted in (EVERY_EPOCH, AS_TRAINED)),
        *(("flops", counted) for counted in (EVERY_EPOCH, AS_TRAINED)),
        ("seconds", AS_TRAINED),
    }
    seconds = compared["seconds", AS_TRAINED]
    assert seconds.share.value == pytest.approx(seconds.ours / seconds.baseline, rel=0.02)
    assert seconds.share.low < seconds.share.value < seconds.share.high < 1


def test_one_seed_has_no_interval_and_missing_times_no_row(make_results):
    results = make_results(synthetic.grid((1.0,), (0,)))
    results.trials["total_seconds"] = None
    compared = shares(results, 1.0)
    assert {s.quantity for s in compared} == {"images", "flops"}
    assert all(s.share.how == "no interval: n = 1 seed each" for s in compared)


def test_trials_under_other_names_than_their_cells(full_grid):
    """As where sweeps of several protocols are read as one."""
    renamed = replace(
        full_grid, trials=full_grid.trials.assign(trial="paper-" + full_grid.trials["trial"])
    )
    assert costs(renamed)["flops"].tolist() == costs(full_grid)["flops"].tolist()


def test_seeds_that_cannot_differ_give_no_interval():
    assert ratio([100, 100, 100], [250]).low is None
