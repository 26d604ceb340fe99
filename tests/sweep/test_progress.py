import pickle
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from sweep.progress import LiveTable


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


@pytest.fixture
def table():
    ids = [f"scratch-{n:03}-s0" for n in range(10, 110, 10)]
    cells = [{"id": i, "n_train": 100, "run": {"max_epochs": 10}} for i in ids]
    return LiveTable(cells, "name")


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
        table.cells[cell]["run"] = {"max_epochs": 10, "trained": "head" if number < 5 else "all"}
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


def test_damaged_checkpoint_is_told_once(table, capsys):
    table.setup()
    for epoch in (3, 4):
        row = a_row(epoch, skipped_checkpoints=1)
        table.on_trial_result(0, [], a_trial("scratch-010-s0"), row)
    assert capsys.readouterr().out.count("its newest checkpoint was damaged") == 1


def test_trials_that_wait_for_features_are_told(table, tmp_path, capsys):
    table.features = tmp_path
    table.setup()
    table.on_trial_start(0, [], a_trial("scratch-010-s0"))
    assert "features" not in shown(table)
    with (tmp_path / "key.tmp").open("wb") as file:
        np.save(file, np.zeros((1500, 2)))
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


def test_is_pickled_without_its_terminal(table):
    table.setup()
    table.on_trial_start(0, [], a_trial("scratch-010-s0"))
    restored = pickle.loads(pickle.dumps(table))
    assert restored.console is None
    assert restored.state == table.state
