import functools
import hashlib
import http.server
import pickle
import threading
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from trainable import backbones
from trainable.backbones import ARCHITECTURES
from trainable.weights import WeightsError, read_weights


@pytest.mark.parametrize(
    ("arch", "classes", "trained", "parameters", "moving"),
    [
        ("vit_b_16", 9, "all", 85_805_577, 85_805_577),
        ("vit_b_16", 9, "head", 85_805_577, 6_921),
        ("vit_b_16", 9, "as_run", 85_805_577, 598_281),
        ("vit_b_16", 1000, "all", 86_567_656, 86_567_656),
        ("vit_demo", 9, "all", 680_617, 680_617),
        ("vit_demo", 9, "head", 680_617, 1_161),
        ("vit_demo", 9, "as_run", 680_617, 148_265),
    ],
)
def test_parameter_counts(arch, classes, trained, parameters, moving):
    size = backbones.size(arch, num_classes=classes, trained=trained)
    assert (size.parameters, size.trained_parameters) == (parameters, moving)


def test_forward_cost_of_vit_b_16():
    """17.6 GMAC, as published for ViT-B/16 at 224 pixels."""
    size = backbones.size("vit_b_16", num_classes=1000, trained="all")
    assert size.forward_flops == pytest.approx(2 * 17.56e9, rel=0.01)


def test_every_architecture_is_pinned():
    assert set(ARCHITECTURES) == {"vit_b_16", "vit_demo"}, "add its counts to the test above"


def build(**overrides):
    settings = {"num_classes": 5, "init": "scratch", "weights": None, "trained": "all", "seed": 0}
    return backbones.build("vit_demo", **settings | overrides)


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
    [("head", {"heads"}), ("as_run", {"class_token", "conv_proj", "heads"})],
)
def test_names_of_what_is_trained(trained, moving):
    for name, parameter in build(trained=trained).named_parameters():
        assert parameter.requires_grad == (name.split(".")[0] in moving), name


def test_weights_of_another_architecture_are_refused_by_name_and_shape(tmp_path):
    state = ARCHITECTURES["vit_demo"].build().state_dict()
    state["heads.head.weight"] = torch.zeros(7, 128)  # the head is another one anyway
    state["encoder.pos_embedding"] = torch.zeros(1, 65, 128)
    state["stem.weight"] = torch.zeros(3)
    del state["class_token"]
    save_file({k: v.contiguous() for k, v in state.items()}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError) as error:
        build(init="pretrained", weights=str(tmp_path / "other.safetensors"))
    for part in (
        "missing class_token (1, 1, 128)",
        "unexpected stem.weight (3,)",
        "encoder.pos_embedding is (1, 65, 128), expected (1, 17, 128)",
    ):
        assert part in str(error.value)


@pytest.mark.parametrize("nesting", [None, "state_dict", "model"])
def test_reads_pth(tmp_path, nesting):
    state = ARCHITECTURES["vit_demo"].build().state_dict()
    torch.save({nesting: state} if nesting else state, tmp_path / "w.pth")
    assert read_weights(tmp_path / "w.pth").keys() == state.keys()


class _Bomb:
    def __reduce__(self):
        return (pytest.fail, ("the pickle was executed",))


def test_pickled_code_is_refused_and_not_run(tmp_path):
    (tmp_path / "bomb.pth").write_bytes(pickle.dumps({"weight": _Bomb()}))
    torch.save({"weight": _Bomb()}, tmp_path / "zip.pth")
    for name in ("bomb.pth", "zip.pth"):
        with pytest.raises(WeightsError, match="more than tensors"):
            read_weights(tmp_path / name)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_torn_file(tmp_path, name):
    (tmp_path / name).write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(WeightsError, match=name):
        read_weights(tmp_path / name)


def test_unknown_names():
    with pytest.raises(ValueError, match="vit_b_16, vit_demo"):
        backbones.architecture("resnet50")
    with pytest.raises(WeightsError, match="IMAGENET1K_V1"):
        backbones.weights_file("vit_b_16", "IMAGENET22K")


def test_batch_norm_statistics_of_a_frozen_part_stay_put():
    """As for any torchvision classifier with BatchNorm that may be registered."""
    from trainable.backbones import set_training, trained_state

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


class TestDownload:
    """Torch hub's cache, filled from a server on this machine."""

    @pytest.fixture
    def served(self, tmp_path, monkeypatch):
        monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
        monkeypatch.setattr(torch.hub, "_hub_dir", None)
        folder = tmp_path / "served"
        folder.mkdir()
        handler = functools.partial(_Quiet, directory=str(folder))
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            yield folder, f"http://127.0.0.1:{server.server_port}"
            server.shutdown()
            thread.join()

    def register(self, monkeypatch, url):
        spec = replace(ARCHITECTURES["vit_demo"], weights={"NAMED": url})
        monkeypatch.setitem(ARCHITECTURES, "vit_demo", spec)

    def test_good_then_from_the_cache(self, served, monkeypatch):
        folder, url = served
        state = ARCHITECTURES["vit_demo"].build().state_dict()
        torch.save(state, folder / "w.pth")
        digest = hashlib.sha256((folder / "w.pth").read_bytes()).hexdigest()[:8]
        named = (folder / "w.pth").rename(folder / f"vit-{digest}.pth")
        self.register(monkeypatch, f"{url}/{named.name}")
        path = backbones.weights_file("vit_demo", "NAMED")
        named.unlink()
        assert backbones.weights_file("vit_demo", "NAMED") == path
        assert read_weights(path).keys() == state.keys()

    def test_corrupt_is_not_left_in_place(self, served, monkeypatch):
        folder, url = served
        (folder / "vit-01234567.pth").write_bytes(b"not what was promised")
        self.register(monkeypatch, f"{url}/vit-01234567.pth")
        for _ in range(2):
            with pytest.raises(WeightsError, match="--preset demo"):
                backbones.weights_file("vit_demo", "NAMED")

    def test_missing(self, served, monkeypatch):
        self.register(monkeypatch, f"{served[1]}/vit-01234567.pth")
        with pytest.raises(WeightsError, match="404"):
            backbones.weights_file("vit_demo", "NAMED")


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        """Nothing on the tests' terminal."""
