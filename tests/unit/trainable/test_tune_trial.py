"""The Trainable's own duties; whole sweeps are in tests/integration."""

import gc
import pathlib
import shutil
import time
import weakref
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from ray import tune

from trainable import heads_together, tune_trial
from trainable.errors import CheckpointError, DataError, NonFiniteLossError, ResourcesError
from trainable.tune_trial import Trial


@pytest.fixture
def trial(make_run):
    return lambda: supplied(x=make_run("pretrained").config)({"cell": "x"})


def supplied(*, checkpoint_seconds=0.0, experiment=None, together=None, **runs):
    """The Trainable with what a sweep supplies to it."""
    return tune.with_parameters(
        Trial,
        runs=runs,
        experiment=experiment,
        checkpoint_seconds=checkpoint_seconds,
        together=together or {},
    )


@pytest.fixture
def checkpoints(trial, tmp_path):
    """Checkpoints after epochs 1 to 3, and the rows of an uninterrupted trial."""
    whole, rows = trial(), []
    for epoch in range(4):
        rows.append(whole.train())
        if epoch < 3:
            whole.save_checkpoint(str(tmp_path / f"checkpoint_{epoch:06}"))
    return tmp_path, rows


def test_resumes_with_the_next_epoch(trial, checkpoints):
    folder, rows = checkpoints
    restored = trial()
    restored.load_checkpoint(str(folder / "checkpoint_000002"))
    row = restored.train()
    assert row["training_iteration"] == row["epoch"] == 4
    assert row["val_loss"] == rows[3]["val_loss"]
    assert row["done"]
    assert row["skipped_checkpoints"] == 0


class Bomb:
    """Leaves a file behind wherever it is unpickled with its code."""

    def __init__(self, crater):
        self.crater = crater

    def __reduce__(self):
        return pathlib.Path.touch, (self.crater,)


def test_pickle_bomb_is_refused_and_not_executed(trial, checkpoints, tmp_path):
    folder, rows = checkpoints
    newest = folder / "checkpoint_000002"
    torch.save(Bomb(tmp_path / "crater"), newest / "state.pt")
    restored = trial()
    restored.load_checkpoint(str(newest))
    assert restored.train()["val_loss"] == rows[2]["val_loss"]  # from the one before
    assert not (tmp_path / "crater").exists()
    torch.load(newest / "state.pt", weights_only=False)
    assert (tmp_path / "crater").exists()  # it is one


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty folder", "folder gone"])
def test_falls_back_to_the_checkpoint_before(trial, checkpoints, damage):
    folder, rows = checkpoints
    newest = folder / "checkpoint_000002"
    state = newest / "state.pt"
    if damage == "folder gone":
        shutil.rmtree(newest)
    elif damage == "empty folder":
        state.unlink()
    else:
        contents = state.read_bytes()
        state.write_bytes(contents[:1000] if damage == "truncated" else b"\x80\x02garbage")
    restored = trial()
    restored.load_checkpoint(str(newest))
    again = [restored.train(), restored.train()]
    assert [row["epoch"] for row in again] == [3, 4]
    assert [row["val_loss"] for row in again] == [row["val_loss"] for row in rows[2:]]
    assert again[0]["skipped_checkpoints"] == 1


def test_never_starts_over_in_silence(trial, checkpoints):
    folder, _ = checkpoints
    for path in folder.glob("checkpoint_*/state.pt"):
        path.write_bytes(b"corrupt")
    with pytest.raises(CheckpointError, match="checkpoint_000000"):
        trial().load_checkpoint(str(folder / "checkpoint_000002"))


def test_finished_trial_reports_its_last_row_again(trial, checkpoints, tmp_path):
    _, rows = checkpoints
    done = trial()
    for _ in rows:
        done.train()
    done.save_checkpoint(str(tmp_path / "done"))
    restored = trial()
    restored.load_checkpoint(str(tmp_path / "done"))
    row = restored.train()
    assert row["done"]
    assert (row["epoch"], row["val_loss"]) == (4, rows[3]["val_loss"])
    assert len(restored.run.history) == 4


