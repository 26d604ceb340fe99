"""Catalogues of the tiny survey by trials that were trained here."""

import json
import shutil

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from sweep import prediction
from sweep.predict import PredictConfig
from trainable import calibration
from trainable.data.dataset import open_survey
from trainable.errors import (
    CheckpointError,
    DataError,
    OutputError,
    SettingsError,
    SweepError,
)
from trainable.models.features import cached_features

PROBE, ALL, SCRATCH = "pretrained-100-s0", "demo+all-pretrained-100-s0", "scratch-100-s0"
TRIALS = (PROBE, ALL, SCRATCH)
PROBABILITIES = [f"probability_kind {n}" for n in range(3)]


@pytest.fixture
def predict(trained, survey_path, tmp_path):
    """Write a catalogue of the tiny survey; its table, or what is raised."""

    def predict(out="catalogue.parquet", **flags):
        given = {"sweep": trained, "images": str(survey_path), "shard_images": 16, "device": "cpu"}
        predict.said = prediction.run(PredictConfig(**given | {"out": str(tmp_path / out)} | flags))
        path = tmp_path / out
        return pd.read_csv(path) if out.endswith(".csv") else pd.read_parquet(path)

    return predict


def checkpoint(trained, trial):
    return trained / "run-0" / trial / "checkpoint_000000"


@pytest.fixture
def copied(trained, tmp_path):
    """A copy of the sweep, to be spoilt."""
    return shutil.copytree(trained, tmp_path / "copy" / "tiny")


@pytest.mark.parametrize("trial", TRIALS)
def test_probabilities_are_those_of_the_trial(predict, trained, trial):
    found = predict(trial=(trial,), calibrated=False)
    assert found["row"].tolist() == list(range(60))
    stored = np.load(checkpoint(trained, trial) / "predictions.npz")
    by_trial = found.iloc[stored["rows"]]
    np.testing.assert_allclose(by_trial[PROBABILITIES], stored["probabilities"], atol=1e-6)
    best = stored["probabilities"].argmax(1)
    assert by_trial["predicted_class"].tolist() == [f"kind {label}" for label in best]
    p = stored["probabilities"].astype(float)
    np.testing.assert_allclose(by_trial["entropy"], -(p * np.log(p)).sum(1), atol=1e-5)


def test_best_by_validation_is_taken(predict, trained, capsys):
    predict(novelty=False)
    said = capsys.readouterr().err
    accuracies = {}
    for folder in (trained / "run-0").iterdir():
        status = json.loads((folder / "checkpoint_000000" / "status.json").read_text())
        accuracies[folder.name] = status["best_val_accuracy"]
    chosen = said.split(":")[0]
    assert accuracies[chosen] == max(accuracies.values())
    assert "number 1 by validation accuracy" in said


def test_ensemble_is_the_mean_of_probabilities(predict):
    one, other = predict("a.parquet", trial=(PROBE,)), predict("b.parquet", trial=(ALL,))
    both = predict("c.parquet", trial=(PROBE, ALL), embeddings=True)
    mean = (one[PROBABILITIES] + other[PROBABILITIES]) / 2
    np.testing.assert_allclose(both[PROBABILITIES], mean, atol=1e-6)
    np.testing.assert_array_equal(both["distance"], one["distance"])
    assert len(predict("d.parquet", ensemble=3, novelty=False)) == 60


def test_probabilities_at_the_temperature_of_the_checkpoint(predict, trained, capsys):
    found = predict(trial=(SCRATCH,))
    folder = checkpoint(trained, SCRATCH)
    temperature = json.loads((folder / "calibration.json").read_text())["value"]
    test = np.load(folder / "predictions.npz")
    expected = calibration.scaled(test["probabilities"], temperature)
    np.testing.assert_allclose(found.iloc[test["rows"]][PROBABILITIES], expected, atol=1e-6)
    said = capsys.readouterr().err
    assert f"Temperature {temperature:.2f} by validation: expected calibration error on 12" in said


def test_trial_without_validation_predictions(predict, copied):
    for name in ("calibration.json", "validation.npz"):
        (checkpoint(copied, SCRATCH) / name).unlink()
    with pytest.raises(SettingsError, match=r"no validation predictions .* use --no-calibrated"):
        predict(sweep=copied, trial=(SCRATCH,))


def test_embeddings_are_the_features_of_the_head(predict, survey_path, trained):
    from trainable.manifest import Manifest

    found = predict(trial=(PROBE,), embeddings=True)
    config = Manifest.read(trained).cell(PROBE).config
    expected = cached_features(open_survey(survey_path), config, device="cpu")
    np.testing.assert_allclose(np.stack(found["embedding"]), expected, atol=1e-6)


