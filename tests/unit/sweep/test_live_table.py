import io
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from sweep.live_table import LEAST_NEEDED, LiveTable
from trainable.config import DataConfig, TrainingConfig
from trainable.files import replace_file
from trainable.manifest import Cell
from trainable.protocol import DEMO


def a_row(epoch, **values):
    row = {
        "epoch": epoch,
        "max_epochs": 10,
        "val_accuracy": 0.5,
        "best_val_accuracy": 0.625,
        "val_loss": 1.25,
        "counter": 1,
        "patience": 3,
        "images_per_second": 1234.0,
        "epoch_seconds": 6.0,
        "n_train": 100,
        "finished": 0,
    }
    return row | values


def a_trial(cell):
    return SimpleNamespace(config={"cell": cell}, last_result=None)


def a_cell(cell_id, trained="all", max_epochs=10) -> Cell:
    config = TrainingConfig.of(
        DEMO,
        init="scratch",
        fraction=1.0,
        seed=0,
        data=DataConfig(path="", sha256="", split="fixed"),
        arch="vit_demo",
        weights=None,
        trained=trained,
        max_epochs=max_epochs,
    )
    return Cell(
        id=cell_id,
        config=config,
        protocols=("demo",),
        n_train=100,
        n_labels=80,
        n_val=20,
        n_test=0,
        folds=0,
        split_hash="",
        scored_hash="",
        parameters=1,
        trained_parameters=1,
        forward_flops=1,
    )


@pytest.fixture
def table():
    ids = [f"scratch-{n:03}-s0" for n in range(10, 110, 10)]
    return LiveTable([a_cell(i) for i in ids], "name")


