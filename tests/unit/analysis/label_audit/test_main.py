import re
from dataclasses import replace

import h5py
import pandas as pd
import pytest
from helpers.surveys import write_survey
from helpers.trained import small_sweep

from analysis.label_audit.__main__ import main

QUICK = ["--repeats", "3", "--rates", "0.2", "--review", "20", "--device", "cpu"]


@pytest.fixture(scope="module")
def wrong_labels(tmp_path_factory):
    """The tiny survey with rows 0, 30 and 50 labelled wrongly."""
    path = write_survey(tmp_path_factory.mktemp("wrong") / "wrong.h5")
    with h5py.File(path, "r+") as file:
        labels = file["ans"][:]
        labels[[0, 30, 50]] = [1, 2, 0]
        file["ans"][:] = labels
    return path


@pytest.fixture(scope="module")
def of_data(wrong_labels, tmp_path_factory):
    out = tmp_path_factory.mktemp("audit")
    arguments = ["--data", str(wrong_labels), "--arch", "vit_demo", *QUICK, "--out", str(out)]
    assert main(arguments) == 0
    return out, arguments


def test_the_page_shows_the_suspected_images(of_data):
    out, _ = of_data
    page, labels = (out / "label_audit.html").read_text(), pd.read_csv(out / "labels.csv")
    assert len(labels) == 60
    assert set(labels["row"][:3]) == {0, 30, 50}
    assert labels.loc[labels["row"] == 30, ["given", "suggested"]].to_numpy().tolist() == [
        ["kind 2", "kind 1"]
    ]
    suspects = page.split('id="suspects"')[1].split("</section>")[0]
    assert suspects.count("data:image/jpeg;base64,") == int(labels["suspected"].sum())
    assert "row 30" in suspects
    assert "given: kind 2" in suspects
    assert not re.search(r'(src|href)="http', page)
    assert re.search(r'class="headline">\s*(At most|How many)', page)
    assert len(pd.read_csv(out / "check.csv")) == 2 * 3
    assert len(pd.read_csv(out / "review.csv")) == 20 - max(0, 10 - int(labels["suspected"].sum()))


def test_a_review_gives_both_ends_and_is_not_written_over(of_data, tmp_path, capsys):
    out, arguments = of_data
    review = pd.read_csv(out / "review.csv", dtype={"verdict": str})
    review["verdict"] = ["wrong" if row in (0, 30, 50) else "right" for row in review["row"]]
    filled = tmp_path / "filled.csv"
    review.to_csv(filled, index=False)
    assert main([*arguments, "--no-check", "--reviewed", str(filled)]) == 0
    assert "judged by eye on a random sample" in capsys.readouterr().out
    assert pd.read_csv(out / "review.csv")["verdict"].tolist() == review["verdict"].tolist()
    assert main([*arguments, "--no-check"]) == 2
    assert "has verdicts" in capsys.readouterr().err
    review.loc[0, "verdict"] = "perhaps"
    review.to_csv(filled, index=False)
    assert main([*arguments, "--no-check", "--reviewed", str(filled)]) == 2
    assert "'perhaps', expected one of right, wrong, unsure" in capsys.readouterr().err
    review.loc[0, "verdict"] = "wrong"
    review.to_csv(filled, index=False)
    arguments = [*arguments, "--no-check", "--seed", "1", "--reviewed", str(filled)]
    assert main(arguments) == 2
    assert "not in the sample of this audit" in capsys.readouterr().err


@pytest.fixture(scope="module")
def sweep_folder(wrong_labels, weights_path, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweeps") / "small"
    small_sweep(folder, wrong_labels, weights_path, trained=("probe",))
    return folder


def test_of_a_sweep(sweep_folder, tmp_path):
    out = tmp_path / "out"
    arguments = ["--from", str(sweep_folder), *QUICK, "--out", str(out)]
    assert main(arguments) == 0
    labels = pd.read_csv(out / "labels.csv")
    assert set(labels["split"]) == {"pool", "test"}
    page = (out / "label_audit.html").read_text()
    assert "the best frozen backbone of small by validation" in page
    assert "in the test set" in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give one of --from"),
        (["--data", "x"], "name a pre-trained backbone with --arch"),
        (["--from", "nowhere"], "nowhere is not a sweep"),
        (["--from", "nowhere", "--arch", "vit_demo"], "go with --data"),
        (["--data", "x.h5", "--arch", "vit_demo"], "does not exist"),
        (["--from", "x", "--rates", "5"], "must be above 0 and at most 0.5"),
        (["--from", "x", "--repeats", "1"], "--repeats 1: must be at least 3"),
    ],
)
def test_bad_input_is_one_sentence(arguments, message, capsys):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_small_class_and_one_class(tmp_path, capsys):
    path = write_survey(tmp_path / "small.h5", counts=(20, 3))
    arguments = ["--data", str(path), "--arch", "vit_demo", "--out", str(tmp_path)]
    assert main(arguments) == 2
    assert "class 'kind 1' has 3 labelled images" in capsys.readouterr().err
    assert main([*arguments, "--drop-labels", "1"]) == 2
    assert "at least 2 are needed" in capsys.readouterr().err


def test_a_sweep_without_a_pretrained_trial(sweep_folder, tmp_path, capsys):
    from trainable.manifest import Manifest

    manifest = Manifest.read(sweep_folder)
    scratch = [cell for cell in manifest.cells if cell.init == "scratch"]
    (tmp_path / "scratch").mkdir()
    text = replace(manifest, cells=tuple(scratch), experiments={}).to_json()
    (tmp_path / "scratch" / "sweep.json").write_text(text)
    assert main(["--from", str(tmp_path / "scratch")]) == 2
    assert "has no complete trial of a pre-trained backbone" in capsys.readouterr().err
