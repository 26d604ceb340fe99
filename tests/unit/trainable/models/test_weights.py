"""Weights files as people save them: read, unwrapped, fitted, or refused with a reason."""

import argparse
import os
import pickle
import random
import re

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.layers import resample_abs_pos_embed
from torch import nn

from trainable.errors import WeightsError
from trainable.models import architectures
from trainable.models.architectures import ARCHITECTURES
from trainable.models.weights import find_weights, load_backbone, read_weights

HEAD = "heads.head"


@pytest.fixture(scope="module")
def state():
    """State dict of vit_demo, with parameters that are all different from zero."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return ARCHITECTURES["vit_demo"].build().state_dict()


def fit(state):
    """Put weights into a model of 1000 classes; the model."""
    model = ARCHITECTURES["vit_demo"].build()
    load_backbone(model, state, HEAD)
    return model


def backbone(state):
    return {name: tensor for name, tensor in state.items() if not name.startswith(f"{HEAD}.")}


def refusal(state):
    with pytest.raises(WeightsError) as error:
        fit(state)
    return str(error.value)


def test_missing_unexpected_and_reshaped_tensors_are_named(state):
    other = state | {
        "heads.head.weight": torch.zeros(7, 128),  # the head is another one anyway
        "encoder.pos_embedding": torch.zeros(1, 65, 128),
        "stem.weight": torch.zeros(3),
    }
    del other["class_token"]
    message = refusal(other)
    for part in (
        "1 missing: class_token (1, 1, 128)",
        "1 unexpected: stem.weight (3,)",
        "1 of another shape: encoder.pos_embedding is (1, 65, 128), expected (1, 17, 128)",
    ):
        assert part in message


def test_a_few_names_of_each_kind_and_their_number(state):
    number = len(backbone(state))
    message = refusal({f"x{name}": tensor for name, tensor in state.items()})
    assert f"{number} missing: class_token (1, 1, 128), " in message
    assert f"{number + 2} unexpected: xclass_token (1, 1, 128), " in message
    assert message.count("(") < 20


def lightning(state):
    """As `ModelCheckpoint` writes it: the module's attribute before each name, and more."""
    return {
        "epoch": 3,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": {f"model.{name}": tensor for name, tensor in state.items()},
        "optimizer_states": [{"state": {}, "param_groups": []}],
    }


def data_parallel(state):
    model = ARCHITECTURES["vit_demo"].build()
    model.load_state_dict(state)
    return nn.DataParallel(model).state_dict()


def compiled(state):
    model = ARCHITECTURES["vit_demo"].build()
    model.load_state_dict(state)
    return torch.compile(model).state_dict()


SAVED = {
    "plain": lambda state: state,
    "torchvision references": lambda state: {"model": state, "epoch": 3, "optimizer": {}},
    "state_dict": lambda state: {"state_dict": state},
    "model_state_dict": lambda state: {"epoch": 1, "model_state_dict": state, "loss": 0.5},
    "DataParallel": data_parallel,
    "compiled": compiled,
    "Lightning": lightning,
    "compiled and parallel": lambda state: {
        "model": {f"module._orig_mod.{name}": tensor for name, tensor in state.items()}
    },
}


@pytest.mark.parametrize("save", SAVED.values(), ids=SAVED)
def test_weights_as_people_save_them(tmp_path, state, save):
    torch.save(save(state), tmp_path / "w.pth")
    found = fit(read_weights(tmp_path / "w.pth")).state_dict()
    for name, tensor in backbone(state).items():
        assert torch.equal(found[name], tensor), name


def test_prefix_that_would_fit_is_named(state):
    """Of a Lightning module whose loss has parameters, or with another attribute's name."""
    number = len(backbone(state))
    for prefix, more in (("model.", {"loss.weight": torch.ones(3)}), ("net.vit.", {})):
        message = refusal({prefix + name: tensor for name, tensor in state.items()} | more)
        assert f"{number} are there behind the prefix '{prefix}'" in message


def test_another_head_is_left_out_and_said(state):
    other = backbone(state) | {"head.weight": torch.ones(9, 128), "head.bias": torch.ones(9)}
    model = ARCHITECTURES["vit_demo"].build()
    (note,) = load_backbone(model, other, HEAD)
    assert note == "without 2 tensors of another head: head.weight (9, 128), head.bias (9,)"
    for name, tensor in backbone(state).items():
        assert torch.equal(model.state_dict()[name], tensor)


