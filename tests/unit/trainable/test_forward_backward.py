"""The gradients of a step, whichever way they are computed."""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.compiled import assert_follows_eager, losses
from helpers.fake_gpu import (
    GPU,
    HostWaitedError,
    NoHostCopies,
    move_to_fake_gpu,
    watch_steps,
)
from torch import nn
from torch.nn import functional
from torchvision.models import VisionTransformer

from trainable import forward_backward
from trainable.errors import SettingsError
from trainable.models import architectures
from trainable.models.architectures import ARCHITECTURES
from trainable.protocol import AUTHORS


def batch_of(n: int, size: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(1)
    images = torch.randn(n, 3, size, size, generator=random)
    return images, torch.randint(0, 5, (n,), generator=random)


@pytest.mark.parametrize("batch_size", [1, 7, 32])
def test_closed_form_of_a_head_is_autograds(batch_size):
    linear = nn.Linear(20, 5)
    head = architectures.Head("heads.head", linear)
    features, labels = torch.randn(batch_size, 20), batch_of(batch_size)[1]
    logits = forward_backward.head_forward_backward(head, autocast=False)(features, labels)
    found = [p.grad.clone() for p in head.parameters()]
    expected = torch.autograd.grad(
        functional.cross_entropy(linear(features), labels), [*head.parameters()]
    )
    assert torch.equal(logits, linear(features))
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize("shares", [False, True])
def test_closed_form_with_smoothed_and_mixed_labels_is_autograds(shares):
    linear, features, labels = nn.Linear(20, 5), torch.randn(7, 20), batch_of(7)[1]
    if shares:
        labels = torch.rand(7, 5).softmax(1)
    head = architectures.Head("heads.head", linear)
    forward_backward.head_forward_backward(head, autocast=False, smoothing=0.1)(features, labels)
    found = [p.grad.clone() for p in head.parameters()]
    loss = functional.cross_entropy(linear(features), labels, label_smoothing=0.1)
    expected = torch.autograd.grad(loss, [*head.parameters()])
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)


def plain() -> nn.Module:
    """A ViT whose patches go through one convolution, as those of ViT-B/16."""
    return VisionTransformer(
        image_size=32, patch_size=8, num_layers=6, num_heads=4, hidden_dim=128, mlp_dim=256
    )


def saved_bytes(trained: str, batch: torch.Tensor, labels: torch.Tensor) -> int:
    """What autograd keeps for the backward pass, parameters aside."""
    model = architectures.build(
        "plain", num_classes=5, init="scratch", weights=None, trained=trained, seed=0
    )
    architectures.set_training(model)
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
    non_encoder, everything = (saved_bytes(t, *batch_of(8)) for t in ("non_encoder", "all"))
    assert non_encoder < 0.75 * everything


def test_what_is_frozen_has_neither_gradients_nor_optimiser_state(make_run):
    run = make_run("pretrained", protocol=AUTHORS)
    run.step_epoch()
    moving = {name for name, p in run.model.named_parameters() if p.grad is not None}
    assert {name.split(".")[0] for name in moving} == {"class_token", "conv_proj", "heads"}
    in_optimiser = {p for p in run.optimiser.state if run.optimiser.state[p]}
    assert in_optimiser == {p for n, p in run.model.named_parameters() if n in moving}
    moments = sum(s["exp_avg"].numel() for s in run.optimiser.state.values())
    assert moments == sum(p.numel() for p in in_optimiser)


@pytest.mark.parametrize("trained", ["all", "non_encoder"])
def test_attention_takes_the_fused_kernel_in_training(monkeypatch, trained):
    calls, attention = [], functional.scaled_dot_product_attention
    monkeypatch.setattr(
        functional,
        "scaled_dot_product_attention",
        lambda *a, **k: (calls.append(1), attention(*a, **k))[1],
    )
    model = architectures.build(
        "vit_demo", num_classes=5, init="scratch", weights=None, trained=trained, seed=0
    )
    architectures.set_training(model)
    model(batch_of(2)[0])
    assert len(calls) == len(model.encoder.layers)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # torch hides it itself
def test_compiled_follows_eager(make_run, monkeypatch):
    """Traced only; compiled with a C++ compiler in tests/integration."""
    assert_follows_eager(make_run, monkeypatch, "aot_eager")


