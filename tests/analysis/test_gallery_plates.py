from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import synthetic
import torch
from surveys import write_survey
from torch import nn

from analysis import images
from analysis.gallery_plates import galaxies
from analysis.images import NotAtHand, as_framed, survey_of, trained_model
from trainable import checkpoint

CONFIG = SimpleNamespace(arch="vit_demo", transform="resize")


@pytest.fixture(scope="module")
def names():
    return [f"kind {number}" for number in range(3)]


@pytest.fixture
def trained(make_run, tmp_path, names):
    """Results of two trials that were really trained, for two epochs."""
    cells = synthetic.grid((1.0,), (0,))
    results = synthetic.results(tmp_path, cells, names=names)
    for init in ("scratch", "pretrained"):
        run = make_run(init, max_epochs=2)
        for _ in range(2):
            run.step_epoch()
        folder = tmp_path / f"{init}-100-s0"
        checkpoint.save(run, folder, checkpoint.record(run))
    config = run.config.data
    data = results.manifest["data"] | {"path": config.path, "sha256": config.sha256}
    return replace(results, manifests=(results.manifest | {"data": data},))


def test_galleries_of_real_trials(trained):
    made = galaxies(trained)
    assert made.sentences == ()
    plates = {plate.name: plate for plate in made.plates}
    assert {"galaxies_mistakes", "galaxies_attention"} <= set(plates)
    assert all(plate.dots_per_inch and plate.section == "galaxies" for plate in made.plates)
    attention = plates["galaxies_attention"]
    assert "scratch-100-s0 and pretrained-100-s0, n = 1 seed each" in attention.caption
    shown = [ax.images for ax in attention.figure.axes if ax.images]
    assert len([pair for pair in shown if len(pair) == 2]) == 3 * 2 * 2  # classes, galaxies, inits


def test_one_init_has_no_comparison(trained):
    trials = trained.trials[trained.trials["init"] == "scratch"]
    made = galaxies(replace(trained, trials=trials))
    assert [plate.name for plate in made.plates] == ["galaxies_mistakes", "galaxies_attention"]


@pytest.mark.parametrize(("init", "part"), [("scratch", "all"), ("pretrained", "head")])
def test_the_model_is_the_one_that_was_trained(trained, init, part):
    trial = f"{init}-100-s0"
    _, config = trained_model(trained, trial)
    assert (config.init, config.trained) == (init, part)
    stored = trained.predictions(trial)
    survey = survey_of(trained.manifest)
    maps, transform = images.attention_maps(
        trained, trial, survey.read_images(stored.rows), stored.probabilities
    )
    assert transform == "resize"
    assert maps.sum(axis=(1, 2)) == pytest.approx(1)


@pytest.mark.parametrize("part", ["all", "head"])
def test_weights_to_start_from_are_needed_by_a_frozen_backbone_alone(
    make_run, trained, tmp_path, part
):
    run = make_run("pretrained", trained=part)
    run.step_epoch()
    record = checkpoint.record(run)
    record["config"]["weights"] = str(tmp_path / "lost.safetensors")
    checkpoint.save(run, tmp_path / "pretrained-100-s0", record)
    if part == "all":
        model, _ = trained_model(trained, "pretrained-100-s0")
        torch.testing.assert_close(model.state_dict(), run.best["weights"])
    else:
        with pytest.raises(NotAtHand, match=r"cannot be built again: no weights .*lost"):
            trained_model(trained, "pretrained-100-s0")


def test_other_weights_are_found_out(trained):
    stored = trained.predictions("scratch-100-s0")
    shown = survey_of(trained.manifest).read_images(stored.rows)
    with pytest.raises(NotAtHand, match="not the weights it was trained from"):
        images.attention_maps(trained, "scratch-100-s0", shown, stored.probabilities[:, ::-1])


def test_lost_weights_leave_the_galleries_and_a_sentence(trained, tmp_path):
    (tmp_path / "pretrained-100-s0" / "best.safetensors").unlink()
    made = galaxies(trained)
    assert "galaxies_attention" not in {plate.name for plate in made.plates}
    assert made.sentences[-1].startswith("There are no attention maps: the model of pretrained")


def test_other_architecture_is_said(trained, monkeypatch):
    monkeypatch.setattr(images, "trained_model", lambda results, trial: (nn.Flatten(), CONFIG))
    (sentence,) = galaxies(trained).sentences
    assert sentence == (
        "There are no attention maps: attention rollout needs a torchvision VisionTransformer, "
        "not Flatten."
    )


def test_no_image_that_all_seeds_saw_is_said(trained, monkeypatch):
    empty = pd.DataFrame({"label": [], "quantile": [], "row": []})
    monkeypatch.setattr("analysis.gallery.samples", lambda *_: empty)
    assert "in the validation set of every seed" in galaxies(trained).sentences[-1]


def test_no_file_is_said(make_results):
    made = galaxies(make_results(synthetic.grid((1.0,), (0,))))
    assert made.plates == ()
    (sentence,) = made.sentences
    assert sentence.startswith("The images are not at hand: ")
    assert "does not exist" in sentence


def test_another_file_is_said(trained, tmp_path):
    path = write_survey(tmp_path / "other.h5", seed=5)
    data = trained.manifest["data"] | {"path": str(path)}
    made = galaxies(replace(trained, manifests=(trained.manifest | {"data": data},)))
    assert "the sweep's file has" in made.sentences[0]


def test_nothing_stored(make_results):
    results = make_results(synthetic.grid((1.0,), (0,)))
    results.trials["checkpoint"] = None
    assert galaxies(results) is None


def test_record_without_configuration(make_results):
    results = make_results(synthetic.grid((1.0,), (0,)))
    with pytest.raises(NotAtHand, match="no record of its configuration"):
        trained_model(results, "scratch-100-s0")


def test_crop_is_framed_at_any_size():
    image = np.zeros((1, 64, 64, 3), np.uint8)
    image[:, 4:60, 4:60] = 255
    assert (as_framed(image, "resize", 64) == image).all()
    assert (as_framed(image, "resize_crop", 64)[:, 2:-2, 2:-2] > 250).all()
