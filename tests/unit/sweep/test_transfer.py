"""The network of a sweep on one survey as the pre-trained model of a sweep on another."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.surveys import write_survey
from helpers.trained import small_sweep
from PIL import Image
from safetensors.torch import load_file

from analysis.results import load
from analysis.results.transfer import FILE, Transfer
from sweep import transfer
from sweep.cells import describe_cells
from sweep.grid import PRESETS, SweepConfig
from sweep.orchestrate import lay_out
from sweep.prediction import temperature_of
from trainable.class_map import SharedClass
from trainable.classifier import load_classifier
from trainable.errors import SettingsError, SweepError
from trainable.models import architectures
from trainable.prepare import prepare
from trainable.run import planned

MAP = "source,target\nkind 0,kind 1\nkind 1,kind 2\nkind 1,kind 3\n"


@pytest.fixture(scope="module")
def source(survey_path, weights_path, tmp_path_factory):
    """A sweep on three kinds: all layers from scratch, and a last layer."""
    folder = tmp_path_factory.mktemp("sweeps") / "there"
    small_sweep(folder, survey_path, weights_path, trained=("head",), max_epochs=3)
    return folder


@pytest.fixture(scope="module")
def target_path(tmp_path_factory):
    """Another survey, of four kinds, of which one is in no row of the table."""
    return write_survey(tmp_path_factory.mktemp("target") / "here.h5", counts=(20,) * 4, seed=1)


@pytest.fixture
def config(source, target_path, tmp_path):
    """Flags of a transfer; keyword arguments override them."""

    def make(table=MAP, **flags):
        (tmp_path / "map.csv").write_text(table)
        given = {
            "data": str(target_path),
            "transfer_from": source,
            "class_map": tmp_path / "map.csv",
            "storage_path": str(tmp_path / "ray_results"),
            "protocol": "demo",
            "gpus": 0,
        }
        return replace(PRESETS["transfer"], **given | flags)

    return make


def test_the_sweep_starts_from_the_trial_that_learned_and_has_the_shared_classes(config, source):
    """The last layer's trial is no candidate, whatever its accuracy."""
    found = transfer.with_source(config())
    assert found.transfer_trial == "scratch-100-s0"
    assert found.arch == ("vit_demo",)
    (path,) = found.weights
    trained = load_file(
        source / "run-0" / "scratch-100-s0" / "checkpoint_000000" / "best.safetensors"
    )
    written = load_file(path)
    assert written.keys() == trained.keys()
    assert all(written[name].equal(tensor) for name, tensor in trained.items())
    assert found.drop_labels == (0,)
    assert found.merge_labels == ("2+3",)
    assert prepare(found).selection.class_names == ("kind 1", "kind 2 + kind 3")


def test_weights_that_are_there_are_left_alone(config):
    (path,) = transfer.with_source(config()).weights
    before = Path(path).stat().st_mtime_ns
    assert transfer.with_source(config()).weights == (path,)
    assert Path(path).stat().st_mtime_ns == before


def test_a_pretrained_trial_begins_as_the_network_it_continues(config):
    """Of another number of classes, so with a last layer of its own."""
    prepared = prepare(transfer.with_source(config()))
    run = prepared.training_config("pretrained", 1.0, 0)
    state = architectures.build_for(run, 2).state_dict()
    known = load_file(run.weights)
    same = [name for name in state if state[name].equal(known.get(name, state[name][:0]))]
    assert set(state) - set(same) == {"heads.head.weight", "heads.head.bias"}


