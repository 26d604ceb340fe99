"""Galaxies rendered for a pre-training."""

import json

import h5py
import torch

from trainable.mock.catalogue import MockSurvey
from trainable.pretrain.images import load_images


def test_rendered_galaxies_are_those_of_no_survey(tmp_path, monkeypatch):
    monkeypatch.setenv("SWEEP_CACHE_DIR", str(tmp_path))
    (images, labels, names), (others, _, _) = load_images("rendered", 16, rendered=400)
    assert images.shape == (400, 16, 16, 3)
    assert others.shape == (40, 16, 16, 3)
    assert images.dtype == torch.uint8
    assert len(names) == len(labels.unique()) == 10
    seeds = {json.loads(h5py.File(f).attrs["settings"])["seed"] for f in tmp_path.glob("*.h5")}
    assert len(seeds) == 2
    assert MockSurvey().seed not in seeds