def shown(table, room=99):
    console = Console(width=110, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(table.table(room))
    console.file.close()
    return console.export_text()


def test_follows_the_trials(table):
    first, second, third = (a_trial(f"scratch-{n}-s0") for n in ("010", "020", "030"))
    for trial in (first, second, third):
        table.on_trial_start(0, [], trial)
        table.on_trial_result(0, [], trial, a_row(2))
    table.on_trial_result(0, [], first, a_row(3, finished=1))
    table.on_trial_complete(0, [], first)
    table.on_trial_error(0, [], second)
    text = shown(table)
    assert "1 of 10 trials done, 1 running, 1 failed" in text
    lines = {line.split()[0]: line for line in text.splitlines() if line.startswith(" scratch")}
    assert "done" in lines["scratch-010-s0"]
    assert "3/10" in lines["scratch-010-s0"]
    assert "failed" in lines["scratch-020-s0"]
    for part in ("running", "2/10", "0.5000", "0.6250", "1.2500", "1/3", "1,234", "0:48"):
        assert part in lines["scratch-030-s0"]
    # 8 epochs of the running one and 10 of each of 7 that wait, at 6 s
    assert "at most 7:48 left" in text


def test_time_left_is_by_the_pace_of_trials_that_train_the_same(table):
    """Ten trials of ten epochs: heads of 0.06 s an epoch say nothing of the others' 6 s."""
    for number, cell in enumerate(table.cells):
        table.cells[cell] = a_cell(cell, "head" if number < 5 else "all")
    whole, head = a_trial("scratch-100-s0"), a_trial("scratch-010-s0")
    table.on_trial_start(0, [], head)
    table.on_trial_result(0, [], head, a_row(10, epoch_seconds=0.06, finished=1))
    table.on_trial_complete(0, [], head)
    assert "at most 0:05 left" in shown(table)  # nothing else is known yet
    table.on_trial_start(0, [], whole)
    table.on_trial_result(0, [], whole, a_row(5, epoch_seconds=6.0))
    assert "at most 4:32 left" in shown(table)  # 45 epochs of 6 s and 40 of 0.06 s


def test_interrupted_trial_waits_again(table):
    trial = a_trial("scratch-010-s0")
    table.on_trial_result(0, [], trial, a_row(2))
    table.on_trial_complete(0, [], trial)
    assert "0 of 10 trials done" in shown(table)


def test_restored_sweep_knows_what_is_done(table):
    done, cut = a_trial("scratch-010-s0"), a_trial("scratch-020-s0")
    done.last_result, cut.last_result = a_row(10, finished=1), a_row(4)
    for trial in (done, cut):
        trial.is_finished = lambda: True
    table.on_step_begin(0, [done, cut, a_trial("scratch-030-s0")])
    text = shown(table)
    assert "1 of 10 trials done" in text
    assert "4/10" in text


def test_finished_by_an_earlier_experiment(table):
    later = LiveTable(list(table.cells.values()), "name", {"scratch-010-s0"})
    assert "1 of 10 trials done" in shown(later)


def test_corrupt_checkpoint_is_told_once(table, capsys):
    table.setup()
    for epoch in (3, 4):
        row = a_row(epoch, skipped_checkpoints=1)
        table.on_trial_result(0, [], a_trial("scratch-010-s0"), row)
    assert capsys.readouterr().out.count("its newest checkpoint was corrupt") == 1


def test_trials_that_wait_for_features_are_told(table, tmp_path, capsys):
    table.features = tmp_path
    table.setup()
    table.on_trial_start(0, [], a_trial("scratch-010-s0"))
    assert "features" not in shown(table)
    with replace_file(tmp_path / "key.npy") as unfinished:
        np.save(unfinished, np.zeros((1500, 2)))
        for _ in range(2):
            table.on_step_begin(0, [])
        assert capsys.readouterr().out.count("preparing · features: 1,500 of 1,500 images") == 1
        headline, *lines = shown(table).splitlines()
    assert headline.endswith("· features: 1,500 of 1,500 images")
    assert any("scratch-010-s0" in line and "preparing" in line for line in lines)


def test_short_terminal_shows_what_runs(table):
    table.on_trial_start(0, [], a_trial("scratch-100-s0"))
    text = shown(table, room=4)
    assert "scratch-100-s0" in text
    assert "… 7 waiting" in text
    assert "…" not in shown(table, room=10)


@pytest.mark.parametrize(("width", "left_out"), [(60, 4), (80, 3), (110, 0)])
def test_narrow_terminal_cuts_no_text(table, width, left_out):
    trial = a_trial("scratch-100-s0")
    table.on_trial_start(0, [], trial)
    table.on_trial_result(0, [], trial, a_row(2))
    table.console = Console(width=width, height=40, record=True, file=io.StringIO())
    table.console.print(table.table(room=20))
    lines = table.console.export_text().splitlines()
    (row,) = [line for line in lines if line.startswith(" scratch-100-s0")]
    assert "…" not in "".join(lines)
    for part in ("running", "2/10", "0.5000", "0.6250"):
        assert part in row
    assert len(LEAST_NEEDED) - sum(name in "".join(lines[1:4]) for name in LEAST_NEEDED) == left_out


def test_is_pickled_without_its_terminal(table):
    table.setup()
    table.on_trial_start(0, [], a_trial("scratch-010-s0"))
    restored = pickle.loads(pickle.dumps(table))
    assert restored.console is None
    assert restored.state == table.state


@pytest.mark.parametrize(("epochs", "lines"), [(100, 11), (60, 11), (10, 11), (3, 4), (1, 2)])
def test_output_that_is_no_terminal_gets_a_line_per_tenth(capsys, epochs, lines):
    """One when the trial starts, one per tenth (its end is the last of them)."""
    table, trial = LiveTable([a_cell("x", max_epochs=epochs)], "name"), a_trial("x")
    table.setup()
    table.on_trial_start(0, [], trial)
    for epoch in range(1, epochs + 1):
        row = a_row(epoch, max_epochs=epochs, finished=int(epoch == epochs))
        table.on_trial_result(0, [], trial, row)
    table.on_trial_complete(0, [], trial)
    told = capsys.readouterr().out.splitlines()
    assert len(told) == lines
    assert told[0] == "x  starts"
    assert told[-1].startswith(f"x  ended after epoch {epochs}/{epochs}")


def test_a_trial_that_resumes_and_fails_is_told(capsys):
    table, trial = LiveTable([a_cell("x")], "name"), a_trial("x")
    trial.last_result, trial.is_finished = a_row(4), lambda: False
    table.setup()
    table.on_step_begin(0, [trial])
    table.on_trial_start(0, [], trial)
    table.on_trial_error(0, [], trial)
    assert capsys.readouterr().out.splitlines() == [
        "x  resumes, epoch 4 was its last",
        "x  failed after epoch 4",
    ]


def test_the_trial_of_a_process(table):
    first, second = (a_trial(f"scratch-{n}-s0") for n in ("010", "020"))
    for trial in (first, second):
        table.on_trial_start(0, [], trial)
    assert table.cell_of(5) is None  # either
    table.on_trial_result(0, [], first, a_row(1, pid=5))
    assert table.cell_of(5) == "scratch-010-s0"
    assert table.cell_of(6) == "scratch-020-s0"  # the only one that has not reported
    table.on_trial_error(0, [], second)
    assert table.cell_of(6) is None