def test_what_it_knows_without_labels_is_worked_out_by_hand(config, source):
    settings = transfer.with_source(config())
    prepared = prepare(settings)
    wanted = settings.cells(prepared.n_pool, 2)[:1]
    (cell,) = describe_cells(prepared, wanted).require_all()
    found = transfer.without_labels(settings, prepared, cell)

    trial = transfer.chosen(load.read(source), "scratch-100-s0")
    network = load_classifier(trial.checkpoint, trial.cell.config)
    survey = prepared.survey
    rows = planned(survey, prepared.selection, cell.config).test
    frames = [np.asarray(network.frame(picture)) for picture in pictures(survey, rows)]
    logits = network.logits(network.features(np.stack(frames), torch.device("cpu"), "fp32"))
    p = (logits / temperature_of(trial).value).softmax(1).numpy()
    guessed = (p[:, 1] > p[:, 0]).astype(int)
    labels = np.where(survey.labels[rows] == 1, 0, 1)
    assert set(survey.labels[rows]) == {1, 2, 3}
    expected = [[((labels == a) & (guessed == b)).sum() for b in (0, 1)] for a in (0, 1)]
    assert np.array_equal(found.confusion, expected)
    assert found.classes == (
        SharedClass(name="kind 1", source=("kind 0",), target=("kind 1",)),
        SharedClass(name="kind 2 + kind 3", source=("kind 1",), target=("kind 2", "kind 3")),
    )
    assert (found.sweep, found.data, found.n_labels) == ("there", "tiny.h5", trial.cell.n_labels)
    assert found.accuracy == pytest.approx((labels == guessed).mean())
    assert Transfer.from_dict(json.loads(found.to_json())) == found


def pictures(survey, rows):
    return map(Image.fromarray, survey.read_images(rows))


def test_a_sweep_that_is_laid_out_can_be_read_back(config):
    sweep = lay_out(
        config(fractions=(1.0,), seeds=(0,), name="here"), None, "", lambda *_: None, print
    )
    settings = SweepConfig.from_settings(sweep.manifest.settings)
    assert settings.transfer_trial == "scratch-100-s0"
    assert settings.class_map.is_absolute()
    assert settings.transfer_from.is_absolute()
    assert {cell.init for cell in sweep.manifest.cells} == {"scratch", "pretrained"}
    assert {cell.config.trained for cell in sweep.manifest.cells} == {"all", "probe"}


def test_a_broken_file_is_noted_and_the_rest_read(source, tmp_path):
    folder = shutil.copytree(source, tmp_path / "copy")
    (folder / FILE).write_text("{}")
    results = load.read(folder)
    assert results.transfer is None
    assert len(results.complete) == 2
    assert any("transfer.json is corrupt" in note for note in results.notes)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"transfer_trial": "pretrained-100-s0"}, "trained its last layer alone"),
        ({"arch": ("resnet18",)}, "scratch-100-s0 of .* is a vit_demo; leave it out"),
        ({"weights": ("a.safetensors",)}, "--transfer-from with --weights: "),
        ({"drop_labels": (1,)}, "--transfer-from with --drop-labels: "),
        ({"table": "source,target\nkind 7,kind 1\n"}, "the source has no class 'kind 7'"),
    ],
)
def test_flags_that_contradict_the_transfer_are_refused(config, flags, message):
    with pytest.raises(SettingsError, match=message):
        transfer.with_source(config(**flags))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"class_map": None}, "--transfer-from needs --class-map FILE"),
        ({"split": "fixed"}, "compares on one test set"),
        ({"arch": ("vit_demo", "resnet18")}, "--transfer-from has one network"),
        ({"transfer_from": None}, "go with --transfer-from SWEEP"),
    ],
)
def test_flags_that_make_no_transfer_are_refused(config, flags, message):
    with pytest.raises(SettingsError, match=message):
        config(**flags)


def test_an_adapted_network_is_written_with_its_adapters_merged(
    survey_path, weights_path, config, tmp_path
):
    pytest.importorskip("peft")
    folder = tmp_path / "adapted"
    small_sweep(folder, survey_path, weights_path, trained=("lora",), inits=("pretrained",))
    found = transfer.with_source(config(transfer_from=folder))
    written = load_file(found.weights[0])
    assert not [name for name in written if "lora" in name or "base_layer" in name]
    original = load_file(weights_path)
    moved = [name for name in original if not written[name].equal(original[name])]
    assert any("encoder" in name for name in moved)


def test_the_preset_alone_is_refused():
    with pytest.raises(SweepError, match="--preset transfer: needs --transfer-from SWEEP"):
        lay_out(PRESETS["transfer"], None, "", lambda *_: None, print)
