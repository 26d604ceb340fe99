"""The gradients of a step, whichever way they are computed."""

import functools
import shutil
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torchvision.models import VisionTransformer

from trainable import backbones, steps
from trainable.backbones import ARCHITECTURES
from trainable.engine import Run
from trainable.protocol import AS_RUN


def losses(run: Run) -> list[list[float]]:
    while not run.finished:
        run.step_epoch()
    return [[row["train_loss"], row["val_loss"]] for row in run.history]


def batch_of(n: int, size: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(1)
    images = torch.randn(n, 3, size, size, generator=random)
    return images, torch.randint(0, 5, (n,), generator=random)


@pytest.mark.parametrize("batch_size", [1, 7, 32])
def test_closed_form_of_a_head_is_autograds(batch_size):
    linear = nn.Linear(20, 5)
    head = backbones.Head("heads.head", linear)
    features, labels = torch.randn(batch_size, 20), batch_of(batch_size)[1]
    logits = steps.of_head(head, autocast=False)(features, labels)
    found = [p.grad.clone() for p in head.parameters()]
    expected = torch.autograd.grad(
        functional.cross_entropy(linear(features), labels), [*head.parameters()]
    )
    assert torch.equal(logits, linear(features))
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)


def plain() -> nn.Module:
    """A ViT whose patches go through one convolution, as those of ViT-B/16."""
    return VisionTransformer(
        image_size=32, patch_size=8, num_layers=6, num_heads=4, hidden_dim=128, mlp_dim=256
    )


def saved_bytes(trained: str, batch: torch.Tensor, labels: torch.Tensor) -> int:
    """What autograd keeps for the backward pass, parameters aside."""
    model = backbones.build(
        "plain", num_classes=5, init="scratch", weights=None, trained=trained, seed=0
    )
    backbones.set_training(model)
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = functional.cross_entropy(model(batch), labels)
    loss.backward()
    return sum(kept.values())


def test_a_frozen_encoder_keeps_fewer_activations(monkeypatch):
    """No input of a frozen layer is kept for a weight gradient that nobody asks for."""
    monkeypatch.setitem(ARCHITECTURES, "plain", replace(ARCHITECTURES["vit_demo"], build=plain))
    as_run, everything = (saved_bytes(t, *batch_of(8)) for t in ("as_run", "all"))
    assert as_run < 0.75 * everything


def test_what_is_frozen_has_neither_gradients_nor_optimiser_state(make_run):
    run = make_run("pretrained", protocol=AS_RUN)
    run.step_epoch()
    moving = {name for name, p in run.model.named_parameters() if p.grad is not None}
    assert {name.split(".")[0] for name in moving} == {"class_token", "conv_proj", "heads"}
    in_optimiser = {p for p in run.optimiser.state if run.optimiser.state[p]}
    assert in_optimiser == {p for n, p in run.model.named_parameters() if n in moving}
    moments = sum(s["exp_avg"].numel() for s in run.optimiser.state.values())
    assert moments == sum(p.numel() for p in in_optimiser)


@pytest.mark.parametrize("trained", ["all", "as_run"])
def test_attention_takes_the_fused_kernel_in_training(monkeypatch, trained):
    calls, attention = [], functional.scaled_dot_product_attention
    monkeypatch.setattr(
        functional,
        "scaled_dot_product_attention",
        lambda *a, **k: (calls.append(1), attention(*a, **k))[1],
    )
    model = backbones.build(
        "vit_demo", num_classes=5, init="scratch", weights=None, trained=trained, seed=0
    )
    backbones.set_training(model)
    model(batch_of(2)[0])
    assert len(calls) == len(model.encoder.layers)


@pytest.mark.parametrize("trained", ["all", "as_run"])
def test_short_sequences_take_plain_products_on_a_cpu(make_run, monkeypatch, trained):
    """Losses within 1e-5 of those by the fused kernel."""
    settings = {"init": "scratch", "max_epochs": 2, "trained": trained}
    plain_products = losses(make_run(**settings))
    monkeypatch.setattr(steps, "SHORT", 0)
    fused = losses(make_run(**settings))
    np.testing.assert_allclose(plain_products, fused, rtol=1e-5)
    assert plain_products != fused
    assert steps.attention_kernel(make_run(**settings).model, torch.device("cpu")) is nullcontext


def tiny() -> nn.Module:
    return VisionTransformer(
        image_size=32, patch_size=16, num_layers=1, num_heads=2, hidden_dim=16, mlp_dim=16
    )


INDUCTOR = pytest.param(
    "inductor",
    marks=pytest.mark.skipif(not shutil.which("g++"), reason="inductor needs a C++ compiler"),
)


@pytest.mark.parametrize("backend", ["aot_eager", INDUCTOR])
def test_compiled_follows_eager(make_run, monkeypatch, backend):
    """Losses of three epochs within 1e-4; a last, smaller batch compiles nothing anew."""
    monkeypatch.setitem(ARCHITECTURES, "tiny", replace(ARCHITECTURES["vit_demo"], build=tiny))
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    settings = {"arch": "tiny", "max_epochs": 3, "learning_rate": 1e-3, "batch_size": 20}
    expected = losses(make_run(**settings))  # 48 images: two whole batches and one of 8
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend))
    with torch._dynamo.config.patch(error_on_recompile=True):
        found = losses(make_run(**settings, compile=True))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_bf16_follows_fp32(make_run):
    """Within 3 % of the losses over four epochs, and not the same."""
    found, expected = (losses(make_run(precision=p, max_epochs=4)) for p in ("bf16", "fp32"))
    np.testing.assert_allclose(found, expected, rtol=0.03)
    assert found != expected


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_tensor_float_32_only_where_it_is_asked_for(make_run, precision):
    """Also when the process has run another trial before."""
    make_run(precision="fp32" if precision == "tf32" else "tf32")
    make_run(precision=precision)
    on = precision == "tf32"
    assert torch.get_float32_matmul_precision() == ("high" if on else "highest")
    assert torch.backends.cudnn.allow_tf32 == on
