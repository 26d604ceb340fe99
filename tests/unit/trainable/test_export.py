"""Exported networks are the trial's: by the library that loads them, and by onnxruntime."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from trainable import export
from trainable.classifier import Classifier
from trainable.errors import OutputError, SettingsError
from trainable.exported import classify
from trainable.models import architectures

NAMES = ("disc", "bulge", "ring")


def classifier(arch, transform="evaluation", *, trained="all", change=None) -> Classifier:
    """An untrained network with a last layer whose outputs are of some size."""
    model = architectures.build(
        arch, num_classes=3, init="scratch", weights=None, trained=trained, seed=0
    )
    if change:
        change(model)
    spec = architectures.architecture(arch)
    head = architectures.last_linear(model, spec.head)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(1)
        if any(isinstance(module, nn.BatchNorm2d) for module in model.modules()):
            for _ in range(20):  # its statistics, without which features hardly vary
                model.train()(torch.randn(4, 3, spec.image_size, spec.image_size))
        head.weight.normal_(std=0.2)
    model.set_submodule(spec.head, nn.Identity())
    return Classifier(
        arch=arch,
        transform=transform,
        precision="fp32",
        backbone=model.eval(),
        head=head.eval(),
        class_names=NAMES,
        backbone_id="",
        identity="",
    )


@pytest.fixture(scope="module")
def pictures():
    """Pictures of several sizes and shapes."""
    random = np.random.default_rng(0)
    sizes = ((40, 40), (61, 37), (33, 70), (300, 200))
    small = [random.integers(0, 256, (*size, 3), np.uint8) for size in sizes]
    return [Image.fromarray(image).resize((image.shape[1] * 2, 90)) for image in small]


def probabilities(of: Classifier, pictures, temperature):
    frames = np.stack([np.asarray(of.frame(picture)) for picture in pictures])
    features = of.features(frames, torch.device("cpu"), "fp32")
    return (of.logits(features) / temperature).softmax(1).numpy()


@pytest.fixture(scope="module")
def exported(pictures, tmp_path_factory):
    """A network and the folder of its export: each takes seconds."""
    of, folder = classifier("vit_demo", "resize"), tmp_path_factory.mktemp("export") / "exported"
    export.export(of, 1.0, folder, pictures=pictures[:2], card=lambda check: "")
    return of, folder


@pytest.mark.parametrize(
    ("arch", "transform"),
    [
        ("vit_demo", "resize_crop"),
        ("shufflenet_v2_x0_5", "evaluation"),
        ("timm:test_vit", "evaluation"),
        ("timm:test_byobnet", "resize"),
    ],
)
def test_files_give_the_probabilities_of_the_network(arch, transform, pictures, tmp_path):
    of = classifier(arch, transform)
    expected = probabilities(of, pictures, 1.7)
    folder = tmp_path / "exported"
    check = export.export(of, 1.7, folder, pictures=pictures, card=lambda check: "a card")
    assert check.images == len(pictures)
    assert max(check.onnx, check.loaded) <= export.TOLERANCE
    np.testing.assert_allclose(classify.probabilities(pictures, folder), expected, atol=1e-4)
    assert np.ptp(expected, axis=0).max() > 1e-3  # the pictures are not all the same to it
    config = json.loads((folder / "config.json").read_text())
    assert config["num_classes"] == 3
    assert tuple(config["label_names"]) == NAMES
    assert config["temperature"] == 1.7
    assert (folder / "README.md").read_text() == "a card"
    assert [path.name for path in tmp_path.iterdir()] == ["exported"]


def test_script_needs_neither_torch_nor_this_project(exported, pictures, tmp_path):
    of, folder = exported
    pictures[1].save(tmp_path / "a.png")
    code = (
        "import sys, classify; classify.main(sys.argv[1:])\n"
        "print(sorted({'torch', 'trainable', 'torchvision'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "a.png"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    line, modules = done.stdout.splitlines()
    assert modules == "[]"
    expected = probabilities(of, pictures[1:2], 1.0)[0]
    found = json.loads(line)
    assert found["class"] == NAMES[expected.argmax()]
    np.testing.assert_allclose(list(found["probabilities"].values()), expected, atol=1e-4)


@pytest.mark.parametrize("arch", ["vit_demo", "shufflenet_v2_x0_5", "timm:test_vit"])
@pytest.mark.parametrize("transform", ["resize", "resize_crop", "evaluation"])
def test_script_frames_as_training_does(arch, transform, pictures):
    of = classifier("vit_demo")
    of = replace(of, arch=arch, transform=transform)
    how = export.framing(of)
    for picture in pictures:
        assert np.array_equal(classify.frame(picture, how), np.asarray(of.frame(picture)))


def test_script_reads_pictures_as_training_does():
    from trainable.data.pictures import as_rgb

    how = {"size": 8, "resize": 8, "mode": "squash", "interpolation": "bilinear"}
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 4), np.uint8)
    for picture in (Image.fromarray(pixels), Image.fromarray(pixels[..., 0])):
        assert np.array_equal(classify.frame(picture, how), np.asarray(as_rgb(picture)))
    with pytest.raises(ValueError, match="scale its values to 8 bits"):
        classify.frame(Image.fromarray(pixels[..., 0].astype(np.uint16)), how)


def test_adapters_are_merged(pictures, tmp_path):
    pytest.importorskip("peft")

    def grow(model):
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.1)

    of = classifier("timm:test_vit", trained="lora", change=grow)
    plain = classifier("timm:test_vit")
    expected = probabilities(of, pictures, 1.0)
    assert np.abs(expected - probabilities(plain, pictures, 1.0)).max() > 0.01
    check = export.export(of, 1.0, tmp_path / "e", pictures=pictures, card=lambda check: "")
    assert check.loaded <= export.TOLERANCE
    np.testing.assert_allclose(
        classify.probabilities(pictures, tmp_path / "e"), expected, atol=1e-4
    )


class TestRefused:
    def test_folder_that_is_there(self, pictures, tmp_path):
        with pytest.raises(OutputError, match="is there already"):
            export.export(
                classifier("vit_demo"), 1.0, tmp_path, pictures=pictures, card=lambda check: ""
            )

    def test_export_that_is_not_the_network(self, exported, pictures, tmp_path, monkeypatch):
        of, folder = exported
        written = (folder / "model.onnx").read_bytes()  # at temperature 1, and 1.1 is asked for
        monkeypatch.setattr(export, "_write_onnx", lambda *a: a[-1].write_bytes(written))
        with pytest.raises(OutputError, match=r"model\.onnx is not the trial: .* by up to 0\.0"):
            export.export(of, 1.1, tmp_path / "e", pictures=pictures, card=lambda c: "")
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("package", ["onnx", "onnxruntime", "onnxscript"])
    def test_missing_package(self, package, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(SettingsError, match=rf"--export needs {package}, which is not inst"):
            export.export(
                classifier("vit_demo"), 1.0, tmp_path / "e", pictures=[], card=lambda c: ""
            )


def test_crop_share_is_what_timm_makes_the_size_of_again():
    import math

    for size in (32, 160, 224, 384):
        for resize in range(size, size + 60):
            share = export._crop_share(size, resize)
            assert math.floor(size / share) == resize
