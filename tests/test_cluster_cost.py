"""The table of costs in docs/cluster.md is what the plan computes, and its rate is the authors'."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from surveys import ROOT

from sweep.manifest import describe_cells
from sweep.plan import GPUS, cost
from sweep.space import PRESETS, SweepConfig
from trainable import backbones
from trainable.config import DataConfig
from trainable.galaxy10 import GALAXY10_CLASSES, GALAXY10_COUNTS, Survey
from trainable.protocol import DROPPED_LABEL
from trainable.selection import select
from trainable.settings import Experiment

PAGE = ROOT / "docs" / "cluster.md"


@pytest.fixture(scope="module")
def cells():
    """The trials of the page's command, on a file with Galaxy10's counts and no positions."""
    labels = np.repeat(np.arange(10), list(GALAXY10_COUNTS.values()))
    survey = Survey(
        path=Path("like_galaxy10.h5"),
        sha256="",
        image_size=256,
        labels=labels,
        class_names=GALAXY10_CLASSES,
        right_ascension=None,
        declination=None,
        pixel_scale=None,
    )
    experiment = Experiment(
        settings=SweepConfig(),
        survey=survey,
        selection=select(survey, [DROPPED_LABEL]),
        data=DataConfig(path="", sha256=""),
        weights="IMAGENET1K_V1",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backbones, "size", functools.cache(backbones.size))  # seconds each
        one_seed = describe_cells(experiment, PRESETS["grid"].cells())
    return [cell | {"run": cell["run"] | {"seed": seed}} for seed in range(5) for cell in one_seed]


class TestCost:
    RATE = 5.26

    @pytest.mark.parametrize("epochs", [100, 28])
    def test_the_table_is_what_the_plan_computes(self, cells, epochs):
        images = sum(GALAXY10_COUNTS.values())
        assert {cell["run"]["max_epochs"] for cell in cells} == {100}
        capped = [cell | {"run": cell["run"] | {"max_epochs": epochs}} for cell in cells]
        rows = re.findall(rf"^\| {epochs} \| (.*) \|$", PAGE.read_text(), re.M)
        expected = [cost(capped, images, self.RATE, gpus) for gpus in GPUS]
        assert rows == [
            f"{of.gpus} | {of.wall:,.1f} | {of.busy:,.1f} | {of.held:,.1f}" for of in expected
        ]

    def test_the_rate_is_that_of_the_authors_first_trial(self, cells):
        """302 s an epoch of all layers (table 2), 80/20 of the images that are left."""
        left = sum(GALAXY10_COUNTS.values()) - GALAXY10_COUNTS["Cigar Shaped Smooth"]
        train, validation = round(0.8 * left), round(0.2 * left)
        flops = cells[0]["forward_flops"] * (3 * train + validation)
        assert round(flops / 302 / 1e12, 2) == self.RATE
        assert f"{train:,} training images" in PAGE.read_text()
        assert f"{validation:,} validation images" in PAGE.read_text()
        of_head = cells[0]["forward_flops"] * (2 * train + validation)
        assert f"gives {of_head / 206 / 1e12:.2f} the same way" in PAGE.read_text()

    def test_the_authors_stopper_ended_trials_at_28_epochs_on_average(self):
        epochs = pd.read_csv(ROOT / "analysis" / "authors_curves.csv").groupby("trial").size()
        assert len(epochs) == 9
        assert round(epochs.mean()) == 28
        assert f"({epochs.sum()} epochs" in PAGE.read_text()
        assert f"ran {epochs['base_vit']} there" in PAGE.read_text()
