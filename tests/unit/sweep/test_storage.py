import pytest

from sweep.storage import Folder


@pytest.mark.parametrize("as_uri", [False, True])
def test_writes_reads_and_deletes(tmp_path, as_uri):
    path = tmp_path / "a folder"
    folder = Folder(path.as_uri() if as_uri else path).child("sweep")
    assert folder.is_local != as_uri
    assert not folder.exists()
    with pytest.raises(FileNotFoundError):
        folder.read("sweep.json")
    for contents in (b"one", b"another"):
        folder.write("sweep.json", contents)
        assert folder.read("sweep.json") == contents
    assert folder.exists()
    assert folder.exists("sweep.json")
    if not as_uri:
        assert [p.name for p in (path / "sweep").iterdir()] == ["sweep.json"]
    folder.delete()
    assert not folder.exists()


def test_relative_path_becomes_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert str(Folder("ray_results").child("x")) == str(tmp_path / "ray_results" / "x")
