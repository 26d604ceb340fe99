from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import synthetic
from helpers.surveys import write_pictures, write_survey
from safetensors.torch import load_file, save_file
from torch import nn

from analysis.results import artifacts
from analysis.results.artifacts import NotAtHand, as_framed, survey_of, trained_model
from trainable import checkpoint
from trainable.config import Settings
from trainable.prepare import prepare

NAMES = [f"kind {number}" for number in range(3)]


@pytest.fixture
def run(make_run):
    run = make_run("scratch", max_epochs=1)
    run.step_epoch()
    return run


@pytest.fixture
def trained(run, tmp_path):
    """Results of one trial that was really trained, for one epoch, and one that was not."""
    results = synthetic.results(tmp_path, synthetic.grid((1.0,), (0,)), names=NAMES)
    checkpoint.save(run, tmp_path / "scratch-100-s0", checkpoint.record(run))
    data = run.config.data
    return synthetic.with_data(results, path=data.path, sha256=data.sha256)


@pytest.fixture
def weights(tmp_path):
    return tmp_path / "scratch-100-s0" / "best.safetensors"


def test_the_survey_is_the_sweeps(trained):
    assert survey_of(trained.manifest).sha256 == trained.manifest.data.sha256


def test_the_survey_is_opened_as_the_trials_opened_it(tmp_path):
    names = [f"{n}.png" for n in range(8)]
    folder = write_pictures(tmp_path / "images", names)
    rows = [f"{name},{0.9 - 0.8 * (n % 2)},{0.1 + 0.8 * (n % 2)}" for n, name in enumerate(names)]
    (tmp_path / "votes.csv").write_text("\n".join(["file,x,y", *rows]))
    settings = Settings(data=str(folder), labels=tmp_path / "votes.csv", label_columns=("x", "y"))
    prepared = prepare(settings)
    cells = [
        synthetic.configured(cell, data=prepared.data) for cell in synthetic.grid((1.0,), (0,))
    ]
    manifest = synthetic.manifest(cells, path=str(folder), sha256=prepared.survey.sha256)
    assert survey_of(manifest).labels.tolist() == [0, 1] * 4


def test_a_missing_survey(make_results):
    with pytest.raises(NotAtHand, match="does not exist"):
        survey_of(make_results(synthetic.grid((1.0,), (0,))).manifest)


def test_another_survey(trained, tmp_path):
    other = synthetic.with_data(trained, path=str(write_survey(tmp_path / "other.h5", seed=5)))
    with pytest.raises(NotAtHand, match="the sweep's has"):
        survey_of(other.manifest)


def test_the_model_gives_the_stored_predictions(trained, run):
    model, config = trained_model(trained, "scratch-100-s0")
    assert config == run.config
    torch.testing.assert_close(model.state_dict(), run.best["weights"])
    stored = trained.predictions("scratch-100-s0")
    images = survey_of(trained.manifest).read_images(stored.rows)
    maps, used = artifacts.attention_maps(trained, "scratch-100-s0", images, stored.probabilities)
    assert used == config
    assert maps.sum(axis=(1, 2)) == pytest.approx(1)
    with pytest.raises(NotAtHand, match="not the weights it was trained from"):
        artifacts.attention_maps(trained, "scratch-100-s0", images, stored.probabilities[:, ::-1])


def test_no_record(trained, tmp_path):
    with pytest.raises(NotAtHand, match="pretrained-100-s0 has no record of its configuration"):
        trained_model(trained, "pretrained-100-s0")
    (tmp_path / "scratch-100-s0" / "record.json").write_text("{")
    with pytest.raises(NotAtHand, match=r"record.json is corrupt"):
        trained_model(trained, "scratch-100-s0")


def test_lost_weights(trained, weights):
    weights.unlink()
    with pytest.raises(NotAtHand, match=r"cannot be built again: .*best.safetensors"):
        trained_model(trained, "scratch-100-s0")


def test_corrupt_weights(trained, weights):
    weights.write_bytes(weights.read_bytes()[:50])
    with pytest.raises(NotAtHand, match=r"best.safetensors cannot be read"):
        trained_model(trained, "scratch-100-s0")


def test_weights_of_another_shape(trained, weights):
    state = load_file(weights)
    name = next(name for name in state if state[name].ndim == 2)
    save_file(state | {name: torch.zeros(2, 2)}, weights)
    with pytest.raises(NotAtHand, match=r"does not fit the architecture: .*size mismatch"):
        trained_model(trained, "scratch-100-s0")


def test_weights_with_an_unknown_name(trained, weights):
    save_file(load_file(weights) | {"extra": torch.zeros(2)}, weights)
    with pytest.raises(NotAtHand, match=r"of another model: it has extra"):
        trained_model(trained, "scratch-100-s0")


@pytest.mark.parametrize("error", [KeyError("a bug"), TypeError("a bug"), ValueError("a bug")])
def test_a_bug_keeps_its_traceback(trained, monkeypatch, error):
    def broken(*_):
        raise error

    monkeypatch.setattr(artifacts, "build_for", broken)
    with pytest.raises(type(error), match="a bug"):
        trained_model(trained, "scratch-100-s0")


def test_attention_of_another_kind_of_model(trained, run, monkeypatch):
    config = replace(run.config)
    monkeypatch.setattr(artifacts, "trained_model", lambda *_: (nn.Flatten(), config))
    with pytest.raises(NotAtHand, match="VisionTransformer, not Flatten"):
        artifacts.attention_maps(trained, "scratch-100-s0", np.zeros((1, 8, 8, 3), np.uint8), 0)


def test_a_crop_is_framed_at_any_size():
    image = np.zeros((1, 64, 64, 3), np.uint8)
    image[:, 4:60, 4:60] = 255
    assert (as_framed(image, "resize", 64) == image).all()
    assert (as_framed(image, "resize_crop", 64)[:, 2:-2, 2:-2] > 250).all()
