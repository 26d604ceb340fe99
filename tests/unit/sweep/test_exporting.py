"""Trained trials as files, with a card whose numbers are theirs."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from sweep.predict import PredictConfig, main
from trainable import calibration
from trainable.data.dataset import open_survey
from trainable.exported import classify

PROBE, SCRATCH = "pretrained-100-s0", "scratch-100-s1"


@pytest.mark.parametrize("trial", [PROBE, SCRATCH])
def test_export_is_the_trial_and_the_card_has_its_numbers(trained, survey_path, tmp_path, trial):
    folder = tmp_path / "exported"
    assert main(["--from", str(trained), "--trial", trial, "--export", str(folder)]) == 0
    checkpoint = trained / "run-0" / trial / "checkpoint_000000"
    test = np.load(checkpoint / "predictions.npz")
    pictures = [Image.fromarray(p) for p in open_survey(survey_path).read_images(test["rows"])]
    temperature = json.loads((checkpoint / "calibration.json").read_text())["value"]
    expected = calibration.scaled(test["probabilities"], temperature)
    np.testing.assert_allclose(classify.probabilities(pictures, folder), expected, atol=1e-4)

    card = (folder / "README.md").read_text()
    right = (test["probabilities"].argmax(1) == test["labels"]).mean()
    assert f"Accuracy on 12 test images: {right:.1%} [" in card
    assert f"Temperature {temperature:.3f}" in card
    assert f"trained: {'probe' if trial == PROBE else 'all'}" in card
    start = "pre-trained: " if trial == PROBE else "from scratch"
    assert f"| start | {start}" in card
    licence = "of the file random.safetensors" if trial == PROBE else "none: trained from scratch"
    assert f"| licence of the weights | {licence}" in card
    assert "48 labelled images (100% of the pool of 48)" in card
    for name in ("kind 0", "kind 1", "kind 2"):
        assert f"\n| {name} | " in card


def test_several_trials_are_no_export(trained, capsys):
    command = ["--from", str(trained), "--export", "e"]
    assert main([*command, "--trial", PROBE, SCRATCH]) == 2
    assert main([*command, "--ensemble", "2"]) == 2
    assert capsys.readouterr().err.count("--export writes one trial of a sweep") == 2


def test_export_and_catalogue_by_one_command(trained, survey_path, tmp_path, capsys):
    flags = ["--from", str(trained), "--trial", PROBE, "--no-novelty", "--device", "cpu"]
    files = ["--images", str(survey_path), "--out", str(tmp_path / "c.csv")]
    assert main([*flags, *files, "--export", str(tmp_path / "e")]) == 0
    assert (tmp_path / "c.csv").is_file()
    assert (tmp_path / "e" / "model.onnx").is_file()
    assert "onnxruntime" in capsys.readouterr().out


def test_data_that_are_gone(trained, tmp_path, capsys):
    copied = shutil.copytree(trained, tmp_path / "copy" / "tiny")
    manifest = json.loads((copied / "sweep.json").read_text())
    for cell in manifest["cells"]:
        cell["config"]["data"]["path"] = "/nowhere/galaxies.h5"
    (copied / "sweep.json").write_text(json.dumps(manifest))
    command = ["--from", str(copied), "--trial", PROBE, "--export", str(tmp_path / "e")]
    assert main(command) == 2
    assert "An export is checked on images of the test set" in capsys.readouterr().err
    assert not (tmp_path / "e").exists()


def test_export_needs_no_images():
    assert PredictConfig(sweep="s", export="e").images is None
