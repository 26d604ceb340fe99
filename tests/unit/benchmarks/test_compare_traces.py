import pytest

from benchmarks.compare_traces import main

TRIALS = "trial,best_val_loss,total_seconds\na,0.5000000000000001,3.1\nb,0.25,2.0\n"
EPOCHS = "trial,epoch,val_loss,images_per_second\na,1,0.5000000000000001,3.1\n"


@pytest.fixture
def sweeps(tmp_path):
    """Two sweeps with equal reports; a test spoils the second one."""
    for name in ("before", "after"):
        report = tmp_path / name / "report"
        report.mkdir(parents=True)
        (report / "trials.csv").write_text(TRIALS)
        (report / "epochs.csv").write_text(EPOCHS)
    return tmp_path / "before", tmp_path / "after"


def compared(sweeps):
    return main([str(sweep) for sweep in sweeps])


def test_times_may_differ(sweeps, capsys):
    (sweeps[1] / "report" / "trials.csv").write_text(TRIALS.replace("3.1", "9.9"))
    (sweeps[1] / "report" / "epochs.csv").write_text(EPOCHS.replace("3.1", "9.9"))
    assert compared(sweeps) == 0
    assert capsys.readouterr().out == "trials.csv: 2 rows, equal\nepochs.csv: 1 rows, equal\n"


def test_the_last_digit_counts(sweeps, capsys):
    (sweeps[1] / "report" / "epochs.csv").write_text(EPOCHS.replace("0001", "0002"))
    assert compared(sweeps) == 1
    shown = capsys.readouterr().out
    assert "row 1: val_loss: 0.5000000000000001 before, 0.5000000000000002 after" in shown


@pytest.mark.parametrize("spoilt", [0, 1])
def test_a_missing_row_is_a_difference(sweeps, spoilt, capsys):
    (sweeps[spoilt] / "report" / "trials.csv").write_text(TRIALS.replace("b,0.25,2.0\n", ""))
    assert compared(sweeps) == 1
    assert f"row 2: only {['after', 'before'][spoilt]}" in capsys.readouterr().out


def test_a_new_column_is_a_difference(sweeps):
    (sweeps[1] / "report" / "epochs.csv").write_text(
        "trial,epoch,val_loss,lr,epoch_seconds\na,1,0.5000000000000001,0.1,3.1\n"
    )
    assert compared(sweeps) == 1


def test_nothing_to_compare_is_the_users_to_mend(sweeps, capsys):
    (sweeps[1] / "report" / "epochs.csv").unlink()
    assert compared(sweeps) == 2
    assert "python -m analysis.report" in capsys.readouterr().err
    (sweeps[0] / "report" / "trials.csv").write_text(TRIALS.splitlines()[0])
    assert compared(sweeps) == 2
    assert "no rows" in capsys.readouterr().err
