"""How trials share GPUs, and what loggers are told."""

from types import SimpleNamespace

import pytest

from sweep.experiment import logged, resources, trained_together
from sweep.grid import SweepConfig
from sweep.storage import Folder


@pytest.mark.parametrize(
    ("gpus", "share", "trained", "cache", "expected"),
    [
        (0, 1.0, "all", True, {"cpu": 1}),
        (1, 1.0, "head", True, {"cpu": 1, "gpu": 1.0}),
        (1, 0.5, "all", True, {"cpu": 1, "gpu": 0.5}),
        (1, "auto", "all", True, {"cpu": 1, "gpu": 1.0}),
        (1, "auto", "non_encoder", True, {"cpu": 1, "gpu": 1.0}),
        (1, "auto", "head", True, {"cpu": 1, "gpu": 0.1}),
        (1, "auto", "head", False, {"cpu": 1, "gpu": 1.0}),
        (1, "auto", "probe", False, {"cpu": 1, "gpu": 0.1}),
    ],
)
def test_share_of_a_gpu(make_run, gpus, share, trained, cache, expected):
    config = SweepConfig(gpus=gpus, gpus_per_trial=share)
    epochs = 1 if trained == "probe" else 4
    run = make_run("pretrained", trained=trained, cache_features=cache, max_epochs=epochs).config
    assert resources(config, run) == expected


def test_heads_train_together_where_each_finds_what_the_others_leave(make_run, tmp_path):
    head, other = (make_run("pretrained", seed=seed).config for seed in (0, 1))
    runs = {"a": head, "b": other, "c": make_run("scratch").config}
    here, both = Folder(tmp_path), dict.fromkeys("ab", ("a", "b"))
    assert trained_together(SweepConfig(gpus=1), here, runs) == both
    assert trained_together(SweepConfig(gpus=0, cpus=1), here, runs) == both
    assert trained_together(SweepConfig(gpus=2), here, runs) == {}  # each has a GPU
    assert trained_together(SweepConfig(gpus=1, address="auto"), here, runs) == {}
    assert trained_together(SweepConfig(gpus=1), SimpleNamespace(is_local=False), runs) == {}


def test_loggers_are_told_nothing_of_one_machine(make_run):
    config = make_run().config
    values = logged(config)
    assert values["learning_rate"] == config.learning_rate
    assert values["data"]["sha256"] == config.data.sha256
    assert not {"path", "cache_dir"} & values["data"].keys()
