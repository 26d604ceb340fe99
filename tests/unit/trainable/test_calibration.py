"""Temperature scaling, and the error that it is measured by."""

import json

import numpy as np
import pytest
from scipy.special import softmax

from trainable import calibration, checkpoint
from trainable.calibration import (
    CalibrationError,
    expected_calibration_error,
    fit_temperature,
    scaled,
)
from trainable.errors import CheckpointError


def drawn(n, sharpness, seed=0, classes=4):
    """Probabilities of logits `sharpness` times too large, and labels by the right ones."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(n, classes)) * 2
    right = softmax(logits, axis=1)
    labels = (right.cumsum(1) > random.random((n, 1))).argmax(1)
    return softmax(sharpness * logits, axis=1), labels


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 3.0])
def test_temperature_undoes_what_made_logits_too_large(sharpness):
    probabilities, labels = drawn(20_000, sharpness)
    found = fit_temperature(probabilities, labels)
    assert found.value == pytest.approx(sharpness, rel=0.05)
    assert found.n == 20_000
    assert found.loss_after <= found.loss_before


def test_temperature_is_that_of_scikit_learn():
    """Its `CalibratedClassifierCV` fits the inverse of T to logits, without the further image."""
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.frozen import FrozenEstimator
    from sklearn.linear_model import LogisticRegression

    random = np.random.default_rng(0)
    inputs = random.normal(size=(3000, 3))
    labels = (inputs + random.normal(size=(3000, 3))).argmax(1)
    model = LogisticRegression(C=1e3).fit(inputs[:50], labels[:50])
    other = CalibratedClassifierCV(FrozenEstimator(model), method="temperature", ensemble=False)
    other.fit(inputs[50:], labels[50:])
    found = fit_temperature(model.predict_proba(inputs[50:]), labels[50:])
    ours = scaled(model.predict_proba(inputs), found.value)
    np.testing.assert_allclose(ours, other.predict_proba(inputs), atol=2e-3)


def test_error_falls_on_other_images():
    probabilities, labels = drawn(4000, 3.0)
    temperature = fit_temperature(probabilities[:500], labels[:500]).value
    before = expected_calibration_error(probabilities[500:], labels[500:])
    after = expected_calibration_error(scaled(probabilities[500:], temperature), labels[500:])
    assert before > 0.1
    assert after < 0.03


def test_few_images_all_right_do_not_make_it_certain():
    probabilities, _ = drawn(6, 1.0)
    temperature = fit_temperature(probabilities, probabilities.argmax(1)).value
    assert 1 / calibration.LIMIT < temperature < 1
    assert scaled(probabilities, temperature).max() < 1 - 1e-4


def test_predicted_classes_stay():
    probabilities, _ = drawn(200, 1.0)
    assert np.array_equal(scaled(probabilities, 7.0).argmax(1), probabilities.argmax(1))


def test_probability_that_float32_rounds_to_0():
    assert np.isfinite(scaled(np.array([[1.0, 0.0]], np.float32), 2.0)).all()


def test_error_is_that_of_the_reports():
    from analysis.stats.calibration import errors_by_seed

    probabilities, labels = drawn(500, 2.0)
    confidence, correct = probabilities.max(1), probabilities.argmax(1) == labels
    (ours,) = errors_by_seed(confidence[None], correct[None])
    assert expected_calibration_error(probabilities, labels) == pytest.approx(ours, abs=1e-5)


class TestStored:
    """With the model: in its checkpoint."""

    @pytest.fixture
    def finished(self, make_run, tmp_path):
        def make(**flags):
            run = make_run(max_epochs=1, **flags)
            while not run.finished:
                run.step_epoch()
            checkpoint.save(run, tmp_path, checkpoint.record(run))
            return tmp_path, run

        return make

    @pytest.mark.parametrize("split", ["budget", "fixed"])
    @pytest.mark.parametrize("trained", ["all", "probe"])
    def test_of_a_finished_trial(self, finished, split, trained):
        init = "pretrained" if trained == "probe" else "scratch"
        folder, run = finished(split=split, trained=trained, init=init)
        best, labels = run.best["probabilities"].numpy(), run.partition.validation_labels
        expected = fit_temperature(best, labels)
        tested = split == "budget"
        assert calibration.stored(folder, tested=tested) == expected
        (folder / calibration.FILE).unlink()  # as in sweeps of earlier versions
        assert calibration.stored(folder, tested=tested) == expected

    def test_damaged(self, finished):
        folder, _ = finished()
        (folder / calibration.FILE).write_text(json.dumps({"value": 1.0}))
        with pytest.raises(CheckpointError, match=r"calibration\.json is damaged"):
            calibration.stored(folder, tested=True)

    def test_error_of_the_mean_of_two(self, finished, tmp_path):
        folder, run = finished(split="budget")
        both = calibration.error_of([folder, folder], [2.0, 2.0])
        labels = run.partition.test_labels
        assert both == CalibrationError(
            before=expected_calibration_error(run.test.numpy(), labels),
            after=expected_calibration_error(scaled(run.test.numpy(), 2.0), labels),
            n=len(labels),
        )
        assert "12 test images" in both.sentence

    def test_error_of_trials_that_are_scored_on_other_images(self, finished, tmp_path):
        folder, _ = finished(split="budget")
        other = tmp_path / "other"
        other.mkdir()
        with np.load(folder / "predictions.npz") as arrays:
            np.savez(other / "predictions.npz", **{**arrays, "rows": arrays["rows"] + 1})
        assert calibration.error_of([folder, other], [1.0, 1.0]) is None
