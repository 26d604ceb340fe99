import re

import pytest

from benchmarks.overhead import main


@pytest.mark.slow
def test_a_sweep_is_measured_and_written_down(survey_path, weights_path, tmp_path):
    sweep = f"--preset demo --data {survey_path} --weights {weights_path} --max-epochs 2 --seeds 0"
    sweep += " --trained head"
    results = tmp_path / "RESULTS.md"
    flags = [f"--sweep={sweep} --fractions 1", "--slots", "2", "--results", str(results)]
    assert main(flags) == 0
    (row,) = re.findall(r"^\| sweep 1 \| (.*) \|$", results.read_text(), re.MULTILINE)
    trials, epochs, wall, trained, scored, share, neither = row.split(" | ")
    assert (trials, epochs) == ("2", "4")
    assert float(trained) + float(scored) < float(wall)
    assert 0 < float(neither.rstrip("%")) < float(share.rstrip("%")) < 100


def test_a_sweep_that_fails_is_told(capsys, tmp_path):
    flags = ["--sweep=--preset demo --data nowhere.h5", "--results", str(tmp_path / "none.md")]
    assert main(flags) == 2
    assert "nowhere.h5 does not exist" in capsys.readouterr().err
    assert not (tmp_path / "none.md").exists()