def test_backbone_without_a_sweep(predict, survey_path, trained, weights_path):
    from trainable.manifest import Manifest

    found = predict(sweep=None, arch="vit_demo", weights=str(weights_path))
    assert list(found) == ["row", "ans", "embedding", "problem"]
    config = Manifest.read(trained).cell(PROBE).config
    expected = cached_features(open_survey(survey_path), config, device="cpu")
    np.testing.assert_allclose(np.stack(found["embedding"]), expected, atol=1e-6)


def test_killed_twice_and_resumed_is_the_undisturbed_catalogue(predict, tmp_path, monkeypatch):
    whole = predict("whole.parquet", embeddings=True)
    write = prediction.Shards.write
    for part in (1, 2):  # a kill in the middle of a part: what is written before stays

        def write_or_die(self, number, table, last=part):
            if number == last:
                raise KeyboardInterrupt
            write(self, number, table)

        monkeypatch.setattr(prediction.Shards, "write", write_or_die)
        with pytest.raises(KeyboardInterrupt):
            predict("killed.parquet", embeddings=True)
        assert not (tmp_path / "killed.parquet").exists()
        parts = tmp_path / "killed.parquet.parts"
        assert len(list(parts.glob("part-*"))) == part
    monkeypatch.setattr(prediction.Shards, "write", write)
    predict("killed.parquet", embeddings=True)
    first, second = (pq.read_table(tmp_path / f"{n}.parquet") for n in ("whole", "killed"))
    assert first.equals(second)
    assert len(whole) == 60


def test_other_flags_do_not_resume(predict, monkeypatch):
    write = prediction.Shards.write

    def one_part(self, number, table):
        if number:
            raise KeyboardInterrupt
        write(self, number, table)

    monkeypatch.setattr(prediction.Shards, "write", one_part)
    with pytest.raises(KeyboardInterrupt):
        predict(trial=(PROBE,))
    with pytest.raises(OutputError, match="networks was"):
        predict(trial=(ALL,))


def test_csv(predict):
    found = predict("catalogue.csv", trial=(PROBE,))
    table = predict("catalogue.parquet", trial=(PROBE,))
    assert list(found) == list(table)
    np.testing.assert_allclose(found[PROBABILITIES], table[PROBABILITIES], rtol=1e-6)


def test_unreadable_images_keep_their_rows_and_are_named(predict, survey_path, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for row, image in enumerate(open_survey(survey_path).read_images(range(20))):
        Image.fromarray(image).save(folder / f"{row:02}.png")
    (folder / "03.png").write_bytes(b"no picture")
    (folder / "07.png").write_bytes((folder / "07.png").read_bytes()[:100])
    found = predict("a.parquet", images=str(folder), trial=(PROBE,), embeddings=True)
    assert found["path"].tolist() == [f"{row:02}.png" for row in range(20)]
    bad = found["problem"].notna()
    assert found.loc[bad, "path"].tolist() == ["03.png", "07.png"]
    computed = found.columns.drop(["path", "problem"])
    assert found.loc[bad, computed].isna().to_numpy().all()
    assert found.loc[~bad, computed].notna().to_numpy().all()
    whole = predict("b.parquet", trial=(PROBE,))
    np.testing.assert_allclose(
        found.loc[~bad, PROBABILITIES], whole.loc[:19].loc[~bad, PROBABILITIES], atol=1e-6
    )
    predict("c.parquet", images=str(folder), trial=(PROBE,))
    assert "2 of them without a prediction" in predict.said
    assert "path 03.png: its 10 bytes are no picture" in predict.said


def test_labels_of_class_folders_are_carried_and_scored(predict, survey_path, tmp_path, capsys):
    survey = open_survey(survey_path)
    rows = range(0, 60, 3)
    for row, image in zip(rows, survey.read_images(rows), strict=True):
        folder = tmp_path / "in" / f"kind {survey.labels[row]}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{row:02}.png")
    Image.fromarray(image).save(tmp_path / "in" / "unsorted.png")
    (folder / "damaged.png").write_bytes(b"no picture")
    found = predict(images=str(tmp_path / "in"), trial=(PROBE,))
    said = " ".join(capsys.readouterr().err.split())
    assert found.columns[:2].tolist() == ["path", "label"]
    assert found.set_index("path")["label"].isna().sum() == 1
    scored = found.dropna(subset=["label", "predicted_class"])
    assert len(scored) == 20
    assert (scored["label"] == [path.split("/")[0] for path in scored["path"]]).all()
    right = (scored["label"] == scored["predicted_class"]).mean()
    assert f"20 images lie in folders named after the classes (column label): {right:.1%}" in said