def test_one_process_takes_on_the_next_trial(trial, make_run, checkpoints):
    _, rows = checkpoints
    runs = {"x": make_run("pretrained").config, "y": make_run("scratch", seed=5).config}
    used = supplied(**runs)({"cell": "y"})
    used.train()
    assert used.reset_config({"cell": "x"})
    assert used.train()["val_loss"] == rows[0]["val_loss"]


def test_a_run_is_gone_before_the_next_is_made(trial, make_run, checkpoints, monkeypatch):
    """Model, optimiser, images and all; the garbage collector has not to come by first."""
    used = supplied(x=make_run("scratch").config, y=make_run("pretrained").config)({"cell": "x"})
    used.train()
    parts = [used.run, used.run.model, used.run.optimiser, used.run.inputs]
    before = [weakref.ref(part) for part in parts]
    del parts
    alive = []
    make = tune_trial.make_run

    def made(*args, **kwargs):
        alive.extend(part() for part in before)
        return make(*args, **kwargs)

    monkeypatch.setattr(tune_trial, "make_run", made)
    gc.disable()
    try:
        used.reset_config({"cell": "y"})
        assert [part() for part in before] == [None] * 4  # at once, not when the next is made
        used.train()
    finally:
        gc.enable()
    assert alive == [None] * 4


def test_what_is_imported_is_searched_for_garbage_once(make_run, monkeypatch):
    used = supplied(x=make_run("pretrained").config, y=make_run("scratch").config)({"cell": "x"})
    monkeypatch.setattr(tune_trial, "_quick", False)
    try:
        used.reset_config({"cell": "y"})
        frozen = gc.get_freeze_count()
        used.train()
        used.reset_config({"cell": "x"})
        assert 100_000 < gc.get_freeze_count() <= frozen  # more would never be freed
        assert len(gc.get_objects()) < frozen
    finally:
        gc.unfreeze()


@pytest.fixture
def made(monkeypatch):
    """Seeds of the runs that were made."""
    made = []
    make = tune_trial.make_run
    monkeypatch.setattr(
        tune_trial, "make_run", lambda run, **kw: (made.append(run.seed), make(run, **kw))[1]
    )
    return made


def test_a_process_that_is_given_no_work_prepares_nothing(make_run, made, checkpoints):
    """Tune gives a trial to two processes if one becomes free while the other starts."""
    folder, rows = checkpoints
    made.clear()
    runs = {"x": make_run("pretrained").config, "y": make_run("pretrained", seed=5).config}
    idle = supplied(**runs)({"cell": "y"})
    idle.reset_config({"cell": "y"})
    idle.reset_config({"cell": "x"})
    assert made == []
    idle.load_checkpoint(str(folder / "checkpoint_000001"))
    assert [idle.train()["val_loss"] for _ in range(2)] == [row["val_loss"] for row in rows[2:]]
    assert made == [runs["x"].seed]  # once, and of the cell that it was given last
    supplied(**runs)({"cell": "y"}).stop()
    assert made == [runs["x"].seed]


def test_a_run_that_cannot_be_made_fails_its_own_trial_alone(make_run, made, checkpoints, tmp_path):
    """The process that was given it takes on the next; what failed is tried again if asked again."""
    _, rows = checkpoints
    gone = replace(
        make_run().config, data=replace(make_run().config.data, path=str(tmp_path / "no"))
    )
    used = supplied(x=make_run("pretrained").config, gone=gone)({"cell": "gone"})
    for _ in range(2):
        with pytest.raises(DataError, match=f"{tmp_path}/no"):
            used.train()
    used.reset_config({"cell": "x"})
    assert used.train()["val_loss"] == rows[0]["val_loss"]


def test_memory_of_a_gpu_is_given_back_before_the_next_run(trial, monkeypatch):
    used, calls = trial(), []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: calls.append("empty"))
    monkeypatch.setattr(Trial, "setup", lambda *_, **__: calls.append("set up"))
    used.reset_config({"cell": "x"})
    assert calls == ["empty", "set up"]


