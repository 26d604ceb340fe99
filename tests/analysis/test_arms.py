from dataclasses import replace

import pytest
import synthetic

from analysis import arms
from analysis.manifest import NotASweep


@pytest.fixture
def sweeps(tmp_path):
    """Scratch and a frozen model; other weights; both of the first with augmentation."""

    def sweep(name, gain, inits=("scratch", "pretrained"), augment=False, **changes):
        cells = synthetic.grid((0.25, 1.0), (0, 1), inits)
        for cell in cells:
            cell["run"]["augment"] = augment
        accuracy = lambda *cell: synthetic.accuracy_of(*cell) + gain  # noqa: E731
        return synthetic.results(tmp_path / name, cells, accuracy, **changes)

    return [
        sweep("plain", 0),
        sweep("near", 0.02, ("pretrained",), weights="near"),
        sweep("turned", 0.01, augment=True),
    ]


def test_one_row_for_each_way(sweeps):
    found = arms.side_by_side(sweeps)
    assert [way.name for way in found] == [
        "from scratch",
        "toy-weights, last layer trained",
        "near, last layer trained",
        "from scratch; mirrored and turned",
        "toy-weights, last layer trained; mirrored and turned",
    ]
    table = arms.accuracies(found)
    assert table.columns.tolist() == ["way of training", "248", "992"]
    expected = [synthetic.accuracy_of("scratch", 248, seed) for seed in (0, 1)]
    assert table["248"][0].startswith(f"{50 * sum(expected):.1f}"[:3])
    assert (table["992"] != "–").all()


def test_differences_are_from_scratch_with_the_same_augmentation(sweeps):
    table = arms.against_scratch(arms.side_by_side(sweeps))
    assert len(table) == 3
    plain, near, turned = (float(text.split()[0].replace("−", "-")) for text in table["248"])
    assert near == pytest.approx(plain + 2, abs=0.5)
    assert turned == pytest.approx(plain, abs=0.5)
    assert "[" in table["248"][0]


def test_augmentation_is_set_against_the_same_way_without(sweeps):
    table = arms.augmentation(arms.side_by_side(sweeps))
    assert len(table) == 2
    assert float(table["992"][0].split()[0]) == pytest.approx(1.0, abs=0.5)


def test_a_way_that_lacks_its_match_has_a_dash(sweeps):
    table = arms.against_scratch(arms.side_by_side(sweeps[1:2]))
    assert table["248"].tolist() == ["–"]


def test_other_data_is_refused(sweeps):
    data = sweeps[1].manifest["data"] | {"sha256": "cd" * 32}
    other = replace(sweeps[1], manifests=(sweeps[1].manifest | {"data": data},))
    with pytest.raises(NotASweep, match="differ in their data"):
        arms.side_by_side([sweeps[0], other])


def test_another_model_is_refused(sweeps):
    other = replace(sweeps[1], manifests=(sweeps[1].manifest | {"arch": "vit_b_16"},))
    with pytest.raises(NotASweep, match="differ in their architecture"):
        arms.side_by_side([sweeps[0], other])


def test_nothing_complete_is_said(sweeps):
    none = replace(sweeps[0], trials=sweeps[0].trials.assign(status="failed"))
    with pytest.raises(NotASweep, match="no trial of these sweeps is complete"):
        arms.side_by_side([none])


def test_command_line_writes_what_it_prints(sweep_folder, tmp_path, capsys):
    out = tmp_path / "arms.md"
    assert arms.main([str(sweep_folder), "--out", str(out)]) == 0
    assert capsys.readouterr().out.strip() == out.read_text().strip()
    assert "from scratch" in out.read_text()
    assert arms.main([str(tmp_path)]) == 2
    assert "is not a sweep" in capsys.readouterr().err
