"""Networks cut where their training begins, and training on what the frozen part gives."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from trainable import checkpoint
from trainable.data.dataset import open_survey
from trainable.models import architectures
from trainable.models.base import on_meta
from trainable.models.cut import cut, cut_of
from trainable.models.features import cached_tokens, features_folder, token_rows
from trainable.run import TrainingRun


def built(arch, trained):
    return architectures.build(
        arch, num_classes=3, init="scratch", weights=None, trained=trained, seed=0
    )


@pytest.mark.parametrize(
    ("arch", "trained", "shape"),
    [
        ("vit_demo", "last_1", (17, 128)),
        ("vit_demo", "last_3", (17, 128)),
        ("timm:test_resnet", "last_2", (48, 20, 20)),
        ("timm:test_efficientnet", "last_1", (48, 10, 10)),
        ("timm:test_convnext", "last_2", (32, 20, 20)),
    ],
)
def test_the_parts_one_after_the_other_are_the_network(arch, trained, shape):
    """Bit for bit, and under the same names."""
    model = built(arch, trained).eval()
    size = architectures.architecture(arch).image_size
    images = torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(1))
    below, above = cut(model)
    with torch.no_grad():
        tokens = below.eval()(images)
        assert tuple(tokens.shape[1:]) == cut_of(arch, trained).shape == shape
        assert torch.equal(above.eval()(tokens), model(images))
    assert not any(parameter.requires_grad for parameter in below.parameters())
    assert all(parameter.requires_grad for parameter in above.parameters())
    state, whole = (architectures.trained_state(part) for part in (above, model))
    assert state.keys() == whole.keys()
    assert all(state[name].data_ptr() == tensor.data_ptr() for name, tensor in whole.items())


@pytest.mark.parametrize(
    ("arch", "number", "shape"),
    [
        ("vit_b_16", 2, (197, 768)),
        ("resnet18", 1, (256, 14, 14)),
        ("swin_t", 1, (7, 7, 768)),
        ("convnext_tiny", 2, (384, 14, 14)),
        ("efficientnet_b0", 2, (112, 14, 14)),
        ("timm:vit_tiny_patch16_224", 4, (197, 192)),
        ("timm:beit_base_patch16_224", 1, (197, 768)),
    ],
)
def test_families_of_both_libraries(arch, number, shape):
    found = cut_of(arch, f"last_{number}")
    assert found.shape == shape
    assert (
        0
        < found.flops_above
        < architectures.size(arch, num_classes=1000, trained="all").forward_flops
    )
    assert found.image_bytes("fp32") == 2 * found.image_bytes("bf16") == 4 * np.prod(shape)


@pytest.mark.parametrize(
    ("arch", "trained"),
    [
        ("vit_demo", "all"),  # nothing is frozen
        ("timm:crossvit_9_240", "last_1"),  # two tensors pass
        ("timm:mvitv2_tiny", "last_1"),
    ],
)
def test_networks_that_are_not_cut(arch, trained):
    assert cut_of(arch, trained) is None
    spec = architectures.architecture(arch)
    model = on_meta(spec.build)
    architectures.choose_trained(model, spec, trained)
    assert cut(model) is None


@pytest.fixture
def make_config(make_run, tmp_path):
    """A run of the last blocks in a cache of its own; arguments override it."""
    config = make_run("scratch").config
    config = replace(config, data=replace(config.data, cache_dir=str(tmp_path / "cache")))

    def make(arch="vit_demo", **overrides):
        transform = "resize" if arch == "vit_demo" else "evaluation"
        own = {"arch": arch, "trained": "last_2", "transform": transform, "max_epochs": 3}
        return replace(config, **own | {"learning_rate": 1e-3} | overrides)

    return make


def finished(config):
    run = TrainingRun(config)
    while not run.finished:
        run.step_epoch()
    return run


@pytest.mark.parametrize(
    ("arch", "trained"),
    [
        ("vit_demo", "last_1"),
        ("vit_demo", "last_3"),
        ("timm:test_resnet", "last_2"),  # BatchNorm below and above the cut
        ("timm:test_efficientnet", "last_1"),
    ],
)
def test_training_on_tokens_equals_training_through_the_network(make_config, arch, trained):
    """Losses of two epochs within 1e-4 of the other's, and the statistics of BatchNorm."""
    config = make_config(arch, trained=trained, max_epochs=2, batch_size=30)
    kept, through = finished(config), finished(replace(config, cache_features=False))
    assert kept.inputs.array.shape[1:] == cut_of(arch, trained).shape
    assert through.inputs.array.dtype == np.uint8
    for ours, theirs in zip(kept.history, through.history, strict=True):
        for name in ("train_loss", "val_loss"):
            assert ours[name] == pytest.approx(theirs[name], rel=1e-4), name
    for name, tensor in kept.best["weights"].items():
        if "running" in name:
            assert torch.allclose(tensor, through.best["weights"][name], rtol=1e-4, atol=1e-4)


