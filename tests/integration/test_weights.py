"""Weights from a server."""

import functools
import hashlib
import http.server
import threading
from dataclasses import replace

import pytest
import torch

from trainable.errors import WeightsError
from trainable.models import architectures
from trainable.models.architectures import ARCHITECTURES
from trainable.models.weights import read_weights


class TestDownload:
    """Torch hub's cache, filled from a server on this machine."""

    @pytest.fixture
    def served(self, tmp_path, monkeypatch):
        monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
        monkeypatch.setattr(torch.hub, "_hub_dir", None)
        folder = tmp_path / "served"
        folder.mkdir()
        handler = functools.partial(_Quiet, directory=str(folder))
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            yield folder, f"http://127.0.0.1:{server.server_port}"
            server.shutdown()
            thread.join()

    def register(self, monkeypatch, url):
        spec = replace(ARCHITECTURES["vit_demo"], weights={"NAMED": url})
        monkeypatch.setitem(ARCHITECTURES, "vit_demo", spec)

    def test_good_then_from_the_cache(self, served, monkeypatch):
        folder, url = served
        state = ARCHITECTURES["vit_demo"].build().state_dict()
        torch.save(state, folder / "w.pth")
        digest = hashlib.sha256((folder / "w.pth").read_bytes()).hexdigest()[:8]
        named = (folder / "w.pth").rename(folder / f"vit-{digest}.pth")
        self.register(monkeypatch, f"{url}/{named.name}")
        path = architectures.weights_file("vit_demo", "NAMED")
        named.unlink()
        assert architectures.weights_file("vit_demo", "NAMED") == path
        assert read_weights(path).keys() == state.keys()

    def test_corrupt_is_not_left_in_place(self, served, monkeypatch):
        folder, url = served
        (folder / "vit-01234567.pth").write_bytes(b"not what was promised")
        self.register(monkeypatch, f"{url}/vit-01234567.pth")
        for _ in range(2):
            with pytest.raises(WeightsError, match="--preset demo"):
                architectures.weights_file("vit_demo", "NAMED")

    def test_missing(self, served, monkeypatch):
        self.register(monkeypatch, f"{served[1]}/vit-01234567.pth")
        with pytest.raises(WeightsError, match="404"):
            architectures.weights_file("vit_demo", "NAMED")


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        """Nothing on the tests' terminal."""
