"""The table of costs in docs/cluster.md is what the plan computes, and its rate is the authors'."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from helpers import documentation
from helpers.surveys import ROOT

from sweep.cells import describe_cells
from sweep.dry_run import GPUS, cost, galaxy10_without_its_file
from sweep.grid import PRESETS
from trainable.data.sources.known_files import GALAXY10_COUNTS

PAGE = ROOT / "docs" / "cluster.md"


@pytest.fixture(scope="module")
def cells():
    """The trials of the page's command, on a file with Galaxy10's counts and no positions."""
    config = replace(PRESETS["grid"], seeds=(0,))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trainable.data.download.find_galaxy10", lambda: None)
        prepared = galaxy10_without_its_file(config)
    one_seed = describe_cells(prepared, config.cells()).require_all()
    return [
        replace(cell, config=replace(cell.config, seed=seed))
        for seed in range(5)
        for cell in one_seed
    ]


class TestCost:
    RATE = 5.26

    @pytest.mark.parametrize("epochs", [100, 28])
    def test_the_table_is_what_the_plan_computes(self, cells, epochs):
        images = sum(GALAXY10_COUNTS.values())
        assert {cell.config.max_epochs for cell in cells} == {100}
        capped = [replace(cell, config=replace(cell.config, max_epochs=epochs)) for cell in cells]
        (costs,) = (t for t in documentation.tables(PAGE) if t[0][0] == "epochs at most")
        expected = [cost(capped, images, self.RATE, gpus) for gpus in GPUS]
        assert [row[1:] for row in costs if row[0] == str(epochs)] == [
            [f"{of.gpus}", f"{of.wall:,.1f}", f"{of.busy:,.1f}", f"{of.held:,.1f}"]
            for of in expected
        ]

    def test_the_rate_is_that_of_the_authors_first_trial(self, cells):
        """302 s an epoch of all layers (table 2), 80/20 of the images that are left."""
        left = sum(GALAXY10_COUNTS.values()) - GALAXY10_COUNTS["Cigar Shaped Smooth"]
        train, validation = round(0.8 * left), round(0.2 * left)
        flops = cells[0].forward_flops * (3 * train + validation)
        assert round(flops / 302 / 1e12, 2) == self.RATE
        assert f"{train:,} training images" in PAGE.read_text()
        assert f"{validation:,} validation images" in PAGE.read_text()
        of_head = cells[0].forward_flops * (2 * train + validation)
        assert f"gives {of_head / 206 / 1e12:.2f} the same way" in PAGE.read_text()

    def test_the_authors_stopper_ended_trials_at_28_epochs_on_average(self):
        epochs = pd.read_csv(ROOT / "analysis" / "authors_curves.csv").groupby("trial").size()
        assert len(epochs) == 9
        assert round(epochs.mean()) == 28
        assert f"({epochs.sum()} epochs" in PAGE.read_text()
        assert f"ran {epochs['base_vit']} there" in PAGE.read_text()
