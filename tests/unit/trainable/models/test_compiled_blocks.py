"""Which parts of a network are compiled, and what happens if nothing can be."""

import gc
import logging
import weakref

import pytest
import torch
import torchvision
from torchvision.models.vision_transformer import EncoderBlock

from trainable.models import compiled_blocks
from trainable.models.architectures import ARCHITECTURES
from trainable.models.compiled_blocks import compile_blocks, repeated_blocks, why_not_compiled

CPU = torch.device("cpu")


@pytest.fixture
def traced(monkeypatch):
    """Calls of compiled functions, which are not compiled."""
    calls = []

    def compile(function, **_):
        def call(*args, **kwargs):
            calls.append(type(args[0]))
            return function(*args, **kwargs)

        return call

    monkeypatch.setattr(torch, "compile", compile)
    monkeypatch.setattr(compiled_blocks, "why_not_compiled", lambda device_type: None)
    compiled_blocks._compiled.cache_clear()
    yield calls
    compiled_blocks._compiled.cache_clear()


def test_the_blocks_of_a_vision_transformer():
    """Not the convolutions of its stem, nor the parts of a block."""
    found = repeated_blocks(ARCHITECTURES["vit_demo"].build())
    assert [type(block) for block in found] == [EncoderBlock] * 4


def test_the_blocks_of_other_networks():
    with torch.device("meta"):
        resnet, vgg = torchvision.models.resnet18(), torchvision.models.vgg11()
    assert len(repeated_blocks(resnet)) == 8
    assert repeated_blocks(vgg) == []


def test_whole_batches_in_training_alone(traced):
    model = ARCHITECTURES["vit_demo"].build()
    before = dict(model.state_dict())
    compile_blocks(model, 2, CPU)
    assert model.state_dict().keys() == before.keys()
    images = torch.randn(2, 3, 32, 32)
    model(images)
    assert len(traced) == 4
    model(images[:1])
    with torch.inference_mode():
        model(images)
    assert len(traced) == 4


def test_evaluation_instead_of_training(traced):
    model = ARCHITECTURES["vit_demo"].build()
    compile_blocks(model, 2, CPU, training=False)
    images = torch.randn(2, 3, 32, 32)
    model(images)
    with torch.inference_mode():
        model(images[:1])
    assert traced == []
    with torch.inference_mode():
        model(images)
    assert len(traced) == 4


def test_a_compilation_outlives_its_run(traced, monkeypatch):
    """And does not keep the model."""
    first, second = (ARCHITECTURES["vit_demo"].build() for _ in range(2))
    compile_blocks(first, 2, CPU)
    kind, gone = type(repeated_blocks(first)[0]), weakref.ref(first)
    del first
    gc.collect()
    assert gone() is None
    compile_blocks(second, 2, CPU)
    assert {type(block) for block in repeated_blocks(second)} == {kind}
    third = ARCHITECTURES["vit_demo"].build()
    compile_blocks(third, 3, CPU)
    assert kind not in {type(block) for block in repeated_blocks(third)}


def test_without_a_compiler_all_runs_as_it_is_after_one_message(make_run, monkeypatch, caplog):
    def fail(function, **_):
        raise RuntimeError("\nInvalidCxxCompiler: No working C++ compiler found\nmore")

    monkeypatch.setattr(torch, "compile", fail)
    why_not_compiled.cache_clear()
    with caplog.at_level(logging.WARNING):
        rows = [make_run(compile=compiled).step_epoch() for compiled in (False, True, True)]
    why_not_compiled.cache_clear()
    assert len({row["train_loss"] for row in rows}) == 1
    (message,) = caplog.messages
    assert message == (
        "training is not compiled: InvalidCxxCompiler: No working C++ compiler found"
    )


def test_an_error_in_the_model_itself_is_not_taken_for_a_missing_compiler(traced):
    model = ARCHITECTURES["vit_demo"].build()
    compile_blocks(model, 2, CPU)
    with pytest.raises(AssertionError, match="Wrong image height"):
        model(torch.randn(2, 3, 16, 16))
