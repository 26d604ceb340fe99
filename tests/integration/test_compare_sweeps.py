from analysis import compare_sweeps


def test_command_line_writes_what_it_prints(sweep_folder, tmp_path, capsys):
    out = tmp_path / "comparison.md"
    assert compare_sweeps.main([str(sweep_folder), "--out", str(out)]) == 0
    assert capsys.readouterr().out.strip() == out.read_text().strip()
    assert "from scratch" in out.read_text()
    assert compare_sweeps.main([str(tmp_path)]) == 2
    assert "is not a sweep" in capsys.readouterr().err
