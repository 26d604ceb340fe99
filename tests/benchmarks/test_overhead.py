import json
import re

import pytest

from benchmarks.overhead import Measured, main, trained_epochs


def test_share_is_of_all_slots():
    measured = Measured(trials=3, epochs=30, trained=150, wall=100, slots=2)
    assert measured.share == pytest.approx(0.25)
    assert measured.cells("a") == ("a", "3", "30", "100", "75", "25.0%")


def test_epochs_are_those_of_the_last_checkpoints(tmp_path):
    for trial, checkpoint, seconds in (("a", 9, [1.0]), ("a", 10, [1.0, 2.0]), ("b", 0, [4.0])):
        folder = tmp_path / "run-0" / trial / f"checkpoint_{checkpoint:06}"
        folder.mkdir(parents=True)
        (folder / "epochs.json").write_text(json.dumps([{"epoch_seconds": s} for s in seconds]))
    assert trained_epochs(tmp_path) == [[1.0, 2.0], [4.0]]


def test_a_sweep_is_measured_and_written_down(survey_path, weights_path, tmp_path):
    sweep = f"--preset demo --data {survey_path} --weights {weights_path} --max-epochs 2 --seeds 0"
    results = tmp_path / "RESULTS.md"
    flags = [f"--sweep={sweep} --fractions 1", "--slots", "2", "--results", str(results)]
    assert main(flags) == 0
    (row,) = re.findall(r"^\| sweep 1 \| (.*) \|$", results.read_text(), re.MULTILINE)
    trials, epochs, wall, trained, share = row.split(" | ")
    assert (trials, epochs) == ("2", "4")
    assert float(trained) < float(wall)
    assert 0 < float(share.rstrip("%")) < 100


def test_a_sweep_that_fails_is_told(capsys, tmp_path):
    flags = ["--sweep=--preset demo --data nowhere.h5", "--results", str(tmp_path / "none.md")]
    assert main(flags) == 2
    assert "nowhere.h5 does not exist" in capsys.readouterr().err
    assert not (tmp_path / "none.md").exists()
