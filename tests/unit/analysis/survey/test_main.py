import h5py
import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from helpers.surveys import write_pictures, write_survey

from analysis.survey.__main__ import main


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
    page = (out / "survey.html").read_text()
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
    assert "survey.html" in capsys.readouterr().out.replace("\n", "")


def test_a_file_without_positions_says_so(survey_path, tmp_path):
    out = tmp_path / "out"
    assert main(["--data", str(survey_path), "--drop-labels", "2", "--out", str(out)]) == 0
    page = (out / "survey.html").read_text()
    assert "There are no positions in these data" in page
    assert "kind 2" in page  # left out
    assert not (out / "pairs_by_sky.csv").exists()


def test_a_folder_with_a_catalogue(tmp_path, capsys):
    """Images that are not square, one pair at one place, one image without a position."""
    names = [f"{number}.png" for number in range(8)]
    folder = write_pictures(tmp_path / "images", names, size=(40, 30))
    (folder / "7.png").write_bytes(b"no picture")
    rows = [f"{name},{'xy'[n % 2]},{2 if n == 3 else n},0" for n, name in enumerate(names)]
    rows[0] = "0.png,x,,"
    (tmp_path / "list.csv").write_text("\n".join(["file,label,ra,dec", *rows]))
    arguments = ["--data", str(folder), "--labels", str(tmp_path / "list.csv"), "--skip-unreadable"]
    out = tmp_path / "out"
    assert main([*arguments, "--out", str(out), "--seeds", "0"]) == 0
    page = (out / "survey.html").read_text()
    assert "7 images of 40 × 30 pixels in 2 classes" in page
    assert "Left out: 1 of 8 images" in capsys.readouterr().out
    assert "not known of 1 of the 7 images" in page
    assert "Left out: 1 of 8 images" in page
    assert "7 of 7 images: transform “resize” (the paper&#39;s) squashes them" in page
    pairs = pd.read_csv(out / "pairs_by_sky.csv")
    assert pairs[["image_first", "image_second"]].to_numpy().tolist() == [["2.png", "3.png"]]
    statistics = pd.read_csv(out / "image_statistics.csv")
    assert statistics["image"].tolist() == names[:7]
    assert statistics["label_given"].tolist() == list("xyxyxyx")


def test_fits_images_are_shown_as_the_flags_say(tmp_path):
    for number in range(8):
        path = tmp_path / "images" / "ab"[number % 2] / f"{number}.fits"
        path.parent.mkdir(parents=True, exist_ok=True)
        fits.writeto(path, np.random.default_rng(number).random((3, 20, 20)))
    arguments = ["--data", str(tmp_path / "images"), "--stretch", "0.5", "--bands", "1", "2", "3"]
    assert main([*arguments, "--out", str(tmp_path / "out"), "--seeds", "0"]) == 0
    page = (tmp_path / "out" / "survey.html").read_text()
    assert "after Lupton et al. (2004): --stretch 0.5 --q 8, --bands 1 2 3" in page


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
    assert "no interval: n = 1 seed each" in (out / "survey.html").read_text()


def test_a_missing_file_is_an_error_in_words(tmp_path, capsys):
    assert main(["--data", str(tmp_path / "none.h5")]) == 2
    assert "does not exist" in capsys.readouterr().err
