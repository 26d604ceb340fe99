"""The page of `sweep.serve`, in a browser and by its interface for programs."""

import json
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest
from helpers.trained import small_sweep
from PIL import Image

pytest.importorskip("gradio")
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
ASK = """
import json, sys
from gradio_client import Client, handle_file
client = Client(sys.argv[1], verbose=False)
print(json.dumps(client.predict(handle_file(sys.argv[2]), api_name="/classify")))
"""


def serve(folder, *flags):
    """Start the page's process."""
    return subprocess.Popen(
        [sys.executable, "-m", "sweep.serve", "--from", str(folder), *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture(scope="module")
def address(tmp_path_factory, survey_path, weights_path):
    """Where the page of a small sweep of both inits is."""
    folder = tmp_path_factory.mktemp("served") / "small"
    small_sweep(folder, survey_path, weights_path, trained=("head",))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = serve(folder, "--port", str(port))
    url = f"http://127.0.0.1:{port}"
    try:
        for line in process.stdout:
            if url in line:
                break
        else:
            pytest.fail(f"the page ended with exit code {process.wait()}")
        for _ in range(100):
            try:
                urllib.request.urlopen(url, timeout=5).close()
                break
            except OSError:
                time.sleep(0.3)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=30)
        process.stdout.close()


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_the_page_in_a_browser_fetches_from_itself_alone(address, tmp_path):
    command = [
        *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"),
        f"--user-data-dir={tmp_path / 'profile'}",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        "--disable-background-networking",
        *("--disable-component-update", "--disable-sync", "--no-first-run"),
        *("--virtual-time-budget=20000", address),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)
    for text in (
        "What is in this picture?",
        "From scratch",
        "Pre-trained",
        "Nearest training images",
    ):
        assert text in done.stdout
    fetched = re.findall(r"""(?:src|href)=["'](https?://[^"']+)""", done.stdout)
    assert [url for url in fetched if not url.startswith(address)] == []


def test_a_picture_is_classified(address, tmp_path):
    path = tmp_path / "galaxy.png"
    values = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(values).save(path)
    done = subprocess.run(
        [sys.executable, "-c", ASK, address, path], capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert len(answer) == 1 + 4 * 2
    for label, remark in ((answer[1], answer[2]), (answer[5], answer[6])):
        shares = [row["confidence"] for row in label["confidences"]]
        assert sum(shares) == pytest.approx(1, abs=1e-3)
        assert "the training images" in remark


def test_what_is_no_picture_is_told(address, tmp_path):
    path = tmp_path / "notes.png"
    path.write_text("no picture")
    done = subprocess.run(
        [sys.executable, "-c", ASK, address, path], capture_output=True, text=True, timeout=180
    )
    assert done.returncode != 0
    assert "This picture cannot be read" in done.stderr
