import pytest

from analysis.mock_vs_real.__main__ import main


def test_no_seed_is_an_error_in_words(tmp_path, capsys):
    assert main(["--real", str(tmp_path / "none.h5"), "--seeds"]) == 2
    assert capsys.readouterr().err.startswith("error: --seeds")


def test_a_missing_file_is_an_error_in_words(tmp_path, capsys):
    assert main(["--real", str(tmp_path / "none.h5"), "--seeds", "0"]) == 2
    assert "none.h5" in capsys.readouterr().err


def test_a_bug_keeps_its_traceback(tmp_path, monkeypatch):
    def broken(*_, **__):
        raise ValueError("a bug")

    monkeypatch.setattr("analysis.mock_vs_real.comparison.compare", broken)
    with pytest.raises(ValueError, match="a bug"):
        main(["--real", str(tmp_path / "none.h5")])
