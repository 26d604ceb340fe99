"""``python -m sweep.run`` as a user runs it: finish, interrupt, resume, add trials, go wrong."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.surveys import ROOT
from helpers.sweeps import (
    SAME,
    SECRET,
    assert_same_epochs,
    manifest,
    rows_of,
    saved_rows,
    started,
    wait_for,
)
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from analysis.report import __main__ as report
from analysis.results.load import read
from sweep.experiment import CURVES
from sweep.grid import GROUPS
from sweep.outcomes import trial_outcome
from sweep.run import main
from sweep.storage import Folder
from trainable.config import TrainingConfig
from trainable.provenance import versions

CELLS = {"scratch-100-s0", "scratch-050-s0", "pretrained-100-s0", "pretrained-050-s0"}


def test_every_cell_of_the_grid_ran_to_its_end(finished):
    storage, process = finished
    assert {cell.id for cell in manifest(storage).cells} == CELLS
    for cell in CELLS:
        rows = rows_of(storage / "small" / "run-0" / cell)
        assert rows.epoch.tolist() == [1, 2, 3]
        assert rows.finished.tolist() == [0, 0, 1]
    assert "4 of 4 trials finished" in process.stdout
    assert process.stdout.rstrip().endswith(f"python -m analysis.report {storage}/small")


def test_a_trial_is_the_run_without_ray(finished):
    """Bit for bit: Ray schedules, it does not change the science."""
    storage, _ = finished
    for cell in manifest(storage).cells[:4:3]:
        assert_same_epochs(rows_of(storage / "small" / "run-0" / cell.id), cell.config)


def test_trials_share_one_validation_set(finished):
    cells = manifest(finished[0]).cells
    assert len({cell.scored_hash for cell in cells}) == 1
    assert len({cell.split_hash for cell in cells}) == 2  # one for each fraction


def test_each_trial_has_its_record_and_predictions(finished):
    storage, _ = finished
    for cell in manifest(storage).cells:
        folder = storage / "small" / "run-0" / cell.id
        checkpoints = sorted(folder.glob("checkpoint_*"))
        assert len(checkpoints) in (1, 2)  # the last epoch's, and one before if training took long
        record = json.loads((checkpoints[-1] / "record.json").read_text())
        assert TrainingConfig.from_dict(record["config"]) == cell.config
        assert record["split_hash"] == cell.split_hash
        assert record["versions"] == versions()
        assert {"git_commit", "device"} <= record.keys()
        saved = np.load(checkpoints[-1] / "predictions.npz")
        assert len(saved["labels"]) == cell.n_test
        tested = saved_rows(folder).test_accuracy.iloc[-1]
        assert (saved["probabilities"].argmax(1) == saved["labels"]).mean() == tested
        of_validation = np.load(checkpoints[-1] / "validation.npz")
        best = rows_of(folder).best_val_accuracy.iloc[-1]
        assert (of_validation["probabilities"].argmax(1) == of_validation["labels"]).mean() == best
        assert load_file(checkpoints[-1] / "best.safetensors")


def test_tensorboard_shows_the_curves_of_each_epoch(finished):
    folder = finished[0] / "small" / "run-0" / "scratch-100-s0"
    shown = EventAccumulator(str(folder)).Reload()
    assert set(shown.Tags()["scalars"]) == {f"ray/tune/{name}" for name in CURVES}
    logged = [event.value for event in shown.Scalars("ray/tune/val_loss")]
    assert logged == pytest.approx(rows_of(folder).val_loss.tolist(), rel=1e-6)


def test_no_secret_of_the_environment_is_written_down(finished, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    assert report.main([str(finished[0] / "small"), "--out", str(tmp_path)]) == 0
    written = [p for folder in (finished[0], tmp_path) for p in folder.rglob("*") if p.is_file()]
    assert len(written) > 40
    assert [path for path in written if SECRET.encode() in path.read_bytes()] == []


def test_terminal_has_no_spam(finished):
    _, process = finished
    lines = [line for line in process.stdout.splitlines() if line.strip()]
    waits = [line for line in lines if line.startswith("preparing · features: ")]
    assert len(waits) <= 1  # told once, if it takes long enough to be seen
    storage = finished[0]
    assert lines[1] == f"  python -m sweep.run --resume small --storage-path {storage}"
    # how it resumes, starts and epochs, then what to type next
    assert len(lines) - len(waits) == 2 + 4 * (1 + 3) + 3
    assert process.stderr.strip() == ""


def test_adding_seeds_runs_the_new_cells_alone(finished, sweep_run, tmp_path):
    """In a copy of the sweep: a sweep may be moved."""
    shutil.copytree(finished[0] / "small", tmp_path / "small")
    flags = ("--inits", "pretrained", "--fractions", 1, "--seeds", 1)
    process = sweep_run(tmp_path, "--resume", tmp_path / "small", *flags)
    assert process.returncode == 0, process.stderr
    assert "5 of 5 trials finished" in process.stdout
    assert process.stdout.count("epoch") == 3  # none of a finished trial
    experiments = manifest(tmp_path).experiments
    assert set(experiments["run-0"]) == CELLS
    assert experiments["run-1"] == ("pretrained-100-s1",)
    assert len(rows_of(tmp_path / "small" / "run-1" / "pretrained-100-s1")) == 3


def test_another_protocol_joins_a_sweep(finished, sweep_run, tmp_path):
    """What the sweep has stays; the report is about its own protocol and compares both."""
    shutil.copytree(finished[0] / "small", tmp_path / "small")
    flags = ("--fractions", 1, "--other-protocols", "paper+trained")
    process = sweep_run(tmp_path, "--resume", tmp_path / "small", *flags)
    assert process.returncode == 0, process.stderr
    assert "5 of 5 trials finished" in process.stdout
    added = "paper+trained-pretrained-100-s0"  # both prescribe the same trial from scratch
    assert manifest(tmp_path).experiments["run-1"] == (added,)
    assert len(rows_of(tmp_path / "small" / "run-1" / added)) == 3
    results = read(tmp_path / "small")
    assert results.protocols == ("demo+head", "paper+trained")
    assert set(results.main.complete["trial"]) == CELLS
    assert set(results.only("paper+trained").complete["trial"]) == {added, "scratch-100-s0"}
    assert report.main([str(tmp_path / "small")]) == 0
    table = (tmp_path / "small" / "report" / "tables" / "protocols.md").read_text()
    assert "paper+trained" in table
    again = sweep_run(tmp_path, "--resume", tmp_path / "small")
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("epoch") == 0


def test_two_sweeps_at_once_share_the_data_and_its_cache(command, tmp_path):
    environment = os.environ | {"SWEEP_CACHE_DIR": str(tmp_path / "cache")}
    flags = ("--inits", "pretrained", "--fractions", 1, "--max-epochs", 2)
    both = [
        subprocess.Popen(command(tmp_path, *flags, "--name", name), cwd=ROOT, env=environment)
        for name in ("one", "other")
    ]
    assert [process.wait() for process in both] == [0, 0]
    one, other = (read(tmp_path / name).epochs[SAME] for name in ("one", "other"))
    assert len(one) == 2
    assert one.equals(other)
    assert len(list((tmp_path / "cache").glob("images/*.npy"))) == 1
    assert not list((tmp_path / "cache").rglob("*.tmp"))


def test_a_trial_that_fails_before_its_first_epoch_is_told_by_its_own_name(
    command, survey_path, weights_path, tmp_path
):
    """One process takes on one trial after the other; the weights vanish in between.

    They are given by a relative path, and data and weights are elsewhere when the sweep resumes.
    """
    weights = Path(shutil.copy(weights_path, tmp_path / "weights.safetensors"))
    data = Path(shutil.copy(survey_path, tmp_path / "survey.h5"))
    flags = ("--fractions", 1, "--max-epochs", 20, "--name", "fails", "--cpus", 1)
    with started(
        command(tmp_path, *flags, data=data.name, weights=weights.name),
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
    ) as process:
        wait_for(process, "scratch-100-s0  starts")
        moved = weights.rename(tmp_path / "moved.safetensors")
        output = process.stdout.read()
    assert process.returncode == 1
    assert "1 of 2 trials finished" in output
    (failure,) = [line for line in output.splitlines() if line.startswith("failed: ")]
    assert failure.startswith("failed: pretrained-100-s0: ")
    assert str(weights) in failure  # absolute
    last_line = output.splitlines()[-1].strip()
    assert last_line == f"python -m sweep.run --resume fails --storage-path {tmp_path}"
    left = [
        trial_outcome(Folder(tmp_path / "fails" / "run-0"), cell.id)
        for cell in manifest(tmp_path, "fails").cells
    ]
    assert [(trial.finished, bool(trial.error)) for trial in left] == [(True, False), (False, True)]

    elsewhere = data.rename(tmp_path / "elsewhere.h5")
    again = subprocess.run(
        [sys.executable, *shlex.split(last_line)[1:], "--data", elsewhere, "--weights", moved],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert again.returncode == 0, again.stdout + again.stderr
    assert "2 of 2 trials finished" in again.stdout
    cells = manifest(tmp_path, "fails").cells
    assert {cell.config.data.path for cell in cells} == {str(elsewhere)}
    assert cells[1].config.weights == str(moved)
    for cell in cells:
        assert_same_epochs(saved_rows(tmp_path / "fails" / "run-0" / cell.id), cell.config)
    assert trial_outcome(Folder(tmp_path / "fails" / "run-0"), cells[1].id).error is None


def refused(capsys, *flags) -> str:
    """The one message with which the driver refuses, before Ray starts."""
    start = time.monotonic()
    assert main([str(flag) for flag in flags]) == 2
    assert time.monotonic() - start < 60
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert "Traceback" not in message
    return message


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu(capsys):
    message = refused(capsys, "--gpus", 1)
    assert "--gpus 0" in message
    assert "--preset demo" in message


class TestRefused:
    @pytest.fixture
    def flags(self, survey_path, weights_path, tmp_path):
        files = {"--data": survey_path, "--weights": weights_path, "--storage-path": tmp_path}
        fractions = ["--fractions", "1", "--seeds", "0", "--trained", "head"]
        return [
            "--preset",
            "demo",
            *fractions,
            *(str(part) for pair in files.items() for part in pair),
        ]

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            (("--data", "nowhere.h5"), "nowhere.h5 does not exist"),
            (("--data", __file__), "HDF5"),
            (("--weights", "nothing"), "photographs"),
            (("--weights", __file__), "cannot be read|more than tensors"),
            (("--drop-labels", "7"), "no label"),
            (("--drop-labels", "0", "1"), "at least 2"),
            (("--fractions", "0.01"), "2 of 2 trials cannot run"),
            (("--arch", "vit_b_16"), "do not fit the architecture"),
            (("--resume", "nowhere"), "there is no sweep 'nowhere'"),
            (("--fractions", "40"), "40% is 0.4"),
            (("--gpus", "-1"), "must be ≥ 0"),
        ],
    )
    def test_before_any_trial(self, capsys, flags, wrong, message):
        assert re.search(message, refused(capsys, *flags, *wrong))

    def test_name_that_is_taken(self, capsys, finished):
        storage, _ = finished
        message = refused(capsys, "--preset", "demo", "--storage-path", storage, "--name", "small")
        assert "--resume small" in message

    @pytest.mark.parametrize("how", [("--name", "busy"), ("--name", "busy", "--replace")])
    def test_name_that_another_process_is_at_work_on(self, capsys, flags, tmp_path, how):
        lock = Folder(tmp_path / "busy").hold()
        assert "another process is at work" in refused(capsys, *flags, *how)
        lock.release()

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (("--protocol", "paper"), "the protocol was 'demo"),
            (
                ("--learning-rate", "0.1"),
                "learning_rate of pretrained by protocol demo+head was 0.002, is now 0.1",
            ),
            (
                ("--scratch-learning-rate", "0.1"),
                "learning_rate of scratch by protocol demo+head was 0.0001, is now 0.1",
            ),
            (("--split-seed", "5"), "split_seed was 0, is now 5"),
            (("--resample",), "varies with the seed was False, is now True"),
            (("--drop-labels", "2"), "the list of classes was"),
        ],
    )
    def test_resuming_what_cannot_be_compared(self, capsys, finished, change, message):
        storage, _ = finished
        assert message in refused(capsys, "--resume", "small", "--storage-path", storage, *change)

    @pytest.mark.parametrize(
        "wrong",
        [("--seeds", "x"), ("--no-such-flag",), ("--preset", "none")],
    )
    def test_flags(self, capsys, wrong):
        with pytest.raises(SystemExit) as end:
            main(["--preset", "demo", *wrong])
        assert end.value.code == 2
        assert "Traceback" not in capsys.readouterr().err


ONE_SEED = ("--seeds", "0", "--trained", "head", "--dry-run")


def test_dry_run_lists_every_trial_and_writes_nothing(capsys, survey_path, weights_path, tmp_path):
    flags = ["--data", survey_path, "--weights", weights_path, "--storage-path", tmp_path / "out"]
    assert main(["--preset", "demo", *map(str, flags), "--fractions", "1", "0.5", *ONE_SEED]) == 0
    plan = capsys.readouterr().out
    assert all(cell in plan for cell in CELLS)
    assert "679,843" in plan  # parameters of scratch, three classes
    assert not (tmp_path / "out").exists()


IMPORTED = """
import sys
from sweep.run import main
try:
    main(["--help"])
except SystemExit as end:
    assert not end.code
print("imported:", sorted({"torch", "ray", "torchvision", "pandas"} & set(sys.modules)))
"""


def test_help_answers_without_torch_and_ray():
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "imported: []"
    for heading in GROUPS:
        assert f"{heading} options" in done.stdout
