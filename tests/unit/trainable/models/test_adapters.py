"""LoRA by peft; its import takes seconds."""

import sys
from dataclasses import replace

import pytest
import torch

pytest.importorskip("peft")

from trainable import checkpoint
from trainable.errors import SettingsError
from trainable.models import architectures
from trainable.models.adapters import adapted_layers, add_adapters, is_adapter
from trainable.models.base import on_meta
from trainable.run import TrainingRun


def build(arch, trained="lora", **overrides):
    settings = {"num_classes": 3, "init": "scratch", "weights": None, "seed": 0}
    return architectures.build(arch, trained=trained, **settings | overrides)


ARCHS = ("vit_demo", "timm:test_vit", "timm:test_resnet", "timm:test_efficientnet")


@pytest.mark.parametrize("arch", ARCHS)
def test_the_output_is_what_it_was_and_a_step_changes_it(arch):
    plain, model = build(arch, "head").eval(), build(arch).eval()
    size = architectures.architecture(arch).image_size
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(model(images), plain(images), atol=1e-6)
    architectures.set_training(model)
    parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
    optimiser = torch.optim.AdamW(parameters.values(), lr=0.01)
    for _ in range(2):  # the first moves B, which is zero; the second A, too
        torch.nn.functional.cross_entropy(model(images), torch.tensor([0, 1])).backward()
        optimiser.step()
    assert all(p.grad is not None for p in parameters.values())
    model.eval()
    with torch.no_grad():
        assert (model(images) - plain(images)).abs().max() > 1e-3


@pytest.mark.parametrize("arch", ARCHS)
def test_only_adapters_and_the_head_are_trained(arch):
    spec, model = architectures.architecture(arch), build(arch)
    names = {n for n, p in model.named_parameters() if p.requires_grad}
    heads = {f"{spec.head}.weight", f"{spec.head}.bias"}
    assert heads < names
    assert all(is_adapter(name) for name in names - heads)
    assert not any(is_adapter(name) for name, p in model.named_parameters() if not p.requires_grad)


@pytest.mark.parametrize(
    ("arch", "count"),
    [
        ("timm:vit_tiny_patch16_224", 12 * 4),  # qkv, proj, fc1, fc2
        ("vit_b_16", 12 * 2),  # the two layers of each MLP
        ("swin_t", 12 * 2 + 3),  # its attention takes the weights and computes by itself
        ("timm:swin_tiny_patch4_window7_224", 12 * 4 + 3),
        ("resnet18", 20),  # all convolutions
        ("mobilenet_v3_small", 42),  # its hidden Linear, and the convolutions but the depthwise
    ],
)
def test_layers_that_get_adapters(arch, count):
    spec = architectures.architecture(arch)
    layers = adapted_layers(spec)
    assert len(layers) == count
    assert spec.head not in layers
    model = on_meta(spec.build)
    with torch.device("meta"):
        add_adapters(model, spec, 4)
    architectures.choose_trained(model, spec, "lora")
    images = torch.empty(2, 3, spec.image_size, spec.image_size, device="meta")
    model(images).sum().backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_seed_and_rank_decide_the_adapters():
    one, same, other, wide = (
        {n: p for n, p in build("vit_demo", **settings).named_parameters() if is_adapter(n)}
        for settings in ({}, {}, {"seed": 1}, {"lora_rank": 16})
    )
    assert all(torch.equal(p, same[n]) for n, p in one.items())
    assert any(not torch.equal(p, other[n]) for n, p in one.items())
    assert sum(p.numel() for p in wide.values()) == 2 * sum(p.numel() for p in one.values())


def test_a_trial_trains_and_resumes(make_run, tmp_path):
    run = make_run("scratch", trained="lora", learning_rate=3e-3, max_epochs=4)
    frozen = {n: p.clone() for n, p in run.model.named_parameters() if not p.requires_grad}
    first = run.step_epoch()
    checkpoint.save(run, tmp_path, checkpoint.record(run))
    rows = [run.step_epoch() for _ in range(3)]
    assert rows[-1]["train_loss"] < first["train_loss"]
    assert all(torch.equal(p, run.model.get_parameter(n)) for n, p in frozen.items())
    again = TrainingRun(run.config)
    checkpoint.load(again, tmp_path)
    assert [again.step_epoch()["val_loss"] for _ in range(3)] == [row["val_loss"] for row in rows]
    assert (tmp_path / "best.safetensors").stat().st_size < 400_000  # the adapters alone


def test_a_forward_pass_is_the_same_in_both_modes(make_run):
    """Nothing is merged in evaluation."""
    run = make_run("scratch", trained="lora", learning_rate=1e-2, max_epochs=1)
    run.step_epoch()
    images = run.inputs[torch.arange(4)]
    with torch.no_grad():
        assert torch.allclose(run.model.train()(images), run.model.eval()(images), atol=1e-5)


def test_the_backward_pass_ends_below_the_first_adapter():
    """Gradients of the activations, and of the adapters, but not of the frozen weights."""
    size = architectures.size("timm:vit_tiny_patch16_224", num_classes=10, trained="lora")
    assert size.backward_flops == pytest.approx(size.forward_flops, rel=0.15)
    assert size.trained_parameters < 0.06 * size.parameters


def test_a_rank_that_makes_no_sense(make_run):
    config = make_run("scratch").config
    with pytest.raises(SettingsError, match="LoRA rank 0: must be at least 1"):
        replace(config, lora_rank=0)


def test_without_peft(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(SettingsError, match=r"pip install 'vit-label-sweep\[lora\]'"):
        build("vit_demo")
