import json
import pickle
import shutil
from pathlib import Path

import pytest

from sweep.ray_compat import STATE_FILES
from sweep.state_backup import KeepState, is_whole, repair
from sweep.storage import Folder
from trainable.errors import UserError


@pytest.fixture
def experiment(finished, tmp_path):
    """A copy of a real Tune experiment, its state files kept once as during a sweep."""
    shutil.copytree(finished[0] / "small" / "run-0", tmp_path / "run-0")
    for kept in (tmp_path / "run-0").glob("*.kept"):
        kept.unlink()
    return tmp_path / "run-0"


KINDS = list(STATE_FILES)


def cut_short(experiment, kind):
    (path,) = experiment.glob(kind)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    return path, whole


def test_whole_files_are_left_alone(experiment):
    before = {path: path.read_bytes() for path in experiment.glob("*.*") if path.is_file()}
    assert repair(Folder(experiment)) == []
    assert before == {path: path.read_bytes() for path in experiment.glob("*.*") if path.is_file()}


@pytest.mark.parametrize("kind", KINDS)
def test_corrupt_file_is_replaced_by_its_last_whole_copy(experiment, kind):
    keeper = pickle.loads(pickle.dumps(KeepState(Folder(experiment))))
    keeper.keep()
    path, whole = cut_short(experiment, kind)
    keeper.keep()  # a corrupt file never becomes the copy
    (message,) = repair(Folder(experiment))
    assert str(path) in message
    assert path.read_bytes() == whole
    assert path.with_name(path.name + ".corrupt").exists()


def test_state_is_kept_now_and_then_and_at_the_end(experiment, monkeypatch):
    clock = iter([10.0, 10.9, 11.1, 11.1, 11.2])
    monkeypatch.setattr("sweep.state_backup.time.monotonic", lambda: next(clock))
    keeper = KeepState(Folder(experiment), seconds=1)

    def kept() -> int:
        found = list(experiment.glob("*.kept"))
        for path in found:
            path.unlink()
        return len(found)

    keeper.setup()
    keeper.on_step_end(0, [])
    assert kept() == 0
    keeper.on_step_end(1, [])
    assert kept() == len(KINDS)
    keeper.on_experiment_end([])
    assert kept() == len(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_corrupt_file_without_a_copy_is_named(experiment, kind):
    path, _ = cut_short(experiment, kind)
    with pytest.raises(UserError, match="move that folder away") as error:
        repair(Folder(experiment))
    assert str(path) in str(error.value)


def test_a_decision_to_stop_does_not_outlive_its_moment(experiment):
    (path,) = experiment.glob("experiment_state-*.json")
    state = json.loads(path.read_text())
    assert state["runner_data"]["_cached_trial_decisions"] == {}
    state["runner_data"]["_cached_trial_decisions"] = {"a trial": "STOP"}
    path.write_text(json.dumps(state))
    assert repair(Folder(experiment)) == []
    state["runner_data"]["_cached_trial_decisions"] = {}
    assert json.loads(path.read_text()) == state


@pytest.mark.parametrize("contents", [b"", b"\x00" * 100, b"\x80\x04\x95"])
def test_a_pickle_without_its_end_is_corrupt(tmp_path, contents):
    (tmp_path / "tuner.pkl").write_bytes(contents)
    assert not is_whole(tmp_path / "tuner.pkl")


def test_checking_a_pickle_runs_nothing_in_it(tmp_path):
    class Bomb:
        def __reduce__(self):
            return Path.touch, (tmp_path / "crater",)

    (tmp_path / "tuner.pkl").write_bytes(pickle.dumps(Bomb()))
    assert is_whole(tmp_path / "tuner.pkl")
    assert not (tmp_path / "crater").exists()


def test_an_earlier_session_will_do(experiment):
    (path,) = experiment.glob("experiment_state-*.json")
    later = path.with_name("experiment_state-2999-01-01_00-00-00.json")
    later.write_text("{corrupt")
    assert len(repair(Folder(experiment))) == 1
    assert not later.exists()
    assert path.exists()


def test_nothing_there_yet(tmp_path):
    assert repair(Folder(tmp_path / "run-0")) == []
