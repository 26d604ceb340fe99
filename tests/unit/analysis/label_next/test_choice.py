"""Images of a folder in the order in which to label them, by trials that are trained here."""

import shutil

import h5py
import numpy as np
import pandas as pd
import pytest
from helpers.surveys import write_survey
from PIL import Image

from analysis.label_next.__main__ import LabelNextConfig
from analysis.label_next.choice import COMPUTED
from analysis.label_next.commands import run
from sweep import prediction
from sweep.predict import PredictConfig
from trainable.errors import DataError, SettingsError

PROBE, ALL = "pretrained-100-s0", "demo+all-pretrained-100-s0"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """30 new pictures and a catalogue of them."""
    root = tmp_path_factory.mktemp("new")
    survey = write_survey(root.parent / "new.h5", counts=(10, 10, 10), seed=5)
    with h5py.File(survey) as file:
        images = file["images"][:]
    for number, image in enumerate(images):
        Image.fromarray(image).save(root / f"{number:02}.png")
    names = [f"{number:02}.png" for number in range(30)]
    rows = {"file": names, "objid": np.arange(30) + 2**60, "ra": np.linspace(0, 1, 30)}
    pd.DataFrame(rows).to_csv(root.parent / "new.csv", index=False)
    return root


@pytest.fixture
def choose(swept, tmp_path):
    """Choose images; the table, and what was said."""

    def choose(images, **flags):
        given = {
            "sweep": swept,
            "unlabelled": str(images),
            "device": "cpu",
            "out": tmp_path / "out",
        }
        choose.said = run(LabelNextConfig(**given | flags))
        return pd.read_csv(tmp_path / "out" / "label_next.csv")

    return choose


@pytest.mark.parametrize("order", ["typiclust", "probcover", "margin", "badge", "random"])
def test_table_and_page(order, choose, folder, tmp_path):
    found = choose(folder, order=order, budget=8)
    assert found["rank"].tolist() == list(range(1, 9))
    assert found["path"].is_unique
    assert set(found["path"]) <= {f"{number:02}.png" for number in range(30)}
    assert choose.said.startswith("8 images to label next, by ")
    assert "of 30 without a label" in choose.said
    page = (tmp_path / "out" / "label_next.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 8
    places = [page.index(f"<span>{path}</span>") for path in found["path"]]
    assert places == sorted(places)
    assert "http" not in page.replace("http://www.w3.org", "")


@pytest.mark.parametrize("trial", [PROBE, ALL])
def test_columns_are_those_of_predict(trial, choose, swept, folder, tmp_path):
    found = choose(folder, trial=trial, budget=30).set_index("path").sort_index()
    out = str(tmp_path / "all.parquet")
    given = {"sweep": swept, "images": str(folder), "out": out, "device": "cpu"}
    prediction.run(PredictConfig(**given, trial=(trial,)))
    expected = pd.read_parquet(out).set_index("path").sort_index()
    probabilities = expected.filter(like="probability_").to_numpy()
    highest = np.sort(probabilities, axis=1)
    assert found["predicted_class"].tolist() == expected["predicted_class"].tolist()
    assert found["unlike_training"].tolist() == expected["unlike_training"].tolist()
    for name in ("entropy", "distance"):
        np.testing.assert_allclose(found[name], expected[name], atol=2e-5)
    np.testing.assert_allclose(found["probability"], highest[:, -1], atol=1e-5)
    np.testing.assert_allclose(found["margin"], highest[:, -1] - highest[:, -2], atol=2e-5)


def test_margin_is_ascending(choose, folder):
    found = choose(folder, order="margin", budget=30)
    assert found["margin"].is_monotonic_increasing


def test_columns_of_a_catalogue_are_carried_as_they_are(choose, folder):
    found = choose(folder, labels=folder.parent / "new.csv", order="margin", budget=12)
    assert found.columns.tolist() == ["rank", "file", "objid", "ra", *COMPUTED]
    known = pd.read_csv(folder.parent / "new.csv").set_index("file").loc[found["file"]]
    assert found["objid"].tolist() == known["objid"].tolist()
    assert found["ra"].tolist() == known["ra"].tolist()


def test_labelled_images_copies_and_broken_files_are_left_out(
    choose, folder, survey_path, tmp_path
):
    mixed = shutil.copytree(folder, tmp_path / "mixed")
    with h5py.File(survey_path) as file:
        for row in (0, 30, 59):  # of the pool or of the test set
            Image.fromarray(file["images"][row]).save(mixed / f"known {row}.png")
    shutil.copy(folder / "03.png", mixed / "zz copy.png")
    (mixed / "broken.png").write_bytes(b"no picture")
    found = choose(mixed, budget=100)
    assert sorted(found["path"]) == [f"{number:02}.png" for number in range(30)]
    for sentence in (
        "30 images to label next",
        "100 were asked for: there are no more",
        "3 images that the sweep has a label of",
        "1 image with the pixels of another one",
        "1 image that cannot be read: broken.png: ",
    ):
        assert sentence in choose.said


def test_the_survey_itself_leaves_nothing_to_label(choose, survey_path):
    with pytest.raises(DataError, match=r"none of 60 images is left to label: .* a label of 60"):
        choose(survey_path)


def test_the_same_again(choose, folder):
    first = choose(folder, budget=9)
    pd.testing.assert_frame_equal(choose(folder, budget=9), first)


def test_a_column_of_a_name_that_is_written(choose, folder, tmp_path):
    table = pd.read_csv(folder.parent / "new.csv").rename(columns={"ra": "entropy"})
    table.to_csv(tmp_path / "taken.csv", index=False)
    with pytest.raises(SettingsError, match="have a column entropy already"):
        choose(folder, labels=tmp_path / "taken.csv")