def test_a_checkpoint_needs_room_where_ray_copies_it(make_run, tmp_path, monkeypatch):
    (tmp_path / "run-0" / "x").mkdir(parents=True)
    made = supplied(x=make_run().config, experiment=tmp_path / "run-0")({"cell": "x"})
    made.train()
    free = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
    monkeypatch.setattr("trainable.checkpoint.shutil.disk_usage", lambda path: free)
    with pytest.raises(CheckpointError, match=f"{tmp_path}/run-0/x"):
        made.save_checkpoint(str(tmp_path / "checkpoint"))


def test_saved_after_every_epoch_unless_told_otherwise(trial, checkpoints):
    _, rows = checkpoints
    assert all(row["should_checkpoint"] for row in rows)


def test_large_checkpoints_wait_until_training_took_ten_times_as_long(
    make_run, tmp_path, monkeypatch
):
    config = make_run("pretrained", max_epochs=7).config
    trial = supplied(x=config, checkpoint_seconds=15)({"cell": "x"})
    step, clock = trial.run.step_epoch, iter([0.0, 4.0])  # it takes twice that, with Ray's copy
    monkeypatch.setattr(trial.run, "step_epoch", lambda: step() | {"epoch_seconds": 10.0})
    due = [trial.train()["should_checkpoint"] for _ in range(2)]
    with monkeypatch.context() as patch:
        patch.setattr("trainable.checkpoint.time.perf_counter", lambda: next(clock))
        patch.setattr("trainable.checkpoint.write", lambda *_: None)
        trial.save_checkpoint(str(tmp_path))
    due += [trial.train()["should_checkpoint"] for _ in range(5)]
    assert due == [False, True, False, False, False, False, True]  # the last is the trial's end


@pytest.fixture
def in_thread(monkeypatch):
    """A CPU that writes checkpoints as a GPU does."""
    monkeypatch.setattr(tune_trial, "BACKGROUND", {"cpu"})


def of_long_epochs(make_run, seconds, **supply):
    """A trial of seven epochs, each of which takes so many seconds."""
    trial = supplied(x=make_run("pretrained", max_epochs=7).config, **supply)({"cell": "x"})
    step = trial.run.step_epoch
    trial.run.step_epoch = lambda: step() | {"epoch_seconds": seconds}
    return trial


def test_on_a_gpu_a_checkpoint_is_taken_when_a_thread_has_written_it(make_run, tmp_path, in_thread):
    trial = of_long_epochs(make_run, 10.0, checkpoint_seconds=15)
    assert [trial.train()["should_checkpoint"] for _ in range(2)] == [False, False]
    while not trial.writer.ready:  # begun after epoch 2
        time.sleep(0.01)
    assert trial.train()["should_checkpoint"]
    trial.save_checkpoint(str(tmp_path / "checkpoint_000000"))
    restored = of_long_epochs(make_run, 10.0, checkpoint_seconds=15)
    restored.load_checkpoint(str(tmp_path / "checkpoint_000000"))
    whole = of_long_epochs(make_run, 10.0)
    expected = [whole.train()["val_loss"] for _ in range(7)]
    assert [restored.train()["val_loss"] for _ in range(5)] == expected[2:]


def test_the_last_checkpoint_is_of_the_end(make_run, tmp_path, in_thread):
    trial = of_long_epochs(make_run, 10.0, checkpoint_seconds=55)
    due = [trial.train()["should_checkpoint"] for _ in range(7)]
    assert due == [False] * 6 + [True]  # begun after epoch 6
    trial.save_checkpoint(str(tmp_path / "c"))
    assert not trial.writer.pending
    restored = of_long_epochs(make_run, 10.0)
    restored.load_checkpoint(str(tmp_path / "c"))
    assert restored.run.finished


def test_long_epochs_are_saved_at_their_end(make_run, in_thread):
    """A kill in the next one then loses that one alone."""
    trial = of_long_epochs(make_run, 100.0, checkpoint_seconds=15)
    assert trial.train()["should_checkpoint"]
    assert not trial.writer.pending


