"""``python -m trainable``: one run without Ray."""

import json
import re
import shutil

import pandas as pd
import pytest

from trainable.__main__ import PROGRAM, main
from trainable.run import TrainingRun

SAME = ["train_loss", "val_loss", "val_accuracy", "counter", "min_loss"]


@pytest.fixture
def trainable(survey_path, weights_path, capsys):
    """Run the command line; exit code, standard output, standard error."""

    def run(*flags):
        files = ["--data", survey_path, "--weights", weights_path, "--arch", "vit_demo"]
        flags = [*files, "--protocol", "demo", "--device", "cpu", *flags]
        code = main([str(flag) for flag in flags])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def rows(folder):
    return pd.read_csv(folder / "progress.csv")


def test_writes_what_a_trial_of_a_sweep_writes(trainable, tmp_path):
    code, out, _ = trainable("--max-epochs", 2, "--out", tmp_path / "a")
    assert code == 0
    assert "best val. accuracy" in out
    names = {p.relative_to(tmp_path / "a").as_posix() for p in (tmp_path / "a").rglob("*")}
    assert {"progress.csv", "result.json", "params.json", "checkpoint/state.pt"} <= names
    lines = (tmp_path / "a" / "result.json").read_text().splitlines()
    assert [json.loads(line)["training_iteration"] for line in lines] == [1, 2]
    assert rows(tmp_path / "a").epoch.tolist() == [1, 2]


def test_a_probe(trainable, tmp_path):
    code, out, _ = trainable("--trained", "probe", "--out", tmp_path / "a")
    assert code == 0
    assert "at epoch 1 of 1" in out
    kept = json.loads((tmp_path / "a" / "params.json").read_text())["run"]
    assert (kept["protocol"], kept["trained"]) == ("demo+probe", "probe")
    assert rows(tmp_path / "a").strength.tolist() > [0]


def interrupted(after):
    """A step that an interrupt hits when `after` epochs are done."""
    step = TrainingRun.step_epoch

    def step_epoch(run):
        if run.epoch == after:
            raise KeyboardInterrupt
        return step(run)

    return step_epoch


def test_resumed_equals_uninterrupted(trainable, tmp_path, monkeypatch):
    flags = ("--init", "scratch", "--max-epochs", 4)
    assert trainable(*flags, "--out", tmp_path / "whole")[0] == 0
    with monkeypatch.context() as patch:
        patch.setattr(TrainingRun, "step_epoch", interrupted(after=2))
        code, out, _ = trainable(*flags, "--out", tmp_path / "cut")
    assert code == 130
    *_, said, command = out.rstrip().splitlines()
    assert said == "to resume:"
    assert command.startswith(f"  {PROGRAM} --data ")
    assert command.endswith(f"--out {tmp_path / 'cut'} --resume")
    assert len(rows(tmp_path / "cut")) == 2
    assert trainable(*flags, "--out", tmp_path / "cut", "--resume")[0] == 0
    assert rows(tmp_path / "cut")[SAME].equals(rows(tmp_path / "whole")[SAME])


def test_interrupted_before_anything_is_trained(trainable, tmp_path, monkeypatch):
    monkeypatch.setattr(TrainingRun, "step_epoch", interrupted(after=0))
    code, out, _ = trainable("--out", tmp_path / "a")
    assert code == 130
    assert "to start again:" in out
    assert "--resume" not in out


def test_a_bug_in_training_keeps_its_traceback(
    survey_path, weights_path, tmp_path, trainable, monkeypatch
):
    """Also if it is an exception that bad input might raise."""

    def bug(run):
        raise ValueError("a bug")

    monkeypatch.setattr(TrainingRun, "step_epoch", bug)
    with pytest.raises(ValueError, match="a bug"):
        trainable("--out", tmp_path / "a")


def test_a_run_that_cannot_be_completed_is_one_message_and_code_1(trainable, tmp_path, monkeypatch):
    assert trainable("--max-epochs", 1, "--out", tmp_path / "a")[0] == 0
    (tmp_path / "a" / "checkpoint" / "state.pt").write_bytes(b"rubbish")
    code, _, err = trainable("--max-epochs", 1, "--out", tmp_path / "a", "--resume")
    assert code == 1
    assert re.match(r"error: .*state\.pt is missing or corrupt", err)
    code, _, err = trainable("--learning-rate", 1e30, "--out", tmp_path / "b")
    assert code == 1
    assert re.match("error: .* loss is (nan|inf)", err)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--fraction", 40), r"fraction 40.*\(0, 1\]"),
        (("--data", "nowhere.h5"), "does not exist"),
        (("--weights", "nothing"), "photographs"),
        (("--resume",), "does not hold a run"),
        (("--device", "warp-drive"), "--device warp-drive: .*e.g. cpu"),
        (("--max-epochs", 0), "--max-epochs 0: must be greater than 0"),
        (("--trained", "head", "probe"), "--trained head probe: a single run trains one of them"),
    ],
)
def test_bad_input_is_one_message_and_code_2(trainable, tmp_path, flags, message):
    code, _, err = trainable("--out", tmp_path / "x", *flags)
    assert code == 2
    assert err.startswith("error: ")
    assert re.search(message, err)
    assert err.count("\n") == 1


def test_a_run_is_not_overwritten(trainable, tmp_path):
    assert trainable("--max-epochs", 1, "--out", tmp_path / "a")[0] == 0
    code, _, err = trainable("--max-epochs", 1, "--out", tmp_path / "a")
    assert code == 2
    assert "--resume" in err


def test_resuming_with_other_settings_is_refused(trainable, tmp_path):
    assert trainable("--max-epochs", 1, "--out", tmp_path / "a")[0] == 0
    flags = ("--max-epochs", 2, "--seed", 5, "--out", tmp_path / "a", "--resume")
    code, _, err = trainable(*flags)
    assert code == 2
    assert "seed was 0, is now 5" in err


def test_a_run_of_another_version_is_refused(trainable, tmp_path):
    flags = ("--max-epochs", 1, "--out", tmp_path / "a")
    assert trainable(*flags)[0] == 0
    parameters = json.loads((tmp_path / "a" / "params.json").read_text())
    del parameters["run"]["stopping"]
    (tmp_path / "a" / "params.json").write_text(json.dumps(parameters))
    code, _, err = trainable(*flags, "--resume")
    assert code == 2
    assert "params.json is not of this version" in err


def test_data_that_moved_are_the_same_data(trainable, survey_path, tmp_path):
    flags = ("--init", "scratch", "--max-epochs", 1, "--out", tmp_path / "a")
    assert trainable(*flags)[0] == 0
    moved = shutil.copy(survey_path, tmp_path / "moved.h5")
    assert trainable(*flags, "--resume", "--data", moved)[0] == 0
