"""The run of a linear probe: what teaches it, what it stores, and that it is the head of its model."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from trainable import checkpoint
from trainable.data.batches import image_rows, predict
from trainable.data.preprocess import cached_images
from trainable.errors import CheckpointError
from trainable.make_run import make_run as made
from trainable.metrics import scores
from trainable.models.architectures import architecture, build_for
from trainable.models.weights import read_weights
from trainable.probe import fit_probe
from trainable.probe_run import ProbeRun
from trainable.run import open_as_planned


@pytest.fixture
def make(make_run):
    def make(init="pretrained", **changes):
        defaults = {"split": "budget", "trained": "probe", "max_epochs": 1}
        run = make_run(init, **defaults | changes)
        assert isinstance(run, ProbeRun)
        return run

    return make


def fitted(run):
    run.step_epoch()
    return run


def test_all_labelled_images_teach_it_and_each_validates_out_of_its_fold(make, make_run):
    run = fitted(make())
    with_validation = make_run("pretrained", split="budget", trained="head").partition
    rows, labels = with_validation.labelled
    assert len(with_validation.validation) > 0
    features = run.inputs.array[rows]
    probe = fit_probe(features, labels, run.partition.folds)
    expected = features @ probe.weight.T + probe.bias
    np.testing.assert_allclose(run.logits(rows), expected, atol=1e-3)
    out_of_fold = torch.from_numpy(probe.logits).softmax(1)
    np.testing.assert_allclose(run.best["probabilities"], out_of_fold, atol=1e-6)
    row = run.history[0]
    assert row["val_loss"] == pytest.approx(probe.loss)
    assert row["val_accuracy"] == pytest.approx(probe.accuracy)
    assert row["n_train"] == row["n_val"] == run.partition.n_labels == len(rows)


def test_its_row_has_what_others_have(make, make_run):
    row = fitted(make()).history[0]
    other = make_run("pretrained", split="budget", max_epochs=1).step_epoch()
    assert row.keys() - other.keys() == {"strength", "strength_edge"}
    assert other.keys() <= row.keys()
    assert (row["epoch"], row["finished"], row["best_epoch"], row["counter"]) == (1, 1, 1, 0)


def test_test_images_are_scored_once(make):
    run = make()
    assert (run.finished, run.test, run.best) == (False, None, None)
    row = run.step_epoch()
    assert run.finished
    found = scores(run.test.log(), torch.from_numpy(run.partition.test_labels))
    assert row["test_accuracy"] == found["accuracy"]
    assert row["test_loss"] == pytest.approx(found["loss"], rel=1e-5)
    assert not set(run.partition.test) & set(run.partition.train)


def test_what_is_stored_is_the_head_of_the_whole_model(make, tmp_path):
    run = fitted(make())
    checkpoint.save(run, tmp_path, checkpoint.record(run))
    model = build_for(run.config, 3)
    stored = read_weights(tmp_path / "best.safetensors")
    assert not model.load_state_dict(stored, strict=False).unexpected_keys
    assert set(stored) == {"heads.head.weight", "heads.head.bias"}
    spec, data = architecture(run.config.arch), run.config.data
    images = cached_images(
        open_as_planned(data), transform="resize", size=spec.image_size, cache_dir=data.cache_dir
    )
    inputs = image_rows(images, spec, "cpu")
    logits = predict(model, inputs, rows=torch.from_numpy(run.partition.test))
    torch.testing.assert_close(logits.softmax(1), run.test, atol=1e-4, rtol=0)
    with np.load(tmp_path / "predictions.npz") as predictions:
        assert predictions["rows"].tolist() == run.partition.test.tolist()
        assert np.array_equal(predictions["probabilities"], run.test)
    with np.load(tmp_path / "validation.npz") as validation:
        assert validation["rows"].tolist() == run.partition.train.tolist()


def test_the_record_tells_how_the_strength_was_chosen(make, tmp_path):
    run = make()
    provenance = checkpoint.record(run)  # before it is fitted, as a trial does
    checkpoint.save(fitted(run), tmp_path, provenance)
    told = json.loads((tmp_path / "record.json").read_text())["probe"]
    assert told["strength"] == run.history[0]["strength"]
    assert told["strength"] in told["strengths"]
    assert len(told["losses"]) == len(told["strengths"]) >= 20
    assert told["edge"] in ("strongest", "weakest", None)


@pytest.mark.parametrize(("edge", "number"), [("strongest", 1), ("weakest", -1), (None, 0)])
def test_an_edge_of_the_path_is_told(make, monkeypatch, edge, number):
    def at_edge(*args, **kwargs):
        return replace(fit_probe(*args, **kwargs), edge=edge)

    monkeypatch.setattr("trainable.probe_run.fit_probe", at_edge)
    run = fitted(make())
    assert run.history[0]["strength_edge"] == number
    assert run.details["probe"]["edge"] == edge


@pytest.mark.parametrize("after", [0, 1])
def test_resumed_it_is_the_same(make, tmp_path, after):
    whole, first, second = fitted(make()), make(), make()
    for _ in range(after):
        first.step_epoch()
    checkpoint.save(first, tmp_path, checkpoint.record(first))
    checkpoint.load(second, tmp_path)
    assert second.finished == bool(after)
    assert second.details == first.details
    if not second.finished:
        second.step_epoch()
    assert torch.equal(second.test, whole.test)
    assert torch.equal(second.best["probabilities"], whole.best["probabilities"])
    assert second.best["weights"].keys() == whole.best["weights"].keys()
    assert all(torch.equal(second.best["weights"][n], w) for n, w in whole.best["weights"].items())
    assert checkpoint.Status.of(second).finished


def test_a_checkpoint_of_a_head_is_refused(make, make_run, tmp_path):
    head = make_run("pretrained", split="budget", trained="head")
    head.step_epoch()
    checkpoint.save(head, tmp_path, checkpoint.record(head))
    with pytest.raises(CheckpointError, match="not the state of a training run"):
        checkpoint.load(make(), tmp_path)


def test_a_seed_draws_labelled_images_and_nothing_else(make):
    first, again, other = (fitted(make(fraction=0.5, seed=seed)) for seed in (0, 0, 1))
    assert torch.equal(first.test, again.test)
    assert not torch.equal(first.test, other.test)
    labelled_by_first = fitted(made(replace(other.config, seed=0)))
    assert torch.equal(labelled_by_first.test, first.test)


def test_validation_images_of_the_papers_splits_do_not_teach_it(make):
    run = fitted(make(split="fixed"))
    partition = run.partition
    assert not set(partition.train) & set(partition.validation)
    probe = fit_probe(run.inputs.array[partition.train], partition.train_labels, partition.folds)
    logits = run.inputs.array[partition.validation] @ probe.weight.T + probe.bias
    right = (logits.argmax(1) == partition.validation_labels).mean()
    assert run.history[0]["val_accuracy"] == pytest.approx(right)
    assert (run.test, "test_accuracy" in run.history[0]) == (None, False)


def test_random_weights_may_be_probed_as_a_control(make):
    run = fitted(make("scratch"))
    assert run.config.weights is None
    assert 0 <= run.history[0]["test_accuracy"] <= 1
