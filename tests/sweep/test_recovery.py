import json
import pickle
import shutil

import pytest

from sweep.recovery import KeepState, repair
from sweep.storage import Folder


@pytest.fixture
def experiment(finished, tmp_path):
    """A copy of a real Tune experiment, its state files kept once as during a sweep."""
    shutil.copytree(finished[0] / "small" / "run-0", tmp_path / "run-0")
    for kept in (tmp_path / "run-0").glob("*.kept"):
        kept.unlink()
    return tmp_path / "run-0"


KINDS = ["experiment_state-*.json", "basic-variant-state-*.json", "tuner.pkl"]


def tear(experiment, kind):
    (path,) = experiment.glob(kind)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    return path, whole


def test_whole_files_are_left_alone(experiment):
    before = {path: path.read_bytes() for path in experiment.glob("*.*") if path.is_file()}
    assert repair(Folder(experiment)) == []
    assert before == {path: path.read_bytes() for path in experiment.glob("*.*") if path.is_file()}


@pytest.mark.parametrize("kind", KINDS)
def test_torn_file_is_replaced_by_its_last_whole_copy(experiment, kind):
    keeper = pickle.loads(pickle.dumps(KeepState(Folder(experiment))))
    keeper.keep()
    path, whole = tear(experiment, kind)
    keeper.keep()  # a torn file never becomes the copy
    (message,) = repair(Folder(experiment))
    assert str(path) in message
    assert path.read_bytes() == whole
    assert path.with_name(path.name + ".torn").exists()


def test_state_is_kept_now_and_then_and_at_the_end(experiment, monkeypatch):
    clock = iter([10.0, 10.9, 11.1, 11.1, 11.2])
    monkeypatch.setattr("sweep.recovery.time.monotonic", lambda: next(clock))
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
def test_torn_file_without_a_copy_is_named(experiment, kind):
    path, _ = tear(experiment, kind)
    with pytest.raises(ValueError, match="move that folder away") as error:
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


def test_an_earlier_session_will_do(experiment):
    (path,) = experiment.glob("experiment_state-*.json")
    later = path.with_name("experiment_state-2999-01-01_00-00-00.json")
    later.write_text("{torn")
    assert len(repair(Folder(experiment))) == 1
    assert not later.exists()
    assert path.exists()


def test_nothing_there_yet(tmp_path):
    assert repair(Folder(tmp_path / "run-0")) == []
