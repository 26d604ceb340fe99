"""Heads trained on cached features against heads trained through the frozen network."""

import shutil
import threading
import time
from dataclasses import replace

import filelock
import numpy as np
import pytest
import torch
from helpers.surveys import write_survey
from safetensors.torch import load_file, save_file
from torch import nn

from trainable import checkpoint
from trainable.config import Settings
from trainable.data.cache import cached_array
from trainable.data.dataset import open_survey
from trainable.models import architectures, features
from trainable.models.architectures import ARCHITECTURES, Architecture
from trainable.models.features import cached_features, fresh_head
from trainable.prepare import prepare
from trainable.protocol import DEMO, Stopping
from trainable.run import TrainingRun

LOSSES = ["train_loss", "val_loss"]


@pytest.fixture
def make_config(survey_path, weights_path, tmp_path):
    """A linear probe of vit_demo with a cache folder of its own; arguments override that."""

    def make(init="pretrained", *, fraction=1.0, seed=0, data=survey_path, **overrides):
        settings = Settings(
            data=str(data), arch=("vit_demo",), weights=(str(weights_path),), protocol="demo"
        )
        config = prepare(settings).training_config(init, fraction, seed)
        config = replace(config, data=replace(config.data, cache_dir=str(tmp_path / "cache")))
        return replace(config, **{"trained": "head", "max_epochs": 4} | overrides)

    return make


@pytest.fixture
def files(tmp_path):
    """Names of the files beside the features, locks aside."""
    folder = tmp_path / "cache" / "features"
    return lambda: sorted(p.name for p in folder.glob("*") if p.suffix != ".lock")


def finish(run: TrainingRun) -> TrainingRun:
    while not run.finished:
        run.step_epoch()
    return run


def losses(run: TrainingRun) -> list[list[float]]:
    return [[row[name] for name in LOSSES] for row in run.history]


def compare(config) -> tuple[TrainingRun, TrainingRun]:
    """Both ways to the end; losses of every epoch within 1e-5, the same last epoch."""
    cached, through = (
        finish(TrainingRun(replace(config, cache_features=c))) for c in (True, False)
    )
    assert len(cached.history) == len(through.history)
    np.testing.assert_allclose(losses(cached), losses(through), rtol=0, atol=1e-5)
    assert cached.best["epoch"] == through.best["epoch"]
    names = cached.state_dict()["model"].keys()
    assert list(names) == list(through.state_dict()["model"])
    for name in names:
        found, expected = (run.best["weights"][name] for run in (cached, through))
        assert torch.allclose(found, expected, atol=1e-5)
    return cached, through


@pytest.mark.parametrize("init", ["pretrained", "scratch"])
def test_same_losses_as_through_the_frozen_network(make_config, init):
    stopping = Stopping(rule="paper", delta=0.0, patience=3)
    config = make_config(init, learning_rate=0.05, max_epochs=30, stopping=stopping, batch_size=7)
    cached, through = compare(config)
    assert 2 < cached.epoch == through.epoch < 30  # the stopper decided
    assert sum(p.numel() for p in cached.model.parameters()) == 128 * 3 + 3


def test_another_dtype_of_the_network_is_followed(make_config):
    """bf16: what the head is given is float32 either way; its own product is rounded alike."""
    cached, through = (
        finish(TrainingRun(make_config(precision="bf16", cache_features=c))) for c in (True, False)
    )
    np.testing.assert_allclose(losses(cached), losses(through), rtol=0.02)


