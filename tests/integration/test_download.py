"""Galaxy10's download against a server on this machine: whole, dropped, corrupt, absent."""

import asyncio
import gc
import hashlib
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

from trainable.data import download
from trainable.data.download import fetch_galaxy10, find_galaxy10, galaxy10_path
from trainable.errors import DataError

PAYLOAD = bytes(range(256)) * 4096  # 1 MiB
SHA256 = hashlib.sha256(PAYLOAD).hexdigest()
FROM_ASTRONN = download._from_astronn
INSTALLED = download.ASTRONN_FETCH


class Host:
    """What the server sends and what it was asked; tests change it as they go."""

    def __init__(self):
        self.payload = PAYLOAD
        self.status = 200
        self.drop_after = None  # bytes of a segment that arrive before the line goes dead
        self.sent = 0  # bytes of the file
        self.asked = []  # paths of the requests with an answer
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
                state.asked.append(self.path)
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
def astronn(monkeypatch):
    """Fetch through a process; `astronn(*command)` says which, the folder is its last argument."""
    monkeypatch.setattr(download, "_from_astronn", FROM_ASTRONN)

    def by(*command):
        monkeypatch.setattr(download, "ASTRONN_FETCH", command)

    return by


STAND_IN = """
import pathlib, sys, urllib.request
content, folder = sys.argv[1], pathlib.Path(sys.argv[-1]) / "datasets"
if content == "reason":
    print("a warning of TensorFlow's\\nImportError: no TensorFlow")
    sys.exit(1)
if content == "killed":
    sys.exit(-9)
folder.mkdir(parents=True)
(folder / "Galaxy10_DECals.h5").write_bytes(b"corrupt")
"""


def fetch(host, **settings):
    return fetch_galaxy10(**{"url": host.url, "sha256": SHA256, "free_bytes": 0} | settings)


def left_in(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def refused():
    """An address where nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/"


def test_comes_through_the_installed_astronn(astronn, host, home):
    origin = host.url
    script = home / "fetch.py"  # puts the test's server behind the folder
    script.write_text(
        "import sys; from trainable.data.astronn_fetch import main\n"
        f"sys.exit(main([sys.argv[1], {origin!r}]))"
    )
    astronn(sys.executable, "-W", "ignore", "-c", script.read_text())
    path = fetch(host, url=refused())
    assert path == find_galaxy10()
    assert path.read_bytes() == PAYLOAD
    assert left_in(path.parent) == ["Galaxy10_DECals.h5"]
    assert host.asked == ["/Galaxy10_DECals.h5"]


def test_installed_astronn_does_not_ask_again_for_a_corrupt_file(host, home):
    """Alone it would, without end; and it tells a dropped connection."""
    host.payload = PAYLOAD[:-1] + b"?"
    code = (
        "import sys; from trainable.data.astronn_fetch import main\n"
        "code = main(sys.argv[1:3]); sys.exit(code or 10 + main(sys.argv[1:2] + [sys.argv[3]]))"
    )
    folder = home / "fetched"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, folder, host.url, refused()],
        cwd=Path(download.__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 11, done.stderr  # 0, then 1
    assert (folder / "datasets" / "Galaxy10_DECals.h5").read_bytes() == host.payload
    assert len(host.asked) == 1
    assert done.stdout.splitlines()[-1].startswith("URLError: ")


def test_command_is_the_module():
    assert INSTALLED[-2:] == ("-m", "trainable.data.astronn_fetch")
    done = subprocess.run(
        [*INSTALLED, "folder", "--what", "else"],
        cwd=Path(download.__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert "TypeError" in done.stderr  # a bug keeps its traceback


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ("corrupt", "the file that came has SHA-256"),
        ("reason", "ImportError: no TensorFlow"),
        ("killed", "ended with code"),
    ],
)
def test_zenodo_stands_in_for_astronn(astronn, host, capfd, trouble, reason):
    astronn(sys.executable, "-c", STAND_IN, trouble)
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


def test_imports_neither_astronn_nor_tensorflow():
    code = (
        "import sys, trainable.data.download\n"
        "print(sorted({'astroNN', 'tensorflow', 'pypdl'} & set(sys.modules)))"
    )
    root = Path(download.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
