import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from trainable import backbones, pretrain
from trainable.mock_catalogue import MockSurvey
from trainable.pretrain import Pretraining, main
from trainable.pretrain_images import augment, load_images


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
    assert list(tmp_path.glob("made*")) == [out]
    assert "epoch 6/6: training loss" in capsys.readouterr().out
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


def test_resumed_equals_uninterrupted_bit_for_bit(folder, tmp_path, monkeypatch):
    settings = Pretraining(
        data=str(folder), out=tmp_path / "whole.safetensors", epochs=3, batch_size=8, device="cpu"
    )
    main(settings)
    torn = replace(settings, out=tmp_path / "torn.safetensors")
    batches = iter(range(4 + 4 + 2))  # killed amid the third epoch

    def interrupted(*args, **kwargs):
        if next(batches, None) is None:
            raise KeyboardInterrupt
        return augment(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(pretrain, "augment", interrupted)
        with pytest.raises(KeyboardInterrupt):
            main(torn)
    torch.rand(1)  # the global random state is another one, as in a new process
    with pytest.raises(ValueError, match="--resume or delete"):
        main(torn)
    with pytest.raises(ValueError, match="seed was 0"):
        main(replace(torn, resume=True, seed=1))
    (folder.parent / "other").symlink_to(folder)
    with pytest.raises(ValueError, match="source was things"):
        main(replace(torn, resume=True, data=str(folder.parent / "other")))
    main(replace(torn, resume=True))
    whole, resumed = load_file(settings.out), load_file(torn.out)
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[k], resumed[k]) for k in whole)
    assert not torn.state.exists()


def test_resume_without_a_state_is_an_error(folder, tmp_path):
    with pytest.raises(ValueError, match=r"no .*never\.state\.pt to resume"):
        main(Pretraining(data=str(folder), out=tmp_path / "never.safetensors", resume=True))


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


def test_rendered_galaxies_are_those_of_no_survey(tmp_path, monkeypatch):
    monkeypatch.setenv("SWEEP_CACHE_DIR", str(tmp_path))
    (images, labels, names), (others, _, _) = load_images("rendered", 32, rendered=400)
    assert images.shape == (400, 32, 32, 3)
    assert others.shape == (40, 32, 32, 3)
    assert images.dtype == torch.uint8
    assert len(names) == len(labels.unique()) == 10
    seeds = {json.loads(h5py.File(f).attrs["settings"])["seed"] for f in tmp_path.glob("*.h5")}
    assert len(seeds) == 2
    assert MockSurvey().seed not in seeds


CARDS = (backbones.SHIPPED / "README.md").read_text()


@pytest.mark.parametrize("name", ["photographs", "rendered"])
def test_shipped_weights_say_what_they_are(name):
    with safe_open(backbones.weights_file("vit_demo", name), "pt") as file:
        metadata = file.metadata()
    assert float(metadata["test_accuracy"]) > 0.6
    card = CARDS.split(f"## `vit_demo-{name}.safetensors`")[1].split("\n## ")[0]
    assert f"{100 * float(metadata['test_accuracy']):.1f} %" in card
    assert f"{metadata['epochs']} epochs" in card
    assert metadata["command"] in card
    assert ("near-domain" in card) == ("near-domain" in metadata["source"]) == (name == "rendered")


def test_shipped_weights_are_small():
    assert sum(path.stat().st_size for path in backbones.SHIPPED.iterdir()) < 5_000_000