class Body(nn.Sequential):
    """A backbone whose training and evaluation modes differ."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(3, 8, 5, stride=4), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5),
            nn.Flatten(), nn.Linear(8 * 49, 16),
        )  # fmt: skip


def register(monkeypatch, tmp_path, *before_the_head: nn.Module) -> str:
    """A classifier around `Body` as architecture ``toy``; the path of weights for it."""

    def build() -> nn.Module:
        model = nn.Sequential()
        model.add_module("body", Body())
        for number, module in enumerate(before_the_head):
            model.add_module(f"before{number}", module)
        model.add_module("head", nn.Linear(16, 10))
        return model

    spec = replace(ARCHITECTURES["vit_demo"], build=build, head="head", encoder="body")
    monkeypatch.setitem(ARCHITECTURES, "toy", Architecture(**vars(spec)))
    with torch.random.fork_rng():
        torch.manual_seed(3)
        state = build().state_dict()
        state["body.1.running_mean"] = torch.randn(8)
        state["body.1.running_var"] = torch.rand(8) + 0.5
    save_file(state, tmp_path / "toy.safetensors")
    return str(tmp_path / "toy.safetensors")


def test_dropout_and_batch_norm_of_the_backbone_stay_in_evaluation_mode(
    make_config, monkeypatch, tmp_path, files
):
    weights = register(monkeypatch, tmp_path)
    compare(make_config(arch="toy", weights=weights))
    assert len(files()) == 1


def test_a_dropout_before_the_head_is_off_cached_or_not(make_config, monkeypatch, tmp_path, files):
    """The head of a linear probe is trained on what the frozen network gives in evaluation."""
    weights = register(monkeypatch, tmp_path, nn.Dropout(0.5))
    compare(make_config(arch="toy", weights=weights))
    assert len(files()) == 1


def test_features_are_what_the_head_is_given(make_config, survey_path, monkeypatch):
    monkeypatch.setattr(features, "BLOCK", 13)
    config = make_config()
    found = cached_features(open_survey(survey_path), config, device="cpu")
    assert (found.shape, found.dtype) == ((60, 128), np.float32)
    assert isinstance(found, np.memmap)
    assert not found.flags.writeable
    run, seen = TrainingRun(replace(config, cache_features=False)), []
    run.model.eval()
    run.model.heads.head.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        run.model(run.inputs[torch.arange(60)])
    np.testing.assert_allclose(found, seen[0].numpy(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("init", ["pretrained", "scratch"])
def test_a_head_is_drawn_as_in_the_whole_model_which_is_made_once_for_a_seed(
    make_config, monkeypatch, init
):
    built = []
    spec = ARCHITECTURES["vit_demo"]
    monkeypatch.setitem(
        ARCHITECTURES, "vit_demo", replace(spec, build=lambda: (built.append(1), spec.build())[1])
    )
    before = torch.get_rng_state()
    for seed, classes, made in ((0, 3, 1), (0, 3, 0), (0, 5, 0), (1, 3, 1)):
        config = make_config(init, seed=seed)
        whole = architectures.build_for(config, classes).heads.head
        built.clear()
        head = fresh_head(config, classes, 128).linear
        assert len(built) == made
        assert torch.equal(head.weight, whole.weight)
        assert torch.equal(head.bias, whole.bias)
    assert torch.equal(torch.get_rng_state(), before)


def test_trials_share_a_cache_only_where_it_is_theirs(make_config, tmp_path, files):
    TrainingRun(make_config())
    for shared in (
        make_config(fraction=0.5, seed=1, learning_rate=1.0),
        make_config(data=shutil.copy(make_config().data.path, tmp_path / "copy.h5")),
    ):
        TrainingRun(shared)
        assert len(files()) == 1
    state = load_file(make_config().weights)
    state["class_token"] = state["class_token"] + 1e-3
    save_file(state, tmp_path / "other.safetensors")
    others = [
        make_config(data=write_survey(tmp_path / "other.h5", seed=1)),
        make_config(weights=str(tmp_path / "other.safetensors")),
        make_config(precision="bf16"),
        make_config(transform="resize_crop"),
        make_config("scratch"),
        make_config("scratch", seed=1),
    ]
    for count, other in enumerate(others, start=2):
        TrainingRun(other)
        assert len(files()) == count
    TrainingRun(make_config("scratch", seed=1, fraction=0.5))
    assert len(files()) == count


def test_weights_changed_under_their_name_are_noticed(make_config, tmp_path, files):
    weights = tmp_path / "mine.safetensors"
    state = load_file(make_config().weights)
    for shift in (0.0, 1e-3):
        save_file({k: v + shift for k, v in state.items()}, weights)
        compare(make_config(weights=str(weights)))
    assert len(files()) == 2


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_a_crash_in_the_middle_leaves_nothing(make_config, monkeypatch, files, error):
    monkeypatch.setattr(features, "BLOCK", 20)
    TrainingRun(make_config(cache_features=False))  # the images are there

    def crash(done, total):
        assert (done, total) == (20, 60)
        raise error

    with pytest.raises(error):
        TrainingRun(make_config(), preparing=crash)
    assert files() == []
    compare(make_config())
    assert len(files()) == 1


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty", "shape", "dtype"])
def test_a_file_that_does_not_fit_is_made_again(make_config, survey_path, tmp_path, files, damage):
    config, survey = make_config(), open_survey(survey_path)
    expected = np.array(cached_features(survey, config, device="cpu"))
    path = tmp_path / "cache" / "features" / files()[0]
    if damage in ("shape", "dtype"):
        np.save(path, expected[:50] if damage == "shape" else expected.astype(np.float64))
    else:
        contents = path.read_bytes()
        half = len(contents) // 2
        path.write_bytes({"truncated": contents[:half], "garbage": b"?" * half}.get(damage, b""))
    assert np.array_equal(cached_features(survey, config, device="cpu"), expected)


def test_who_waits_says_so(tmp_path, caplog):
    """Another process holds the lock; here it is a thread that waits for it."""
    settings = {"shape": (2,), "dtype": np.uint8, "blocks": lambda: [np.array([4, 5])]}
    found = []
    cached_array(tmp_path, {"key": 1}, **settings)
    (path,) = tmp_path.glob("*.npy")
    path.unlink()
    waiter = threading.Thread(
        target=lambda: found.extend(cached_array(tmp_path, {"key": 1}, **settings))
    )
    with filelock.FileLock(f"{path}.lock"):
        waiter.start()
        while not caplog.records:
            time.sleep(0.01)
        assert f"waiting for another process that is making {path}" in caplog.text
        assert not path.exists()
    waiter.join()
    assert found == [4, 5]


@pytest.mark.parametrize("deleted", [False, True])
@pytest.mark.parametrize("init", ["pretrained", "scratch"])
def test_restored_run_is_the_uninterrupted_run(make_config, tmp_path, init, deleted):
    """Bit for bit, also if the cache was deleted in between."""
    config = make_config(init, stopping=DEMO.stopping)
    whole, first = finish(TrainingRun(config)), TrainingRun(config)
    first.step_epoch()
    first.step_epoch()
    checkpoint.save(first, tmp_path / "c", checkpoint.record(first))
    if deleted:
        shutil.rmtree(tmp_path / "cache")
    second = TrainingRun(config)
    torch.manual_seed(99)  # another process would have another state
    checkpoint.load(second, tmp_path / "c")
    finish(second)
    assert losses(second) == losses(whole)
    for name, tensor in whole.state_dict()["model"].items():
        assert torch.equal(tensor, second.state_dict()["model"][name])
    assert torch.equal(whole.best["probabilities"], second.best["probabilities"])


def test_checkpoints_do_not_tell_which_way_they_were_made(make_config, tmp_path):
    """A run that was saved with the cache resumes without it, and the other way round."""
    for way in (True, False):
        first, second = (TrainingRun(make_config(cache_features=c)) for c in (way, not way))
        first.step_epoch()
        checkpoint.save(first, tmp_path / "c", checkpoint.record(first))
        checkpoint.load(second, tmp_path / "c")
        np.testing.assert_allclose(
            [finish(first).history[-1][name] for name in LOSSES],
            [finish(second).history[-1][name] for name in LOSSES],
            atol=1e-5,
        )
