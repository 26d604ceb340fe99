import functools
import json
from pathlib import Path

import pytest

from sweep.grid import PRESETS, SweepConfig, Wanted
from trainable.errors import UserError
from trainable.protocol import AUTHORS, PAPER_CELLS, PAPER_FRACTIONS


@pytest.mark.parametrize("preset", ["paper", "authors"])
def test_the_papers_nine_trials(preset):
    config = PRESETS[preset]
    assert {(init, fraction) for init, fraction, *_ in config.cells()} == set(PAPER_CELLS)
    assert len(config.cells()) == 9
    assert (config.protocol, config.split) == (preset, "subset-first")
    assert (config.arch, config.data, config.gpus) == (("vit_b_16",), "galaxy10", 1)


def test_grid_is_the_full_product_with_a_test_set():
    config = PRESETS["grid"]
    inits, seeds = ("scratch", "pretrained"), (0, 1, 2)
    expected = {(i, f, s) for i in inits for f in PAPER_FRACTIONS for s in seeds}
    assert {wanted[:3] for wanted in config.cells()} == expected
    assert config.split == "budget"


def test_budgets_in_images_are_shares_of_the_pool():
    config = SweepConfig(budgets=(50, 200), scratch_budgets=(200,), seeds=(1,))
    assert [wanted[:5] for wanted in config.cells(n_pool=400, n_classes=5)] == [
        ("scratch", 0.5, 1, 200, None),
        ("pretrained", 0.5, 1, 200, None),
        ("pretrained", 0.125, 1, 50, None),
    ]
    assert [wanted.id for wanted in config.cells(400, 5)[1:]] == [
        "pretrained-n00200-s1",
        "pretrained-n00050-s1",
    ]


def test_budgets_of_each_class():
    config = SweepConfig(budgets=(3,), per_class=True, inits=("scratch",), seeds=(0,))
    (wanted,) = config.cells(n_pool=150, n_classes=5)
    assert wanted[:5] == ("scratch", 0.1, 0, 15, 3)
    assert wanted.id == "scratch-k003-s0"


@pytest.mark.parametrize(
    ("per_class", "message"),
    [(False, "--budgets 81: that is 81 images"), (True, "81 of each class: that is 405 images")],
)
def test_a_budget_beyond_the_pool_is_refused(per_class, message):
    config = SweepConfig(budgets=(81, 4), per_class=per_class)
    with pytest.raises(UserError, match=message):
        config.cells(n_pool=80, n_classes=5)


def test_ablation_is_both_protocols_and_the_four_switches_on_one_validation_set():
    config = PRESETS["ablation"]
    switches = ("paper+trained", "paper+transform", "paper+rule", "paper+delta")
    assert config.protocols == ("paper", *switches, "authors")
    assert config.split == "fixed"
    assert len(config.seeds) > 1
    stoppings = [AUTHORS.stopping_for("pretrained", fraction) for fraction in config.fractions]
    assert set(stoppings) == {AUTHORS.stopping_for("pretrained", f) for f in PAPER_FRACTIONS}


def test_the_own_protocol_comes_first_and_once():
    config = SweepConfig(protocol="authors", other_protocols=("paper", "authors", "paper"))
    assert config.protocols == ("authors", "paper")


def test_what_trains_makes_protocols_before_others():
    config = SweepConfig(
        protocol="demo", trained=("probe", "all"), other_protocols=("paper", "demo")
    )
    assert config.protocols == ("demo+probe", "demo+all", "paper", "demo")


def test_probes_have_draws_beside_the_seeds():
    config = SweepConfig(trained=("head", "probe"), fractions=(0.5,), seeds=(1, 7), probe_draws=3)
    cells = [(wanted.init, wanted.seed, wanted.method.protocol) for wanted in config.cells()]
    head, probe = config.protocols
    assert cells == [
        *((i, s, p) for s in (1, 7) for i in ("scratch", "pretrained") for p in (head, probe)),
        *(("pretrained", seed, probe) for seed in (0, 2)),
    ]
    assert config.draws == (0, 2)


@pytest.mark.parametrize(
    "changes",
    [
        {"trained": ("head",)},
        {"trained": None},
        {"probe_draws": 0},
        {"fixed_draw": True},
        {"split": "fixed"},
        {"inits": ("scratch",)},
    ],
)
def test_further_draws_are_of_probes_whose_images_a_seed_decides(changes):
    config = SweepConfig(**{"trained": ("probe",), "seeds": (0,)} | changes)
    assert {wanted.seed for wanted in config.cells()} == {0}


def test_splits_that_vary_with_the_seed_are_drawn_for_probes_too():
    config = SweepConfig(trained=("probe",), split="fixed", resample=True, seeds=(0,))
    assert config.draws == tuple(range(1, 20))


def test_seeds_multiply_and_whole_baselines_come_first():
    cells = SweepConfig(fractions=(0.5, 1.0, 0.5), seeds=(3, 1)).cells()
    assert len(cells) == len(set(cells)) == 8
    assert cells[0][:3] == ("scratch", 1.0, 3)
    assert [wanted.seed for wanted in cells] == [3] * 4 + [1] * 4


