"""Memory of a run, in a process of its own."""

import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torchvision.models import VisionTransformer

from trainable.config import Settings
from trainable.models.architectures import ARCHITECTURES
from trainable.prepare import prepare
from trainable.run import TrainingRun

SPEC = ARCHITECTURES["vit_demo"]
STATUS = Path("/proc/self/status")


def small_vit() -> VisionTransformer:
    return VisionTransformer(
        image_size=48, patch_size=24, num_layers=1, num_heads=1, hidden_dim=8, mlp_dim=8
    )


def own_megabytes() -> float:
    """Memory that is this process's alone, maps of files aside."""
    (line,) = [line for line in STATUS.read_text().splitlines() if line.startswith("RssAnon")]
    return int(line.split()[1]) / 1000


def write_images(path: Path, n: int) -> Path:
    with h5py.File(path, "w") as file:
        images = file.create_dataset("images", (n, 48, 48, 3), np.uint8)
        for start in range(0, n, 1000):
            images[start : start + 1000] = np.random.default_rng(start).integers(
                0, 256, (1000, 48, 48, 3), np.uint8
            )
        file["ans"] = np.arange(n) % 3
        file.attrs["class_names"] = json.dumps(["a", "b", "c"])
    return path


def _measure(folder: Path) -> dict[tuple[str, int], float]:
    """Peak of own memory in a run that builds its caches and trains an epoch, by size and kind."""
    torch.set_num_threads(1)
    ARCHITECTURES["small"] = replace(SPEC, build=small_vit, image_size=48)
    peaks = {}
    for n in (1_000, 10_000):
        data = write_images(folder / f"{n}.h5", n)
        settings = Settings(
            data=str(data), arch=("small",), cache_dir=folder, batch_size=100, split="fixed"
        )
        for trained in ("all", "head"):
            config = prepare(settings).training_config("scratch", 1.0, 0)
            seen = []

            def sample(done, total, seen=seen):
                seen.append(own_megabytes())

            run = TrainingRun(replace(config, trained=trained), progress=sample, preparing=sample)
            row = run.step_epoch()
            sample(0, 0)
            peaks[trained, n] = max(seen)
            assert row["n_train"] == 0.8 * n
    return peaks


@pytest.mark.skipif(not STATUS.exists(), reason="needs Linux's /proc")
def test_memory_does_not_grow_with_the_survey(tmp_path):
    """69 MB of images against 7 MB: a run's own memory grows by less than half of that."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        peaks = pool.submit(_measure, tmp_path).result()
    for trained in ("all", "head"):
        assert peaks[trained, 10_000] - peaks[trained, 1_000] < 31
