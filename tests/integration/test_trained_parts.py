"""``python -m trainable`` with a network of timm, a file of weights, and a part that is trained."""

import json
import subprocess
import sys

import pandas as pd
import pytest
import timm
import torch
from helpers.surveys import ROOT
from safetensors.torch import load_file


@pytest.fixture(scope="module")
def train(survey_path, tmp_path_factory):
    """Run the command; its rows of epochs, the weights of its best epoch, its settings, its output."""
    folder = tmp_path_factory.mktemp("parts")

    def run(arch, name, *flags, out=None):
        weights = folder / f"{name}.pth"
        with torch.random.fork_rng():
            torch.manual_seed(7)
            torch.save(timm.create_model(name, num_classes=5).state_dict(), weights)
        out = out or folder / "-".join([name, *map(str, flags)]).replace("/", "_")
        command = [
            *(sys.executable, "-m", "trainable", "--data", survey_path, "--arch", arch),
            *("--weights", weights, "--device", "cpu", "--out", out, *flags),
        ]
        process = subprocess.run(
            list(map(str, command)), cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert process.returncode == 0, process.stderr
        rows = pd.read_csv(out / "progress.csv")
        settings = json.loads((out / "params.json").read_text())["run"]
        best = load_file(out / "checkpoint" / "best.safetensors")
        return rows, best, settings, torch.load(weights)

    return run


def parts(best):
    """What the names of the trained tensors begin with."""
    return {".".join(name.split(".")[:2]) for name in best}


SHORT = ("--max-epochs", 2, "--batch-size", 24, "--learning-rate", 1e-3)


def test_the_last_two_stages_of_a_resnet_18(train):
    rows, best, settings, before = train("timm:resnet18", "resnet18", "--trained", "last_2", *SHORT)
    assert rows.epoch.tolist() == [1, 2]
    assert rows.test_accuracy.notna().tolist() == [False, True]
    assert (settings["trained"], settings["cache_features"]) == ("last_2", True)
    assert parts(best) == {"backbone.layer3", "backbone.layer4", "head.weight", "head.bias"}
    moved = best["backbone.layer4.1.bn2.running_mean"]
    assert not torch.equal(moved, before["layer4.1.bn2.running_mean"])


def test_last_stages_give_the_same_whether_the_frozen_ones_are_cached_or_not(train):
    flags = ("--trained", "last_2", *SHORT)
    kept, *_ = train("timm:test_resnet", "test_resnet", *flags)
    through, _, settings, _ = train(
        "timm:test_resnet", "test_resnet", *flags, "--no-cache-features"
    )
    assert settings["cache_features"] is False
    for name in ("train_loss", "val_loss"):
        assert kept[name].tolist() == pytest.approx(through[name].tolist(), rel=1e-4)


def test_adapters(train):
    pytest.importorskip("peft")
    rows, best, settings, _ = train(
        "timm:test_resnet", "test_resnet", "--trained", "lora", "--lora-rank", 2, *SHORT
    )
    assert rows.epoch.tolist() == [1, 2]
    assert settings["lora_rank"] == 2
    adapters = {name: tensor for name, tensor in best.items() if "lora_" in name}
    assert best.keys() - adapters.keys() == {"head.weight", "head.bias"}
    assert len(adapters) > 10
    assert all(2 in tensor.shape[:2] for tensor in adapters.values())
    assert any(tensor.any() for name, tensor in adapters.items() if "lora_B" in name)


@pytest.mark.parametrize("trained", [(), ("--trained", "last_2")])
def test_the_modern_protocol(train, trained):
    """All layers, or the last two stages at rates by layer, of augmented images."""
    flags = ("--protocol", "modern", "--max-epochs", 2, "--batch-size", 24, *trained)
    rows, best, settings, _ = train("timm:test_resnet", "test_resnet", *flags)
    assert rows.epoch.tolist() == [1, 2]
    assert (settings["augment"], settings["cache_features"]) == (True, False)
    assert settings["protocol"] == ("modern+last_2" if trained else "modern")
    assert ("backbone.bn1.weight" in best) == (not trained)
    assert 0 < rows.learning_rate.iloc[-1] < settings["learning_rate"]
