"""``--until-decided`` as a user runs it: rounds of seeds, a kill in the middle of one, the report."""

import os
import signal
import subprocess
import sys
import time

from helpers.surveys import ROOT
from helpers.sweeps import assert_same_epochs, manifest, saved_rows, started, wait_for

from analysis.report import __main__ as report
from analysis.results.load import read
from analysis.stats.comparisons import at_equal_labels

FLAGS = (
    *("--trained", "head", "--fractions", 0.5, 1, "--seeds", 0, 1, 2),
    *("--until-decided", "--max-seeds", 4),
)


def ids(*seeds, fractions=("050", "100")):
    return {f"{i}-{f}-s{s}" for i in ("scratch", "pretrained") for f in fractions for s in seeds}


def test_a_sweep_ends_when_all_is_decided(sweep_run, tmp_path):
    flags = (*FLAGS, "--max-epochs", 2, "--detect", 150, "--name", "small")
    process = sweep_run(tmp_path, *flags)
    assert process.returncode == 0, process.stderr
    assert "look 1 of 2, 3 seeds:" in process.stdout
    assert "All is decided: the sweep ends" in process.stdout
    assert "12 of 12 trials finished" in process.stdout
    assert set(manifest(tmp_path).experiments) == {"run-0"}


def test_killed_in_the_middle_of_a_round(command, tmp_path, capsys):
    flags = (*FLAGS, "--max-epochs", 12, "--detect", 0.001, "--checkpoint-seconds", 0)
    with started(command(tmp_path, *flags, "--name", "small")) as process:
        wait_for(process, "look 1 of 2, 3 seeds:")
        wait_for(process, "-s3  epoch 2/")
        time.sleep(0.2)
        os.killpg(process.pid, signal.SIGKILL)
    undecided = {cell.fraction for cell in manifest(tmp_path).cells if cell.seed == 3}
    assert undecided
    resume = [sys.executable, "-m", "sweep.run", "--resume", "small", "--storage-path", tmp_path]
    again = subprocess.run(resume, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert again.returncode == 0, again.stderr
    assert "look 2 of 2, 4 seeds:" in again.stdout
    experiments = manifest(tmp_path).experiments
    assert set(experiments["run-0"]) == ids(0, 1, 2)
    assert set(experiments) == {"run-0", "run-1"}
    added = {cell.id for cell in manifest(tmp_path).cells if cell.seed == 3}
    assert set(experiments["run-1"]) == added
    for cell in manifest(tmp_path).cells:
        run = "run-1" if cell.seed == 3 else "run-0"
        assert_same_epochs(saved_rows(tmp_path / "small" / run / cell.id), cell.config)

    for row in at_equal_labels(read(tmp_path / "small")).to_dict("records"):
        n = 4 if row["fraction"] in undecided else 3
        assert (row["n_pretrained"], row["n_scratch"]) == (n, n)
        assert "corrected for 2 planned looks" in row["how"]
    assert report.main([str(tmp_path / "small")]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "was looked at after each: 2 of at most 2 times, with 3 to 4 seeds" in text
