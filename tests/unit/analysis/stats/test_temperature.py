"""The calibration error before and after temperature scaling."""

import numpy as np
import pytest
from helpers import synthetic
from scipy.special import softmax

from analysis.stats.temperature import temperature_scaling


def store(folder, name, n, sharpness, seed):
    """Predictions that are `sharpness` times too certain."""
    random = np.random.default_rng(seed)
    logits = 2 * random.normal(size=(n, 6))
    labels = (softmax(logits, axis=1).cumsum(1) > random.random((n, 1))).argmax(1)
    probabilities = softmax(sharpness * logits, axis=1).astype(np.float32)
    arrays = {"rows": np.arange(n), "labels": labels, "probabilities": probabilities, "epoch": 1}
    np.savez(folder / f"{name}.npz", **arrays)


@pytest.fixture
def results(make_results, tmp_path):
    """Two seeds of both inits with a test set; scratch is three times too certain."""

    def make(split="budget", validation=True):
        cells = synthetic.grid((1.0,), (0, 1))
        found = make_results(cells, split=split)
        for cell in cells:
            sharpness = 3.0 if cell.init == "scratch" else 1.0
            store(tmp_path / cell.id, "predictions", 600, sharpness, cell.seed)
            if validation:
                store(tmp_path / cell.id, "validation", 300, sharpness, cell.seed + 10)
        found.loaded.clear()
        return found

    return make


def test_error_of_trials_that_are_too_certain_falls(results):
    by_init = {s.predictions.init: s for s in temperature_scaling(results())}
    scratch, pretrained = by_init["scratch"], by_init["pretrained"]
    assert scratch.temperatures == pytest.approx((3.0, 3.0), rel=0.2)
    assert pretrained.temperatures == pytest.approx((1.0, 1.0), rel=0.2)
    assert scratch.n_validation == (300, 300)
    assert scratch.change.value == pytest.approx(scratch.after.value - scratch.before.value)
    assert scratch.change.high < 0
    assert pretrained.change.low < 0.01
    assert pretrained.change.high > -0.01


@pytest.mark.parametrize("lacks", [{"split": "fixed"}, {"validation": False}])
def test_nothing_without_a_test_set_or_validation_predictions(results, lacks):
    assert temperature_scaling(results(**lacks)) == ()
