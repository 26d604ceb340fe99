"""Galaxy10's download against a server on this machine: whole, dropped, corrupt, absent."""

import ast
import asyncio
import gc
import hashlib
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from filelock import FileLock

from trainable import download
from trainable.download import fetch_galaxy10, find_galaxy10, galaxy10_path
from trainable.galaxy10 import GALAXY10_SHA256, DataError

PAYLOAD = bytes(range(256)) * 4096  # 1 MiB
SHA256 = hashlib.sha256(PAYLOAD).hexdigest()
FROM_ASTRONN = download._from_astronn
ASTRONN = Path(importlib.util.find_spec("astroNN").origin).parent


class Host:
    """What the server sends and what it was asked; tests change it as they go."""

    def __init__(self):
        self.payload = PAYLOAD
        self.status = 200
        self.drop_after = None  # bytes of a segment that arrive before the line goes dead
        self.sent = 0  # bytes of the file
        self.url = ""


@pytest.fixture
def host():
    state = Host()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.answer(body=False)

        def do_GET(self):
            self.answer(body=True)

        def answer(self, body):
            if state.status != 200:
                return self.send_error(state.status)
            size, wanted = len(state.payload), self.headers.get("Range")
            first, last = 0, size - 1
            if wanted:
                first, last = (int(x) for x in wanted.removeprefix("bytes=").split("-"))
            self.send_response(206 if wanted else 200)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(last - first + 1))
            if wanted:
                self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
            self.end_headers()
            if body:
                piece = state.payload[first : last + 1][: state.drop_after]
                state.sent += len(piece)
                with suppress(ConnectionError):  # pypdl hangs up on all segments if one is cut
                    self.wfile.write(piece)
                if state.drop_after:
                    time.sleep(0.3)  # what came is on disk before the line goes dead
            return None

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}/"
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An empty home, no astroNN and no patience."""

    def from_astronn(folder):
        raise DataError("no astroNN")

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(download, "_from_astronn", from_astronn)
    monkeypatch.setattr(download, "RETRIES", 0)
    sleep = asyncio.sleep  # pypdl waits 3 s where no host answers
    monkeypatch.setattr(asyncio, "sleep", lambda seconds: sleep(min(seconds, 0.05)))
    return tmp_path


@pytest.fixture
def astronn(home, monkeypatch):
    """An astroNN to fetch with, in a process of its own; it cannot be imported as yet."""
    monkeypatch.setattr(download, "_from_astronn", FROM_ASTRONN)
    monkeypatch.setenv("PYTHONPATH", str(home / "python"))
    package = home / "python" / "astroNN"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('no TensorFlow')")
    return package


def install(package, origin):
    """AstroNN's own loader without the TensorFlow around it, pointed at `origin`."""
    (package / "datasets").mkdir()
    (package / "shared").mkdir()
    for empty in ("__init__.py", "datasets/__init__.py", "shared/__init__.py"):
        (package / empty).write_text("")
    (package / "config.py").write_text("astroNN_CACHE_DIR = '/nowhere'\n")
    shutil.copy(ASTRONN / "shared" / "downloader_tools.py", package / "shared")
    loader = (ASTRONN / "datasets" / "galaxy10.py").read_text()
    (package / "datasets" / "galaxy10.py").write_text(f"{loader}\n_G10_ORIGIN = {origin!r}\n")


def fetch(host, **settings):
    return fetch_galaxy10(**{"url": host.url, "sha256": SHA256, "free_bytes": 0} | settings)


