import pytest
import torch
from torch import nn

from trainable.errors import UserError, WeightsError
from trainable.models import architectures
from trainable.models.architectures import ARCHITECTURES
from trainable.models.weights import read_weights


@pytest.mark.parametrize(
    ("arch", "classes", "trained", "parameters", "moving"),
    [
        ("vit_b_16", 9, "all", 85_805_577, 85_805_577),
        ("vit_b_16", 9, "head", 85_805_577, 6_921),
        ("vit_b_16", 9, "non_encoder", 85_805_577, 598_281),
        ("vit_b_16", 1000, "all", 86_567_656, 86_567_656),
        ("vit_demo", 9, "all", 680_617, 680_617),
        ("vit_demo", 9, "head", 680_617, 1_161),
        ("vit_demo", 9, "non_encoder", 680_617, 148_265),
        ("vit_b_16", 9, "last_1", 85_805_577, 7_096_329),
        ("vit_demo", 9, "last_2", 680_617, 266_377),
    ],
)
def test_parameter_counts(arch, classes, trained, parameters, moving):
    size = architectures.size(arch, num_classes=classes, trained=trained)
    assert (size.parameters, size.trained_parameters) == (parameters, moving)


def test_forward_cost_of_vit_b_16():
    """17.6 GMAC, as published for ViT-B/16 at 224 pixels."""
    size = architectures.size("vit_b_16", num_classes=1000, trained="all")
    assert size.forward_flops == pytest.approx(2 * 17.56e9, rel=0.01)


def test_every_architecture_is_pinned():
    assert set(ARCHITECTURES) == {"vit_b_16", "vit_demo"}, "add its counts to the test above"


def build(**overrides):
    settings = {"num_classes": 5, "init": "scratch", "weights": None, "trained": "all", "seed": 0}
    return architectures.build("vit_demo", **settings | overrides)


def test_seed_decides_the_initialisation_and_leaves_the_global_state_alone():
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    one, same, other = build(seed=1), build(seed=1), build(seed=2)
    assert torch.equal(torch.rand(3), expected)
    for name, parameter in one.state_dict().items():
        assert torch.equal(parameter, same.state_dict()[name])
    assert not torch.equal(one.heads.head.weight, other.heads.head.weight)


def test_head_has_the_default_init_of_linear_not_zeros():
    bound = 1 / 128**0.5
    weight = build().heads.head.weight.detach()
    assert weight.abs().max() <= bound
    assert weight.std() == pytest.approx(bound / 3**0.5, rel=0.1)


def test_pretrained_takes_all_but_the_head(weights_path):
    given = read_weights(weights_path)
    model = build(init="pretrained", weights=str(weights_path))
    for name, tensor in model.state_dict().items():
        if not name.startswith("heads.head"):
            assert torch.equal(tensor, given[name])
    fresh = build()  # same seed: the head starts alike for both inits
    assert torch.equal(model.heads.head.weight, fresh.heads.head.weight)


@pytest.mark.parametrize(
    ("trained", "moving"),
    [("head", {"heads"}), ("non_encoder", {"class_token", "conv_proj", "heads"})],
)
def test_names_of_what_is_trained(trained, moving):
    for name, parameter in build(trained=trained).named_parameters():
        assert parameter.requires_grad == (name.split(".")[0] in moving), name


def test_unknown_names():
    with pytest.raises(UserError, match=r"vit_b_16, vit_demo, .*\(resnet50, "):
        architectures.architecture("resnet_50")
    with pytest.raises(WeightsError, match="IMAGENET1K_V1"):
        architectures.weights_file("vit_b_16", "IMAGENET22K")


def test_batch_norm_statistics_of_a_frozen_part_stay_put():
    """As for any classifier with BatchNorm."""
    from trainable.models.architectures import set_training, trained_state

    model = nn.Sequential(
        nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5)),
        nn.Sequential(nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 2)),
    )
    model[0].requires_grad_(False)
    set_training(model)
    frozen = {k: v.clone() for k, v in model[0].state_dict().items()}
    moving = model[1][0].running_mean.clone()
    model(torch.randn(16, 4))
    for name, tensor in model[0].state_dict().items():
        assert torch.equal(tensor, frozen[name])
    assert not torch.equal(model[1][0].running_mean, moving)
    assert [m.training for m in model[0]] == [False] * 3
    assert [m.training for m in model[1]] == [True] * 3
    assert trained_state(model).keys() == {
        *(f"1.0.{n}" for n in model[1][0].state_dict()),
        "1.2.weight",
        "1.2.bias",
    }


def test_a_linear_probe_is_trained_in_evaluation_mode():
    """Its dropout, too: the head sees what the frozen network gives, cached or not."""
    model = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 2)))
    model[0].requires_grad_(False)
    architectures.set_training(model)
    assert not any(m.training for m in model.modules())
    model.requires_grad_(True)
    architectures.set_training(model)
    assert all(m.training for m in model.modules())


def test_the_head_must_be_a_linear_layer():
    with pytest.raises(TypeError, match="the head '0' is a ReLU, expected a Linear"):
        architectures.last_linear(nn.Sequential(nn.ReLU()), "0")
