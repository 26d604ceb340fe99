"""Parts of a table: each whole or not at all, resumed without a row lost or twice."""

import errno

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from sweep import shards
from sweep.shards import Shards
from trainable.errors import OutputError

SCHEMA = pa.schema([("row", pa.int64()), ("name", pa.string())])


def table(start, stop):
    rows = range(start, stop)
    return pa.table({"row": list(rows), "name": [f"n{row}" for row in rows]}, schema=SCHEMA)


def make(tmp_path, out="catalogue.parquet", rows=10):
    path = str(tmp_path / out)
    return Shards(out=path, as_file=shards.is_file(path), rows=rows, rows_of_part=4)


def fill(parts, numbers=None):
    for part in parts.missing() if numbers is None else numbers:
        parts.write(part, table(*parts.bounds(part)))


@pytest.mark.parametrize("out", ["catalogue.parquet", "catalogue.csv", "catalogue"])
def test_resumed_table_has_every_row_once(tmp_path, out):
    first = make(tmp_path, out)
    assert first.start({"a": 1}) is False
    fill(first, [0, 2])
    again = make(tmp_path, out)
    assert again.start({"a": 1}) is False
    assert again.missing() == [1]
    fill(again)
    again.finish(SCHEMA)
    path = tmp_path / out
    if out.endswith(".csv"):
        found = pa.csv.read_csv(path)
    else:
        found = pq.read_table(sorted(path.glob("part-*")) if path.is_dir() else path)
    assert found.to_pydict() == table(0, 10).to_pydict()
    assert not (tmp_path / f"{out}.parts").exists()


def test_other_plan_is_refused_and_names_what_differs(tmp_path):
    make(tmp_path).start({"images": "a", "rows": 1})
    with pytest.raises(OutputError, match=r"another catalogue: images was 'a' and is 'b'"):
        make(tmp_path).start({"images": "b", "rows": 1})


def test_output_that_is_there_already(tmp_path):
    (tmp_path / "catalogue.parquet").touch()
    with pytest.raises(OutputError, match="is there already: choose another, or delete it"):
        make(tmp_path).start({})
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.tex").touch()
    with pytest.raises(OutputError, match="holds something else"):
        make(tmp_path, "folder").start({})


def test_killed_between_the_rename_and_the_removal_of_the_parts(tmp_path, monkeypatch):
    parts = make(tmp_path)
    parts.start({})
    fill(parts)
    monkeypatch.setattr(shards.Folder, "delete", lambda self: None)  # as if killed here
    parts.finish(SCHEMA)
    monkeypatch.undo()
    assert make(tmp_path).start({}) is True
    assert pq.read_table(parts.out).num_rows == 10
    assert not (tmp_path / "catalogue.parquet.parts").exists()


def test_full_disk_in_the_middle_of_a_part(tmp_path, monkeypatch):
    parts = make(tmp_path)
    parts.start({})
    fill(parts, [0])

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shards, "write_atomically", full)
    with pytest.raises(OutputError, match=r"part-000001\.parquet .*No space left.*to resume"):
        fill(parts, [1])
    monkeypatch.undo()
    assert parts.missing() == [1, 2]


def test_full_disk_while_the_parts_become_one_file(tmp_path):
    parts = make(tmp_path)
    parts.start({})
    fill(parts)
    (tmp_path / "full.parquet").symlink_to("/dev/full")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "replace_file", lambda *a, **k: _to(tmp_path / "full.parquet"))
        with pytest.raises(OutputError, match="No space left on device"):
            parts.finish(SCHEMA)
    assert parts.missing() == []
    parts.finish(SCHEMA)
    assert pq.read_table(parts.out).num_rows == 10


def _to(path):
    from contextlib import nullcontext

    return nullcontext(path)


@pytest.mark.parametrize("damage", ["cut", "rows"])
def test_damaged_part_is_named(tmp_path, damage):
    parts = make(tmp_path)
    parts.start({})
    fill(parts)
    path = tmp_path / "catalogue.parquet.parts" / "part-000001.parquet"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:50])
    else:
        pq.write_table(table(4, 7), path)
    with pytest.raises(OutputError, match=r"part-000001\.parquet .*delete it"):
        parts.finish(SCHEMA)
    assert not (tmp_path / "catalogue.parquet").exists()
    path.unlink()
    fill(parts)
    parts.finish(SCHEMA)
    assert pq.read_table(parts.out).num_rows == 10


def test_two_processes_do_not_write_one_table(tmp_path):
    with (
        make(tmp_path).held(),
        pytest.raises(OutputError, match="another process is writing"),
        make(tmp_path).held(),
    ):
        pass
    with make(tmp_path).held():
        pass
