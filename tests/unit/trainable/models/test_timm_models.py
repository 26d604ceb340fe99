"""timm's models as architectures: their input, features, blocks, weights and names."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from timm.models import save_for_hf

from trainable.data.dataset import open_survey
from trainable.data.pixels import normalise
from trainable.data.preprocess import transform_images
from trainable.errors import SettingsError, WeightsError
from trainable.models import architectures
from trainable.models.base import on_meta
from trainable.models.features import cached_features, feature_key
from trainable.run import TrainingRun

SMALL = ("test_vit", "test_resnet", "test_efficientnet", "test_convnext", "test_byobnet")
"""timm's own models for tests, of 0.2 to 0.6 M parameters."""


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("resnet50.a1_in1k", 224),  # bicubic, crop 0.95
        ("vit_base_patch16_clip_quickgelu_224", 224),  # another mean and standard deviation
        ("convnext_base.fb_in22k_ft_in1k_384", 384),  # squash
        ("test_resnet", 160),  # bilinear
    ],
)
@pytest.mark.parametrize("picture", [(256, 256), (300, 247)])
def test_images_are_as_timm_evaluates_the_model(name, size, picture):
    spec = architectures.architecture(f"timm:{name}")
    config = timm.data.resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())
    reference = timm.data.create_transform(**config)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*picture, 3), np.uint8))
    small = np.asarray(transform_images("evaluation", size, spec.evaluation)(image))
    assert (spec.image_size, small.shape) == (size, (size, size, 3))
    found = normalise(torch.from_numpy(small.copy())[None], spec.mean, spec.std)[0]
    assert torch.allclose(found, reference(image), atol=1e-6)


@pytest.mark.parametrize("name", [*SMALL, "deit_tiny_distilled_patch16_224"])
def test_the_head_is_given_what_timm_pools(name):
    spec = architectures.architecture(f"timm:{name}")
    model = architectures.build(
        f"timm:{name}", num_classes=3, init="scratch", weights=None, trained="head", seed=0
    ).eval()
    images = torch.randn(2, 3, spec.image_size, spec.image_size)
    given = []
    model.head.register_forward_pre_hook(lambda _, features: given.append(features[0]))
    with torch.no_grad():
        assert model(images).shape == (2, 3)
        assert torch.equal(given[0], model.backbone(images))  # timm's output without a classifier


def test_another_seed_is_another_model():
    one, same, other = (
        architectures.build(
            "timm:test_vit", num_classes=3, init="scratch", weights=None, trained="all", seed=seed
        ).state_dict()
        for seed in (1, 1, 2)
    )
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["head.weight"], other["head.weight"])
    assert not torch.equal(one["backbone.cls_token"], other["backbone.cls_token"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet5O", r"no model 'resnet5O'; close to it are resnet50, .*--list-archs"),
        ("zzz", r"no model 'zzz'\. --list-archs"),
        ("resnet50.imagenet", r"no weights 'imagenet' for resnet50; it has resnet50\.a1_in1k, "),
        ("qwen3_vit_88m_enc", "something else than a classifier"),
        ("vit_base_patch16_sapiens2", "1024 × 768 pixels"),
        ("deepseek_vit_412m", "frames its images by 'border'"),
        ("local-dir:/nowhere", "save_for_hf"),
    ],
)
def test_names_that_cannot_be_used(name, message):
    with pytest.raises(SettingsError, match=message):
        architectures.architecture(f"timm:{name}")


def test_a_model_without_weights():
    spec = architectures.architecture("timm:test_mambaout")
    assert (spec.weights, spec.default_weights) == ({}, None)
    with pytest.raises(WeightsError, match=r"none are known.*--weights PATH"):
        architectures.build(
            "timm:test_mambaout",
            num_classes=3,
            init="pretrained",
            weights=None,
            trained="all",
            seed=0,
        )


def test_weights_are_those_of_the_name():
    spec = architectures.architecture("timm:vit_base_patch16_clip_quickgelu_224.openai")
    assert dict(spec.weights) == {"openai": "hf-hub:timm/vit_base_patch16_clip_224.openai"}
    assert spec.default_weights == "openai"
    assert spec.licence == "apache-2.0"


def trained(arch, part):
    model = on_meta(architectures.architecture(arch).build)
    architectures.choose_trained(model, architectures.architecture(arch), part)
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def test_last_blocks_of_a_vision_transformer():
    names = trained("timm:vit_tiny_patch16_224", "last_2")
    parts = {re.sub(r"^(head|backbone\.(blocks\.\d+|\w+)).*", r"\1", name) for name in names}
    assert parts == {"head", "backbone.blocks.10", "backbone.blocks.11", "backbone.norm"}


@pytest.mark.parametrize(
    ("arch", "stages"),
    [
        ("timm:resnet18", {"layer4"}),
        ("timm:convnext_atto", {"stages.3", "head"}),
        ("timm:swin_tiny_patch4_window7_224", {"layers.3", "norm"}),
        ("timm:efficientnet_b0", {"blocks.6", "conv_head", "bn2"}),
        ("timm:densenet121", {"features.denseblock4", "features.norm5"}),
        ("timm:cait_xxs24_224", {"blocks.23", "blocks_token_only.1", "norm"}),  # by a function
        ("timm:vit_relpos_small_patch16_224", {"blocks.11", "fc_norm"}),
    ],
)
def test_last_stage_and_what_follows_it(arch, stages):
    names = trained(arch, "last_1") - {"head.weight", "head.bias"}
    assert {s for s in stages if any(n.startswith(f"backbone.{s}.") for n in names)} == stages
    assert all(any(n.startswith(f"backbone.{s}.") for s in stages) for n in names)


