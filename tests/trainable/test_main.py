"""``python -m trainable``: one run without Ray."""

import json
import sys

import pandas as pd
import pytest

from trainable.__main__ import main

SAME = ["train_loss", "val_loss", "val_accuracy", "counter", "min_loss"]


@pytest.fixture
def trainable(survey_path, weights_path, monkeypatch, capsys):
    """Run the command line; exit code, standard output, standard error."""

    def run(*flags):
        files = ["--data", survey_path, "--weights", weights_path, "--arch", "vit_demo"]
        flags = [*files, "--protocol", "demo", "--device", "cpu", *flags]
        monkeypatch.setattr(sys, "argv", ["trainable", *map(str, flags)])
        code = main()
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


def test_resumed_equals_uninterrupted(trainable, tmp_path, monkeypatch):
    flags = ("--init", "scratch", "--max-epochs", 4)
    assert trainable(*flags, "--out", tmp_path / "whole")[0] == 0
    from trainable.engine import Run

    step = Run.step_epoch

    def interrupt_in_the_third(run):
        if run.epoch == 2:
            raise KeyboardInterrupt
        return step(run)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "step_epoch", interrupt_in_the_third)
        code, out, _ = trainable(*flags, "--out", tmp_path / "cut")
    assert code == 130
    assert out.rstrip().endswith("--resume")
    assert len(rows(tmp_path / "cut")) == 2
    assert trainable(*flags, "--out", tmp_path / "cut", "--resume")[0] == 0
    assert rows(tmp_path / "cut")[SAME].equals(rows(tmp_path / "whole")[SAME])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--fraction", 40), r"fraction 40.*\(0, 1\]"),
        (("--data", "nowhere.h5"), "does not exist"),
        (("--weights", "nothing"), "photographs"),
        (("--resume",), "does not hold a run"),
    ],
)
def test_bad_input_is_one_message_and_code_2(trainable, tmp_path, flags, message):
    import re

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


def test_going_on_with_other_settings_is_refused(trainable, tmp_path):
    assert trainable("--max-epochs", 1, "--out", tmp_path / "a")[0] == 0
    flags = ("--max-epochs", 2, "--seed", 5, "--out", tmp_path / "a", "--resume")
    code, _, err = trainable(*flags)
    assert code == 2
    assert "seed was 0, is now 5" in err


def test_a_run_from_before_a_setting_existed_goes_on(trainable, tmp_path):
    flags = ("--max-epochs", 1, "--out", tmp_path / "a")
    assert trainable(*flags)[0] == 0
    parameters = json.loads((tmp_path / "a" / "params.json").read_text())
    del parameters["run"]["augment"], parameters["run"]["data"]["merge_labels"]
    (tmp_path / "a" / "params.json").write_text(json.dumps(parameters))
    assert trainable(*flags, "--resume")[0] == 0
