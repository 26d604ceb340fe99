import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from trainable.errors import UserError
from trainable.models import architectures
from trainable.pretrain import trainer
from trainable.pretrain.__main__ import PROGRAM, main
from trainable.pretrain.images import augment
from trainable.pretrain.settings import Pretraining
from trainable.pretrain.trainer import pretrain


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
    pretrain(Pretraining(data=str(folder), out=out, epochs=6, batch_size=8, device="cpu"), "")
    assert list(tmp_path.glob("made*")) == [out]
    assert "epoch 6/6: training loss" in capsys.readouterr().out
    with safe_open(out, "pt") as file:
        metadata = file.metadata()
        assert file.get_tensor("class_token").dtype == torch.float16
    assert metadata["source"] == "things"
    assert metadata["classes"] == '["blue", "red"]'
    assert float(metadata["test_accuracy"]) > 0.9
    assert str(tmp_path) not in metadata["source"]
    model = architectures.build(
        "vit_demo", num_classes=5, init="pretrained", weights=str(out), trained="head", seed=0
    )
    assert model.heads.head.out_features == 5


def interrupt(after, monkeypatch):
    """An interrupt once so many batches are augmented."""
    batches = iter(range(after))

    def interrupted(*args, **kwargs):
        if next(batches, None) is None:
            raise KeyboardInterrupt
        return augment(*args, **kwargs)

    monkeypatch.setattr(trainer, "augment", interrupted)


def test_resumed_equals_uninterrupted_bit_for_bit(folder, tmp_path, monkeypatch):
    settings = Pretraining(
        data=str(folder), out=tmp_path / "whole.safetensors", epochs=3, batch_size=8, device="cpu"
    )
    pretrain(settings, "")
    cut = replace(settings, out=tmp_path / "cut.safetensors")
    with monkeypatch.context() as patch:
        interrupt(4 + 4 + 2, patch)  # amid the third epoch
        with pytest.raises(KeyboardInterrupt):
            pretrain(cut, "")
    torch.rand(1)  # the global random state is another one, as in a new process
    with pytest.raises(UserError, match="--resume or delete"):
        pretrain(cut, "")
    with pytest.raises(UserError, match="seed was 0"):
        pretrain(replace(cut, resume=True, seed=1), "")
    (folder.parent / "other").symlink_to(folder)
    with pytest.raises(UserError, match="source was things"):
        pretrain(replace(cut, resume=True, data=str(folder.parent / "other")), "")
    pretrain(replace(cut, resume=True), "")
    whole, resumed = load_file(settings.out), load_file(cut.out)
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[k], resumed[k]) for k in whole)
    assert not cut.state.exists()


def test_the_command_tells_how_to_resume(folder, tmp_path, monkeypatch, capsys):
    out = tmp_path / "made.safetensors"
    flags = ["--data", str(folder), "--out", str(out), "--epochs", "2", "--batch-size", "8"]
    command = f"{PROGRAM} {' '.join(flags)}"
    for after, said in (
        (1, f"to start again:\n  {command}"),
        (6, f"resume:\n  {command} --resume"),
    ):
        with monkeypatch.context() as patch:
            interrupt(after, patch)
            assert main(flags) == 130
        assert capsys.readouterr().out.rstrip().endswith(said)
    state = out.with_suffix(".state.pt")
    whole = state.read_bytes()
    state.write_bytes(whole[:1000])
    assert main([*flags, "--resume"]) == 2
    assert re.match(r"error: .*made\.state\.pt is missing or corrupt", capsys.readouterr().err)
    state.write_bytes(whole)
    assert main([*flags, "--resume"]) == 0
    with safe_open(out, "pt") as file:
        assert file.metadata()["command"] == command
    assert main([*flags, "--resume"]) == 2
    assert re.match(r"error: there is no .*made\.state\.pt to resume\n$", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("flag", "value"), [("--epochs", "0"), ("--batch-size", "-1"), ("--rendered-images", "3")]
)
def test_senseless_numbers_are_one_message_and_code_2(folder, tmp_path, capsys, flag, value):
    flags = ["--data", str(folder), "--out", str(tmp_path / "made.safetensors")]
    assert main([*flags, flag, value]) == 2
    assert capsys.readouterr().err.startswith(f"error: {flag} {value}: must be ")


def test_augment_shifts_and_flips():
    images = torch.arange(4 * 8 * 8 * 3).reshape(4, 8, 8, 3).to(torch.uint8)
    moved = augment(images, torch.Generator().manual_seed(0), pad=2)
    assert moved.shape == images.shape
    assert moved.dtype == torch.uint8
    assert not torch.equal(moved, images)
    flipped = {
        torch.equal(augment(images, torch.Generator().manual_seed(s), pad=0)[0], images[0].flip(1))
        for s in range(8)
    }
    assert flipped == {True, False}


CARDS = (architectures.SHIPPED / "README.md").read_text()


@pytest.mark.parametrize("name", ["photographs", "rendered"])
def test_shipped_weights_say_what_they_are(name):
    with safe_open(architectures.weights_file("vit_demo", name), "pt") as file:
        metadata = file.metadata()
    assert float(metadata["test_accuracy"]) > 0.6
    card = CARDS.split(f"## `vit_demo-{name}.safetensors`")[1].split("\n## ")[0]
    assert f"{100 * float(metadata['test_accuracy']):.1f}%" in card
    assert f"{metadata['epochs']} epochs" in card
    assert metadata["command"] in card
    assert ("near-domain" in card) == ("near-domain" in metadata["source"]) == (name == "rendered")


def test_shipped_weights_are_small():
    assert sum(path.stat().st_size for path in architectures.SHIPPED.iterdir()) < 5_000_000