def test_every_stage_is_less_than_all():
    spec = architectures.architecture("timm:resnet18")
    names = trained("timm:resnet18", "last_4")
    assert trained("timm:resnet18", "all") - names == {
        f"backbone.{name}" for name in ("conv1.weight", "bn1.weight", "bn1.bias")
    }
    with pytest.raises(SettingsError, match=r"has 4 blocks or stages; train last_1 to last_4"):
        architectures.choose_trained(on_meta(spec.build), spec, "last_5")


@pytest.mark.parametrize(
    ("arch", "message"),
    [("timm:caformer_s18", "no blocks of MetaFormer"), ("timm:rdnet_tiny", "no stages of RDNet")],
)
def test_models_whose_blocks_timm_does_not_name(arch, message):
    with pytest.raises(SettingsError, match=message):
        trained(arch, "last_1")


def test_the_notebooks_part_is_not_in_timms_models():
    with pytest.raises(SettingsError, match="of a torchvision Vision Transformer"):
        trained("timm:test_vit", "non_encoder")


@pytest.fixture
def folder(tmp_path):
    """A model as timm writes it, with a classifier of 7 classes and a normalisation of its own."""
    with torch.random.fork_rng():
        torch.manual_seed(4)
        model = timm.create_model("test_resnet", num_classes=7)
    for buffer in model.buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 1.5)
    config = {"mean": (0.1, 0.2, 0.3), "input_size": (3, 64, 64), "license": "mit"}
    extra = {"pretrained_cfg": config}
    save_for_hf(model, tmp_path / "encoder", model_config=extra, safe_serialization=True)
    return tmp_path / "encoder", model


def local(folder):
    return f"timm:local-dir:{folder}"


def test_a_folder_that_timm_wrote(folder):
    path, written = folder
    arch = local(path)
    spec = architectures.architecture(arch)
    assert (spec.image_size, spec.mean, spec.licence) == (64, (0.1, 0.2, 0.3), "mit")
    model = architectures.build(
        arch,
        num_classes=3,
        init="pretrained",
        weights=spec.default_weights,
        trained="head",
        seed=0,
    ).eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        features = written.eval().forward_head(written.forward_features(images), pre_logits=True)
        assert torch.equal(model(images), model.head(features))


def build_pretrained(path):
    return architectures.build(
        local(path),
        num_classes=3,
        init="pretrained",
        weights="model.safetensors",
        trained="head",
        seed=0,
    )


def test_a_folder_of_something_else(folder, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vit"}))  # of transformers
    with pytest.raises(SettingsError, match="its architecture is None, which is no model of timm"):
        architectures.architecture(local(tmp_path))
    path = folder[0]
    save_file({"conv1.0.weight": torch.zeros(3, 3)}, path / "model.safetensors")
    with pytest.raises(WeightsError, match=r"is not of local-dir:.*size mismatch for conv1"):
        build_pretrained(path)


def test_weights_that_timm_would_load_without_a_word(folder):
    """A file with half of the tensors: what is missing would stay random."""
    path = folder[0]
    state = load_file(path / "model.safetensors")
    save_file({k: v for k, v in state.items() if "layer4" not in k}, path / "model.safetensors")
    with pytest.raises(WeightsError, match=r"is not of local-dir:.*leaves \d+ weights .*layer4"):
        build_pretrained(path)


@pytest.fixture
def make_config(make_run, tmp_path):
    """A trial of a small model of timm; arguments override it."""
    config = make_run("scratch").config
    config = replace(config, data=replace(config.data, cache_dir=str(tmp_path / "cache")))

    def make(arch="timm:test_resnet", **overrides):
        own = {"arch": arch, "transform": "evaluation", "max_epochs": 1, "batch_size": 30}
        return replace(config, **own | overrides)

    return make


@pytest.mark.parametrize("name", ["test_vit", "test_efficientnet"])
def test_features_equal_the_way_through_the_model(make_config, name):
    """With BatchNorm in one of them."""
    config = make_config(f"timm:{name}", trained="head", learning_rate=0.01)
    cached, through = (
        TrainingRun(replace(config, cache_features=cached)) for cached in (True, False)
    )
    rows = [run.step_epoch() for run in (cached, through)]
    for loss in ("train_loss", "val_loss"):
        assert rows[0][loss] == pytest.approx(rows[1][loss], abs=1e-5)


def test_many_architectures_in_one_process(make_config, survey_path):
    """Each has its own features; images are shared by those that frame them alike."""
    survey = open_survey(survey_path)
    names = ("vit_demo", "timm:test_vit", "timm:test_resnet", "timm:test_vit")
    configs = [make_config(name, trained="head") for name in names]
    keys = [feature_key(survey, config, torch.device("cpu")) for config in configs]
    assert keys[1] == keys[3]
    assert len({json.dumps(key, sort_keys=True) for key in keys}) == 3
    widths = [cached_features(survey, config, device="cpu").shape[1] for config in configs]
    assert widths == [128, 64, 96, 64]
    sizes = [architectures.size(name, num_classes=3, trained="all") for name in names]
    assert sizes[1] == sizes[3]
    assert len({size.parameters for size in sizes}) == 3


@pytest.mark.parametrize("part", ["head", "last_1"])
def test_batch_norm_statistics_of_frozen_stages_stay_put(make_config, part):
    run = TrainingRun(make_config(trained=part, cache_features=False))
    before = {name: buffer.clone() for name, buffer in run.model.named_buffers()}
    run.step_epoch()
    moved = {
        name.split(".")[1]
        for name, buffer in run.model.named_buffers()
        if not torch.equal(buffer, before[name])
    }
    assert moved == (set() if part == "head" else {"layer4"})
