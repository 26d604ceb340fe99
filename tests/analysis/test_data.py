import h5py
import pandas as pd
import pytest
from surveys import write_survey

from analysis.data import main


@pytest.fixture
def paired(tmp_path):
    """Rows 0 and 24 at one place: kinds 0 and 1."""
    path = write_survey(tmp_path / "paired.h5", positions=True)
    with h5py.File(path, "r+") as file:
        for name in ("ra", "dec"):
            file[name][24] = file[name][0]
    return path


def test_a_page_and_its_tables(paired, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["--data", str(paired), "--out", str(out), "--seeds", "0", "1"]) == 0
    page = (out / "data.html").read_text()
    assert "nan" not in page.lower().split("<main>")[1].replace("data:image", "").split("base64")[0]
    assert "Within 10 arcsec of each other: 1 pair, 1 with two different labels." in page
    assert pd.read_csv(out / "counts.csv")["images"].tolist() == [24, 20, 16]
    pairs = pd.read_csv(out / "pairs_by_sky.csv")
    assert pairs[["row_first", "row_second"]].to_numpy().tolist() == [[0, 24]]
    assert pairs["conflict"].tolist() == [True]
    leaks = pd.read_csv(out / "leaks.csv")
    assert leaks["seed"].tolist() == [0, 1]
    assert leaks["grouped"].tolist() == [0, 0]
    assert len(pd.read_csv(out / "image_statistics.csv")) == 60
    assert {p.stem for p in (out / "figures").iterdir()} >= {"counts", "contact_sheet"}
    assert "data.html" in capsys.readouterr().out.replace("\n", "")


def test_a_file_without_positions_says_so(survey_path, tmp_path):
    out = tmp_path / "out"
    assert main(["--data", str(survey_path), "--drop-labels", "2", "--out", str(out)]) == 0
    page = (out / "data.html").read_text()
    assert "There are no positions in this file" in page
    assert "kind 2" in page  # left out
    assert not (out / "pairs_by_sky.csv").exists()


def test_the_leak_is_trained_where_asked_for(paired, tmp_path, monkeypatch):
    from dataclasses import replace

    from trainable import protocol

    monkeypatch.setitem(protocol.PROTOCOLS, "demo", replace(protocol.DEMO, max_epochs=1))
    out = tmp_path / "out"
    arguments = ["--data", str(paired), "--out", str(out), "--leak", "--seeds", "0"]
    assert main(arguments) == 0
    found = pd.read_csv(out / "leak_trials.csv")
    assert found["grouped"].tolist() == [False, True]
    assert found.loc[found["grouped"], "leaked"].tolist() == [0]
    assert "no interval: n = 1 seed each" in (out / "data.html").read_text()


def test_a_missing_file_is_an_error_in_words(tmp_path, capsys):
    assert main(["--data", str(tmp_path / "none.h5")]) == 2
    assert "does not exist" in capsys.readouterr().err