def test_what_may_be_a_head_is_pointed_out(state):
    other = backbone(state) | {"top.weight": torch.ones(9, 128), "top.bias": torch.ones(9)}
    message = refusal(other)
    assert "2 unexpected: top.weight (9, 128), top.bias (9,)" in message
    assert "missing" not in message
    assert "a head under another name, leave it out" in message


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        ({"epoch": 3}, "it is a dict with epoch"),
        ([torch.ones(2)], "it is a list"),
        (torch.ones(2), "it is a Tensor"),
    ],
)
def test_file_without_a_state_dict(tmp_path, saved, message):
    torch.save(saved, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=message):
        read_weights(tmp_path / "w.pth")


class _Bomb:
    def __reduce__(self):
        return (pytest.fail, ("the pickle was executed",))


def test_pickled_code_is_refused_and_not_run(tmp_path):
    (tmp_path / "bomb.pth").write_bytes(pickle.dumps({"weight": _Bomb()}))
    (tmp_path / "bomb2.pth").write_bytes(pickle.dumps({"weight": _Bomb()}, protocol=2))
    torch.save({"weight": _Bomb()}, tmp_path / "zip.pth")
    torch.save(ARCHITECTURES["vit_demo"].build(), tmp_path / "whole_model.pth")
    for name in ("bomb.pth", "bomb2.pth", "zip.pth", "whole_model.pth"):
        with pytest.raises(WeightsError, match="more than tensors"):
            read_weights(tmp_path / name)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_corrupt_file(tmp_path, name):
    (tmp_path / name).write_bytes(b"PK\x03\x04 corrupt")
    with pytest.raises(WeightsError, match=name):
        read_weights(tmp_path / name)


@pytest.mark.parametrize("zipped", [True, False])
def test_any_damage_is_the_users_to_mend(tmp_path, zipped):
    """Flipped bytes make other opcodes of a pickle, which fail in many ways."""
    path, chance = tmp_path / "w.pth", random.Random(zipped)
    torch.save({"a.weight": torch.ones(4, 3)}, path, _use_new_zipfile_serialization=zipped)
    good = path.read_bytes()
    refused: list[str] = []
    for _ in range(400):
        damaged = bytearray(good)
        for _ in range(chance.choice([1, 2, 5])):
            damaged[chance.randrange(min(len(good), 900))] = chance.randrange(256)
        path.write_bytes(damaged if chance.random() < 0.7 else good[: chance.randrange(len(good))])
        try:
            read_weights(path)
        except WeightsError as error:
            refused.append(str(error))
    assert len(refused) > 100
    assert all(message.startswith(str(path)) for message in refused)


def test_unknown_name_or_file(tmp_path):
    for name in ("nothing", str(tmp_path / "w.pth"), "~nobody-of-this-name/w.pth"):
        with pytest.raises(WeightsError, match="neither a file nor one of the architecture's"):
            find_weights(name, {"A": "http://127.0.0.1/a.pth"})


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Where torch hub keeps its files."""
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_cache_that_cannot_be_made(tmp_path, hub):
    hub.write_text("in the way")
    with pytest.raises(WeightsError, match=r"cannot store weights .*Set TORCH_HOME"):
        find_weights("A", {"A": "http://127.0.0.1:9/a.pth"})


def test_cache_without_a_right_to_write(hub, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    with pytest.raises(WeightsError, match=r"cannot store weights .*Set TORCH_HOME"):
        find_weights("A", {"A": "http://127.0.0.1:9/a.pth"})


def test_no_home(tmp_path, hub, monkeypatch):
    for variable in ("HOME", "TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # no passwd entry either
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsError, match="no home folder is known"):
        find_weights("A", {"A": "http://127.0.0.1:9/a.pth"})
    assert list(tmp_path.iterdir()) == []


def dino(state):
    """As DINO's main_dino.py saves it: the student in DistributedDataParallel, heads, its flags."""
    backbone = {name: tensor for name, tensor in state.items() if not name.startswith(f"{HEAD}.")}
    head = {f"head.mlp.{n}.weight": torch.ones(4, 4) for n in (0, 2)} | {
        "head.last_layer.weight_g": torch.ones(7, 1),
        "head.last_layer.weight_v": torch.ones(7, 4),
    }
    other = {name: tensor + 1 for name, tensor in backbone.items()}
    network = {f"backbone.{name}": tensor for name, tensor in backbone.items()} | head
    student = {f"backbone.{name}": tensor for name, tensor in other.items()} | head
    return {
        "student": {f"module.{name}": tensor for name, tensor in student.items()},
        "teacher": network,
        "optimizer": {"state": {}, "param_groups": []},
        "epoch": 100,
        "args": argparse.Namespace(arch="vit_small", patch_size=16),
        "fp16_scaler": {"scale": 65536.0},
        "dino_loss": {"center": torch.zeros(1, 7)},
    }


