"""Which trials a sweep of several protocols has: none twice, and none that was there anew."""

import json
from dataclasses import replace

import pytest

from sweep.manifest import Manifest, describe
from sweep.space import PRESETS
from trainable.settings import prepare


@pytest.fixture
def config(survey_path, weights_path):
    return replace(
        PRESETS["ablation"],
        data=str(survey_path),
        arch="vit_demo",
        weights=str(weights_path),
        fractions=(0.5, 1.0),
        seeds=(0,),
        gpus=0,
    )


def described(config) -> Manifest:
    """The manifest after its trip through JSON."""
    manifest = describe(prepare(config), config, "several", "")
    return replace(manifest, cells=json.loads(json.dumps(manifest.cells)))


def protocols(manifest):
    return {cell["id"]: cell["protocols"] for cell in manifest.cells}


def test_a_trial_that_several_protocols_prescribe_is_one(config):
    manifest = described(config)
    runs = [json.dumps(cell["run"] | {"protocol": ""}) for cell in manifest.cells]
    assert len(set(runs)) == len(runs) == len(protocols(manifest)) == 2 * 6 + 4
    assert protocols(manifest)["scratch-100-s0"] == ["paper", "paper+trained", "paper+transform"]
    assert protocols(manifest)["paper+rule-scratch-100-s0"] == ["paper+rule"]
    assert protocols(manifest)["as_run-pretrained-050-s0"] == ["as_run"]
    for cell in manifest.cells:
        assert cell["run"]["protocol"] == cell["protocols"][0]


def test_every_protocol_has_its_whole_grid(config):
    cells = described(config).cells
    for protocol in config.protocols:
        own = [cell["run"] for cell in cells if protocol in cell["protocols"]]
        grid = {(run["init"], run["fraction"], run["seed"]) for run in own}
        assert len(own) == len(grid) == 3
        assert grid == set(config.cells())


def test_a_sweep_of_one_protocol_has_the_names_that_it_had(config):
    one = described(replace(config, other_protocols=()))
    assert list(protocols(one)) == ["scratch-100-s0", "pretrained-100-s0", "pretrained-050-s0"]


def test_protocols_may_be_added_to_a_sweep(config):
    """Written by an earlier version, whose cells do not name protocols."""
    manifest = described(replace(config, other_protocols=()))
    for cell in manifest.cells:
        del cell["protocols"]
    manifest.add(described(config).cells)
    assert protocols(manifest) == protocols(described(config))


def test_a_trial_that_is_there_under_another_name_is_not_run_again(config):
    manifest = described(replace(config, other_protocols=("paper+rule",)))
    before = len(manifest.cells)
    same = [cell | {"id": f"x-{cell['id']}", "protocols": ["x"]} for cell in manifest.cells]
    manifest.add(same)
    assert len(manifest.cells) == before
    assert all(cell["protocols"][-1] == "x" for cell in manifest.cells)