def test_folders_with_other_names_give_no_labels(predict, survey_path, tmp_path, capsys):
    (tmp_path / "in" / "2026").mkdir(parents=True)
    (image,) = open_survey(survey_path).read_images([0])
    Image.fromarray(image).save(tmp_path / "in" / "2026" / "a.png")
    found = predict(images=str(tmp_path / "in"), trial=(PROBE,))
    assert "label" not in found
    assert "folders named" not in capsys.readouterr().err


def test_no_image_can_be_read(predict, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"x")
    with pytest.raises(DataError, match=r"none of 1 images .* can be read, the first is .*a\.png"):
        predict(images=str(tmp_path / "in"), novelty=False)


def test_false_alarms_are_the_flagged_share_of_the_test_set(predict, trained, capsys):
    found = predict(trial=(PROBE,), false_alarms=0.1)
    test = np.load(checkpoint(trained, PROBE) / "predictions.npz")["rows"]
    flagged = int(found["unlike_training"].iloc[test].sum())
    assert f"On the test set {flagged} of {len(test)} are flagged" in capsys.readouterr().err
    labelled = np.load(checkpoint(trained, PROBE) / "validation.npz")["rows"]
    assert set(labelled).isdisjoint(test)


def test_noise_is_flagged(predict, tmp_path):
    random = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for n in range(10):
        pixels = random.integers(0, 256, (40, 40, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "in" / f"{n}.png")
    found = predict(images=str(tmp_path / "in"), trial=(PROBE,))
    assert found["unlike_training"].all()


class TestTrials:
    """Trials that cannot be used."""

    def test_unknown(self, predict):
        with pytest.raises(SweepError, match="has no trial 'best'; it has scratch-100-s0"):
            predict(trial=("best",))

    def test_without_checkpoint(self, predict, copied):
        shutil.rmtree(checkpoint(copied, PROBE))
        with pytest.raises(SweepError, match=f"the trial {PROBE} is not complete"):
            predict(sweep=copied, trial=(PROBE,))

    def test_too_few_for_an_ensemble(self, predict):
        with pytest.raises(SweepError, match=r"has 6 complete trials .*and 7 are asked for"):
            predict(ensemble=7)

    @pytest.mark.parametrize("how", ["pickled", "damaged", "gone"])
    def test_weights(self, predict, copied, how):
        path = checkpoint(copied, ALL) / "best.safetensors"
        if how == "pickled":
            torch.save({"weights": torch.zeros(3)}, path)
        elif how == "damaged":
            path.write_bytes(path.read_bytes()[:1000])
        else:
            path.unlink()
        message = "pickled Python code, which is never run" if how == "pickled" else "missing or"
        with pytest.raises(CheckpointError, match=message):
            predict(sweep=copied, trial=(ALL,))

    def test_of_another_number_of_channels(self, predict, copied):
        from safetensors.torch import load_file, save_file

        path = checkpoint(copied, ALL) / "best.safetensors"
        state = load_file(path)
        (name,) = (n for n, t in state.items() if t.ndim == 4 and t.shape[1] == 3)
        save_file(state | {name: torch.zeros(32, 5, 3, 3)}, path)
        with pytest.raises(CheckpointError, match=r"is \(32, 5, 3, 3\), expected \(32, 3, 3, 3\)"):
            predict(sweep=copied, trial=(ALL,))

    def test_whose_data_are_gone(self, predict, copied):
        manifest = json.loads((copied / "sweep.json").read_text())
        for cell in manifest["cells"]:
            cell["config"]["data"]["path"] = "/nowhere/galaxies.h5"
        (copied / "sweep.json").write_text(json.dumps(manifest))
        with pytest.raises(DataError, match=r"does not exist.*or use --no-novelty"):
            predict(sweep=copied, trial=(PROBE,))
        assert len(predict(sweep=copied, trial=(PROBE,), novelty=False)) == 60


def test_column_with_the_name_of_the_result(predict, tmp_path, survey_path):
    import h5py

    path = shutil.copy(survey_path, tmp_path / "s.h5")
    with h5py.File(path, "r+") as file:
        file["entropy"] = np.zeros(60)
    with pytest.raises(SettingsError, match="a column entropy already"):
        predict(images=str(path), novelty=False)
