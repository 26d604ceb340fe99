import json
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.surveys import write_pictures

from trainable.config import Settings, SourceFlags, TrainingConfig
from trainable.errors import DataError, UserError
from trainable.prepare import is_path, prepare
from trainable.run import open_as_planned


@pytest.fixture
def settings(survey_path):
    return Settings(data=str(survey_path), arch=("vit_demo",))


def test_config_survives_json(settings):
    config = prepare(replace(settings, drop_labels=(1,))).training_config("pretrained", 0.5, 3)
    assert TrainingConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_merged_labels_and_augmentation_reach_the_run(settings):
    changed = replace(settings, merge_labels=("0+2",), augment=True)
    experiment = prepare(changed)
    assert experiment.selection.class_names == ("kind 0 + kind 2", "kind 1")
    config = experiment.training_config("pretrained", 1.0, 0)
    assert (config.augment, config.cache_features) == (True, False)
    assert config.data.merge_labels == ((0, 2),)
    assert TrainingConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    with pytest.raises(UserError, match="--merge-labels 1,2: must be labels joined by"):
        replace(settings, merge_labels=("1,2",))


@pytest.mark.parametrize("arch", ["vgg11", "timm:caformer_s18"])
def test_rates_by_layer_of_a_network_without_known_blocks_are_refused_in_the_plan(settings, arch):
    experiment = prepare(replace(settings, arch=(arch,), protocol="modern", weights=("any",)))
    with pytest.raises(UserError, match="no blocks of"):
        experiment.training_config("pretrained", 1.0, 0)
    assert experiment.training_config("scratch", 1.0, 0).layer_decay == 1


def test_tokens_are_kept_if_they_fit_what_may_be_kept(settings):
    """60 images of 17 tokens of 128 numbers; 0.52 MB in fp32, half of it in bf16."""
    for flags, kept in (
        ({}, True),
        ({"cache_gb": 0.0005}, False),
        ({"cache_gb": 0.0005, "precision": "bf16"}, True),
        ({"augment": True}, False),
        ({"cache_features": False}, False),
    ):
        experiment = prepare(replace(settings, trained=("last_2",), **flags))
        config = experiment.training_config("pretrained", 1.0, 0)
        assert config.cache_features == config.on_tokens == kept, flags
    with pytest.raises(UserError, match="--cache-gb -1: must be 0 or more"):
        replace(settings, cache_gb=-1)


def test_settings_override_the_protocol(settings):
    changed = replace(settings, learning_rate=0.5, batch_size=7, max_epochs=9, precision="bf16")
    config = prepare(changed).training_config("scratch", 1.0, 0)
    assert (config.learning_rate, config.batch_size, config.max_epochs) == (0.5, 7, 9)
    assert config.precision == "bf16"
    own = prepare(settings).training_config("scratch", 1.0, 0)
    assert (own.learning_rate, own.batch_size, own.max_epochs) == (1e-4, 32, 100)


def test_resample_draws_another_split_with_each_seed(settings):
    plain, varied = (
        prepare(replace(settings, split_seed=7, resample=resample)) for resample in (False, True)
    )
    for seed in (0, 2):
        assert plain.training_config("scratch", 1.0, seed).data.split_seed == 7
        assert varied.training_config("scratch", 1.0, seed).data.split_seed == 7 + seed


def test_protocol_decides_cell_by_cell(settings):
    experiment = prepare(replace(settings, protocol="authors"))
    assert experiment.training_config("pretrained", 0.8, 0).stopping.patience == 2
    assert experiment.training_config("pretrained", 0.4, 0).max_epochs == 40
    assert experiment.training_config("pretrained", 1.0, 0).trained == "non_encoder"
    assert experiment.training_config("scratch", 1.0, 0).trained == "all"


def test_scratch_may_have_a_learning_rate_of_its_own(settings):
    experiment = prepare(replace(settings, learning_rate=0.5, scratch_learning_rate=0.25))
    assert experiment.training_config("scratch", 1.0, 0).learning_rate == 0.25
    assert experiment.training_config("pretrained", 1.0, 0).learning_rate == 0.5
    alone = prepare(replace(settings, scratch_learning_rate=0.25))
    assert alone.training_config("pretrained", 1.0, 0).learning_rate == 1e-4


def test_a_cell_may_have_another_protocol(settings):
    config = prepare(settings).training_config("pretrained", 0.8, 0, "authors")
    assert (config.protocol, config.trained, config.stopping.patience) == (
        "authors",
        "non_encoder",
        2,
    )


def test_scratch_takes_no_weights(settings):
    experiment = prepare(settings)
    assert experiment.training_config("scratch", 1.0, 0).weights is None
    assert experiment.training_config("pretrained", 1.0, 0).weights == "photographs"


def test_a_cache_folder_survives_json(settings, tmp_path):
    """As a resumed sweep reads its own settings."""
    experiment = prepare(replace(settings, cache_dir=str(tmp_path)))
    assert experiment.data.cache_dir == str(tmp_path)


def test_paths_are_absolute_in_the_configuration(settings, weights_path, tmp_path, monkeypatch):
    """A trial of a sweep runs in another folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(weights_path.parent)
    relative = replace(settings, weights=(weights_path.name,), cache_dir=Path("~/cache"))
    config = prepare(relative).training_config("pretrained", 1.0, 0)
    assert config.weights == str(weights_path)
    assert config.data.cache_dir == str(tmp_path / "cache")
    (weights_path.parent / "photographs").touch()
    named = prepare(replace(settings, weights=("photographs",)))
    assert named.weights == {"vit_demo": "photographs"}  # a name first
    (weights_path.parent / "photographs").unlink()


@pytest.fixture
def catalogued(tmp_path):
    """Settings of a folder of pictures with votes, one of them damaged."""
    names = [f"{number}.png" for number in range(12)]
    folder = write_pictures(tmp_path / "images", names)
    (folder / "5.png").write_bytes(b"no picture")
    rows = [f"{name},{0.9 - 0.8 * (n % 2)},{0.1 + 0.8 * (n % 2)}" for n, name in enumerate(names)]
    (tmp_path / "votes.csv").write_text("\n".join(["file,round,flat", *rows]))
    return Settings(
        data=str(folder),
        labels=tmp_path / "votes.csv",
        label_columns=("round,flat",),
        skip_unreadable=True,
        arch=("vit_demo",),
    )


def test_another_node_opens_what_was_planned(catalogued, tmp_path):
    experiment = prepare(catalogued)
    config = experiment.training_config("scratch", 1.0, 0)
    assert config.data.labels == str(tmp_path / "votes.csv")
    assert config.data.source == SourceFlags(label_columns=("round,flat",), skip_unreadable=True)
    sent = TrainingConfig.from_dict(json.loads(json.dumps(config.to_dict()))).data
    opened = open_as_planned(sent)
    assert opened.names == experiment.survey.names
    assert len(opened.labels) == 11
    assert opened.notes == experiment.survey.notes
    changed = (tmp_path / "votes.csv").read_text().replace("0.9,0.1", "0.1,0.9", 1)
    (tmp_path / "votes.csv").write_text(changed)
    with pytest.raises(DataError, match="labels changed since the run was planned"):
        open_as_planned(sent)


def test_what_is_the_path_of_data():
    named = ("galaxy10", "mock", "hf:user/name")
    assert not any(map(is_path, named))
    assert is_path("images")