def test_a_run_on_tokens_resumes_bit_for_bit(make_config, tmp_path):
    config = make_config()
    whole, first = finished(config), TrainingRun(config)
    first.step_epoch()
    checkpoint.save(first, tmp_path / "c", checkpoint.record(first))
    second = TrainingRun(config)
    checkpoint.load(second, tmp_path / "c")
    while not second.finished:
        second.step_epoch()
    for name, tensor in architectures.trained_state(whole.model).items():
        assert torch.equal(tensor, architectures.trained_state(second.model)[name])


def test_weights_of_a_run_on_tokens_are_those_of_the_whole_network(make_config):
    run = finished(make_config())
    model = architectures.build_for(run.config, 3).eval()
    missing, unexpected = model.load_state_dict(run.best["weights"], strict=False)
    assert not unexpected
    assert not {name for name in missing if name.startswith("heads.")}
    plain = TrainingRun(replace(run.config, cache_features=False))
    run.model.load_state_dict(run.best["weights"], strict=False)
    plain.model.load_state_dict(run.best["weights"], strict=False)
    rows = run.partition.validation
    assert torch.allclose(run.logits(rows), plain.logits(rows), atol=1e-5)


def test_tokens_are_made_once_for_all_seeds_of_pretrained_weights(make_config, weights_path):
    own = {"init": "pretrained", "weights": str(weights_path), "max_epochs": 1}
    config = make_config(**own)
    for seed in (0, 1):
        finished(replace(config, seed=seed))
    folder = features_folder(config.data.cache_dir)
    assert len(list(folder.glob("*.npy"))) == 1
    finished(replace(config, trained="last_1"))
    assert len(list(folder.glob("*.npy"))) == 2


def test_runs_in_bf16_keep_tokens_in_it(make_config, survey_path):
    """What passes the cut is rounded to 8 bits, and the losses follow those of fp32 within 3%."""
    config = make_config(precision="bf16")
    kept, plain = finished(config), finished(replace(config, precision="fp32"))
    assert kept.inputs.array.dtype == np.int16
    model = architectures.build_for(config, 3)
    below, _ = cut(model)
    shape = cut_of("vit_demo", "last_2").shape
    exact = cached_tokens(
        open_survey(survey_path),
        replace(config, precision="fp32"),
        below,
        shape,
        device="cpu",
    )
    tokens = token_rows(kept.inputs.array, "cpu")[torch.arange(5)]
    assert tokens.dtype == torch.float32
    assert torch.allclose(tokens, torch.tensor(exact[:5]), rtol=0.02, atol=0.05)
    losses = [[row["val_loss"] for row in run.history] for run in (kept, plain)]
    np.testing.assert_allclose(losses[0], losses[1], rtol=0.03)


def test_with_augmentation_or_rates_by_layer_nothing_is_kept(make_config):
    for changes in ({"augment": True}, {"layer_decay": 0.75}, {"cache_features": False}):
        config = make_config(max_epochs=1, **changes)
        assert not config.on_tokens
        assert TrainingRun(config).inputs.array.dtype == np.uint8
