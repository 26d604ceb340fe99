import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import VisionTransformer
from torchvision.models.vision_transformer import ConvStemConfig

from trainable.models.attention_rollout import class_token_maps, recorded_attention, rollout

STEM = [ConvStemConfig(8, 3, 2), ConvStemConfig(8, 3, 2)]


def vit(stem=None, layers=3):
    """16 tokens and the class token, with dropout, which must not show in evaluation."""
    torch.manual_seed(0)
    model = VisionTransformer(
        image_size=16,
        patch_size=4,
        num_layers=layers,
        num_heads=2,
        hidden_dim=12,
        mlp_dim=16,
        dropout=0.1,
        attention_dropout=0.1,
        num_classes=3,
        conv_stem_configs=stem,
    )
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4)
    return model


IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def plain_attention(model, images):
    """Attention of each layer by the formula: softmax(q·k / √d), head by head."""
    found = []

    def keep(block, args):
        x = block.ln_1(args[0])  # (B, T, D)
        layer = block.self_attention
        q, k, _ = (x @ layer.in_proj_weight.T + layer.in_proj_bias).chunk(3, dim=-1)
        heads = []
        for head in range(layer.num_heads):
            part = slice(head * layer.head_dim, (head + 1) * layer.head_dim)
            scores = q[..., part] @ k[..., part].transpose(1, 2) / layer.head_dim**0.5
            heads.append(scores.softmax(-1))
        found.append(sum(heads) / len(heads))

    hooks = [block.register_forward_pre_hook(keep) for block in model.encoder.layers]
    with torch.no_grad():
        model(images)
    for hook in hooks:
        hook.remove()
    return found


def plain_rollout(attention):
    """Abnar & Zuidema's sums, token by token, of one image."""
    tokens = len(attention[0])
    result = np.eye(tokens)
    for layer in attention:
        mixed = [[layer[i][j] + (i == j) for j in range(tokens)] for i in range(tokens)]
        mixed = [[value / sum(row) for value in row] for row in mixed]
        result = np.array(
            [
                [sum(mixed[i][k] * result[k][j] for k in range(tokens)) for j in range(tokens)]
                for i in range(tokens)
            ]
        )
    return result


@pytest.mark.parametrize("stem", [None, STEM], ids=["patches", "convolutional stem"])
def test_equals_a_plain_computation(stem):
    model = vit(stem).eval()
    plain = plain_attention(model, IMAGES)
    with torch.no_grad(), recorded_attention(model) as attention:
        model(IMAGES)
    torch.testing.assert_close(torch.stack(attention), torch.stack(plain))
    together = rollout(attention)
    for number in range(len(IMAGES)):
        expected = plain_rollout([layer[number].double().numpy() for layer in plain])
        np.testing.assert_allclose(together[number].numpy(), expected, atol=1e-5)
    maps, _ = class_token_maps(model, IMAGES)
    expected = together[:, 0, 1:] / together[:, 0, 1:].sum(dim=1, keepdim=True)
    torch.testing.assert_close(maps, expected.view(2, 4, 4))


def test_rows_sum_to_one():
    model = vit().eval()
    with torch.no_grad(), recorded_attention(model) as attention:
        model(IMAGES)
    torch.testing.assert_close(rollout(attention).sum(dim=-1), torch.ones(2, 17))
    maps, probabilities = class_token_maps(model, IMAGES)
    torch.testing.assert_close(maps.sum(dim=(1, 2)), torch.ones(2))
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(2))


def test_no_attention_to_others_leaves_each_token_itself():
    eye = torch.eye(5)[None]
    torch.testing.assert_close(rollout([eye, eye]), eye)


def test_even_attention_stays_even_among_patches():
    even = torch.full((1, 5, 5), 0.2)
    (row,) = rollout([even] * 4)[:, 0, 1:]
    torch.testing.assert_close(row, row[:1].expand(4))


def test_the_model_is_left_as_it_was():
    model = vit().train()
    with torch.no_grad():
        expected = model.eval()(IMAGES).softmax(1)
    model.train()
    _, probabilities = class_token_maps(model, IMAGES)
    torch.testing.assert_close(probabilities, expected)
    assert model.training
    layers = [block.self_attention for block in model.encoder.layers]
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in layers)


def test_other_models_are_refused():
    with pytest.raises(ValueError, match="needs a torchvision VisionTransformer, not Linear"):
        class_token_maps(nn.Linear(3, 2), torch.zeros(1, 3))
