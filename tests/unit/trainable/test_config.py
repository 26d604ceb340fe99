"""The configuration of a training run, and the flags that it is made from."""

import json
from dataclasses import replace

import pytest

from trainable.config import DataConfig, Settings, SourceFlags, TrainingConfig
from trainable.errors import SettingsError
from trainable.protocol import PROTOCOLS, protocol_named

DATA = DataConfig(path="/data/images.h5", sha256="ab" * 32)


@pytest.fixture
def config():
    return TrainingConfig.of(
        PROTOCOLS["paper"],
        init="scratch",
        fraction=1.0,
        seed=0,
        data=DATA,
        arch="vit_demo",
        weights="photographs",
    )


@pytest.mark.parametrize("name", ["max_epochs", "learning_rate", "batch_size"])
def test_senseless_flags_are_named(name):
    with pytest.raises(SettingsError, match=f"--{name.replace('_', '-')} -1"):
        Settings(arch=("vit_demo",), **{name: -1})


def test_a_split_seed_out_of_range_is_named():
    with pytest.raises(SettingsError, match="--split-seed -1"):
        Settings(arch=("vit_demo",), split_seed=-1)


@pytest.mark.parametrize(
    ("weights", "found"),
    [
        ((), {"a": None, "timm:b": None}),
        (("file.pth",), {"a": "file.pth", "timm:b": None}),
        (("timm:b=x=1.pth",), {"a": None, "timm:b": "x=1.pth"}),
        (("timm:b=1.pth", "a=2.pth"), {"a": "2.pth", "timm:b": "1.pth"}),
    ],
)
def test_weights_of_each_architecture(weights, found):
    settings = Settings(arch=("a", "timm:b", "a"), weights=weights)
    assert {arch: settings.weights_of(arch) for arch in settings.archs} == found


def test_a_file_with_an_equals_sign_may_be_the_weights_of_one_architecture():
    assert Settings(arch=("a",), weights=("epoch=3.pth",)).weights_of("a") == "epoch=3.pth"


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (("x.pth", "y.pth"), "a gets two; give one for each --arch, e.g. --weights b=FILE"),
        (("c=y.pth",), "c is none of --arch a b"),
    ],
)
def test_weights_that_are_nobodys_are_named(weights, message):
    with pytest.raises(SettingsError, match=message):
        Settings(arch=("a", "b"), weights=weights)


@pytest.mark.parametrize("group", ["1,2", "1", "a+b", "1+"])
def test_labels_to_merge_are_joined_by_plus(group):
    with pytest.raises(SettingsError, match="must be labels joined by"):
        Settings(merge_labels=(group,))


def test_merged_labels_are_numbers():
    assert Settings(merge_labels=("1+2", "5+7+9")).merged == ((1, 2), (5, 7, 9))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fraction": 40}, r"fraction 40: must be in \(0, 1\]"),
        ({"fraction": 0}, r"fraction 0: must be in \(0, 1\]"),
        ({"weights": "photographs"}, "scratch takes none"),
        ({"init": "pretrained"}, "'pretrained' with weights None"),
        ({"batch_size": 0}, "batch size 0"),
        ({"max_epochs": 0}, "max. epochs 0"),
        ({"learning_rate": 0.0}, "learning rate 0.0"),
        ({"weight_decay": -1.0}, "weight decay -1.0"),
        ({"layer_decay": 1.5}, "layer decay 1.5"),
        ({"warmup": 1.0}, "warm-up 1.0"),
        ({"mixup": -0.1}, "mixup -0.1"),
        ({"label_smoothing": 1.0}, "label smoothing 1.0"),
        ({"augment": True, "trained": "head"}, "not with --augment"),
        ({"augment": True, "trained": "probe", "cache_features": False}, "not with --augment"),
        ({"trained": "probe"}, "a probe has 1 epoch, not 100"),
    ],
)
def test_senseless_configurations_are_refused(config, change, message):
    with pytest.raises(SettingsError, match=message):
        replace(config, **change)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"label_column": "x", "label_columns": ("a", "b")}, "give one of them"),
        ({"min_agreement": 60, "label_columns": ("a", "b")}, "--min-agreement 60: .* 60% is 0.6"),
        ({"min_agreement": 0.6}, "needs the columns of votes"),
        ({"bands": (1, 2)}, "--bands 1 2: must be three planes"),
        ({"bands": (2, 1, 0)}, "--bands 2 1 0: .* counted from 1"),
        ({"stretch": 0.0}, "--stretch 0 --q 8: both must be greater than 0"),
    ],
)
def test_senseless_flags_of_sources_are_refused(flags, message):
    with pytest.raises(SettingsError, match=message):
        Settings(**flags)


