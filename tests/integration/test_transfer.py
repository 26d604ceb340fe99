"""From one survey to another by command line, interrupted and resumed."""

import json
import os
import signal
import subprocess
import sys

import pytest
from helpers.surveys import ROOT, write_survey
from helpers.sweeps import started, wait_for
from helpers.trained import small_sweep

from analysis.report.analysis import Analysis
from analysis.report.sections import transfer
from analysis.results import load
from analysis.results.transfer import FILE, Transfer


@pytest.fixture(scope="module")
def storage(survey_path, weights_path, tmp_path_factory):
    """Storage with a finished sweep ``there``, another survey and a table of classes."""
    folder = tmp_path_factory.mktemp("transfer")
    small_sweep(folder / "there", survey_path, weights_path, inits=("scratch",), max_epochs=3)
    write_survey(folder / "here.h5", counts=(24, 24, 24), seed=1)
    (folder / "map.csv").write_text("source,target\nkind 0,kind 1\nkind 2,kind 0\n")
    return folder


def test_a_transfer_that_is_interrupted_resumes_by_its_name_alone(storage):
    command = [
        *(sys.executable, "-m", "sweep.run", "--preset", "transfer", "--protocol", "demo"),
        *("--transfer-from", storage / "there", "--class-map", storage / "map.csv"),
        *(
            "--data",
            storage / "here.h5",
            "--storage-path",
            storage,
            "--name",
            "here",
            "--gpus",
            "0",
        ),
        *("--fractions", "1", "--seeds", "0", "--probe-draws", "2", "--max-epochs", "3"),
    ]
    process = started(list(map(str, command)))
    assert "scoring scratch-100-s0 of there without any label" in wait_for(process, "scoring")
    wait_for(process, "starts")
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=120)
    assert process.returncode == 130
    before = (storage / "here" / FILE).read_text()
    resume = [sys.executable, "-m", "sweep.run", "--resume", storage / "here"]
    done = subprocess.run(resume, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert "scoring" not in done.stdout
    assert (storage / "here" / FILE).read_text() == before
    known = Transfer.from_dict(json.loads(before))
    assert (known.n, len(known.classes)) == (10, 2)
    manifest = json.loads((storage / "here" / "sweep.json").read_text())
    assert manifest["data"]["class_names"] == ["kind 0", "kind 1"]

    told = transfer.in_short(Analysis(everything=load.read(storage / "here")))
    assert "Without a label of this survey, the network of there (scratch-100-s0: " in told
