"""Learning rates and weight decay by layer and step."""

import math
from dataclasses import replace

import pytest
import timm
import torch
from timm.optim import param_groups_layer_decay

from trainable.errors import SettingsError
from trainable.models import architectures
from trainable.optimiser import (
    make_optimiser,
    parameter_groups,
    rate_factor,
    set_learning_rates,
    settle,
)
from trainable.protocol import MODERN, PAPER, PROTOCOLS


def test_warm_up_and_cosine_as_worked_by_hand():
    """Four steps of which one warms up: the cosine of 0, 60° and 120°."""
    found = [rate_factor(step, 4, 0.25) for step in (1, 2, 3, 4)]
    assert found == pytest.approx([1, 1, 0.75, 0.25])
    assert [rate_factor(step, 8, 0.5) for step in (1, 2, 3, 4)] == [0.25, 0.5, 0.75, 1]


@pytest.mark.parametrize(("steps", "warmup"), [(7, 0.0), (100, 0.05), (3, 0.05), (1, 0.05)])
def test_the_rate_rises_to_the_whole_and_falls_without_reaching_zero(steps, warmup):
    found = [rate_factor(step, steps, warmup) for step in range(1, steps + 1)]
    top = found.index(max(found))
    assert found[top] == 1
    assert found[: top + 1] == sorted(found[: top + 1])
    assert found[top:] == sorted(found[top:], reverse=True)
    assert found[-1] > 0


@pytest.fixture
def modern(make_run):
    """A run by protocol `modern`; keyword arguments override its configuration."""

    def make(init="pretrained", **overrides):
        config = make_run(init).config
        recipe = MODERN.recipe(init)
        own = {
            "trained": recipe.trained,
            "learning_rate": recipe.learning_rate,
            "layer_decay": recipe.layer_decay,
            "decay_vectors": MODERN.decay_vectors,
            "weight_decay": MODERN.weight_decay,
        }
        return replace(config, **own | overrides)

    return make


def built(config):
    return architectures.build_for(replace(config, init="scratch", weights=None), 3)