def test_bf16_follows_fp32(make_run):
    """Within 3% of the losses over four epochs, and not the same."""
    found, expected = (losses(make_run(precision=p, max_epochs=4)) for p in ("bf16", "fp32"))
    np.testing.assert_allclose(found, expected, rtol=0.03)
    assert found != expected


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
@pytest.mark.parametrize("before", ["fp32", "tf32"])
def test_tensor_float_32_only_if_it_is_asked_for(before, precision):
    """Also if the process has run another trial before."""
    forward_backward.use_precision(before)
    forward_backward.use_precision(precision)
    on = precision == "tf32"
    assert torch.get_float32_matmul_precision() == ("high" if on else "highest")
    assert torch.backends.cudnn.allow_tf32 == on


@pytest.mark.parametrize(
    ("trained", "precision"),
    [("all", "fp32"), ("all", "bf16"), ("non_encoder", "fp32"), ("head", "fp32")],
)
def test_a_step_on_a_gpu_waits_for_nothing(make_run, monkeypatch, trained, precision):
    """Neither a copy between host and GPU nor a value read back, whatever is trained and shown."""
    run = make_run("pretrained", trained=trained, precision=precision, batch_size=8)
    move_to_fake_gpu(run, monkeypatch)
    assert watch_steps(run).operations > 50


def test_an_augmented_step_on_a_gpu_waits_for_nothing(make_run, monkeypatch):
    run = make_run(augment=True, cache_features=False, batch_size=8)
    move_to_fake_gpu(run, monkeypatch)
    assert watch_steps(run).operations > 50


def test_a_modern_step_on_a_gpu_waits_for_nothing(modern_run, monkeypatch):
    """With mixup, a schedule and rates by layer."""
    monkeypatch.setattr("trainable.run.MIXUP_LABELS", 10)
    run = modern_run(batch_size=8)
    move_to_fake_gpu(run, monkeypatch)
    assert watch_steps(run).operations > 50


@pytest.mark.parametrize(
    "waiting",
    [
        lambda on_gpu: on_gpu.new_tensor((0.5, 0.5)),
        lambda on_gpu: on_gpu.sum().item(),
        lambda on_gpu: on_gpu[on_gpu > 0],
        lambda on_gpu: on_gpu.copy_(torch.ones(4)),
        lambda on_gpu: torch.ones(4).to(on_gpu.device),
    ],
)
def test_what_makes_the_host_wait_is_noticed(waiting):
    on_gpu = torch.empty(4, device=GPU)
    with NoHostCopies():
        _ = 2 * on_gpu + torch.ones(())
        with pytest.raises(HostWaitedError):
            waiting(on_gpu)


@pytest.fixture
def switches():
    """Torch's switches as they were, afterwards."""
    filling = torch.utils.deterministic.fill_uninitialized_memory
    yield
    torch.use_deterministic_algorithms(False)
    torch.utils.deterministic.fill_uninitialized_memory = filling


@pytest.mark.parametrize(
    ("deterministic", "device", "on"),
    [(True, "cuda:1", True), (True, "cpu", False), (False, "cuda", False)],
)
def test_only_a_gpu_is_made_deterministic(monkeypatch, switches, deterministic, device, on):
    monkeypatch.delenv(forward_backward.WORKSPACE, raising=False)
    torch.use_deterministic_algorithms(not on)  # as another trial of the process left it
    forward_backward.use_determinism(deterministic, device)
    assert torch.are_deterministic_algorithms_enabled() == on
    assert not (on and torch.is_deterministic_algorithms_warn_only_enabled())
    assert (os.environ.get("CUBLAS_WORKSPACE_CONFIG") == ":4096:8") == on
    assert torch.utils.deterministic.fill_uninitialized_memory != on


def test_on_a_cpu_a_deterministic_run_is_the_same_run(make_run, switches):
    rows = []
    for deterministic in (False, True):
        forward_backward.use_determinism(deterministic, "cpu")
        run = make_run(max_epochs=2, deterministic=deterministic)
        rows += [[run.step_epoch()["train_loss"], run.step_epoch()["val_loss"]]]
    assert rows[0] == rows[1]


def test_an_operator_without_a_deterministic_kernel_is_named(make_run, switches):
    """Torch's own error, of an operator that has none on a CPU either."""
    torch.use_deterministic_algorithms(True)
    run = make_run(deterministic=True)
    forward = run.model.forward

    def unpooled(images):
        places = torch.zeros(len(images), 1, 1, 1, dtype=torch.int64)
        functional.max_unpool2d(images[:, :1, :1, :1], places, kernel_size=1)
        return forward(images)

    run.model.forward = unpooled
    with pytest.raises(SettingsError, match="max_unpooling2d_forward_out, which vit_demo uses"):
        run.step_epoch()
    run.model.forward = lambda images: 1 / 0
    with pytest.raises(ZeroDivisionError):
        run.step_epoch()
