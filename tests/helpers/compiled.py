"""Compiled training steps against eager ones."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import torch
from torch import nn
from torchvision.models import VisionTransformer

from trainable.models import compiled_blocks
from trainable.models.architectures import ARCHITECTURES
from trainable.run import TrainingRun


def losses(run: TrainingRun) -> list[list[float]]:
    """Both losses of every epoch."""
    while not run.finished:
        run.step_epoch()
    return [[row["train_loss"], row["val_loss"]] for row in run.history]


def tiny() -> nn.Module:
    """A ViT of three blocks that compiles in seconds."""
    return VisionTransformer(
        image_size=32, patch_size=16, num_layers=3, num_heads=2, hidden_dim=16, mlp_dim=16
    )


def assert_follows_eager(make_run, monkeypatch, backend: str) -> None:
    """Losses of three epochs within 1e-4; one compilation for all blocks and for the run after it.

    A last, smaller batch and the validation compile nothing.
    """
    monkeypatch.setitem(ARCHITECTURES, "tiny", replace(ARCHITECTURES["vit_demo"], build=tiny))
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    compiled_blocks._compiled.cache_clear()
    settings = {"arch": "tiny", "max_epochs": 3, "learning_rate": 1e-3, "batch_size": 20}
    expected = losses(make_run(**settings))
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend))
    monkeypatch.setattr(compiled_blocks, "why_not_compiled", lambda device_type: None)
    with torch._dynamo.config.patch(error_on_recompile=True):
        run = make_run(**settings, compile=True)
        assert len(run.partition.train) % 20
        found, again = losses(run), losses(make_run(**settings, compile=True))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert again == found
