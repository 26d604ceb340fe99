import h5py
import numpy as np
import pytest
from helpers.surveys import write_survey

from analysis.survey import duplicates
from trainable.data.class_selection import select
from trainable.data.dataset import open_survey


def found_in(path):
    survey = open_survey(path)
    selection = select(survey, ())
    prints = duplicates.fingerprint(survey, selection.rows)
    return survey, selection, duplicates.find(survey, selection, prints)


@pytest.fixture
def with_copies(tmp_path):
    """Row 5 again, byte for byte, as row 30; row 7 with other noise as row 40."""
    path = write_survey(tmp_path / "copies.h5", positions=True)
    with h5py.File(path, "r+") as file:
        images = file["images"]
        images[30] = images[5]
        noise = np.random.default_rng(3).integers(-4, 5, images[7].shape)
        images[40] = (images[7].astype(int) + noise).clip(0, 255).astype(np.uint8)
        file["ra"][30], file["dec"][30] = file["ra"][5], file["dec"][5] + 4 / 3600
    return path


def test_copies_are_found_and_told_apart(with_copies):
    _, _, found = found_in(with_copies)
    pairs = found.by_image.set_index(["first", "second"])["kind"].to_dict()
    assert pairs == {(5, 30): "exact", (7, 40): "near"}
    assert found.by_sky[["first", "second"]].to_numpy().tolist() == [[5, 30]]
    assert found.by_sky["separation"].tolist() == pytest.approx([4], abs=1e-3)
    assert duplicates.agreement(found) == (1, 0, 1)


def test_pairs_are_described_with_rows_labels_and_conflict(with_copies):
    survey, selection, found = found_in(with_copies)
    table = duplicates.described(found.by_image, survey, selection)
    assert table["row_second"].tolist() == [30, 40]
    assert table["label_first"].tolist() == ["kind 0", "kind 0"]
    assert table["label_second"].tolist() == ["kind 1", "kind 1"]
    assert table["conflict"].all()


def test_no_positions_are_not_no_pairs(tmp_path):
    _, _, found = found_in(write_survey(tmp_path / "plain.h5"))
    assert found.by_sky is None
    assert duplicates.agreement(found) is None


def test_close_hashes_in_blocks_equal_all_pairs_one_by_one(monkeypatch):
    hashes = np.random.default_rng(0).random((50, 64)) < 0.5
    every = [
        (i, j, int((hashes[i] != hashes[j]).sum())) for i in range(50) for j in range(i + 1, 50)
    ]
    monkeypatch.setattr(duplicates, "PAIRS_AT_A_TIME", 7)
    pairs, counts = duplicates.close_hashes(hashes, 26)
    assert pairs.tolist() == [[i, j] for i, j, d in every if d <= 26]
    assert counts.tolist() == np.bincount([d for *_, d in every], minlength=65).tolist()
