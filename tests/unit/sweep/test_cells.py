"""Which trials a sweep of several protocols has: none twice, and none again that was there."""

from dataclasses import replace

import pytest

from sweep.cells import describe, describe_cells
from sweep.grid import PRESETS, SweepConfig
from trainable.config import SourceFlags
from trainable.errors import DataError, SettingsError
from trainable.manifest import Manifest
from trainable.models.architectures import ARCHITECTURES
from trainable.prepare import prepare


@pytest.fixture
def config(survey_path, weights_path):
    return replace(
        PRESETS["ablation"],
        data=str(survey_path),
        arch=("vit_demo",),
        weights=(str(weights_path),),
        fractions=(0.5, 1.0),
        seeds=(0,),
        gpus=0,
    )


def described(config) -> Manifest:
    """The manifest after its trip through JSON."""
    prepared = prepare(config)
    cells = describe_cells(prepared, config.cells()).require_all()
    manifest = describe(prepared, config, cells, "several", "")
    return Manifest.from_json(manifest.to_json(), "here")


def protocols(manifest):
    return {cell.id: cell.protocols for cell in manifest.cells}


def test_the_manifest_is_read_as_it_was_made(config):
    prepared = prepare(config)
    cells = describe_cells(prepared, config.cells()).cells
    made = describe(prepared, config, cells, "several", "")
    assert Manifest.from_json(made.to_json(), "here") == made
    assert SweepConfig.from_settings(made.settings) == config


def test_a_trial_that_several_protocols_prescribe_is_one(config):
    manifest = described(config)
    runs = {replace(cell.config, protocol="") for cell in manifest.cells}
    assert len(runs) == len(manifest.cells) == len(protocols(manifest)) == 2 * 6 + 4
    assert protocols(manifest)["scratch-100-s0"] == ("paper", "paper+trained", "paper+transform")
    assert protocols(manifest)["paper+rule-scratch-100-s0"] == ("paper+rule",)
    assert protocols(manifest)["authors-pretrained-050-s0"] == ("authors",)
    for cell in manifest.cells:
        assert cell.config.protocol == cell.protocols[0]


def test_every_protocol_has_its_whole_grid(config):
    cells = described(config).cells
    for protocol in config.protocols:
        runs = [cell.config for cell in cells if protocol in cell.protocols]
        grid = {(run.init, run.fraction, run.seed) for run in runs}
        assert len(runs) == len(grid) == 3
        assert grid == {wanted[:3] for wanted in config.cells()}


def test_a_sweep_of_one_protocol_has_the_names_that_it_had(config):
    one = described(replace(config, other_protocols=()))
    assert list(protocols(one)) == ["scratch-100-s0", "pretrained-100-s0", "pretrained-050-s0"]


def test_protocols_may_be_added_to_a_sweep(config):
    manifest = described(replace(config, other_protocols=()))
    together = manifest.with_cells(described(config).cells)
    assert protocols(together) == protocols(described(config))


def test_a_trial_that_is_there_under_another_name_is_not_run_again(config):
    manifest = described(replace(config, other_protocols=("paper+rule",)))
    same = [replace(cell, id=f"x-{cell.id}", protocols=("x",)) for cell in manifest.cells]
    together = manifest.with_cells(same)
    assert [cell.id for cell in together.cells] == [cell.id for cell in manifest.cells]
    assert all(cell.protocols[-1] == "x" for cell in together.cells)


@pytest.fixture
def several(config, monkeypatch):
    """Two architectures, of which one trains from scratch, and controls."""
    other = replace(ARCHITECTURES["vit_demo"], mean=(0.1, 0.2, 0.3), transform="evaluation")
    monkeypatch.setitem(ARCHITECTURES, "other", other)
    return replace(
        config,
        arch=("vit_demo", "other"),
        weights=(*config.weights, "other=rendered"),
        scratch_arch=("vit_demo",),
        other_protocols=(),
        split="budget",
        trained=("probe",),
        probe_draws=2,
    )


def test_architectures_share_images_splits_and_seeds(several):
    manifest = described(several)
    cells = {cell.id: cell for cell in manifest.cells}
    one, other = cells["pretrained-050-s1"], cells["other-pretrained-050-s1"]
    assert (one.split_hash, one.scored_hash, one.n_labels) == (
        *(other.split_hash, other.scored_hash, other.n_labels),
    )
    assert (one.config.transform, other.config.transform) == ("resize", "evaluation")
    assert other.config.weights == "rendered"
    assert "scratch-100-s0" in cells
    assert "other-scratch-100-s0" not in cells
    control = cells["other-untrained-scratch-050-s0"].config
    assert (control.arch, control.init, control.trained) == ("other", "scratch", "probe")
    assert cells["image_statistics-untrained-scratch-050-s1"].config.transform == "evaluation"
    vit, backbone, statistics = manifest.backbones
    assert (vit.arch, vit.mean, vit.image_size) == ("vit_demo", (0.5, 0.5, 0.5), 32)
    assert (backbone.arch, backbone.mean) == ("other", (0.1, 0.2, 0.3))
    assert backbone.weights == "rendered (near-domain pre-training)"
    assert set(manifest.weights_sha256) == {"vit_demo", "other"}
    assert (statistics.arch, statistics.weights) == ("image_statistics", None)
    assert {cell.config.arch for cell in manifest.main.cells} == {"vit_demo"}
    assert not any("untrained" in cell.id for cell in manifest.main.cells)


