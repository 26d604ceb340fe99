import pytest

from sweep.manifest import describe_cells
from sweep.space import PRESETS, SweepConfig, cell_id
from trainable.protocol import AS_RUN, PAPER_CELLS, PAPER_FRACTIONS
from trainable.settings import prepare


@pytest.mark.parametrize("preset", ["paper", "as_run"])
def test_the_papers_nine_trials(preset):
    config = PRESETS[preset]
    assert {(init, fraction) for init, fraction, _ in config.cells()} == set(PAPER_CELLS)
    assert len(config.cells()) == 9
    assert (config.protocol, config.split) == (preset, "subset-first")
    assert (config.arch, config.data, config.gpus) == ("vit_b_16", "galaxy10", 1)


def test_grid_is_the_full_product_on_a_fixed_validation_set():
    config = PRESETS["grid"]
    expected = {(i, f, 0) for i in ("scratch", "pretrained") for f in PAPER_FRACTIONS}
    assert set(config.cells()) == expected
    assert config.split == "fixed"


def test_ablation_is_both_protocols_and_the_four_switches_on_one_validation_set():
    config = PRESETS["ablation"]
    switches = ("paper+trained", "paper+transform", "paper+rule", "paper+delta")
    assert config.protocols == ("paper", *switches, "as_run")
    assert config.split == "fixed"
    assert len(config.seeds) > 1
    stoppings = [AS_RUN.stopping_for("pretrained", fraction) for fraction in config.fractions]
    assert set(stoppings) == {AS_RUN.stopping_for("pretrained", f) for f in PAPER_FRACTIONS}


def test_the_own_protocol_comes_first_and_once():
    config = SweepConfig(protocol="as_run", other_protocols=("paper", "as_run", "paper"))
    assert config.protocols == ("as_run", "paper")


def test_seeds_multiply_and_whole_baselines_come_first():
    cells = SweepConfig(fractions=(0.5, 1.0, 0.5), seeds=(3, 1)).cells()
    assert len(cells) == len(set(cells)) == 8
    assert cells[0] == ("scratch", 1.0, 3)
    assert [seed for _, _, seed in cells] == [3] * 4 + [1] * 4


def test_cell_ids_differ_and_sort():
    ids = [cell_id("scratch", f, 0) for f in (0.005, 0.01, 0.05, 0.125, 0.4, 0.95, 1.0)]
    assert ids == sorted(ids)
    assert len(set(ids)) == 7
    assert cell_id("pretrained", 0.95, 2) == "pretrained-095-s2"
    assert cell_id("scratch", 0.125, 0) == "scratch-012.5-s0"
    assert cell_id("pretrained", 0.4, 0, "as_run") == "as_run-pretrained-040-s0"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"fractions": (0.5, 40)}, r"--fractions 40: must be in \(0, 1\]; 40 % is 0.4"),
        ({"scratch_fractions": (0.0,)}, "--fractions 0"),
        ({"fractions": ()}, "at least one"),
        ({"seeds": (-1,)}, "--seeds"),
        ({"gpus": -1}, "--gpus 0 trains on the CPU"),
        ({"gpus_per_trial": 0.0}, "--gpus-per-trial 0"),
        ({"name": "../elsewhere"}, "plain folder name"),
        ({"arch": "resnet50"}, "known: vit_b_16, vit_demo"),
        ({"max_epochs": 0}, "--max-epochs 0"),
        ({"learning_rate": float("nan")}, "--learning-rate nan"),
    ],
)
def test_wrong_settings(wrong, message):
    with pytest.raises(ValueError, match=message):
        SweepConfig(**wrong)


def test_resample_gives_the_trials_of_a_seed_one_split(survey_path):
    config = SweepConfig(
        data=str(survey_path), arch="vit_demo", fractions=(1.0,), seeds=(0, 1), resample=True
    )
    cells = describe_cells(prepare(config), config.cells())
    sets = {cell["id"]: cell["val_hash"] for cell in cells}
    assert sets["scratch-100-s0"] == sets["pretrained-100-s0"]
    assert sets["scratch-100-s1"] == sets["pretrained-100-s1"]
    assert sets["scratch-100-s0"] != sets["scratch-100-s1"]


def test_merged_is_not_dropped(survey_path):
    """Both leave two classes whose first labels are the same."""
    from sweep.manifest import describe

    def manifest(**changes):
        config = SweepConfig(
            data=str(survey_path), arch="vit_demo", inits=("scratch",), fractions=(1.0,), **changes
        )
        return describe(prepare(config), config, "name", "command")

    merged = manifest(merge_labels=("0+1",))
    with pytest.raises(ValueError, match="classes was"):
        merged.refuse_incomparable(manifest(drop_labels=(1,)))
