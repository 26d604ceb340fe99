from dataclasses import replace

import pytest
from helpers import synthetic

from analysis.report.__main__ import main
from analysis.results.schema import Results
from trainable.errors import SettingsError


@pytest.mark.parametrize("arguments", [["nothing/here"], []])
def test_not_a_sweep_is_one_line_and_exit_code_2(arguments, capsys):
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "expected"), [(["--target", "80"], "80% is 0.8"), (["--more", "0"], "1 or more")]
)
def test_a_flag_that_makes_no_sense_is_told_before_anything_is_read(flags, expected, capsys):
    assert main(["nothing/here", *flags]) == 2
    assert expected in capsys.readouterr().err


def test_a_bug_keeps_its_traceback(tmp_path, monkeypatch):
    def broken(*_, **__):
        raise ValueError("a bug")

    monkeypatch.setattr("analysis.results.load.read", broken)
    with pytest.raises(ValueError, match="a bug"):
        main([str(tmp_path)])


def test_the_sweeps_metric_is_the_default_and_the_flag_comes_first(tmp_path, monkeypatch, capsys):
    asked = []

    def with_metric(_, name):
        asked.append(name)
        raise SettingsError(name)

    made = synthetic.sweep(tmp_path / "sweep", synthetic.grid((1.0,), (0,)))
    stored = replace(made, settings={**made.settings, "metric": "macro_f1"})
    (tmp_path / "sweep" / "sweep.json").write_text(stored.to_json())
    monkeypatch.setattr(Results, "with_metric", with_metric)
    for flags in ([], ["--metric", "neg_log_loss"]):
        assert main([str(tmp_path / "sweep"), *flags]) == 2
    assert asked == ["macro_f1", "neg_log_loss"]
    assert capsys.readouterr().err == "error: macro_f1\nerror: neg_log_loss\n"