def left_in(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def refused():
    """An address where nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/"


def test_find_looks_into_astronns_cache(home):
    assert find_galaxy10() is None
    galaxy10_path().parent.mkdir(parents=True)
    galaxy10_path().touch()
    assert find_galaxy10() == home / ".astroNN" / "datasets" / "Galaxy10_DECals.h5"


def test_comes_through_astronn(astronn, host):
    install(astronn, host.url)
    path = fetch(host, url=refused())
    assert path == find_galaxy10()
    assert path.read_bytes() == PAYLOAD
    assert left_in(path.parent) == ["Galaxy10_DECals.h5"]


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ("corrupt", "the file that came has SHA-256"),
        ("dropped", "ContentTooShortError"),
        ("refused", "URLError"),
        ("absent", "ImportError: no TensorFlow"),
    ],
)
def test_zenodo_stands_in_for_astronn(astronn, host, monkeypatch, capfd, trouble, reason):
    if trouble != "absent":
        install(astronn, refused() if trouble == "refused" else host.url)
    from_zenodo = download._from_zenodo

    def mended(url, part):
        host.payload, host.drop_after = PAYLOAD, None
        return from_zenodo(url, part)

    monkeypatch.setattr(download, "_from_zenodo", mended)
    if trouble == "corrupt":  # astroNN alone would fetch it again and again
        host.payload = PAYLOAD[:-1] + b"?"
    elif trouble == "dropped":
        host.drop_after = 1000
    path = fetch(host)
    assert path.read_bytes() == PAYLOAD
    assert left_in(path.parent) == ["Galaxy10_DECals.h5"]
    assert f"Nothing from astroNN: {reason}" in capfd.readouterr().err


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # pypdl, of cut segments
def test_dropped_download_is_resumed_by_the_next_call(host, capfd):
    host.drop_after = 50_000
    with pytest.raises(DataError) as error:
        fetch(host)
    assert "no astroNN" in str(error.value)
    assert host.url in str(error.value)
    assert "--data PATH" in str(error.value)
    assert "--preset demo" in str(error.value)
    del error
    gc.collect()  # where the warning is let pass
    assert find_galaxy10() is None
    had = sum(p.stat().st_size for p in galaxy10_path().parent.glob("*.part.[0-9]"))
    assert 50_000 <= had <= 5 * 50_000

    host.drop_after, host.sent = None, 0
    capfd.readouterr()
    path = fetch(host)
    assert "astroNN" not in capfd.readouterr().err  # which would start over
    assert path.read_bytes() == PAYLOAD
    assert len(PAYLOAD) - had <= host.sent <= len(PAYLOAD) - had + 2  # and a byte to ask the size
    assert left_in(path.parent) == ["Galaxy10_DECals.h5"]


def test_record_of_a_download_that_was_cut_short_does_not_block_the_next(host):
    folder = galaxy10_path().parent
    folder.mkdir(parents=True)
    (folder / "Galaxy10_DECals.h5.part.json").write_text("{")
    (folder / "Galaxy10_DECals.h5.part.0").write_bytes(b"old")
    assert fetch(host).read_bytes() == PAYLOAD


def test_corrupt_download_is_named_and_not_kept(host):
    host.payload = PAYLOAD[:-1] + b"?"
    with pytest.raises(DataError) as error:
        fetch(host)
    found = hashlib.sha256(host.payload).hexdigest()
    for part in (str(galaxy10_path()), SHA256, found, "--data PATH", "--preset demo"):
        assert part in str(error.value)
    assert left_in(galaxy10_path().parent) == []


@pytest.mark.parametrize(("status", "reason"), [(404, "404"), (None, "ClientConnectorError")])
def test_host_without_the_file(host, status, reason):
    host.status = status
    with pytest.raises(DataError, match=reason):
        fetch(host, url=host.url if status else refused())
    assert left_in(galaxy10_path().parent) == []


def test_corrupt_file_of_the_user_is_left_alone(host):
    galaxy10_path().parent.mkdir(parents=True)
    galaxy10_path().write_bytes(b"half")
    with pytest.raises(DataError, match="Remove it") as error:
        fetch(host)
    found = hashlib.sha256(b"half").hexdigest()
    for part in (str(galaxy10_path()), SHA256, found, "--data PATH", "--preset demo"):
        assert part in str(error.value)
    assert galaxy10_path().read_bytes() == b"half"
    assert host.sent == 0


def test_is_hashed_once_until_it_changes(host, monkeypatch):
    path = galaxy10_path()
    path.parent.mkdir(parents=True)
    path.write_bytes(PAYLOAD)
    fetch(host)
    with monkeypatch.context() as patch:
        patch.setattr("trainable.cache.checksum", lambda path: pytest.fail("hashed again"))
        assert fetch(host) == path
    path.write_bytes(PAYLOAD[:-1] + b"?")  # same size, later
    with pytest.raises(DataError, match=SHA256):
        fetch(host)


def test_waits_for_another_process_and_takes_its_file(host, capfd):
    path = galaxy10_path()
    path.parent.mkdir(parents=True)
    other = FileLock(f"{path}.lock")
    other.acquire()
    result = []
    thread = threading.Thread(target=lambda: result.append(fetch(host)))
    thread.start()
    thread.join(0.3)
    assert thread.is_alive()
    path.write_bytes(PAYLOAD)
    other.release()
    thread.join()
    assert result == [path]
    assert host.sent == 0
    assert "waiting" in capfd.readouterr().err


def test_full_disk_is_noticed_first(host):
    with pytest.raises(DataError, match=r"GB free, Galaxy10 needs 1000000000\.0"):
        fetch(host, free_bytes=10**18)
    assert host.sent == 0


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="a folder that refuses is POSIX")
def test_folder_that_cannot_be_made(home, host):
    (home / ".astroNN").write_text("a file in the way")
    with pytest.raises(DataError, match=r"cannot store Galaxy10 as .*\.astroNN"):
        fetch(host)


def test_installed_astronn_has_what_we_use():
    tree = ast.parse((ASTRONN / "datasets" / "galaxy10.py").read_text())
    imported = {a.name for n in tree.body if isinstance(n, ast.ImportFrom) for a in n.names}
    assert {"astroNN_CACHE_DIR", "filehash"} <= imported
    load = next(n for n in tree.body if getattr(n, "name", None) == "load_data")
    assert [argument.arg for argument in load.args.args] == ["flag"]
    texts = {n.value for n in ast.walk(load) if isinstance(n, ast.Constant)}
    assert {download.FILE_NAME, "datasets", GALAXY10_SHA256.upper()} <= texts
    config = ast.unparse(ast.parse((ASTRONN / "config.py").read_text()))
    assert "os.path.join(os.path.expanduser('~'), '.astroNN')" in config


def test_imports_neither_astronn_nor_tensorflow():
    code = (
        "import sys, trainable.download\n"
        "print(sorted({'astroNN', 'tensorflow', 'pypdl'} & set(sys.modules)))"
    )
    root = Path(download.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
