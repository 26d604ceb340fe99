"""What a plan says that it finds."""

import io
from dataclasses import replace

import pytest
from helpers import synthetic
from rich.console import Console

from analysis.stats.power import detectable, typical
from sweep.power_table import Pilot, budgets_of, power_table, read_pilot
from trainable.errors import SweepError


def manifest(fractions=(0.1, 1.0), seeds=(0, 1, 2), **kw):
    return synthetic.manifest(synthetic.grid(fractions, seeds), **kw)


def shown(of, width=80) -> str:
    console = Console(width=width, file=io.StringIO())
    console.print(of)
    return console.file.getvalue()


def words(of) -> str:
    """The same text, however it is wrapped."""
    return " ".join(shown(of).split())


def test_budgets_are_those_of_both_inits():
    of = manifest()
    cells = [cell for cell in of.cells if (cell.init, cell.fraction) != ("scratch", 0.1)]
    assert [b.n_labels for b in budgets_of(of)] == [99, 992]
    (whole,) = budgets_of(replace(of, cells=tuple(cells)))
    assert (whole.n_labels, whole.seeds, whole.images) == (992, (3, 3), 248)
    assert whole.variation == typical(992)
    assert power_table(replace(of, cells=of.cells[:6]), 2.0, None) is None  # scratch alone


def test_splits_of_their_own_score_seeds_on_more_images():
    once, own = (budgets_of(manifest(resample=r))[0].images for r in (False, True))
    assert once == 248
    assert 2 * once < own < 3 * once


def test_the_table_fits_80_columns_and_has_the_numbers():
    of = manifest()
    text = shown(power_table(of, 2.0, None))
    smallest = detectable(budgets_of(of))
    rows = [line.split() for line in text.splitlines() if line.strip()[:1].isdigit()]
    assert [row[0] for row in rows] == ["99", "992"]
    assert [row[-1] for row in rows] == [f"{100 * s:.1f}" for s in smallest]
    assert max(map(len, text.splitlines())) <= 80
    text = words(power_table(of, 2.0, None))
    assert "at 5% for all 2 together" in text
    assert "To find 2 points with 99 labels:" in text
    assert "no number of images alone, as 3 seeds differ too much" in text
    assert "typical values" in text


def test_one_seed_is_said_to_be_one():
    of = manifest()
    cells = tuple(c for c in of.cells if c.init == "pretrained" or c.config.seed == 0)
    text = words(power_table(replace(of, cells=cells), 2.0, None))
    assert "no number of images alone, as one seed may be far from the mean" in text


def test_the_power_is_that_of_the_first_architecture_with_both_inits():
    of = manifest()
    first = replace(of.backbones[0], arch="without_scratch")
    cells = tuple(
        replace(cell, id=f"other-{cell.id}", config=replace(cell.config, arch="without_scratch"))
        for cell in of.cells
        if cell.init == "pretrained"
    )
    several = replace(of, backbones=(first, *of.backbones), cells=(*cells, *of.cells))
    assert budgets_of(several) == []
    assert f"{of.archs[0]}: smallest difference found" in words(power_table(several, 2.0, None))
    assert ": smallest" not in words(power_table(of, 2.0, None))


def test_what_is_found_needs_no_advice():
    text = shown(power_table(manifest(), 60.0, None))
    assert "Differences of 60 points are found." in text


def test_one_seed_finds_nothing():
    text = shown(power_table(manifest(seeds=(0,)), 2.0, None))
    assert "no difference between methods can be found" in text
    assert "none" in text


def test_a_pilot_replaces_what_is_typical(tmp_path):
    synthetic.sweep(tmp_path / "pilot", synthetic.grid((0.1, 1.0), (0, 1, 2)))
    pilot = read_pilot(str(tmp_path / "pilot"))
    assert isinstance(pilot, Pilot)
    assert pilot.seeds == 3
    assert [n for n, _ in pilot.variation] == [99, 992]
    assert budgets_of(manifest(), pilot)[1].variation == pilot.variation[1][1]
    text = words(power_table(manifest(), 2.0, replace(pilot, name="before")))
    assert "Measured from before. With 3 seeds they are uncertain" in text


def test_a_pilot_needs_both_inits(tmp_path):
    synthetic.sweep(tmp_path / "pilot", synthetic.grid((1.0,), (0, 1), inits=("scratch",)))
    with pytest.raises(SweepError, match=r"--pilot .* no number of labels"):
        read_pilot(str(tmp_path / "pilot"))
