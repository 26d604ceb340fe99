"""The folder that a run writes after an epoch, and resumes from."""

import errno
import io
import json
import shutil
import subprocess

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from trainable import checkpoint
from trainable.errors import CheckpointError
from trainable.files import unfinished_files
from trainable.protocol import Stopping
from trainable.run import TrainingRun

FILES = {
    "state.pt",
    "best.safetensors",
    "predictions.npz",
    "epochs.json",
    "record.json",
    "status.json",
}


def save(run, folder):
    checkpoint.save(run, folder, checkpoint.record(run))


def status(folder):
    return json.loads((folder / "status.json").read_text())


@pytest.fixture
def saved(make_run, tmp_path):
    """A run of one epoch and its checkpoint."""
    run = make_run("pretrained")
    run.step_epoch()
    save(run, tmp_path / "checkpoint_000000")
    return run, tmp_path / "checkpoint_000000"


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 64 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    made = subprocess.run(mount, capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"needs the right to mount a small disk: {made.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_frozen_run_is_small_and_complete(saved):
    run, folder = saved
    assert {p.name for p in folder.iterdir()} == FILES
    assert sum(p.stat().st_size for p in folder.iterdir()) < 40_000
    assert json.loads((folder / "epochs.json").read_text()) == run.history
    predictions = np.load(folder / "predictions.npz")
    assert np.array_equal(predictions["rows"], run.partition.validation)
    accuracy = (predictions["probabilities"].argmax(1) == predictions["labels"]).mean()
    assert accuracy == run.best["val_accuracy"]


def test_the_status_says_how_far_a_run_is(make_run, tmp_path):
    run = make_run(max_epochs=2)
    save(run, tmp_path)
    assert status(tmp_path) == {
        "epoch": 0,
        "max_epochs": 2,
        "finished": False,
        "stopped_early": False,
        "best_epoch": None,
        "best_val_accuracy": None,
        "test_accuracy": None,
    }
    for epoch, finished in ((1, False), (2, True)):
        row = run.step_epoch()
        save(run, tmp_path)
        assert status(tmp_path) == {
            "epoch": epoch,
            "max_epochs": 2,
            "finished": finished,
            "stopped_early": False,
            "best_epoch": row["best_epoch"],
            "best_val_accuracy": row["best_val_accuracy"],
            "test_accuracy": None,
        }


def test_the_status_tells_the_stopper_from_the_limit_of_epochs(make_run, tmp_path):
    run = make_run(
        stopping=Stopping(rule="paper", delta=0.0, patience=1), max_epochs=60, learning_rate=1e-3
    )
    while not run.finished:
        run.step_epoch()
    save(run, tmp_path)
    found = status(tmp_path)
    assert (found["finished"], found["stopped_early"]) == (True, True)
    assert found["epoch"] == len(run.history) < 60


@pytest.mark.parametrize("name", ["state.pt", "best.safetensors"])
@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty", "gone", "a folder"])
def test_a_damaged_file_is_named(make_run, saved, name, damage):
    _, folder = saved
    path = folder / name
    contents = path.read_bytes()
    path.unlink()
    if damage == "a folder":
        path.mkdir()
    elif damage != "gone":
        half = contents[: len(contents) // 2]
        path.write_bytes({"truncated": half, "garbage": b"rubbish"}.get(damage, b""))
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
        checkpoint.load(make_run("pretrained"), folder)


@pytest.mark.filterwarnings("ignore")  # torch warns of what some damaged pickles contain
def test_whatever_bytes_are_damaged_it_is_read_or_refused(make_run, saved):
    """Random bytes of the state: it loads, or it is a `CheckpointError`; no other exception."""
    _, folder = saved
    whole, random, refused = (folder / "state.pt").read_bytes(), np.random.default_rng(0), 0
    run = make_run("pretrained")
    for _ in range(200):
        damaged = bytearray(whole)
        for place in random.integers(0, 3000, 3):  # where the pickle's instructions are
            damaged[place] = random.integers(256)
        (folder / "state.pt").write_bytes(damaged)
        try:
            checkpoint._read(folder, run)
        except CheckpointError:
            refused += 1
    assert refused > 50


def test_a_checkpoint_of_another_run_is_refused(make_run, saved):
    _, folder = saved
    with pytest.raises(CheckpointError, match="of another run"):
        checkpoint.load(make_run("scratch"), folder)


@pytest.mark.parametrize("load", [checkpoint.load, checkpoint.load_newest])
def test_a_bug_in_restoring_a_run_is_not_taken_for_a_corrupt_file(
    make_run, saved, monkeypatch, load
):
    run, folder = saved
    run.step_epoch()
    save(run, folder.with_name("checkpoint_000001"))

    def bug(self, state):
        raise KeyError("optimiser")

    monkeypatch.setattr(TrainingRun, "load_state_dict", bug)
    with pytest.raises(KeyError, match="optimiser"):
        load(make_run("pretrained"), folder.with_name("checkpoint_000001"))


@pytest.mark.parametrize(
    ("name", "smaller"),
    [
        ("best.safetensors", {}),
        ("predictions.npz", {"weights": {}}),
        ("state.pt", {"weights": {}, "probabilities": torch.zeros(0)}),
    ],
)
def test_a_full_disk_is_the_users_to_mend(make_run, small_disk, name, smaller):
    """The kernel's own error, through safetensors, numpy and torch: no file but `name` is large."""
    run = make_run()
    run.step_epoch()
    run.best = run.best | {"probabilities": torch.zeros(100_000)} | smaller
    with pytest.raises(CheckpointError, match=rf"{name} could not .*No space left.*make room"):
        save(run, small_disk / "c")
    assert not (small_disk / "c" / name).exists()
    assert unfinished_files(small_disk / "c") == []


@pytest.fixture
def refuse(monkeypatch):
    """Make every file that a checkpoint opens refuse to be written, with an error of that number."""

    def refuse(number):
        class Refusing(io.FileIO):
            error = None

            def write(self, data):
                raise OSError(number, f"error {number}")

        monkeypatch.setattr(checkpoint, "_RememberingFile", Refusing)

    return refuse


@pytest.mark.parametrize("name", ["ENOSPC", "EDQUOT", "EIO", "EROFS"])
def test_disk_errors_name_the_file_and_leave_the_one_before(saved, refuse, name):
    run, folder = saved
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    refuse(getattr(errno, name))
    with pytest.raises(CheckpointError, match=r"record\.json could not be written: error"):
        save(run, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("name", ["EACCES", "EBADF", "ENAMETOOLONG"])
def test_other_errors_of_the_system_propagate(saved, refuse, name):
    run, folder = saved
    refuse(getattr(errno, name))
    with pytest.raises(OSError, match="error") as error:
        save(run, folder)
    assert error.value.errno == getattr(errno, name)


def test_a_bug_in_writing_propagates(saved, monkeypatch):
    run, folder = saved

    def bug(*args):
        raise RuntimeError("a bug")

    monkeypatch.setattr("torch.save", bug)
    with pytest.raises(RuntimeError, match="a bug"):
        save(run, folder)
    assert unfinished_files(folder) == []


def test_what_a_killed_writer_left_is_removed(saved):
    run, folder = saved
    (folder / ".state.0123456789ab.part.pt").write_bytes(b"half of a sta")
    save(run, folder)
    assert {p.name for p in folder.iterdir()} == FILES


def arrays(path):
    with np.load(path) as stored:
        return dict(stored)


def test_test_predictions_are_stored_once_of_the_epoch_that_validation_chose(make_run, tmp_path):
    run = make_run(split="budget", max_epochs=3)
    while not run.finished:
        assert run.test is None
        row = run.step_epoch()
        save(run, tmp_path)
        assert (tmp_path / "predictions.npz").exists() == run.finished
    stored, validation = arrays(tmp_path / "predictions.npz"), arrays(tmp_path / "validation.npz")
    assert stored["rows"].tolist() == run.partition.test.tolist()
    assert validation["rows"].tolist() == run.partition.validation.tolist()
    assert stored["epoch"] == validation["epoch"] == row["best_epoch"]
    run.model.load_state_dict(run.best["weights"], strict=False)
    assert np.allclose(run.logits(run.partition.test).softmax(1), stored["probabilities"])
    accuracy = (stored["probabilities"].argmax(1) == stored["labels"]).mean()
    assert status(tmp_path)["test_accuracy"] == row["test_accuracy"] == pytest.approx(accuracy)


class TestWriter:
    @pytest.fixture
    def run(self, make_run):
        run = make_run("scratch", max_epochs=5)
        run.step_epoch()
        return run

    @pytest.fixture
    def writer(self, run):
        return checkpoint.Writer(checkpoint.record(run))

    @pytest.fixture
    def written(self, monkeypatch):
        """Grows with each time that weights are turned into a file."""
        calls, to_bytes = [], checkpoint.safetensors_bytes
        monkeypatch.setattr(
            checkpoint, "safetensors_bytes", lambda w: (calls.append(1), to_bytes(w))[1]
        )
        return calls

    def test_a_run_that_trains_on_is_saved_as_it_was(self, run, writer, make_run, tmp_path):
        """The resumed run is the one that was never saved, bit for bit."""
        writer.begin(run)
        assert writer.pending
        whole = [run.step_epoch()["val_loss"] for _ in range(4)]
        assert list(tmp_path.iterdir()) == []
        writer.hand_over(tmp_path / "c")
        assert not writer.pending
        assert {p.name for p in (tmp_path / "c").iterdir()} == FILES
        assert status(tmp_path / "c")["epoch"] == 1
        resumed = make_run("scratch", max_epochs=5)
        checkpoint.load(resumed, tmp_path / "c")
        assert [resumed.step_epoch()["val_loss"] for _ in range(4)] == whole
        for name, tensor in run.model.state_dict().items():
            assert torch.equal(tensor, resumed.model.state_dict()[name])

    @pytest.mark.parametrize("in_thread", [True, False])
    def test_best_weights_are_written_once(self, run, writer, written, tmp_path, in_thread):
        def save(name):
            if in_thread:
                writer.begin(run)
                writer.hand_over(tmp_path / name)
            else:
                writer.save(run, tmp_path / "c")

        save("a")
        run.epoch += 1  # of which the best is as before
        save("b")
        assert len(written) == 1
        run.best = run.best | {"epoch": 2, "weights": {"x": torch.ones(3)}}
        save("d")
        assert len(written) == 2
        newest = tmp_path / ("d" if in_thread else "c") / "best.safetensors"
        assert torch.equal(load_file(newest)["x"], torch.ones(3))
        if in_thread:  # what was there before is as it was
            assert set(load_file(tmp_path / "b" / "best.safetensors")) != {"x"}

    def test_best_weights_that_are_gone_are_written_again(self, run, writer, written, tmp_path):
        """As of Ray's folders, which are copied and deleted."""
        for name in ("a", "b"):
            writer.save(run, tmp_path / name)
            shutil.rmtree(tmp_path / name)
        assert len(written) == 2

    def test_where_a_file_can_have_one_name_only(self, run, writer, written, tmp_path, monkeypatch):
        def refuse(source, target):
            raise OSError(errno.EXDEV, "Invalid cross-device link")

        monkeypatch.setattr("os.link", refuse)
        for name in ("a", "b"):
            writer.begin(run)
            writer.hand_over(tmp_path / name)
            assert (tmp_path / name / "best.safetensors").stat().st_size > 1000
        assert len(written) == 2

    def test_what_a_disk_does_to_the_thread_is_told(self, run, writer, refuse, tmp_path):
        refuse(errno.ENOSPC)
        writer.begin(run)
        with pytest.raises(CheckpointError, match="make room"):
            writer.hand_over(tmp_path / "c")
        assert not (tmp_path / "c").exists()

    def test_one_that_is_given_up_hides_no_bug(self, run, writer, monkeypatch):
        def bug(*_):
            raise KeyError("a bug")

        monkeypatch.setattr(checkpoint, "write", bug)
        writer.begin(run)
        with pytest.raises(KeyError, match="a bug"):
            writer.close()
