"""Features that several processes make at once, or one that is killed."""

import multiprocessing
import os
import signal
from dataclasses import replace

import numpy as np
import pytest

from trainable.config import Settings
from trainable.models import features
from trainable.prepare import prepare
from trainable.run import TrainingRun


@pytest.fixture
def config(survey_path, weights_path, tmp_path):
    """A linear probe of vit_demo whose images are prepared, and whose features are not."""
    settings = Settings(
        data=str(survey_path),
        arch=("vit_demo",),
        weights=(str(weights_path),),
        protocol="demo",
        cache_dir=tmp_path / "cache",
    )
    config = prepare(settings).training_config("pretrained", 1.0, 0)
    config = replace(config, trained="head", max_epochs=4)
    TrainingRun(replace(config, cache_features=False))
    return config


@pytest.fixture
def files(tmp_path):
    """Names of the files beside the features, locks aside."""
    folder = tmp_path / "cache" / "features"
    return lambda: sorted(p.name for p in folder.glob("*") if p.suffix != ".lock")


def losses(run):
    """Both losses of every epoch."""
    while not run.finished:
        run.step_epoch()
    return [[row[name] for name in ("train_loss", "val_loss")] for row in run.history]


def _killed(config):
    features.BLOCK = 20

    def kill(done, total):
        if total == 60 and done == 20:
            os.kill(os.getpid(), signal.SIGKILL)

    TrainingRun(config, preparing=kill)


def test_a_kill_in_the_middle_does_no_harm(config, files):
    process = multiprocessing.get_context("spawn").Process(target=_killed, args=(config,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    (left,) = files()
    assert left.endswith(".part.npy")
    cached, through = (
        losses(TrainingRun(replace(config, cache_features=cached))) for cached in (True, False)
    )
    np.testing.assert_allclose(cached, through, rtol=0, atol=1e-5)
    (array,) = files()
    assert array != left
    assert not array.startswith(".")


def _prepare(config, barrier):
    """Whether a process made the features, and their sum, if two want them at once."""
    made = []
    barrier.wait()
    run = TrainingRun(config, preparing=lambda done, total: made.append(done))
    return bool(made), float(run.inputs.array.sum())


def _prepare_elsewhere(config, barrier, queue):
    queue.put(_prepare(config, barrier))


def test_two_processes_at_once_build_once(config):
    context = multiprocessing.get_context("spawn")
    barrier, queue = context.Barrier(2), context.Queue()
    process = context.Process(target=_prepare_elsewhere, args=(config, barrier, queue))
    process.start()
    made_here, sum_here = _prepare(config, barrier)
    made_there, sum_there = queue.get(timeout=240)
    process.join()
    assert made_here != made_there
    assert sum_here == sum_there == float(TrainingRun(config).inputs.array.sum())
