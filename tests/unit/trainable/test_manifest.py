"""``sweep.json`` of today and of before."""

import json

import pytest
from helpers import synthetic

from trainable.errors import SweepError
from trainable.manifest import Backbone, Manifest, name_in_ids


def older(manifest):
    """The text of a manifest as the format of one architecture had it."""
    values = json.loads(manifest.to_json())
    (backbone,) = values.pop("backbones")
    own = {name: backbone[name] for name in ("arch", "weights", "weights_sha256")}
    settings = {**values["settings"], "arch": own["arch"], "weights": None}
    return {**values, **own, "settings": settings, "format": 3}


def test_a_sweep_of_the_format_of_one_architecture_is_read():
    manifest = synthetic.manifest(synthetic.grid())
    found = Manifest.from_json(json.dumps(older(manifest)), "here")
    assert found.cells == manifest.cells
    (backbone,) = found.backbones
    assert backbone == Backbone(
        arch="vit_tiny",
        weights="toy-weights",
        weights_sha256=manifest.weights_sha256["vit_tiny"],
    )
    assert (found.settings["arch"], found.settings["weights"]) == (["vit_tiny"], [])
    assert Manifest.from_json(found.to_json(), "here") == found  # as today's from now on


def test_a_key_that_an_older_sweep_lacks_is_told():
    values = older(synthetic.manifest(synthetic.grid()))
    del values["weights"]
    with pytest.raises(SweepError, match="backbones"):
        Manifest.from_json(json.dumps(values), "here")


@pytest.mark.parametrize(
    ("arch", "name"),
    [
        ("vit_b_16", "vit_b_16"),
        ("timm:vit_tiny_patch16_224.augreg_in21k", "timm-vit_tiny_patch16_224.augreg_in21k"),
        ("timm:hf-hub:some/net", "timm-hf-hub-some-net"),
    ],
)
def test_names_in_ids_are_names_of_folders(arch, name):
    assert name_in_ids(arch) == name
