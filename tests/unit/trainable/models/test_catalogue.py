"""``--list-archs``."""

import json

import pytest

from trainable.models import catalogue
from trainable.models.catalogue import find, listing


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("vit_demo", ["vit_demo"]),
        ("VIT_B_16", ["vit_b_16"]),
        ("resnet18", ["resnet18", "timm:legacy_seresnet18"]),
        ("vit_?_16", ["vit_b_16", "vit_l_16"]),
        ("timm:convnext_[af]*o", ["timm:convnext_atto", "timm:convnext_femto"]),
        ("tiny*mae", []),
    ],
)
def test_names_by_pattern(pattern, expected):
    found = [entry.name for entry in find(pattern)]
    assert found[: len(expected)] == expected
    assert expected or not found


def test_weights_by_pattern():
    """Other weights of a model whose own name does not match."""
    names = [entry.name for entry in find("tiny_patch16_clip_quickgelu*224*")]
    assert names == []
    names = [entry.name for entry in find("clip_quickgelu_224.openai")]
    assert names == [
        "timm:vit_base_patch16_clip_quickgelu_224.openai",
        "timm:vit_base_patch32_clip_quickgelu_224.openai",
        "timm:vit_large_patch14_clip_quickgelu_224.openai",
    ]


def test_every_name_once():
    names = [entry.name for entry in find("")]
    assert len(names) == len(set(names)) > 1300


def test_a_list_with_sizes(tmp_path):
    text = listing(["resnet18", "vit_demo"], tmp_path)
    lines = text.splitlines()
    at = lines.index("timm:resnet18")
    assert lines[at + 1] == (
        "       11.7 M params     3.63 GFLOP  224 px  a1_in1k (apache-2.0)"
    )  # 11.69 M parameters, 1.82 G multiply-adds, as published
    assert lines[lines.index("vit_demo") + 1].split()[:5] == ["0.8", "M", "params", "0.03", "GFLOP"]
    assert max(map(len, lines)) <= 80


def test_sizes_are_counted_once(tmp_path, monkeypatch):
    count = catalogue.size
    counted = []
    monkeypatch.setattr(
        catalogue,
        "size",
        lambda name, **settings: (counted.append(name), count(name, **settings))[1],
    )
    first = listing(["timm:test_vit"], tmp_path)
    assert "timm:test_vit" in counted
    once = len(counted)
    assert listing(["timm:test_vit"], tmp_path) == first
    assert len(counted) == once
    (path,) = (tmp_path / "architectures").iterdir()
    for content in ("{", json.dumps({})):
        path.write_text(content)
        assert listing(["timm:test_vit"], tmp_path) == first


def test_a_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "architectures").write_text("in the way")
    assert "M params" in listing(["vit_demo"], tmp_path)


def test_a_long_list_has_no_sizes(tmp_path, monkeypatch):
    monkeypatch.setattr(catalogue, "size", None)
    text = listing(["timm:vit_"], tmp_path)
    assert " M params" not in text
    assert "sizes are shown of up to 24" in text
    assert max(map(len, text.splitlines())) <= 80


def test_models_that_cannot_be_used_are_marked(tmp_path):
    lines = listing(["vit_base_patch16_sapiens2"], tmp_path).splitlines()
    assert "cannot be used" in lines[1]


def test_nothing_found_and_nothing_asked():
    assert listing(["xyzzy"]) == "no architecture is called like xyzzy"
    text = listing([])
    for part in ("pinned: vit_b_16, vit_demo", "convnext_tiny", "hf-hub:", "vision_transformer"):
        assert part in text
    assert max(map(len, text.splitlines())) <= 80
