"""Files that appear whole or not at all."""

import pytest

from trainable.files import replace_file, unfinished_files, write_atomically


@pytest.mark.parametrize("sync", [False, True])
def test_the_file_is_replaced_when_the_block_ends(tmp_path, sync):
    path = tmp_path / "a.csv"
    path.write_text("old")

    with replace_file(path, sync=sync) as unfinished:
        unfinished.write_text("new")
        assert path.read_text() == "old"
        assert unfinished.parent == tmp_path
        assert unfinished.suffix == ".csv"

    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_the_file_as_it_was_and_nothing_beside_it(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("old")

    def fail_half_way():
        with replace_file(path) as unfinished:
            unfinished.write_text("half of the ne")
            raise KeyError("half way")

    with pytest.raises(KeyError):
        fail_half_way()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_block_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), replace_file(tmp_path / "a.csv"):
        pass
    assert not list(tmp_path.iterdir())


def test_two_writers_do_not_disturb_each_other(tmp_path):
    path = tmp_path / "a"
    with replace_file(path) as first, replace_file(path) as second:
        first.write_text("one")
        second.write_text("two")
        assert first != second
    assert path.read_text() == "one"  # the outer block ends last


def test_the_only_writer_removes_what_a_killed_one_left(tmp_path):
    kept = replace_file(tmp_path / "b.npy").__enter__()  # of another file, never finished
    left = replace_file(tmp_path / "a.npy").__enter__()
    kept.touch()
    left.touch()
    assert unfinished_files(tmp_path) == sorted([kept, left])
    assert unfinished_files(tmp_path, tmp_path / "a.npy") == [left]

    with replace_file(tmp_path / "a.npy", only_writer=True) as unfinished:
        unfinished.touch()

    assert sorted(tmp_path.iterdir()) == sorted([kept, tmp_path / "a.npy"])


@pytest.mark.parametrize(
    ("content", "there"), [("δ = 0.03\n", "δ = 0.03\n".encode()), (b"\0\1", b"\0\1")]
)
def test_text_is_written_as_utf_8_and_bytes_as_they_are(tmp_path, content, there):
    write_atomically(tmp_path / "a", content)
    assert (tmp_path / "a").read_bytes() == there
