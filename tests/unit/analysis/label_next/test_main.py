"""The command line: flags that make no sense, one sentence for each mistake, and a simulation."""

import subprocess
import sys

import pandas as pd
import pytest
from helpers.surveys import ROOT

from analysis.label_next import orders
from analysis.label_next.__main__ import Choice, LabelNextConfig, main
from trainable.errors import SettingsError


def test_help_needs_neither_torch_nor_ray():
    code = (
        "import sys\nfrom analysis.label_next.__main__ import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print(sorted({'torch', 'ray', 'sklearn', 'skactiveml'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
    assert "--unlabelled" in done.stdout


def test_orders_of_the_flags_are_those_of_the_library():
    assert Choice == orders.OrderName


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({}, "with --unlabelled, or --simulate"),
        ({"simulate": True, "unlabelled": "a"}, "leave --unlabelled out"),
        ({"unlabelled": "a", "budget": 0}, "--budget 0: must be at least 1"),
        ({"simulate": True, "start": 1}, "--start 1: must be at least 2"),
        ({"simulate": True, "repeats": 1}, "--repeats 1: must be at least 2"),
        ({"simulate": True, "batch": 0}, "--batch 0: must be at least 1"),
        ({"simulate": True, "seed": -1}, "--seed -1: must be 0 or more"),
        ({"simulate": True, "orders": ("random",)}, "to compare with random"),
        ({"simulate": True, "orders": ("margin", "margin")}, "margin is given twice"),
        ({"unlabelled": "a", "bands": (1, 2)}, "--bands 1 2"),
    ],
)
def test_flags_that_make_no_sense(flags, message):
    with pytest.raises(SettingsError, match=message):
        LabelNextConfig(sweep="s", **flags)


def refused(arguments, capsys):
    assert main([*map(str, arguments)]) == 2
    text = capsys.readouterr().err
    errors = [line for line in text.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    return errors[0]


def test_mistakes_are_one_line_and_exit_code_2(swept, tmp_path, capsys):
    given = ["--from", swept]
    assert "nowhere is not a sweep" in refused(["--from", "nowhere", "--simulate"], capsys)
    text = refused([*given, "--unlabelled", tmp_path / "none"], capsys)
    assert "none does not exist: give a folder of images" in text
    text = refused([*given, "--simulate", "--trial", "scratch-100-s0"], capsys)
    assert "is from scratch, so its features have seen the labels" in text
    text = refused([*given, "--simulate", "--start", "20"], capsys)
    assert "--start 20: class 'kind 2' has 13 labelled images" in text
    text = refused([*given, "--simulate", "--start", "13"], capsys)
    assert "48 labelled images beside its test set, and 39 to begin with leave no batch" in text


def test_sweeps_that_cannot_be_simulated(probed, survey_path, tmp_path, capsys):
    scratch = probed(tmp_path / "a", inits=("scratch",))
    text = refused(["--from", scratch, "--simulate"], capsys)
    assert "a has no complete pre-trained trial" in text
    untested = probed(
        tmp_path / "b",
        inits=("pretrained",),
        trained=("head",),
        split="fixed",
    )
    text = refused(["--from", untested, "--simulate"], capsys)
    assert "split (fixed) has no test set" in text
    for status in scratch.glob("run-0/*/checkpoint_*/status.json"):
        status.unlink()
    text = refused(["--from", scratch, "--unlabelled", survey_path], capsys)
    assert "has 0 complete trials with a checkpoint" in text


def test_simulation_of_a_sweep(swept, tmp_path, capsys):
    flags = ["--simulate", "--repeats", "2", "--batch", "20", "--orders", "margin"]

    def simulated(name, *more):
        out = tmp_path / name
        assert main([*map(str, ["--from", swept, *flags, "--out", out, *more])]) == 0
        return pd.read_csv(out / "simulation.csv")

    frame = simulated("best")
    assert "than random" in capsys.readouterr().out.splitlines()[0]
    assert frame["labels"].unique().tolist() == [9, 29, 48]
    assert (tmp_path / "best" / "figures" / "label_next.png").is_file()
    assert "| margin" in (tmp_path / "best" / "tables" / "gains.md").read_text()
    assert "--batch 20" in (tmp_path / "best" / "simulation.html").read_text()
    # of a trial that trained its backbone, the weights that it started from: they have seen no labels
    again = simulated("all", "--trial", "demo+all-pretrained-100-s0")
    pd.testing.assert_frame_equal(again, frame)
