"""torchvision's classifiers by name."""

import re

import pytest
import torch
import torchvision

from trainable.errors import SettingsError
from trainable.models import architectures
from trainable.models.base import last_linear, on_meta
from trainable.models.torchvision_models import LEFT_OUT, names


@pytest.mark.parametrize(
    ("name", "size", "resize", "interpolation", "weights"),
    [
        ("resnet50", 224, 232, "bilinear", "IMAGENET1K_V2"),
        ("resnet50.IMAGENET1K_V1", 224, 256, "bilinear", "IMAGENET1K_V1"),
        ("efficientnet_b3", 300, 320, "bicubic", "IMAGENET1K_V1"),
        ("vit_l_16", 224, 242, "bilinear", "IMAGENET1K_V1"),
        ("vit_b_16.IMAGENET1K_SWAG_E2E_V1", 384, 384, "bicubic", "IMAGENET1K_SWAG_E2E_V1"),
    ],
)
def test_images_are_as_the_weights_want_them(name, size, resize, interpolation, weights):
    spec = architectures.architecture(name)
    evaluation = spec.evaluation
    assert (spec.image_size, evaluation.resize, evaluation.interpolation) == (
        size,
        resize,
        interpolation,
    )
    assert (spec.transform, spec.default_weights) == ("evaluation", weights)
    assert list(spec.weights) == [weights]
    assert spec.weights[weights].startswith("https://download.pytorch.org/models/")
    assert spec.licence == ("cc-by-nc-4.0" if "SWAG" in weights else None)


def test_the_pinned_ones_are_as_the_paper_has_them():
    spec = architectures.architecture("vit_b_16")
    assert (spec.transform, spec.image_size) == (None, 224)
    assert spec is architectures.ARCHITECTURES["vit_b_16"]


def test_every_classifier_is_of_a_known_family():
    """Each has a last ``Linear``; those without blocks are the ones before residual networks."""
    known = torchvision.models.list_models(module=torchvision.models)
    assert set(names()) == set(known) - set(LEFT_OUT)
    without = {"alexnet", *(name for name in known if name.startswith("vgg"))}
    for name in ("alexnet", "vgg11", "mnasnet0_5", "shufflenet_v2_x0_5", "maxvit_t", "swin_v2_t"):
        spec = architectures.architecture(name)
        assert last_linear(on_meta(spec.build), spec.head).out_features == 1000
        assert (spec.blocks is None) == (name in without)


def trained(name, part):
    spec = architectures.architecture(name)
    model = on_meta(spec.build)
    architectures.choose_trained(model, spec, part)
    return {n for n, parameter in model.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize(
    ("name", "part", "expected"),
    [
        ("vit_demo", "last_1", {"encoder.layers.encoder_layer_3", "encoder.ln", "heads"}),
        ("resnet18", "last_1", {"layer4", "fc"}),
        ("resnet18", "last_2", {"layer3", "layer4", "fc"}),
        ("convnext_tiny", "last_1", {"features.7", "classifier"}),
        ("convnext_tiny", "last_2", {"features.5", "features.6", "features.7", "classifier"}),
        ("swin_t", "last_1", {"features.7", "norm", "head"}),
        ("efficientnet_b0", "last_1", {"features.7", "features.8", "classifier"}),
        ("mobilenet_v3_small", "last_1", {"features.11", "features.12", "classifier"}),
        ("densenet121", "last_1", {"features.denseblock4", "features.norm5", "classifier"}),
        ("shufflenet_v2_x0_5", "last_1", {"stage4", "conv5", "fc"}),
        ("mnasnet0_5", "last_1", {"layers.13", "layers.14", "layers.15", "classifier"}),
        ("regnet_y_400mf", "last_1", {"trunk_output.block4", "fc"}),
        ("maxvit_t", "last_1", {"blocks.3", "classifier"}),
    ],
)
def test_last_blocks_and_what_follows_them(name, part, expected):
    part_of = re.compile(
        r"(encoder\.layers\.\w+|encoder\.\w+|features\.\w+|layers\.\d+|blocks\.\d+"
        r"|trunk_output\.\w+|\w+)\."
    )
    assert {part_of.match(n)[1] for n in trained(name, part)} == expected


def test_families_have_as_many_blocks_as_published():
    counts = {
        "vit_demo": 4,
        "vit_b_16": 12,
        "resnet18": 4,
        "convnext_tiny": 4,
        "swin_t": 4,
        "efficientnet_b0": 7,
        "densenet121": 4,
        "regnet_y_400mf": 4,
        "shufflenet_v2_x0_5": 3,
        "maxvit_t": 4,
    }
    for name, count in counts.items():
        spec = architectures.architecture(name)
        assert len(spec.blocks(on_meta(spec.build))) == count, name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("googlenet", "outputs besides the logits; try timm:googlenet"),
        ("squeezenet1_0", "its last layer is a convolution"),
        ("resnet50.IMAGENET1K_V9", "it has IMAGENET1K_V1, IMAGENET1K_V2"),
        ("fasterrcnn_resnet50_fpn", "unknown architecture"),
        ("vit_dem0", r"\(vit_demo"),
    ],
)
def test_names_that_cannot_be_used(name, message):
    with pytest.raises(SettingsError, match=message):
        architectures.architecture(name)


def test_no_blocks_of_a_vgg():
    with pytest.raises(SettingsError, match="no blocks of this architecture are known"):
        trained("vgg11", "last_1")


def test_a_part_that_is_none():
    for part in ("last_0", "last_", "last_x", "last_01", "tail"):
        with pytest.raises(
            SettingsError, match="must be all, head, non_encoder, probe, lora, or last_1"
        ):
            trained("vit_demo", part)


@pytest.mark.parametrize("part", ["head", "last_1"])
def test_batch_norm_statistics_of_frozen_stages_stay_put(part):
    model = architectures.build(
        "resnet18", num_classes=3, init="scratch", weights=None, trained=part, seed=0
    )
    architectures.set_training(model)
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model(torch.randn(4, 3, 64, 64))
    moved = {
        name.split(".")[0]
        for name, buffer in model.named_buffers()
        if not torch.equal(buffer, before[name])
    }
    assert moved == (set() if part == "head" else {"layer4"})


def test_the_dropout_of_a_classifier_is_on_if_more_than_its_head_trains():
    for part, expected in (("head", False), ("last_1", True), ("all", True)):
        model = architectures.build(
            "efficientnet_b0", num_classes=3, init="scratch", weights=None, trained=part, seed=0
        )
        architectures.set_training(model)
        assert model.classifier[0].training == expected
        frozen = [
            m for m in model.features[1].modules() if isinstance(m, torchvision.ops.StochasticDepth)
        ]
        assert all(m.training == (part == "all") for m in frozen)
