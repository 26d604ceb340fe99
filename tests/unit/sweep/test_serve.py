"""The flags of `sweep.serve`, and what a page shows of a picture."""

import builtins
import socket
import subprocess
import sys

import numpy as np
import pytest
from helpers.trained import small_sweep
from PIL import Image

from sweep import serving
from sweep.predict import main as predict
from sweep.serve import ServeConfig, main
from trainable.data.pictures import PictureError
from trainable.errors import SettingsError, SweepError


@pytest.fixture(scope="module")
def folder(tmp_path_factory, survey_path, weights_path):
    """A sweep of both inits on the tiny survey, its trials trained."""
    path = tmp_path_factory.mktemp("served") / "small"
    small_sweep(path, survey_path, weights_path, trained=("head",), max_epochs=2)
    return path


@pytest.fixture(scope="module")
def served(folder):
    """Both trials."""
    return serving.open_sweep(folder)


@pytest.fixture
def picture(tmp_path):
    """A grey PNG of 16 bits, as cameras of telescopes write them."""
    path = tmp_path / "galaxy.png"
    values = np.linspace(0, 65535, 50 * 40).reshape(50, 40).astype(np.uint16)
    Image.fromarray(values).save(path)
    return path


def test_the_best_trial_of_each_init_is_served(served):
    assert [trial.chosen.cell.init for trial in served] == ["scratch", "pretrained"]
    assert "from scratch" in served[0].description
    assert "pre-trained, head" in served[1].description


def test_probabilities_are_those_of_the_catalogue(served, folder, picture, tmp_path):
    import pandas as pd

    for trial in served:
        out = tmp_path / f"{trial.chosen.cell.init}.csv"
        flags = ["--from", folder, "--trial", trial.name, "--images", picture, "--out", out]
        assert predict(list(map(str, flags))) == 0
        row = pd.read_csv(out).iloc[0]
        opinion = trial.classify(serving.read_picture(picture))
        for name, probability in opinion.probabilities.items():
            assert probability == pytest.approx(row[f"probability_{name}"], abs=1e-6)
        assert opinion.distance == pytest.approx(row["distance"], abs=1e-6)
        assert opinion.unlike_training == row["unlike_training"]


def test_a_training_image_is_nearest_to_itself(served):
    for trial in served:
        reference = trial.reference
        image = serving.image_of(reference.survey, int(reference.rows[3]))
        opinion = trial.classify(Image.fromarray(image))
        nearest = opinion.neighbours[0]
        assert nearest.distance == pytest.approx(0, abs=1e-3)
        np.testing.assert_array_equal(nearest.image, image)
        assert nearest.label == trial.network.class_names[int(reference.labels[3])]
        assert opinion.attention.shape == (serving.SHOWN, serving.SHOWN, 3)
        distances = [neighbour.distance for neighbour in opinion.neighbours]
        assert distances == sorted(distances)


def test_examples_are_test_images_of_each_class(served):
    shown = serving.examples(served[0])
    assert [label for _, label in shown] == list(served[0].network.class_names)


def test_without_the_training_images_the_rest_is_there(folder, monkeypatch, picture):
    from trainable.errors import DataError

    def gone(*args, **kwargs):
        raise DataError("tiny.h5 is not there")

    monkeypatch.setattr(serving, "of_classifier", gone)
    trial, *_ = serving.open_sweep(folder)
    opinion = trial.classify(serving.read_picture(picture))
    assert sum(opinion.probabilities.values()) == pytest.approx(1)
    assert opinion.neighbours == ()
    assert opinion.unlike_training is None
    assert "tiny.h5 is not there" in trial.without_reference


def test_what_is_no_picture_is_refused(tmp_path):
    path = tmp_path / "notes.png"
    path.write_text("no picture")
    with pytest.raises(PictureError):
        serving.read_picture(path)


def test_unknown_trials_are_refused(folder):
    with pytest.raises(SweepError, match="has no trial 'none'"):
        serving.open_sweep(folder, ["none"])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--false-alarms", "2"], "--false-alarms 2: must be between 0 and 1"),
        (["--port", "70000"], "--port 70000: must be between 1 and 65535"),
        (["--max-mb", "0"], "--max-mb 0: must be 1 or more"),
    ],
)
def test_wrong_flags_are_one_sentence(flags, message, tmp_path, capsys):
    assert main(["--from", str(tmp_path), *flags]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


def test_gradio_is_an_extra(monkeypatch, capsys, tmp_path):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.split(".")[0] == "gradio" or name == "sweep.serve_page":
            raise ModuleNotFoundError("No module named 'gradio'", name="gradio")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    assert main(["--from", str(tmp_path)]) == 2
    assert "pip install 'vit-label-sweep[serve]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("box", False)],
)
def test_who_can_reach_the_page(host, local, tmp_path):
    assert ServeConfig(sweep=tmp_path, host=host).is_local is local


def test_a_port_that_is_taken_is_refused():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"--port {port}: cannot listen there"):
            serving.require_free("127.0.0.1", port)


def test_what_is_no_sweep_is_refused_in_a_sentence(tmp_path, capsys):
    pytest.importorskip("gradio")
    assert main(["--from", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert error.startswith("error: ")
    assert "without sweep.json" in error


def test_help_needs_neither_torch_nor_gradio():
    code = (
        "import sys; from sweep.serve import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'gradio', 'ray')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--host" in done.stdout