def by_name(model, groups, what):
    """Name of each parameter → a number of its group."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    found = [(names[p], group[what]) for group in groups for p in group["params"]]
    assert len(dict(found)) == len(found)  # none is in two groups
    return dict(found)


def test_each_block_of_a_vision_transformer_has_three_quarters_of_the_rate_above_it(modern):
    config = modern(learning_rate=2e-3)
    model = built(config)
    rates = by_name(model, parameter_groups(model, config), "lr")
    assert rates.keys() == dict(model.named_parameters()).keys()
    depth = {"heads.head": 0, "encoder.ln": 1, "class_token": 5, "conv_proj": 5}
    depth |= {"encoder.pos_embedding": 5}
    depth |= {f"encoder.layers.encoder_layer_{block}.": 4 - block for block in range(4)}
    for name, rate in rates.items():
        (place,) = [d for start, d in depth.items() if name.startswith(start)]
        assert rate == pytest.approx(2e-3 * 0.75**place), name


def test_no_weight_decay_of_biases_norms_and_embeddings(modern):
    config = modern("scratch")
    model = built(config)
    groups = parameter_groups(model, config)
    assert {group["lr"] for group in groups} == {config.learning_rate}  # scratch: one rate
    plain = {name for name, decay in by_name(model, groups, "weight_decay").items() if decay == 0}
    for name, parameter in model.named_parameters():
        embedding = name in ("class_token", "encoder.pos_embedding")
        assert (name in plain) == (embedding or parameter.ndim == 1), name
    assert {group["weight_decay"] for group in groups} == {0, 0.05}


@pytest.mark.parametrize(
    "name",
    [
        "vit_tiny_patch16_224",
        "deit_tiny_distilled_patch16_224",
        "vit_relpos_small_patch16_224",
        "resnet18",
        "convnext_atto",
        "efficientnet_b0",
        "swin_tiny_patch4_window7_224",
        "cait_xxs24_224",
    ],
)
def test_timms_models_have_timms_own_groups(modern, name):
    config = modern(arch=f"timm:{name}")
    ours = architectures.on_meta(architectures.architecture(config.arch).build)
    theirs = architectures.on_meta(lambda: timm.create_model(name))
    expected = param_groups_layer_decay(
        theirs,
        weight_decay=0.05,
        no_weight_decay_list=theirs.no_weight_decay() if hasattr(theirs, "no_weight_decay") else (),
    )
    found = parameter_groups(ours, config)
    classifiers = theirs.pretrained_cfg["classifier"]
    starts = tuple(
        f"{c}." for c in ([classifiers] if isinstance(classifiers, str) else classifiers)
    )
    for what in ("lr_scale", "weight_decay"):
        numbers = by_name(ours, found, what)
        assert numbers.pop("head.weight") == {"lr_scale": 1, "weight_decay": 0.05}[what]
        assert numbers.pop("head.bias") == {"lr_scale": 1, "weight_decay": 0}[what]
        known = by_name(theirs, expected, what)
        assert numbers == {
            f"backbone.{n}": number for n, number in known.items() if not n.startswith(starts)
        }


def test_stages_of_a_convolutional_network_of_torchvision(modern):
    config = modern(arch="resnet18", trained="last_2")
    model = built(config)
    groups = parameter_groups(model, config)
    scales = by_name(model, groups, "lr_scale")
    assert {(name.split(".")[0], scale) for name, scale in scales.items()} == {
        ("layer3", 0.75**2),
        ("layer4", 0.75),
        ("fc", 1.0),
    }


@pytest.mark.parametrize("arch", ["vgg11", "alexnet"])
def test_a_network_without_known_blocks_is_refused(modern, arch):
    config = modern(arch=arch)
    model = architectures.on_meta(architectures.architecture(arch).build)
    with pytest.raises(SettingsError, match=f"'modern': no blocks of {arch} are known"):
        parameter_groups(model, config)


def test_adapters_learn_at_the_rate_of_their_block(modern):
    pytest.importorskip("peft")
    config = modern(trained="lora")
    model = built(config)
    scales = by_name(model, parameter_groups(model, config), "lr_scale")
    adapters = {name: scale for name, scale in scales.items() if "lora_" in name}
    assert len(adapters) == 4 * 2 * 2  # blocks, layers of their MLPs, A and B
    for name, scale in adapters.items():
        assert scale == 0.75 ** (4 - int(name.split("encoder_layer_")[1][0]))


@pytest.mark.parametrize("name", ["paper", "authors", "demo"])
def test_the_papers_optimiser_is_one_group_at_one_rate(make_run, name):
    protocol = PROTOCOLS[name]
    run = make_run("pretrained", protocol=protocol, cache_features=False)
    (group,) = make_optimiser(run.model, run.config).param_groups
    assert (group["weight_decay"], group["lr"]) == (
        PAPER.weight_decay,
        protocol.pretrained.learning_rate,
    )
    assert len(group["params"]) == sum(p.requires_grad for p in run.model.parameters())


def test_rates_of_each_step_and_layer_of_a_run(modern_run):
    """lr = rate · 0.75^depth · factor, over the steps of all epochs, whatever is reported."""
    run = modern_run(max_epochs=3, batch_size=20)
    steps = math.ceil(len(run.partition.train) / 20)
    seen, step = [], run.optimiser.step
    run.optimiser.step = lambda: (
        seen.append(by_name(run.model, run.optimiser.param_groups, "lr")),
        step(),
    )
    rows = [run.step_epoch() for _ in range(3)]
    total = 3 * steps
    assert len(seen) == total
    for number, rates in enumerate(seen):
        warm = 0.05 * total  # less than a step
        fallen = (number - warm) / (total - warm)
        factor = 1 if number == 0 else (1 + math.cos(math.pi * fallen)) / 2
        rate = MODERN.pretrained.learning_rate * factor
        assert rates["heads.head.weight"] == pytest.approx(rate)
        assert rates["encoder.layers.encoder_layer_0.mlp.0.bias"] == pytest.approx(rate * 0.75**4)
        assert rates["class_token"] == pytest.approx(rate * 0.75**5)
    assert [row["learning_rate"] for row in rows] == [
        rates["heads.head.weight"] for rates in seen[steps - 1 :: steps]
    ]


def test_learning_rates_of_captured_steps_are_tensors_that_stay(modern):
    """A number would stay in the graph as it was; a state of either kind is taken on by the other."""
    config = modern()
    model = built(config)
    optimiser = make_optimiser(model, config, captured=True)
    rates = [group["lr"] for group in optimiser.param_groups]
    plain = make_optimiser(model, config)
    for step in (1, 7, 40):
        set_learning_rates(optimiser, config, step, 40)
        set_learning_rates(plain, config, step, 40)
        groups = zip(optimiser.param_groups, rates, plain.param_groups, strict=True)
        for group, rate, other in groups:
            assert group["lr"] is rate
            assert group["capturable"]
            assert rate.item() == pytest.approx(other["lr"])
    plain.load_state_dict(optimiser.state_dict())
    settle(plain, captured=False)
    assert all(isinstance(g["lr"], float) and not g["capturable"] for g in plain.param_groups)
    optimiser.load_state_dict(plain.state_dict())
    settle(optimiser, captured=True)
    assert all(isinstance(g["lr"], torch.Tensor) for g in optimiser.param_groups)
