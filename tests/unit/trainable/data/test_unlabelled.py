"""Images of every kind that need no labels, with all that is known of them."""

import pickle

import h5py
import numpy as np
import pandas as pd
import pytest
from helpers.surveys import write_pictures, write_survey
from PIL import Image

from trainable.config import SourceFlags
from trainable.data.pictures import PictureError
from trainable.data.unlabelled import open_unlabelled
from trainable.errors import DataError


def test_folder_of_pictures_however_deep(tmp_path):
    write_pictures(tmp_path / "in", ["b/c/2.png", "a.jpg", "b/1.png"])
    (tmp_path / "in" / "notes.txt").touch()
    images = open_unlabelled(tmp_path / "in")
    assert images.columns(0, 3).to_pydict() == {"path": ["a.jpg", "b/1.png", "b/c/2.png"]}
    assert [p.rgb().shape for p in images.pictures(np.array([0, 2]))] == [(10, 12, 3)] * 2
    assert images.columns(1, 2).to_pydict() == {"path": ["b/1.png"]}
    again = pickle.loads(pickle.dumps(images))
    assert again.fingerprint == images.fingerprint
    write_pictures(tmp_path / "in", ["c.png"])
    assert open_unlabelled(tmp_path / "in").fingerprint != images.fingerprint


def test_folders_named_after_classes_give_labels(tmp_path):
    names = ["a.png", "new/b.png", "test/disc/3/c.png", "test/smooth/d.png"]
    write_pictures(tmp_path / "in", names)
    classes = ("disc", "edge-on", "smooth")
    images = open_unlabelled(tmp_path / "in", classes=classes)
    assert images.columns(0, 4).to_pydict() == {
        "path": names,
        "label": [None, None, "disc", "smooth"],
    }
    others = open_unlabelled(tmp_path / "in", classes=("merger",))
    assert others.schema.names == ["path"]


def test_one_picture(tmp_path):
    write_pictures(tmp_path, ["a.png", "b.png"])
    images = open_unlabelled(tmp_path / "b.png")
    assert images.columns(0, images.n).to_pydict() == {"path": ["b.png"]}


def test_catalogue_without_labels_in_its_own_order_with_a_missing_image(tmp_path):
    write_pictures(tmp_path / "in", ["a.png", "b.png", "unnamed.png"])
    rows = {"file": ["b", "gone.png", "a.png"], "ra": [1.5, 2.0, 3.0], "note": ["x", None, "ü"]}
    pd.DataFrame(rows).to_csv(tmp_path / "c.csv", index=False)
    images = open_unlabelled(tmp_path / "in", labels=tmp_path / "c.csv")
    assert images.columns(0, 3).to_pydict() == rows
    b, gone, a = images.pictures(np.arange(3))
    assert b.rgb().shape == a.rgb().shape == (10, 12, 3)
    with pytest.raises(PictureError, match="No such file"):
        gone.rgb()
    assert images.notes == (
        f"Left out: 1 image in {tmp_path}/in without a row in {tmp_path}/c.csv.",
    )


def test_hdf5_with_and_without_labels(tmp_path):
    path = write_survey(tmp_path / "s.h5", counts=(2, 3), positions=True)
    images = open_unlabelled(path)
    assert images.schema.names == ["row", "ans", "dec", "ra"]
    assert images.columns(1, 3)["ans"].to_pylist() == [0, 1]
    with h5py.File(path, "r+") as file:
        del file["ans"]
        file["name"] = ["a", "b", "c", "d", "ä"]
        file["flux"] = np.arange(5, dtype=">f4")
        file["other"] = np.arange(7)
        pixels = file["images"][3]
    images = open_unlabelled(path)
    table = images.columns(3, 5).to_pydict()
    assert (table["name"], table["flux"], table["row"]) == (["d", "ä"], [3.0, 4.0], [3, 4])
    assert "other" not in table
    (picture,) = images.pictures(np.array([3]))
    assert np.array_equal(picture.rgb(), pixels)


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((4, 8, 8, 5), "u1", "images of 5 channels.*take 3, red, green and blue, or 1, grey"),
        ((4, 8), "u1", r"must be \(N, H, W, 3\)"),
        ((4, 8, 8, 3), "f4", "float32, must be"),
    ],
)
def test_hdf5_of_another_form(tmp_path, shape, dtype, message):
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["images"] = np.zeros(shape, dtype)
    with pytest.raises(DataError, match=message):
        open_unlabelled(tmp_path / "s.h5")


def test_hdf5_without_images(tmp_path):
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["pictures"] = np.zeros(3)
    with pytest.raises(DataError, match="must have a data set 'images', has pictures"):
        open_unlabelled(tmp_path / "s.h5")


def test_hdf5_with_other_names(tmp_path):
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["cutouts"] = np.arange(3, dtype=np.uint8)[:, None, None, None] + np.zeros(
            (3, 4, 4, 3), np.uint8
        )
        file["id"] = [7, 8, 9]
    found = open_unlabelled(tmp_path / "s.h5", flags=SourceFlags(image_column="cutouts"))
    assert [picture.rgb()[0, 0, 0] for picture in found.pictures(np.arange(3))] == [0, 1, 2]
    assert found.columns(0, 3)["id"].to_pylist() == [7, 8, 9]


def test_nothing_there(tmp_path):
    with pytest.raises(DataError, match="does not exist: give a folder of images"):
        open_unlabelled(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no images"):
        open_unlabelled(tmp_path / "empty")
    with pytest.raises(DataError, match="is a catalogue of the images in a folder"):
        open_unlabelled(__file__, labels=tmp_path / "c.csv")


def test_parquet_in_a_folder(tmp_path):
    import io

    file = io.BytesIO()
    Image.new("RGB", (3, 3)).save(file, "png")
    pd.DataFrame({"image": [file.getvalue()], "ra": [3.5]}).to_parquet(tmp_path / "a.parquet")
    images = open_unlabelled(tmp_path, flags=SourceFlags())
    assert images.columns(0, 1).to_pydict() == {"row": [0], "ra": [3.5]}