def timm_training(state):
    """As timm's train.py saves it, with the average of the weights beside the last ones."""
    last = {name: tensor + 1 for name, tensor in state.items()}
    return {
        "epoch": 9,
        "arch": "vit_demo",
        "state_dict": {f"module.{name}": tensor for name, tensor in last.items()},
        "state_dict_ema": state,
        "args": argparse.Namespace(model="vit_demo"),
        "version": 2,
    }


def lightning_parts(state):
    """As Lightning's checkpoint of a module with a backbone and a classifier of its own."""
    backbone = {name: tensor for name, tensor in state.items() if not name.startswith(f"{HEAD}.")}
    return {
        "epoch": 3,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": {f"backbone.{name}": tensor for name, tensor in backbone.items()}
        | {"classifier.weight": torch.ones(7, 128), "classifier.bias": torch.ones(7)},
        "hyper_parameters": {"learning_rate": 1e-3},
    }


@pytest.mark.parametrize(
    ("save", "notes"),
    [
        (
            dino,
            [
                "tensors under the key 'teacher'",
                "names behind the prefix 'backbone.'",
                "without 4 tensors of another head: head.mlp.0.weight (4, 4), ",
            ],
        ),
        (timm_training, ["tensors under the key 'state_dict_ema'"]),
        (
            lightning_parts,
            [
                "tensors under the key 'state_dict'",
                "names behind the prefix 'backbone.'",
                "without 2 tensors of another head: classifier.weight (7, 128), classifier.bias (7,)",
            ],
        ),
        (
            lambda state: {f"encoder.{name}": tensor for name, tensor in state.items()},
            ["names behind the prefix 'encoder.'"],  # though the model has an encoder, too
        ),
        (
            lambda state: {"student": {f"module.{n}": tensor for n, tensor in state.items()}},
            ["tensors under the key 'student'", "names behind the prefix 'module.'"],
        ),
        (lambda state: state, []),
    ],
    ids=["DINO", "timm", "Lightning", "encoder", "student", "plain"],
)
def test_what_was_done_is_said(tmp_path, state, save, notes):
    torch.save(save(state), tmp_path / "w.pth")
    found = fit(read_weights(tmp_path / "w.pth")).state_dict()
    for name, tensor in backbone(state).items():
        assert torch.equal(found[name], tensor), name
    said = architectures.fit_of_weights("vit_demo", str(tmp_path / "w.pth"))
    assert len(said) == len(notes)
    assert all(line.startswith(note) for line, note in zip(said, notes, strict=True))


def test_nothing_is_said_of_weights_with_a_name():
    assert architectures.fit_of_weights("vit_demo", "photographs") == ()
    assert architectures.fit_of_weights("vit_demo", None) == ()


def test_something_beside_the_network_that_is_no_head(state):
    parts = {f"module.{name}": tensor for name, tensor in state.items()}
    message = refusal(parts | {"ema_decay.value": torch.ones(1)})
    assert "1 unexpected: ema_decay.value (1,)" in message


