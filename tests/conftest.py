"""Tiny surveys for the tests; nothing is fetched."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

REAL = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session", autouse=True)
def _small_machine(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setenv("SWEEP_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
    torch.set_num_threads(1)
    yield
    patch.undo()


def write_survey(path: Path, *, counts=(24, 20, 16), size=40, seed=0, positions=False) -> Path:
    """Noise with a blob whose place and colour tell the class; sorted by class as Galaxy10 is."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    images = random.integers(0, 90, (len(labels), size, size, 3), np.uint8)
    for image, label in zip(images, labels, strict=True):
        start = 4 + 10 * label
        image[start : start + 12, start : start + 12, label % 3] += 120
    with h5py.File(path, "w") as file:
        file["images"], file["ans"] = images, labels.astype(np.uint8)
        file.attrs["class_names"] = json.dumps([f"kind {c}" for c in range(len(counts))])
        if positions:
            file["ra"], file["dec"] = (
                random.uniform(0, 360, len(labels)),
                random.uniform(-60, 60, len(labels)),
            )
    return path


@pytest.fixture(scope="session")
def survey_path(tmp_path_factory) -> Path:
    """60 images of 40 pixels in three easy classes."""
    return write_survey(tmp_path_factory.mktemp("survey") / "tiny.h5")


@pytest.fixture(scope="session")
def weights_path(tmp_path_factory) -> Path:
    """Random weights of vit_demo, as a pre-training would leave them."""
    from safetensors.torch import save_file

    from trainable.backbones import ARCHITECTURES

    with torch.random.fork_rng():
        torch.manual_seed(7)
        state = ARCHITECTURES["vit_demo"].build().state_dict()
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    save_file({k: v.contiguous() for k, v in state.items()}, path)
    return path


@pytest.fixture
def make_run(survey_path, weights_path):
    """Build a `Run` of vit_demo on the tiny survey; keyword arguments override its config."""
    from dataclasses import replace

    from trainable.engine import Run
    from trainable.protocol import DEMO
    from trainable.settings import Settings, prepare

    def make(init="scratch", *, fraction=1.0, seed=0, protocol=DEMO, device="cpu", **overrides):
        settings = Settings(data=str(survey_path), arch="vit_demo", weights=str(weights_path))
        config = prepare(settings).run_config(init, fraction, seed)
        recipe = protocol.recipe(init)
        fields = {
            "trained": recipe.trained,
            "transform": recipe.transform,
            "learning_rate": recipe.learning_rate,
            "stopping": protocol.stopping,
            "max_epochs": 4,
        }
        return Run(replace(config, **fields | overrides), device=device)

    return make
