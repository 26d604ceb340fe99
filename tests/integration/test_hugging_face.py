"""Data sets that the library ``datasets`` itself has written or fetched."""

import numpy as np
import pytest
from helpers.surveys import write_pictures
from PIL import Image

from trainable.data.dataset import open_survey
from trainable.data.sources import hub
from trainable.errors import DataError

datasets = pytest.importorskip("datasets", reason="the extra datasets is not installed")

N = 12
PIXELS = [np.full((6, 6 + n % 3, 3), 20 * n, np.uint8) for n in range(N)]


@pytest.fixture(autouse=True)
def _offline(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "huggingface")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()


@pytest.fixture
def data_set():
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["spiral", "ring"])}
    )
    columns = {"image": [Image.fromarray(p) for p in PIXELS], "label": [n % 2 for n in range(N)]}
    return datasets.Dataset.from_dict(columns, features=features)


def check(survey, rows=range(N)):
    assert survey.class_names == ("spiral", "ring")
    assert survey.labels.tolist() == [row % 2 for row in rows]
    for image, row in zip(survey.read_images(range(len(rows))), rows, strict=True):
        np.testing.assert_array_equal(image, PIXELS[row])


def test_save_to_disk(data_set, tmp_path):
    data_set.save_to_disk(tmp_path / "saved", num_shards=3)
    check(open_survey(tmp_path / "saved"))


def test_a_selection_is_saved_as_selected(data_set, tmp_path):
    data_set.select([5, 0, 7, 2]).save_to_disk(tmp_path / "saved")
    check(open_survey(tmp_path / "saved"), [5, 0, 7, 2])


def test_a_dictionary_of_splits(data_set, tmp_path):
    parts = {"train": data_set.select(range(8)), "test": data_set.select(range(8, N))}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "saved")
    survey = open_survey(tmp_path / "saved")  # the shards of test come first
    check(survey, [*range(8, N), *range(8)])
    assert survey.is_test.tolist() == [True] * 4 + [False] * 8


def test_to_parquet(data_set, tmp_path):
    (tmp_path / "data").mkdir()
    data_set.to_parquet(tmp_path / "data" / "train-00000-of-00001.parquet")
    check(open_survey(tmp_path))


def test_pictures_of_a_folder_are_saved_with_their_bytes(tmp_path):
    folder = write_pictures(
        tmp_path / "pictures", [f"{kind}/{n}.png" for kind in "ab" for n in "12"]
    )
    loaded = datasets.load_dataset("imagefolder", data_dir=str(folder), split="train")
    loaded.save_to_disk(tmp_path / "saved")
    (folder / "a" / "1.png").unlink()
    survey = open_survey(tmp_path / "saved")
    assert survey.class_names == ("a", "b")
    assert len(survey.read_images(range(4))) == 4


def test_a_data_set_is_fetched_once_and_kept(data_set, tmp_path, monkeypatch):
    """From a folder in place of the hub, which is not asked."""
    (tmp_path / "there").mkdir()
    data_set.to_parquet(tmp_path / "there" / "train.parquet")
    found = hub.fetch(f"hf:{tmp_path / 'there'}", tmp_path / "cache")
    check(open_survey(found))
    monkeypatch.setattr(datasets, "load_dataset", lambda *_: pytest.fail("fetched again"))
    assert hub.fetch(f"hf:{tmp_path / 'there'}", tmp_path / "cache") == found


def test_a_data_set_that_cannot_be_fetched(tmp_path):
    with pytest.raises(DataError, match="--data hf:user/nothing cannot be fetched from the hub: "):
        hub.fetch("hf:user/nothing", tmp_path)
    assert not list((tmp_path / "hub").glob("*nothing"))