def test_how_data_are_read_survives_json(config):
    flags = {"label_columns": ("a", "b"), "min_agreement": 0.6, "bands": (3, 2, 1), "q": 9.0}
    source = Settings(**flags, skip_unreadable=True).source
    assert source == SourceFlags(**flags, skip_unreadable=True)
    data = replace(config.data, labels="/data/votes.csv", source=source)
    configured = replace(config, data=data)
    again = TrainingConfig.from_dict(json.loads(json.dumps(configured.to_dict())))
    assert again == configured
    assert hash(again) == hash(configured)
    assert configured != config


def test_a_configuration_of_before_is_read_by_the_defaults(config):
    values = config.to_dict()
    del values["data"]["source"], values["data"]["labels"]
    assert TrainingConfig.from_dict(values) == config


def test_a_configuration_of_before_trains_by_one_rate_and_plain_labels(config):
    """Sweeps that were started before there were schedules are resumed as they were."""
    values = config.to_dict()
    for name in ("schedule", "warmup", "layer_decay", "decay_vectors", "label_smoothing", "mixup"):
        del values[name]
    assert TrainingConfig.from_dict(values) == config


@pytest.mark.parametrize("trained", ["all", "head"])
def test_the_modern_protocol_augments_and_caches_no_features(trained):
    modern = TrainingConfig.of(
        protocol_named(f"modern+{trained}"),
        init="pretrained",
        fraction=0.4,
        seed=0,
        data=DATA,
        arch="vit_demo",
        weights="photographs",
    )
    assert (modern.augment, modern.cache_features, modern.on_features) == (True, False, False)
    assert (modern.schedule, modern.layer_decay) == ("cosine", 0.75)


def test_a_probe_is_the_same_by_every_protocol():
    probes = {
        replace(
            TrainingConfig.of(
                protocol_named(f"{name}+probe"),
                init="pretrained",
                fraction=0.4,
                seed=0,
                data=DATA,
                arch="vit_demo",
                weights="photographs",
            ),
            protocol="",
            stopping=PROTOCOLS["paper"].stopping,
            learning_rate=1e-4,
            weight_decay=0.01,
        )
        for name in ("paper", "modern")
    }
    assert len(probes) == 1


def test_scratch_takes_no_weights(config):
    assert config.weights is None


def test_a_probe_is_one_epoch_on_images_as_they_are_whatever_others_do():
    probe = TrainingConfig.of(
        protocol_named("paper+probe"),
        init="pretrained",
        fraction=0.4,
        seed=0,
        data=DATA,
        arch="vit_demo",
        weights="photographs",
        max_epochs=60,
        augment=True,
        cache_features=False,
    )
    assert (probe.trained, probe.max_epochs, probe.augment) == ("probe", 1, False)
    assert probe.on_features


@pytest.mark.parametrize(
    ("trained", "names"),
    [
        (None, ("demo",)),
        (("probe",), ("demo+probe",)),
        (("all", "probe", "all"), ("demo+all", "demo+probe")),
    ],
)
def test_what_trains_makes_variants_of_the_protocol(trained, names):
    assert Settings(protocol="demo", trained=trained).variants == names
