import json

import pytest

from benchmarks.overhead import Measured, epochs_of_trials


def test_share_is_of_all_slots():
    measured = Measured(trials=3, epochs=30, trained=150, scored=10, wall=100, slots=2)
    assert measured.share == pytest.approx(0.25)
    assert measured.overhead == pytest.approx(0.2)
    assert measured.cells("a") == ("a", "3", "30", "100", "75", "5", "25.0%", "20.0%")


def test_epochs_are_those_of_the_last_checkpoints(tmp_path):
    for trial, checkpoint, seconds in (("a", 9, [1.0]), ("a", 10, [1.0, 2.0]), ("b", 0, [4.0])):
        folder = tmp_path / "run-0" / trial / f"checkpoint_{checkpoint:06}"
        folder.mkdir(parents=True)
        (folder / "epochs.json").write_text(json.dumps([{"epoch_seconds": s} for s in seconds]))
    assert [[row["epoch_seconds"] for row in trial] for trial in epochs_of_trials(tmp_path)] == [
        [1.0, 2.0],
        [4.0],
    ]
