"""Heads trained together are what each is alone."""

from dataclasses import replace

import pytest
import torch

from trainable import groups_of_heads, heads_together
from trainable.errors import NonFiniteLossError
from trainable.groups_of_heads import final_state, groups, kind, make_runs
from trainable.heads_together import train_together
from trainable.protocol import Stopping
from trainable.run import TIMES


@pytest.fixture
def configs(make_run):
    """Trials that differ in images, seed, epochs and stopper; one of them is stopped early."""

    def made(**fields):
        fields = {"max_epochs": 7, "trained": "head", "learning_rate": 0.02} | fields
        return make_run("pretrained", **fields).config

    stopped = Stopping(rule="resetting", delta=0.0, patience=1)
    return {
        "a": made(batch_size=7),
        "b": made(batch_size=7, fraction=0.6, seed=1, max_epochs=5),
        "c": made(batch_size=7, fraction=0.5, seed=2, stopping=stopped, max_epochs=40),
        "d": made(batch_size=7, fraction=0.3, max_epochs=9),
    }


def rows(run):
    return [{k: v for k, v in row.items() if k not in TIMES} for row in run.history]


def assert_same(run, other):
    """Bit for bit: all that is reported, the best epoch, the parameters, the optimiser's state."""
    assert rows(run) == rows(other)
    first, second = run.state_dict(), other.state_dict()
    assert first["model"].keys() == second["model"].keys()
    for name in first["model"]:
        assert torch.equal(first["model"][name], second["model"][name])
        assert torch.equal(first["best"]["weights"][name], second["best"]["weights"][name])
    assert torch.equal(first["best"]["probabilities"], second["best"]["probabilities"])
    for number, state in first["optimiser"]["state"].items():
        for name, value in state.items():
            assert torch.equal(value, second["optimiser"]["state"][number][name]), name
    assert first["optimiser"]["param_groups"] == second["optimiser"]["param_groups"]


def alone(config):
    (run,) = make_runs([config])
    while not run.finished:
        run.step_epoch()
    return run


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("batch_size", [7, 16, 64])
def test_each_is_what_it_is_alone(configs, precision, batch_size):
    """Epochs end in batches of all sizes, and 64 are more than there are images."""
    configs = [replace(c, precision=precision, batch_size=batch_size) for c in configs.values()]
    together = make_runs(configs)
    assert train_together(together) == [None] * 4
    for run, config in zip(together, configs, strict=True):
        assert_same(run, alone(config))
    lengths = {run.epoch for run in together}
    assert len(lengths) > 2  # some ended before others
    assert together[2].stopping.should_stop


def test_sizes_that_are_no_multiple_of_a_vector(configs, monkeypatch):
    """AdamW then gets the weights of each trial apart."""
    monkeypatch.setattr(heads_together, "VECTOR", 10_000)
    together = make_runs([*configs.values()])
    train_together(together)
    for run, config in zip(together, configs.values(), strict=True):
        assert_same(run, alone(config))


def test_however_many_steps_are_fetched_at_once(configs, monkeypatch):
    monkeypatch.setattr(heads_together, "PIECE", 1)
    together = make_runs([*configs.values()])
    train_together(together)
    assert_same(together[0], alone(configs["a"]))


def test_a_run_can_be_resumed_from_what_it_ends_with(configs):
    """As if it had been alone all along."""
    longer = replace(configs["a"], max_epochs=9)
    together = make_runs([*configs.values()])
    train_together(together)
    (resumed,) = make_runs([longer])
    resumed.load_state_dict(together[0].state_dict())
    while not resumed.finished:
        resumed.step_epoch()
    whole = alone(longer)
    assert [r["val_loss"] for r in resumed.history] == [r["val_loss"] for r in whole.history]


def test_a_trial_whose_loss_is_not_finite_leaves_the_others_alone(configs):
    together = make_runs([*configs.values()])
    with torch.no_grad():
        together[1].model.linear.weight[0, 0] = float("inf")
    errors = train_together(together)
    assert [type(error) for error in errors] == [type(None), NonFiniteLossError, *[type(None)] * 2]
    assert "epoch 1, step 1 of" in str(errors[1])
    for place, name in ((0, "a"), (2, "c"), (3, "d")):
        assert_same(together[place], alone(configs[name]))


def test_seconds_are_shared_out(configs, monkeypatch):
    """So that those of all trials add up to the time that it took: here a second for some steps of all."""
    clock = [0.0]
    steps = heads_together._train_until_one_ends_an_epoch

    def a_second(*arguments):
        steps(*arguments)
        clock[0] += 1.0

    monkeypatch.setattr(heads_together, "_train_until_one_ends_an_epoch", a_second)
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    together = make_runs([*configs.values()])
    train_together(together)
    total = sum(row["epoch_seconds"] for run in together for row in run.history)
    assert total == pytest.approx(clock[0])
    assert clock[0] > 10


def test_who_trains_together(configs, make_run):
    other = {
        "scratch": make_run("scratch").config,
        "probe": make_run("pretrained", trained="probe", max_epochs=1).config,
        "whole": make_run("pretrained", trained="head", cache_features=False).config,
        "rate": make_run("pretrained", trained="head", learning_rate=3.0, batch_size=7).config,
        "bits": replace(configs["a"], deterministic=True),
        "schedule": replace(configs["a"], schedule="cosine"),
        "vectors": replace(configs["a"], decay_vectors=False),
        "labels": replace(configs["a"], label_smoothing=0.1),
    }
    assert groups(configs | other, 1) == dict.fromkeys("abcd", ("a", "b", "c", "d"))
    assert groups(configs | other, 2) == {
        "a": ("a", "c"),
        "c": ("a", "c"),
        "b": ("b", "d"),
        "d": ("b", "d"),
    }
    assert groups(configs, 4) == {}
    assert kind(other["rate"]) != kind(configs["a"])


def test_the_first_to_ask_trains_all(configs, tmp_path, monkeypatch):
    calls = []
    train = heads_together.train_together
    monkeypatch.setattr(
        heads_together, "train_together", lambda runs: (calls.append(len(runs)), train(runs))[1]
    )
    for name in "badc":
        state = final_state(name, configs, tmp_path, "cpu")
        (run,) = make_runs([configs[name]])
        run.load_state_dict(state)
        assert run.finished
        assert_same(run, alone(configs[name]))
    assert calls == [4]


def test_a_trial_that_cannot_is_sent_away_at_once(configs, tmp_path, monkeypatch):
    monkeypatch.setattr(groups_of_heads, "MOST", 10)
    monkeypatch.setattr(heads_together, "train_together", None)
    assert final_state("a", configs, tmp_path, "cpu") is None
    assert final_state("b", configs, tmp_path, "cpu") is None
