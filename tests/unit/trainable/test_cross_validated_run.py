import numpy as np
import pytest
import torch

from trainable import checkpoint
from trainable.cross_validated_run import CrossValidatedRun
from trainable.run import TrainingRun

FEW = 0.2  # of the pool of 48 images: 3 or 4 of each class


@pytest.fixture
def make(make_run):
    def made(**changes):
        run = make_run(split="budget", fraction=FEW, max_epochs=3, **changes)
        assert isinstance(run, CrossValidatedRun)
        return run

    return made


def finish(run):
    while not run.finished:
        run.step_epoch()
    return run


def test_each_labelled_image_validates_once_by_a_model_that_did_not_see_it(make):
    run = make()
    parts = [fold.partition for fold in run.folds]
    validated = np.concatenate([part.validation for part in parts])
    assert sorted(validated) == run.partition.train.tolist()
    for part in parts:
        assert not set(part.train) & set(part.validation)
        assert set(part.train) | set(part.validation) == set(run.partition.train)
    run.step_epoch()
    for fold in run.folds:
        places = np.searchsorted(run.partition.train, fold.partition.validation)
        expected = fold.logits(fold.partition.validation).softmax(1)
        assert torch.equal(run.best["probabilities"][places], expected)


def test_the_last_model_is_one_of_all_labelled_images_for_as_many_epochs_as_were_best(make):
    run = finish(make())
    plain = TrainingRun(run.config)
    for epoch in range(run.best["epoch"]):
        plain.epoch = epoch
        plain.train_epoch()
    assert torch.equal(plain.logits(run.partition.test).softmax(1), run.test)
    assert run.history[-1]["test_accuracy"] == pytest.approx(
        (run.test.argmax(1).numpy() == run.partition.test_labels).mean()
    )


@pytest.mark.parametrize("init", ["scratch", "pretrained"])
def test_resumed_after_any_epoch_it_ends_the_same(make, tmp_path, init):
    whole = finish(make(init=init))
    first = make(init=init)
    for epoch in range(3):
        first.step_epoch()
        folder = tmp_path / str(epoch)
        checkpoint.save(first, folder, checkpoint.record(first))
        second = make(init=init)
        checkpoint.load(second, folder)
        finish(second)
        same = ("val_loss", "val_accuracy", "train_loss")
        assert [[r[k] for k in same] for r in second.history] == [
            [r[k] for k in same] for r in whole.history
        ]
        assert torch.equal(second.test, whole.test)
        assert {k: v.tolist() for k, v in second.best["weights"].items()} == {
            k: v.tolist() for k, v in whole.best["weights"].items()
        }


def test_a_fold_trains_as_it_would_alone(make):
    run = make()
    run.step_epoch()
    alone = TrainingRun(run.config, partition=run.partition.fold(1))
    alone.train_epoch()
    validation = alone.partition.validation
    assert torch.equal(alone.logits(validation), run.folds[1].logits(validation))