def test_positions_of_another_resolution(tmp_path, state):
    """64 patches for 16: by timm's function, and the class token's as it is."""
    name = "encoder.pos_embedding"
    large = torch.randn(1, 65, 128, generator=torch.Generator().manual_seed(0))
    torch.save(state | {name: large}, tmp_path / "w.pth")
    model = architectures.build(
        "vit_demo", num_classes=3, init="pretrained", weights=str(tmp_path / "w.pth"),
        trained="all", seed=0,
    )  # fmt: skip
    found = model.state_dict()[name]
    expected = resample_abs_pos_embed(large, [4, 4], [8, 8])
    assert torch.equal(found, expected)
    assert torch.equal(found[:, 0], large[:, 0])
    assert architectures.fit_of_weights("vit_demo", str(tmp_path / "w.pth")) == (
        "encoder.pos_embedding resampled from (1, 65, 128) to (1, 17, 128)",
    )


def test_positions_that_are_no_square(tmp_path, state):
    torch.save(state | {"encoder.pos_embedding": torch.zeros(1, 60, 128)}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"1 of another shape: .*\(1, 60, 128\)"):
        architectures.fit_of_weights("vit_demo", str(tmp_path / "w.pth"))


@pytest.fixture(scope="module")
def larger():
    """timm's small ViT for tests at twice the resolution, with a classifier of 7 classes."""
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return timm.create_model("test_vit", img_size=320, num_classes=7)


TIMM_FILES = {
    "plain": lambda model: model.state_dict(),
    "DataParallel": lambda model: nn.DataParallel(model).state_dict(),
    "compiled": lambda model: torch.compile(model).state_dict(),
    "DINO": lambda model: dino({k: v for k, v in model.state_dict().items() if "head" not in k}),
    "Lightning": lambda model: lightning(model.state_dict()),
}


@pytest.mark.parametrize("save", TIMM_FILES.values(), ids=TIMM_FILES)
def test_timms_model_from_a_file_of_another_resolution(tmp_path, larger, save):
    torch.save(save(larger), tmp_path / "w.pth")
    arch, weights = "timm:test_vit", str(tmp_path / "w.pth")
    model = architectures.build(
        arch, num_classes=3, init="pretrained", weights=weights, trained="head", seed=0
    )
    reference = timm.create_model(
        "test_vit", pretrained=True, num_classes=0,
        pretrained_cfg_overlay={"state_dict": larger.state_dict(), "hf_hub_id": None},
    ).state_dict()  # fmt: skip
    found = model.backbone.state_dict()
    assert found.keys() == reference.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in reference.items())
    assert any(
        note.startswith("pos_embed resampled from (1, 401, 64) to (1, 101, 64)")
        for note in architectures.fit_of_weights(arch, weights)
    )


def test_counts_of_batches_may_be_missing(tmp_path):
    """As in files of a torch before 1.0, or translated from another library."""
    state = timm.create_model("test_resnet", num_classes=3).state_dict()
    old = {k: v + 1 for k, v in state.items() if not k.endswith("num_batches_tracked")}
    save_file(old, tmp_path / "w.safetensors")
    model = architectures.build(
        "timm:test_resnet", num_classes=3, init="pretrained",
        weights=str(tmp_path / "w.safetensors"), trained="head", seed=0,
    )  # fmt: skip
    assert torch.equal(model.state_dict()["backbone.bn1.weight"], old["bn1.weight"])


def test_a_trials_best_weights_start_another(tmp_path, make_run):
    """The file best.safetensors of a trial that trained a model of timm as a whole."""
    config = {"arch": "timm:test_resnet", "transform": "evaluation", "max_epochs": 1}
    run = make_run("scratch", **config)
    run.step_epoch()
    save_file(run.best["weights"], tmp_path / "best.safetensors")
    model = architectures.build(
        "timm:test_resnet", num_classes=5, init="pretrained",
        weights=str(tmp_path / "best.safetensors"), trained="head", seed=0,
    )  # fmt: skip
    for name, tensor in run.best["weights"].items():
        if not name.startswith("head."):
            assert torch.equal(model.state_dict()[name], tensor)


def test_weights_of_another_architecture_of_timm(tmp_path):
    torch.save(timm.create_model("test_resnet").state_dict(), tmp_path / "w.pth")
    with pytest.raises(WeightsError) as error:
        architectures.fit_of_weights("timm:test_vit", str(tmp_path / "w.pth"))
    assert re.search(r"\d+ missing: cls_token \(1, 1, 64\), .*unexpected: conv1", str(error.value))
