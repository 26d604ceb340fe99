"""Tiny surveys for the tests; nothing is fetched."""

from __future__ import annotations

from pathlib import Path

import hypothesis
import matplotlib
import pytest
import torch
from helpers import synthetic
from helpers.surveys import write_survey

matplotlib.use("Agg")
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=50)
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

    from trainable.models.architectures import ARCHITECTURES

    with torch.random.fork_rng():
        torch.manual_seed(7)
        state = ARCHITECTURES["vit_demo"].build().state_dict()
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    save_file({k: v.contiguous() for k, v in state.items()}, path)
    return path


@pytest.fixture
def make_run(survey_path, weights_path):
    """Build a `TrainingRun` of vit_demo on the tiny survey; keyword arguments override its config."""
    from dataclasses import replace

    from trainable.config import Settings
    from trainable.make_run import make_run as made
    from trainable.prepare import prepare
    from trainable.protocol import DEMO

    def make(
        init="scratch",
        *,
        fraction=1.0,
        seed=0,
        protocol=DEMO,
        device="cpu",
        split="fixed",
        **overrides,
    ):
        settings = Settings(
            data=str(survey_path), arch=("vit_demo",), weights=(str(weights_path),), split=split
        )
        config = prepare(settings).training_config(init, fraction, seed)
        recipe = protocol.recipe(init)
        fields = {
            "trained": recipe.trained,
            "transform": recipe.transform,
            "learning_rate": recipe.learning_rate,
            "stopping": protocol.stopping,
            "max_epochs": 4,
        }
        return made(replace(config, **fields | overrides), device=device)

    return make


@pytest.fixture
def modern_run(survey_path, weights_path):
    """Build a run of vit_demo on the tiny survey by protocol `modern`, as the command line would."""
    from dataclasses import replace

    from trainable.config import Settings
    from trainable.make_run import make_run as made
    from trainable.prepare import prepare

    def make(init="pretrained", *, seed=0, fraction=1.0, split="fixed", max_epochs=4, **overrides):
        settings = Settings(
            data=str(survey_path),
            arch=("vit_demo",),
            weights=(str(weights_path),),
            protocol="modern",
            split=split,
            max_epochs=max_epochs,
        )
        config = prepare(settings).training_config(init, fraction, seed)
        return made(replace(config, **overrides))

    return make


@pytest.fixture(scope="session")
def full_grid(tmp_path_factory):
    """Both inits at four fractions with three seeds, all complete."""
    return synthetic.results(tmp_path_factory.mktemp("full"), synthetic.grid())


@pytest.fixture(scope="session")
def paper_grid(tmp_path_factory):
    """The paper's nine cells, one seed, as if on Galaxy10 with ViT-B/16."""
    names = [f"class {number}" for number in range(9)]
    folder = tmp_path_factory.mktemp("paper")
    cells = synthetic.paper_grid()
    return synthetic.results(folder, cells, galaxy10=True, arch="vit_b_16", names=names)


@pytest.fixture(scope="session")
def full_html(full_grid):
    """The page of a report of other data than the paper's, with three seeds."""
    from analysis.report.render import render
    from analysis.report.sections import report

    return render(report(full_grid))


@pytest.fixture
def make_results(tmp_path):
    """A function that builds results with stored predictions in a fresh folder."""

    def make(cells, *args, **kwargs):
        return synthetic.results(tmp_path, cells, *args, **kwargs)

    return make
