import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from trainable import backbones
from trainable.pretrain import Pretraining, augment, main


@pytest.fixture
def folder(tmp_path):
    random = np.random.default_rng(0)
    for part in ("train", "test"):
        for kind, colour in (("blue", 2), ("red", 0)):
            (tmp_path / "things" / part / kind).mkdir(parents=True)
            for i in range(16):
                image = random.integers(0, 80, (32, 32, 3), np.uint8)
                image[..., colour] += 150
                Image.fromarray(image).save(tmp_path / "things" / part / kind / f"{i}.png")
    return tmp_path / "things"


def test_writes_weights_that_a_trial_can_start_from(folder, tmp_path, capsys):
    out = tmp_path / "made.safetensors"
    main(Pretraining(data=str(folder), out=out, epochs=6, batch_size=8, device="cpu"))
    with safe_open(out, "pt") as file:
        metadata = file.metadata()
        assert file.get_tensor("class_token").dtype == torch.float16
    assert metadata["source"] == "things"
    assert metadata["classes"] == '["blue", "red"]'
    assert float(metadata["test_accuracy"]) > 0.9
    assert str(tmp_path) not in metadata["source"]
    model = backbones.build(
        "vit_demo", num_classes=5, init="pretrained", weights=str(out), trained="head", seed=0
    )
    assert model.heads.head.out_features == 5


def test_augment_shifts_and_mirrors():
    images = torch.arange(4 * 8 * 8 * 3).reshape(4, 8, 8, 3).to(torch.uint8)
    moved = augment(images, torch.Generator().manual_seed(0), pad=2)
    assert moved.shape == images.shape
    assert moved.dtype == torch.uint8
    assert not torch.equal(moved, images)
    mirrored = {
        torch.equal(augment(images, torch.Generator().manual_seed(s), pad=0)[0], images[0].flip(1))
        for s in range(8)
    }
    assert mirrored == {True, False}


def test_shipped_weights_say_what_they_are():
    with safe_open(backbones.weights_file("vit_demo", "photographs"), "pt") as file:
        metadata = file.metadata()
    assert float(metadata["test_accuracy"]) > 0.7
    assert metadata["command"].startswith("python -m trainable.pretrain ")
