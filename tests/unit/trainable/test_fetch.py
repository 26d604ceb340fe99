from pathlib import Path

import pytest

from trainable.data import download
from trainable.errors import DataError
from trainable.fetch import main
from trainable.models import architectures
from trainable.models.architectures import SHIPPED


@pytest.fixture
def galaxy10(monkeypatch):
    """Galaxy10 as if it were there."""
    monkeypatch.setattr(download, "fetch_galaxy10", lambda: Path("/cache/Galaxy10_DECals.h5"))


def test_both_paths_are_printed(galaxy10, capsys):
    assert main(["--arch", "vit_demo", "--weights", "rendered"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "/cache/Galaxy10_DECals.h5",
        str(SHIPPED / "vit_demo-rendered.safetensors"),
    ]


@pytest.mark.parametrize(
    ("arch", "weights"),
    [
        ("vit_b_16", "IMAGENET1K_V1"),
        ("vit_demo", "photographs"),
        ("resnet50", "IMAGENET1K_V2"),
        ("timm:resnet18", "a1_in1k"),
    ],
)
def test_the_default_weights_are_the_architectures(galaxy10, monkeypatch, capsys, arch, weights):
    monkeypatch.setattr(architectures, "weights_file", lambda *asked: Path("/cache", *asked))
    assert main(["--arch", arch]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"/cache/{arch}/{weights}"


def test_an_architecture_without_weights_is_said_before_anything_is_fetched(monkeypatch, capsys):
    monkeypatch.setattr(download, "fetch_galaxy10", lambda: pytest.fail("fetched"))
    assert main(["--arch", "timm:test_mambaout"]) == 2
    assert "no weights of it are known" in capsys.readouterr().err


def test_unknown_weights_are_the_users_to_mend(galaxy10, capsys):
    assert main(["--arch", "vit_demo", "--weights", "unheard-of"]) == 2
    assert "unheard-of" in capsys.readouterr().err


def test_a_failed_download_is_the_users_to_mend(monkeypatch, capsys):
    def fail():
        raise DataError("could not fetch it")

    monkeypatch.setattr(download, "fetch_galaxy10", fail)
    assert main([]) == 2
    assert "could not fetch it" in capsys.readouterr().err