def test_architectures_may_be_added_to_a_sweep(several):
    one = described(replace(several, arch=("vit_demo",), weights=several.weights[:1]))
    together = one.with_cells(described(several).cells).with_backbones(described(several).backbones)
    assert set(protocols(together)) == set(protocols(described(several)))
    assert together.archs == ("vit_demo", "other", "image_statistics")
    assert {cell.config.weights for cell in together.of_arch("other").cells} == {"rendered", None}


def test_weights_that_moved_are_those_of_their_architecture(several):
    manifest = described(several)
    moved = [
        replace(cell, config=replace(cell.config, weights=cell.config.weights and "/moved"))
        for cell in manifest.of_arch("other").cells
    ]
    found = manifest.with_cells(moved)
    assert {c.config.weights for c in found.of_arch("other").cells} == {"/moved", None}
    assert {c.config.weights for c in found.of_arch("vit_demo").cells} == {
        *several.weights[:1],
        None,
    }


def test_what_an_architecture_does_not_have_is_told_with_its_name(several):
    with pytest.raises(SettingsError, match="--arch vit_demo: 'last_9': this architecture has 4"):
        described(replace(several, trained=("probe", "last_9")))


def test_data_and_labels_that_moved_are_where_they_are_now(config):
    manifest = described(config)
    data = manifest.cells[0].config.data
    before = replace(data, path="/old/images", labels="/old/votes.csv", cache_dir="/old/cache")
    after = replace(data, path="/new/images", labels="/new/votes.csv")

    def at(data):
        return [replace(cell, config=replace(cell.config, data=data)) for cell in manifest.cells]

    together = replace(manifest, cells=tuple(at(before))).with_cells(at(after)[:1])
    assert [cell.config.data for cell in together.cells] == [after] * len(manifest.cells)
    other = replace(after, source=SourceFlags(stretch=2.0))
    assert len(manifest.with_cells(at(other)).cells) == len(manifest.cells)  # ids are the same
    renamed = [replace(cell, id=f"x-{cell.id}") for cell in at(other)]
    assert len(manifest.with_cells(renamed).cells) == 2 * len(manifest.cells)


def test_resample_gives_the_trials_of_a_seed_one_split(survey_path):
    config = SweepConfig(
        data=str(survey_path), arch=("vit_demo",), fractions=(1.0,), seeds=(0, 1), resample=True
    )
    cells = describe_cells(prepare(config), config.cells()).require_all()
    sets = {cell.id: cell.scored_hash for cell in cells}
    assert sets["scratch-100-s0"] == sets["pretrained-100-s0"]
    assert sets["scratch-100-s1"] == sets["pretrained-100-s1"]
    assert sets["scratch-100-s0"] != sets["scratch-100-s1"]


class TestCellsThatCannotRun:
    @pytest.fixture
    def grid(self, survey_path):
        config = SweepConfig(
            data=str(survey_path), arch=("vit_demo",), fractions=(0.02, 1.0), seeds=(0,)
        )
        return describe_cells(prepare(config), config.cells())

    def test_the_others_are_described(self, grid):
        assert [cell.id for cell in grid.cells] == ["scratch-100-s0", "pretrained-100-s0"]
        assert list(grid.cannot_run) == ["scratch-002-s0", "pretrained-002-s0"]
        assert all("without a training image" in reason for reason in grid.cannot_run.values())

    def test_all_are_named_at_once(self, grid):
        with pytest.raises(DataError, match="2 of 4 trials cannot run") as error:
            grid.require_all()
        assert "scratch-002-s0, pretrained-002-s0: a budget of 1 labels leaves" in str(error.value)


def test_only_probes_have_further_draws(survey_path, weights_path):
    config = SweepConfig(
        protocol="demo",
        trained=("head", "probe"),
        data=str(survey_path),
        arch=("vit_demo",),
        weights=(str(weights_path),),
        fractions=(1.0,),
        seeds=(0,),
        probe_draws=3,
        gpus=0,
    )
    manifest = described(config)
    assert manifest.protocol == "demo+head"
    assert protocols(manifest) == {
        "scratch-100-s0": ("demo+head", "demo+probe"),
        "pretrained-100-s0": ("demo+head",),
        **{f"demo+probe-pretrained-100-s{seed}": ("demo+probe",) for seed in range(3)},
    }
    head, first, *others = manifest.cells[1:]
    assert (first.n_train, first.n_val, first.folds) == (head.n_labels, head.n_labels, 5)
    assert (first.n_labels, first.n_test) == (head.n_labels, head.n_test)
    assert first.scored_hash == head.scored_hash
    assert len({cell.split_hash for cell in (head, first, *others)}) == 4