def test_a_disk_that_a_thread_finds_full_ends_the_trial(make_run, tmp_path, in_thread, monkeypatch):
    def full(*_):
        raise CheckpointError("no space")

    monkeypatch.setattr("trainable.checkpoint.write", full)
    trial = of_long_epochs(make_run, 10.0, checkpoint_seconds=15)
    for _ in range(2):
        trial.train()
    while not trial.writer.ready:
        time.sleep(0.01)
    assert trial.train()["should_checkpoint"]
    with pytest.raises(CheckpointError, match="no space"):
        trial.save_checkpoint(str(tmp_path))


def test_a_trial_that_was_given_a_gpu_never_trains_on_the_cpu(trial, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("The NVIDIA driver on your system is too old")

    asked = SimpleNamespace(required_resources={"CPU": 1, "GPU": 1})
    monkeypatch.setattr(Trial, "trial_resources", asked)
    monkeypatch.setattr(torch, "ones", fail)
    with pytest.raises(ResourcesError, match="a GPU was allotted and cannot be used"):
        trial().train()


class TestOfAGroup:
    """Heads that train together, each a trial of its own to Tune."""

    @pytest.fixture
    def runs(self, make_run):
        longer = make_run("pretrained", seed=1, max_epochs=6).config
        return {"x": make_run("pretrained").config, "y": longer}

    @pytest.fixture
    def group(self, runs, tmp_path):
        together = dict.fromkeys(runs, tuple(runs))
        return supplied(experiment=tmp_path / "run-0", together=together, **runs)

    @pytest.fixture
    def calls(self, monkeypatch):
        calls = []
        train = heads_together.train_together
        monkeypatch.setattr(
            heads_together, "train_together", lambda runs: (calls.append(len(runs)), train(runs))[1]
        )
        return calls

    def test_each_reports_its_own_epochs(self, runs, group, calls, tmp_path):
        for cell, epochs in (("y", 6), ("x", 4)):
            alone, one = supplied(**runs)({"cell": cell}), group({"cell": cell})
            for epoch in range(1, epochs + 1):
                expected, row = alone.train(), one.train()
                assert row["epoch"] == row["training_iteration"] == epoch
                for name in ("train_loss", "val_loss", "counter", "best_epoch", "done"):
                    assert row[name] == expected[name]
                assert row["should_checkpoint"] == row["done"] == (epoch == epochs)
            for trial in (alone, one):
                trial.save_checkpoint(str(tmp_path / f"{cell}-{trial is one}"))
            states = [torch.load(tmp_path / f"{cell}-{b}" / "state.pt") for b in (True, False)]
            for ours, theirs in zip(*(s["model"].values() for s in states), strict=True):
                assert torch.equal(ours, theirs)
        assert calls == [2]

    def test_what_is_saved_before_the_end_is_its_beginning(self, runs, group, calls, tmp_path):
        """Nothing of a trial is lost: what is reported again is read."""
        one = group({"cell": "x"})
        losses = [one.train()["val_loss"] for _ in range(2)]
        one.save_checkpoint(str(tmp_path / "checkpoint_000000"))
        again = group({"cell": "x"})
        again.load_checkpoint(str(tmp_path / "checkpoint_000000"))
        assert [again.train()["val_loss"] for _ in range(2)] == losses
        assert calls == [2]

    def test_a_trial_that_has_begun_alone_stays_alone(self, runs, group, calls, tmp_path):
        alone = supplied(**runs)({"cell": "x"})
        alone.train()
        alone.save_checkpoint(str(tmp_path / "checkpoint_000000"))
        resumed = group({"cell": "x"})
        resumed.load_checkpoint(str(tmp_path / "checkpoint_000000"))
        assert resumed.train()["val_loss"] == alone.train()["val_loss"]
        assert calls == []

    def test_a_loss_that_is_not_finite_is_the_trials_own(self, runs, group, monkeypatch):
        errors = [None, NonFiniteLossError("of the group")]
        monkeypatch.setattr(heads_together, "train_together", lambda runs: errors)
        trial = group({"cell": "y"})
        monkeypatch.setattr(trial.run, "step_epoch", lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):  # it trains alone, and meets what it meets
            trial.train()
