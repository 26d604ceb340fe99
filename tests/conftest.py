"""Tiny surveys for the tests; nothing is fetched."""

from __future__ import annotations

from pathlib import Path

import hypothesis
import pytest
import torch
from surveys import write_survey

hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.load_profile("repeatable")


@pytest.fixture(scope="session", autouse=True)
def _small_machine(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setenv("SWEEP_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
    torch.set_num_threads(1)
    yield
    patch.undo()


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
