"""Data sets of Hugging Face on disk; `tests/integration/test_hugging_face.py` has the library write them."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from trainable.config import SourceFlags
from trainable.data.dataset import open_survey
from trainable.data.sources import hub
from trainable.data.sources.hugging_face import Shard
from trainable.errors import DataError

N = 9
PIXELS = [np.full((4, 5 + n % 2, 3), 20 * n, np.uint8) for n in range(N)]
LABELS = [n % 3 for n in range(N)]
NAMES = ["spiral", "ring", "disc"]


def encoded(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


CELLS = [{"bytes": encoded(pixels), "path": f"{n}.png"} for n, pixels in enumerate(PIXELS)]


def as_datasets_writes(names=NAMES, **columns):
    """A table with the types and the metadata of ``datasets``."""
    known = {"image": CELLS, "label": LABELS, "redshift": [n / 10 for n in range(N)]} | columns
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    arrays = {
        name: pa.array(values, kind if name == "image" and values is CELLS else None)
        for name, values in known.items()
        if values is not None
    }
    features = {"image": {"_type": "Image"}}
    features["label"] = (
        {"names": names, "_type": "ClassLabel"} if names else {"dtype": "int64", "_type": "Value"}
    )
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    return pa.table(arrays).replace_schema_metadata(metadata)


def write_arrow(path, table):
    path.parent.mkdir(parents=True, exist_ok=True)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table, max_chunksize=2)


def write_parquet(path, table):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=2)


@pytest.mark.parametrize("write", [write_arrow, write_parquet], ids=["arrow", "parquet"])
def test_shards_are_read_in_their_order(tmp_path, write):
    table, kind = as_datasets_writes(), "arrow" if write is write_arrow else "parquet"
    write(tmp_path / f"data-00000-of-00002.{kind}", table[:5])
    write(tmp_path / f"data-00001-of-00002.{kind}", table[5:])
    survey = open_survey(tmp_path)
    assert survey.class_names == tuple(NAMES)
    assert survey.labels.tolist() == LABELS
    assert survey.columns["redshift"].tolist() == [n / 10 for n in range(N)]
    assert survey.size_text == "5–6 × 4 pixels"
    assert survey.is_test is None
    assert survey.names[6] == f"row 1 of data-00001-of-00002.{kind}"
    for rows in (range(N), [8, 0, 4, 5, 5], [2]):
        for row, image in zip(rows, survey.read_images(rows), strict=True):
            np.testing.assert_array_equal(image, PIXELS[row])


def test_one_file_is_a_data_set(tmp_path):
    write_parquet(tmp_path / "x.parquet", as_datasets_writes())
    assert len(open_survey(tmp_path / "x.parquet").labels) == N


def test_row_groups_without_wanted_rows_are_not_read(tmp_path, monkeypatch):
    write_parquet(tmp_path / "x.parquet", as_datasets_writes())
    read, parts = [], pq.ParquetFile.iter_batches

    def iter_batches(file, *args, row_groups, **kwargs):
        read.extend(row_groups)
        return parts(file, *args, row_groups=row_groups, **kwargs)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", iter_batches)
    survey = open_survey(tmp_path)
    read.clear()
    survey.read_images([3, 8])
    assert read == [1, 4]


@pytest.mark.parametrize(
    ("names", "pool", "test"),
    [
        (["train/data-0.arrow", "test/data-0.arrow"], "train", "test"),
        (["data/train-00000.parquet", "data/validation-00000.parquet"], "train", "validation"),
        (["default/train/0000.parquet", "default/test/0000.parquet"], "train", "test"),
        (["train.parquet", "val.parquet", "test.parquet"], "train and validation", "test"),
    ],
)
def test_splits_become_pool_and_test_set(tmp_path, names, pool, test):
    for name in names:
        write = write_arrow if name.endswith("arrow") else write_parquet
        write(tmp_path / name, as_datasets_writes())
    survey = open_survey(tmp_path)
    assert survey.is_test.sum() == N
    of_test = {
        name.rpartition(" ")[2]
        for name, held in zip(survey.names, survey.is_test, strict=True)
        if held
    }
    assert of_test == {name for name in names if test[:3] in name}
    assert survey.notes == (
        f"The test set is {test} (9 images); the pool is {pool} ({len(survey.labels) - N}).",
    )
    assert open_survey(tmp_path / names[0]).is_test is None


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("test-00000-of-00001.parquet", "test"),
        ("default/partial-train/0.parquet", "train"),
        ("latest/contest.parquet", None),
        ("train/validation.arrow", "validation"),
    ],
)
def test_the_split_is_a_word_of_the_path(tmp_path, name, split):
    assert Shard(path=tmp_path / name, name=name).split == split


def test_words_numbers_and_votes_are_labels_too(tmp_path):
    write_parquet(tmp_path / "a.parquet", as_datasets_writes(label=[NAMES[n] for n in LABELS]))
    assert open_survey(tmp_path).class_names == ("disc", "ring", "spiral")
    write_parquet(tmp_path / "a.parquet", as_datasets_writes(names=None))
    assert open_survey(tmp_path).class_names == ("class 0", "class 1", "class 2")
    votes = {"x": [0.8, 0.1, 0.5] * 3, "y": [0.2, 0.9, 0.5] * 3, "label": None}
    write_parquet(tmp_path / "a.parquet", as_datasets_writes(**votes))
    survey = open_survey(tmp_path, flags=SourceFlags(label_columns=("x", "y")))
    assert survey.labels.tolist() == [0, 1] * 3
    np.testing.assert_array_equal(survey.read_images([2])[0], PIXELS[3])
    assert survey.columns["redshift"].tolist() == [0.0, 0.1, 0.3, 0.4, 0.6, 0.7]


def test_plain_bytes_positions_and_names_of_columns(tmp_path):
    table = as_datasets_writes(
        image=None,
        picture=[cell["bytes"] for cell in CELLS],
        ra=[*range(8), None],
        dec=[*range(8), None],
    )
    write_parquet(tmp_path / "a.parquet", table)
    survey = open_survey(tmp_path, flags=SourceFlags(image_column="picture"))
    np.testing.assert_array_equal(survey.read_images([8])[0], PIXELS[8])
    np.testing.assert_array_equal(survey.right_ascension, [*range(8), np.nan])


def test_damaged_pictures_are_refused_or_left_out(tmp_path):
    cells = [*CELLS[:3], {"bytes": b"x", "path": None}, None, *CELLS[5:]]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = as_datasets_writes(image=None).append_column("image", pa.array(cells, kind))
    write_parquet(tmp_path / "a.parquet", table)
    with pytest.raises(
        DataError, match=r"2 of 9 images .* row 3 of a\.parquet: its 1 bytes are no"
    ):
        open_survey(tmp_path)
    survey = open_survey(tmp_path, flags=SourceFlags(skip_unreadable=True))
    assert survey.labels.tolist() == [0, 1, 2, 2, 0, 1, 2]
    np.testing.assert_array_equal(survey.read_images([3])[0], PIXELS[5])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image": None}, "has no column 'image', only label, redshift: .*--image-column"),
        ({"image": ["x.png"] * N}, "column 'image' of .* is string: it must hold encoded pictures"),
        ({"label": None}, "has no column 'label', only redshift.*--label-column"),
        (
            {"label": None, "redshift": None},
            "has pictures alone: a column of their labels is needed",
        ),
        ({"label": [0] * 8 + [-1]}, r"1 row .* without a label .* row 8 of a\.parquet"),
        ({"label": [0] * 8 + [None]}, r"1 row .* without a label .* row 8 of a\.parquet"),
        ({"label": [0] * 8 + [3]}, "labels 0 to 3 in column 'label', and names for 0 to 2"),
        ({"label": [1] * N}, "all 9 images are of one class, 'ring'"),
    ],
)
def test_bad_data_sets_are_refused(tmp_path, columns, message):
    write_parquet(tmp_path / "a.parquet", as_datasets_writes(**columns))
    with pytest.raises(DataError, match=message) as error:
        open_survey(tmp_path)
    assert str(tmp_path) in str(error.value)


def test_shards_that_do_not_fit_together(tmp_path):
    table = as_datasets_writes()
    write_parquet(tmp_path / "a.parquet", table)
    write_parquet(tmp_path / "b.parquet", table.drop_columns(["redshift"]))
    with pytest.raises(DataError, match=r"b\.parquet has no column redshift, as the shards before"):
        open_survey(tmp_path)
    (tmp_path / "b.parquet").rename(tmp_path / "test.parquet")
    write_parquet(tmp_path / "test.parquet", table)
    with pytest.raises(DataError, match=r"a\.parquet names no split"):
        open_survey(tmp_path)
    (tmp_path / "a.parquet").unlink()
    write_parquet(tmp_path / "test.parquet", table[:0])
    with pytest.raises(DataError, match="has no rows"):
        open_survey(tmp_path)


@pytest.mark.parametrize("kind", ["arrow", "parquet"])
def test_damaged_files(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    (write_arrow if kind == "arrow" else write_parquet)(path, as_datasets_writes())
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=rf"a\.{kind} cannot be read, it may be damaged"):
        open_survey(tmp_path)


def test_what_save_to_disk_left_without_its_shards(tmp_path):
    (tmp_path / "state.json").write_text("{}")
    with pytest.raises(DataError, match="has no Parquet or Arrow file: copy it with all"):
        open_survey(tmp_path)


def test_a_name_on_the_hub_needs_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    assert hub.is_hub_name("hf:user/name")
    with pytest.raises(DataError, match="--data hf:user/name needs the package datasets"):
        hub.fetch("hf:user/name", tmp_path)
    (tmp_path / "hub" / "user--name--small").mkdir(parents=True)
    assert hub.fetch("hf:user/name:small", tmp_path) == tmp_path / "hub" / "user--name--small"
