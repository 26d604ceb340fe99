"""The Trainable's own duties; whole sweeps are in tests/sweep."""

import pathlib
import shutil

import pytest
import torch

from trainable.checkpoint import CheckpointError
from trainable.trial import Trial


@pytest.fixture
def trial(make_run):
    return lambda: Trial({"cell": "x", "run": make_run("pretrained").config.to_dict()})


@pytest.fixture
def checkpoints(trial, tmp_path):
    """Checkpoints after epochs 1 to 3, and the rows of an uninterrupted trial."""
    whole, rows = trial(), []
    for epoch in range(4):
        rows.append(whole.train())
        if epoch < 3:
            whole.save_checkpoint(str(tmp_path / f"checkpoint_{epoch:06}"))
    return tmp_path, rows


def test_goes_on_with_the_next_epoch(trial, checkpoints):
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
        state.write_bytes(contents[:1000] if damage == "truncated" else b"\x80\x04garbage")
    restored = trial()
    restored.load_checkpoint(str(newest))
    again = [restored.train(), restored.train()]
    assert [row["epoch"] for row in again] == [3, 4]
    assert [row["val_loss"] for row in again] == [row["val_loss"] for row in rows[2:]]
    assert again[0]["skipped_checkpoints"] == 1


def test_never_starts_over_in_silence(trial, checkpoints):
    folder, _ = checkpoints
    for path in folder.glob("checkpoint_*/state.pt"):
        path.write_bytes(b"torn")
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
    used = Trial({"cell": "y", "run": make_run("scratch", seed=5).config.to_dict()})
    used.train()
    config = {"cell": "x", "run": make_run("pretrained").config.to_dict()}
    assert used.reset_config(config)
    assert used.train()["val_loss"] == rows[0]["val_loss"]


def test_saved_after_every_epoch_unless_told_otherwise(trial, checkpoints):
    _, rows = checkpoints
    assert all(row["should_checkpoint"] for row in rows)


def test_large_checkpoints_wait_until_training_took_ten_times_as_long(
    make_run, tmp_path, monkeypatch
):
    config = {"cell": "x", "run": make_run("pretrained", max_epochs=7).config.to_dict()}
    trial = Trial(config | {"checkpoint_seconds": 15})
    step, clock = trial.run.step_epoch, iter([0.0, 4.0])  # it takes twice that, with Ray's copy
    monkeypatch.setattr(trial.run, "step_epoch", lambda: step() | {"epoch_seconds": 10.0})
    due = [trial.train()["should_checkpoint"] for _ in range(2)]
    with monkeypatch.context() as patch:
        patch.setattr("trainable.trial.time.perf_counter", lambda: next(clock))
        patch.setattr("trainable.checkpoint.save", lambda *_: None)
        trial.save_checkpoint(str(tmp_path))
    due += [trial.train()["should_checkpoint"] for _ in range(5)]
    assert due == [False, True, False, False, False, False, True]  # the last is the trial's end
