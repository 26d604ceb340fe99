from dataclasses import replace

import pytest
from surveys import REAL

from trainable.config import RunConfig
from trainable.settings import Settings, prepare


@pytest.fixture
def settings(survey_path):
    return Settings(data=str(survey_path), arch="vit_demo")


def test_config_survives_json(settings):
    import json

    config = prepare(replace(settings, drop_labels=(1,))).run_config("pretrained", 0.5, 3)
    assert RunConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_merged_labels_and_augmentation_reach_the_run(settings):
    import json

    changed = replace(settings, merge_labels=("0+2",), augment=True)
    experiment = prepare(changed)
    assert experiment.selection.class_names == ("kind 0 + kind 2", "kind 1")
    config = experiment.run_config("pretrained", 1.0, 0)
    assert (config.augment, config.cache_features) == (True, False)
    assert config.data.merge_labels == ((0, 2),)
    assert RunConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    with pytest.raises(ValueError, match="--merge-labels 1,2: must be labels joined by"):
        replace(settings, merge_labels=("1,2",))


def test_settings_override_the_protocol(settings):
    changed = replace(settings, learning_rate=0.5, batch_size=7, max_epochs=9, precision="bf16")
    config = prepare(changed).run_config("scratch", 1.0, 0)
    assert (config.learning_rate, config.batch_size, config.max_epochs) == (0.5, 7, 9)
    assert config.precision == "bf16"
    own = prepare(settings).run_config("scratch", 1.0, 0)
    assert (own.learning_rate, own.batch_size, own.max_epochs) == (1e-4, 32, 100)


def test_resample_draws_another_split_with_each_seed(settings):
    plain, varied = (
        prepare(replace(settings, split_seed=7, resample=resample)) for resample in (False, True)
    )
    for seed in (0, 2):
        assert plain.run_config("scratch", 1.0, seed).data.split_seed == 7
        assert varied.run_config("scratch", 1.0, seed).data.split_seed == 7 + seed


def test_protocol_decides_cell_by_cell(settings):
    experiment = prepare(replace(settings, protocol="as_run"))
    assert experiment.run_config("pretrained", 0.8, 0).stopping.patience == 2
    assert experiment.run_config("pretrained", 0.4, 0).max_epochs == 40
    assert experiment.run_config("pretrained", 1.0, 0).trained == "as_run"
    assert experiment.run_config("scratch", 1.0, 0).trained == "all"


def test_scratch_may_have_a_learning_rate_of_its_own(settings):
    experiment = prepare(replace(settings, learning_rate=0.5, scratch_learning_rate=0.25))
    assert experiment.run_config("scratch", 1.0, 0).learning_rate == 0.25
    assert experiment.run_config("pretrained", 1.0, 0).learning_rate == 0.5
    alone = prepare(replace(settings, scratch_learning_rate=0.25))
    assert alone.run_config("pretrained", 1.0, 0).learning_rate == 1e-4


def test_a_cell_may_have_another_protocol(settings):
    config = prepare(settings).run_config("pretrained", 0.8, 0, "as_run")
    assert (config.protocol, config.trained, config.stopping.patience) == ("as_run", "as_run", 2)


def test_scratch_takes_no_weights(settings):
    experiment = prepare(settings)
    assert experiment.run_config("scratch", 1.0, 0).weights is None
    assert experiment.run_config("pretrained", 1.0, 0).weights == "photographs"


@pytest.mark.parametrize("name", ["max_epochs", "learning_rate", "batch_size"])
def test_senseless_numbers(name):
    with pytest.raises(ValueError, match=f"--{name.replace('_', '-')} -1"):
        Settings(arch="vit_demo", **{name: -1})


@pytest.mark.skipif(not REAL.exists(), reason=f"{REAL.name} is not beside the checkout")
def test_runs_on_real_galaxies():
    """An epoch of the small ViT on SDSS galaxies, better than naming the commonest class."""
    from trainable.engine import Run

    experiment = prepare(Settings(data=str(REAL), arch="vit_demo", protocol="demo", drop_labels=()))
    run = Run(experiment.run_config("pretrained", 1.0, 0))
    row = run.step_epoch()
    assert row["n_train"] + row["n_val"] == 2172
    assert row["val_accuracy"] > 0.5


def test_a_split_seed_out_of_range_is_named():
    with pytest.raises(ValueError, match="--split-seed -1"):
        Settings(arch="vit_demo", split_seed=-1)


def test_a_cache_folder_survives_json(settings, tmp_path):
    """As a resumed sweep reads its own settings."""
    experiment = prepare(replace(settings, cache_dir=str(tmp_path)))
    assert experiment.data.cache_dir == str(tmp_path)
