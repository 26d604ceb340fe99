from dataclasses import replace

import pytest
from helpers import synthetic

from analysis import compare_sweeps
from trainable.errors import SweepError


@pytest.fixture
def sweeps(tmp_path):
    """Scratch and a frozen model; other weights; both of the first with augmentation."""

    def sweep(name, gain, inits=("scratch", "pretrained"), augment=False, **changes):
        cells = synthetic.grid((0.25, 1.0), (0, 1), inits)
        recipe = {"augment": augment, "cache_features": not augment}
        cells = [synthetic.configured(cell, **recipe) for cell in cells]
        accuracy = lambda *cell: synthetic.accuracy_of(*cell) + gain  # noqa: E731
        return synthetic.results(tmp_path / name, cells, accuracy, **changes)

    return [
        sweep("plain", 0),
        sweep("near", 0.02, ("pretrained",), weights="near"),
        sweep("turned", 0.01, augment=True),
    ]


def test_one_row_for_each_training_method(sweeps):
    methods = compare_sweeps.side_by_side(sweeps)
    assert [method.name for method in methods] == [
        "from scratch",
        "toy-weights, last layer trained",
        "near, last layer trained",
        "from scratch; with flips and 90° rotations",
        "toy-weights, last layer trained; with flips and 90° rotations",
    ]
    table = compare_sweeps.accuracies(methods)
    assert table.columns.tolist() == ["training method", "248", "992"]
    expected = [synthetic.accuracy_of("scratch", 248, seed) for seed in (0, 1)]
    assert table["248"][0].startswith(f"{50 * sum(expected):.1f}"[:3])
    assert (table["992"] != "–").all()


def test_of_several_architectures_the_first_is_compared(sweeps, make_results):
    cells = synthetic.grid((0.25, 1.0), (0, 1))
    other = synthetic.grid((0.25, 1.0), (0, 1), arch="other")
    several = make_results([*cells, *other, *synthetic.control(cells)])
    methods = compare_sweeps.side_by_side([several])
    assert [method.name for method in methods] == [
        "from scratch",
        "toy-weights, last layer trained",
    ]
    assert [cell.n for method in methods for cell in method.cells.values()] == [2] * 4


def test_differences_are_from_scratch_with_the_same_augmentation(sweeps):
    table = compare_sweeps.against_scratch(compare_sweeps.side_by_side(sweeps))
    assert len(table) == 3
    plain, near, turned = (float(text.split()[0].replace("−", "-")) for text in table["248"])
    assert near == pytest.approx(plain + 2, abs=0.5)
    assert turned == pytest.approx(plain, abs=0.5)
    assert "[" in table["248"][0]


def test_augmentation_is_set_against_the_same_method_without(sweeps):
    table = compare_sweeps.augmentation(compare_sweeps.side_by_side(sweeps))
    assert len(table) == 2
    assert float(table["992"][0].split()[0]) == pytest.approx(1.0, abs=0.5)


def test_a_method_that_lacks_its_match_has_a_dash(sweeps):
    table = compare_sweeps.against_scratch(compare_sweeps.side_by_side(sweeps[1:2]))
    assert table["248"].tolist() == ["–"]


def test_other_data_is_refused(sweeps):
    other = synthetic.with_data(sweeps[1], sha256="cd" * 32)
    with pytest.raises(SweepError, match="cannot be compared: the data's SHA-256 is 'abab"):
        compare_sweeps.side_by_side([sweeps[0], other])


def test_another_model_is_refused(sweeps):
    backbones = (replace(sweeps[1].manifest.backbones[0], arch="vit_b_16"),)
    other = replace(sweeps[1], manifests=(replace(sweeps[1].manifest, backbones=backbones),))
    with pytest.raises(SweepError, match="the architecture is 'vit_tiny' in one and 'vit_b_16'"):
        compare_sweeps.side_by_side([sweeps[0], other])


def test_nothing_complete_is_said(sweeps):
    none = replace(sweeps[0], trials=sweeps[0].trials.assign(status="failed"))
    with pytest.raises(SweepError, match="no trial of these sweeps is complete"):
        compare_sweeps.side_by_side([none])
