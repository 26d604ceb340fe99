"""Parquet and Arrow files with pictures: every column as it was, every picture by its row."""

import datetime
import decimal
import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from trainable.config import SourceFlags
from trainable.data import tables
from trainable.errors import DataError

ARROW = {
    "whole": (pa.int64(), [2**62 + 1, None, -3]),
    "unsigned": (pa.uint64(), [2**64 - 1, None, 1]),
    "real": (pa.float64(), [1.5, None, float("inf")]),
    "half": (pa.float16(), [np.float16(1.5), None, np.float16(2)]),
    "truth": (pa.bool_(), [True, None, False]),
    "money": (pa.decimal128(30, 5), [decimal.Decimal("1.00001"), None, decimal.Decimal(-7)]),
    "moment": (pa.timestamp("us", "Europe/Berlin"), [1, None, 3]),
    "day": (pa.date32(), [datetime.date(2020, 1, 2), None, datetime.date(1900, 1, 1)]),
    "list": (pa.list_(pa.int32()), [[1, None], None, []]),
    "pair": (pa.list_(pa.float32(), 2), [[1, 2], [3, None], [5, 6]]),
    "struct": (
        pa.struct([("a", pa.int64()), ("b", pa.string())]),
        [{"a": 2**60 + 1, "b": None}, None, {"a": None, "b": "x"}],
    ),
    "map": (pa.map_(pa.string(), pa.int32()), [[("a", 1)], None, []]),
    "text": (pa.string(), ["ä", None, ""]),
    "large_bytes": (pa.large_binary(), [b"a", None, b"\0"]),
    "nothing": (pa.null(), [None, None, None]),
}


def png(value: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 3), (value, 0, 0)).save(file, "png")
    return file.getvalue()


@pytest.fixture
def write(tmp_path):
    """Write rows as ``shards/NAME.parquet``; the red of picture n is n."""

    def write(file: str, rows, **columns) -> None:
        path = tmp_path / "shards" / f"{file}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        images = pa.array([png(row) for row in rows], pa.binary())
        table = {"id": pa.array(list(rows)), "image": images} | columns
        whole = pa.table({k: column for k, column in table.items() if column is not None})
        pq.write_table(whole, path, row_group_size=4)

    return write


def opened(tmp_path, **flags):
    return tables.open_tables(str(tmp_path / "shards"), SourceFlags(**flags))


def reds(images, rows):
    return [int(p.rgb()[0, 0, 0]) for p in images.pictures(np.array(rows))]


def test_columns_of_every_type_are_as_they_were(write, tmp_path):
    columns = {
        name: pa.array([values[row % 3] for row in range(10)], kind)
        for name, (kind, values) in ARROW.items()
    }
    columns["word"] = pa.array([("disc", None, "bulge")[row % 3] for row in range(10)])
    columns["word"] = columns["word"].dictionary_encode()
    write("0", range(10), **columns)
    images = opened(tmp_path)
    assert images.schema.names == ["id", *columns]
    found = images.columns(3, 9)  # over a boundary of row groups
    for name, column in columns.items():
        assert found.column(name).type == column.type, name
        assert found.column(name).to_pylist() == column.slice(3, 6).to_pylist(), name


def test_rows_and_pictures_over_files_and_row_groups(write, tmp_path):
    write("b", range(6, 11), id=None, votes=pa.array([1, 2, 3, 4, 5]))
    write("a", range(6), id=None, votes=pa.nulls(6))
    write("survey=DES/c", [11], id=None, votes=pa.array([9]))
    images = opened(tmp_path)
    assert images.n == 12
    assert reds(images, [0, 3, 4, 5, 6, 10, 11]) == [0, 3, 4, 5, 6, 10, 11]
    whole = images.columns(4, 12)
    assert whole["row"].to_pylist() == list(range(4, 12))
    assert whole["votes"].to_pylist() == [None, None, 1, 2, 3, 4, 5, 9]
    assert whole["survey"].to_pylist() == [None] * 7 + ["DES"]
    names = [p.name for p in images.pictures(np.array([5, 6, 11]))]
    assert names == ["row 5 of a.parquet", "row 0 of b.parquet", "row 0 of survey=DES/c.parquet"]
    assert whole.schema == images.schema


def test_views_become_plain_strings(write, tmp_path):
    names = ["a", None, "longer than twelve bytes"]
    deep = pa.struct([("a", pa.list_(pa.string_view()))])
    write(
        "0",
        range(3),
        name=pa.array(names, pa.string_view()),
        deep=pa.array([{"a": names}, None, {"a": []}], deep),
    )
    found = opened(tmp_path).columns(0, 3)
    assert found.schema.field("name").type == pa.string()
    assert found.schema.field("deep").type == pa.struct([("a", pa.list_(pa.string()))])
    assert found["name"].to_pylist() == names


def test_arrow_stream_of_datasets(tmp_path):
    table = pa.table({"image": [png(n) for n in range(5)], "label": [0, 1, 0, 1, 0]})
    (tmp_path / "shards").mkdir()
    with (
        pa.OSFile(str(tmp_path / "shards" / "data.arrow"), "wb") as file,
        pa.ipc.new_stream(file, table.schema) as stream,
    ):
        stream.write_table(table, max_chunksize=2)
    images = opened(tmp_path)
    assert reds(images, [1, 4]) == [1, 4]
    assert images.columns(1, 4)["label"].to_pylist() == [1, 0, 1]


def test_fingerprint_tells_files_apart(write, tmp_path):
    write("0", range(5))
    first = opened(tmp_path).fingerprint
    assert first == opened(tmp_path).fingerprint
    write("1", range(5))
    assert first != opened(tmp_path).fingerprint


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"image_column": "picture"}, "no column 'picture', only id, image: .*--image-column"),
        ({"image_column": "id"}, "column 'id' .* is int64: it must hold encoded pictures"),
    ],
)
def test_no_such_column_of_pictures(write, tmp_path, flags, message):
    write("0", range(2))
    with pytest.raises(DataError, match=message):
        opened(tmp_path, **flags)


def test_what_cannot_be_read_is_named(write, tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        opened(tmp_path)
    (tmp_path / "shards").mkdir()
    with pytest.raises(DataError, match="has no Parquet or Arrow file"):
        opened(tmp_path)
    write("0", [])
    with pytest.raises(DataError, match="has no rows"):
        opened(tmp_path)
    write("1", range(2))
    write("2", range(2), id=pa.array(["a", "b"]))
    with pytest.raises(DataError, match=r"2\.parquet has other types than the files before it"):
        opened(tmp_path)
    path = tmp_path / "shards" / "2.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"2\.parquet is not a whole, readable Parquet"):
        opened(tmp_path)


def test_a_file_that_is_damaged_later(write, tmp_path):
    write("0", range(9))
    images = opened(tmp_path)
    path = tmp_path / "shards" / "0.parquet"
    content = bytearray(path.read_bytes())
    content[4:300] = bytes(296)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"0\.parquet cannot be read, it may be damaged"):
        list(images.pictures(np.arange(9)))
