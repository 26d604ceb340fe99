"""Our way of attention against torch's, on the same parameters."""

import copy

import pytest
import torch
from torch import nn
from torchvision.models.vision_transformer import EncoderBlock

from trainable.models import architectures
from trainable.models.attention import SelfAttention, use_one_product, use_torchs_way
from trainable.models.attention_rollout import class_token_maps

WIDTH, HEADS = 32, 4


@pytest.fixture
def block() -> EncoderBlock:
    """A block of torchvision's, with biases that are not zero."""
    torch.manual_seed(0)
    block = EncoderBlock(
        HEADS, WIDTH, 64, 0.0, 0.0, norm_layer=lambda width: nn.LayerNorm(width, 1e-6)
    )
    with torch.no_grad():
        block.self_attention.in_proj_bias.normal_()
        block.self_attention.out_proj.bias.normal_()
    return block


def tokens(dtype=torch.float32) -> torch.Tensor:
    return torch.randn(3, 9, WIDTH, generator=torch.Generator().manual_seed(1)).to(dtype)


def result_and_gradients(block: nn.Module, *, autocast: bool) -> list[torch.Tensor]:
    """A block's output, and the gradients of its input and of every parameter."""
    given = tokens().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        out = block(given)
    wanted = [given, *block.parameters()]
    weights = torch.linspace(-1, 1, out.numel()).view_as(out)
    gradients = torch.autograd.grad((out * weights).sum(), wanted)
    return [out.detach().float(), *gradients]


def test_float32_is_torchs_within_rounding(block):
    """Output and all gradients within 1e-5 of their largest value."""
    ours = copy.deepcopy(block)
    use_one_product(ours)
    found, expected = (result_and_gradients(b, autocast=False) for b in (ours, block))
    assert len(found) == 14
    assert any(not torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    for one, other in zip(found, expected, strict=True):
        assert (one - other).abs().max() <= 1e-5 * other.abs().max()


def test_torchs_way_comes_back(block):
    ours = copy.deepcopy(block)
    use_one_product(ours)
    use_torchs_way(ours)
    found, expected = (result_and_gradients(b, autocast=False) for b in (ours, block))
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_bfloat16_is_as_near_to_float32_as_torchs(block):
    """Output and all gradients; an error is at most 1.5 times that of torch's way."""
    ours = copy.deepcopy(block)
    use_one_product(ours)
    exact = result_and_gradients(block, autocast=False)
    found, torchs = (result_and_gradients(b, autocast=True) for b in (ours, block))
    assert any(not torch.equal(one, other) for one, other in zip(found, torchs, strict=True))
    for one, other, right in zip(found, torchs, exact, strict=True):
        scale = right.abs().max()
        error, allowed = (one - right).abs().max(), 1.5 * (other - right).abs().max()
        assert error <= max(allowed, 2**-8 * scale)


@pytest.mark.parametrize(
    "asked",
    [
        {"need_weights": True},
        {"need_weights": False, "attn_mask": torch.ones(9, 9).triu(1).bool()},
        {"need_weights": False, "key_padding_mask": torch.arange(9).expand(3, 9) > 6},
    ],
)
def test_what_it_cannot_do_is_torchs(block, monkeypatch, asked):
    """Also under autocast."""
    ours, theirs = copy.deepcopy(block.self_attention), block.self_attention
    ours.__class__ = SelfAttention
    monkeypatch.setattr(SelfAttention, "one_product", None)
    with torch.autocast("cpu", torch.bfloat16):
        found, expected = (layer(*[tokens()] * 3, **asked)[0] for layer in (ours, theirs))
    assert torch.equal(found, expected)


def test_dropout_draws_the_same_share(block):
    block.self_attention.dropout = 0.5
    use_one_product(block)
    x = tokens()
    torch.manual_seed(0)
    first, second = (block.self_attention(x, x, x, need_weights=False)[0] for _ in range(2))
    assert not torch.equal(first, second)
    block.eval()
    first, second = (block.self_attention(x, x, x, need_weights=False)[0] for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    "settings",
    [{"batch_first": False}, {"kdim": 16}, {"add_bias_kv": True}, {"add_zero_attn": True}],
)
def test_other_layers_than_a_blocks_are_left_alone(settings):
    layer = nn.MultiheadAttention(WIDTH, HEADS, **{"batch_first": True} | settings)
    use_one_product(layer)
    assert type(layer) is nn.MultiheadAttention


def build() -> nn.Module:
    return architectures.build(
        "vit_demo", num_classes=5, init="scratch", weights=None, trained="all", seed=0
    )


def test_a_built_model_has_it_under_torchs_names():
    plain, model = architectures.ARCHITECTURES["vit_demo"].build(), build()
    assert sum(isinstance(m, SelfAttention) for m in model.modules()) == 4
    assert model.state_dict().keys() == plain.state_dict().keys()


def test_attention_maps_are_still_to_be_had():
    """They ask for attention weights, under autocast too."""
    images = torch.randn(2, 3, 32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        maps, _ = class_token_maps(build(), images)
    assert torch.allclose(maps.float().sum((1, 2)), torch.ones(2), atol=1e-2)