def test_cell_ids_differ_and_sort():
    main, authors = SweepConfig(other_protocols=("authors",)).methods
    wanted = functools.partial(Wanted, seed=0, images=None, per_class=None, method=main)
    ids = [wanted("scratch", f).id for f in (0.005, 0.01, 0.05, 0.125, 0.4, 0.95, 1.0)]
    assert ids == sorted(ids)
    assert len(set(ids)) == 7
    assert wanted("pretrained", 0.95, seed=2).id == "pretrained-095-s2"
    assert wanted("scratch", 0.125).id == "scratch-012.5-s0"
    assert wanted("pretrained", 0.4, method=authors).id == "authors-pretrained-040-s0"


ARCHS = ("vit_demo", "timm:hf-hub:some/net")


def test_architectures_are_an_axis_and_the_first_has_the_names_of_a_sweep_of_one():
    shared = {
        "fractions": (0.5, 1.0),
        "seeds": (0,),
        "controls": (),
        "other_protocols": ("authors",),
    }
    one = SweepConfig(arch=ARCHS[:1], **shared)
    both = SweepConfig(arch=ARCHS, **shared)
    ids = [wanted.id for wanted in both.cells()]
    assert [i for i in ids if not i.startswith("timm")] == [wanted.id for wanted in one.cells()]
    others = [i.removeprefix("timm-hf-hub-some-net-") for i in ids if i.startswith("timm")]
    assert others == [wanted.id for wanted in one.cells()]


def test_architectures_that_take_too_long_from_scratch_are_pretrained_alone():
    config = SweepConfig(arch=ARCHS, scratch_arch=ARCHS[:1], controls=())
    inits = {(wanted.method.arch, wanted.init) for wanted in config.cells()}
    assert inits == {("vit_demo", "scratch"), *((arch, "pretrained") for arch in ARCHS)}
    none = SweepConfig(arch=ARCHS, scratch_arch=(), controls=())
    assert {wanted.init for wanted in none.cells()} == {"pretrained"}


def test_controls_go_with_several_architectures():
    assert SweepConfig().chosen_controls == ()
    config = SweepConfig(
        arch=ARCHS, fractions=(0.5, 1.0), scratch_fractions=(1.0,), seeds=(0, 1), probe_draws=4
    )
    controls = [wanted for wanted in config.cells() if wanted.method.is_control]
    assert {wanted.init for wanted in controls} == {"scratch"}
    grids = {
        arch: sorted((w.fraction, w.seed) for w in controls if w.method.arch == arch)
        for arch in (*ARCHS, "image_statistics")
    }
    # each seed is another untrained network: no draws beside the seeds
    assert grids["vit_demo"] == [(f, s) for f in (0.5, 1.0) for s in (0, 1)] == grids[ARCHS[1]]
    assert grids["image_statistics"] == [(f, s) for f in (0.5, 1.0) for s in range(4)]
    assert {wanted.id for wanted in controls if wanted[1:3] == (0.5, 0)} == {
        "untrained-scratch-050-s0",
        "timm-hf-hub-some-net-untrained-scratch-050-s0",
        "image_statistics-untrained-scratch-050-s0",
    }
    without = SweepConfig(arch=ARCHS, controls=())
    assert not any(wanted.method.is_control for wanted in without.cells())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"budgets": (0,)}, "--budgets 0: must be at least one image"),
        ({"budgets": (9,), "split": "fixed"}, "with --split fixed give --fractions"),
        ({"per_class": True}, "go with --budgets"),
        ({"test_fraction": 1.0}, "--test-fraction 1: must be between 0 and 1"),
        ({"fractions": (0.5, 40)}, r"--fractions 40: must be in \(0, 1\]; 40% is 0.4"),
        ({"scratch_fractions": (0.0,)}, "--fractions 0"),
        ({"fractions": ()}, "at least one"),
        ({"seeds": (-1,)}, "--seeds"),
        ({"cpus": 0}, "--cpus 0: must be at least 1"),
        ({"gpus": -1}, "--gpus 0 trains on the CPU"),
        ({"gpus_per_trial": 0.0}, "--gpus-per-trial 0"),
        ({"name": "../elsewhere"}, "plain folder name"),
        ({"max_epochs": 0}, "--max-epochs 0"),
        ({"learning_rate": float("nan")}, "--learning-rate nan"),
        ({"arch": ()}, "--arch: give at least one"),
        ({"arch": ("image_statistics",)}, "--controls statistics"),
        ({"arch": ("a", "b"), "scratch_arch": ("c",)}, "--scratch-arch c: not among --arch a b"),
        ({"arch": ("timm:a/b", "timm:a-b")}, "two would have one name"),
    ],
)
def test_wrong_settings(wrong, message):
    with pytest.raises(UserError, match=message):
        SweepConfig(**wrong)


def test_the_settings_survive_json():
    config = SweepConfig(
        fractions=(0.5,), drop_labels=(4,), cache_dir=Path("/cache"), gpus_per_trial="auto"
    )
    assert SweepConfig.from_settings(json.loads(json.dumps(config.to_settings()))) == config
