"""Rows on a device: the same whichever way they get there, and never all of them on the host."""

import json
import multiprocessing
import threading
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torchvision.models import VisionTransformer

from trainable import batches
from trainable.backbones import ARCHITECTURES
from trainable.batches import Rows, image_rows
from trainable.engine import Run
from trainable.preprocess import normalise
from trainable.settings import Settings, prepare

SPEC = ARCHITECTURES["vit_demo"]
STATUS = Path("/proc/self/status")


@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize("piece", [1, 700, 1 << 23])
@pytest.mark.parametrize("size", [1, 3, 20, 64])
def test_batches_are_the_rows_in_order(monkeypatch, resident, piece, size):
    """Bit for bit, resident or streamed, in pieces of one batch, of several, or all at once."""
    monkeypatch.setattr(batches, "PIECE", piece)
    monkeypatch.setattr(batches, "COPY_BLOCK", 500)
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), np.uint8)
    rows = torch.randperm(20, generator=torch.Generator().manual_seed(0)).repeat(2)[:33]
    found = list(image_rows(images, SPEC, "cpu", resident=resident).batches(rows, size))
    assert [len(batch) for batch in found] == [len(part) for part in rows.split(size)]
    expected = normalise(torch.from_numpy(images[rows.numpy()]), SPEC.mean, SPEC.std)
    assert torch.equal(torch.cat(found), expected)


def test_resident_run_is_the_streamed_run(make_run, monkeypatch):
    """Bit for bit: losses of two epochs."""
    monkeypatch.setattr(batches, "PIECE", 1)
    traces = []
    for resident in (False, True):
        run = make_run(max_epochs=2, batch_size=7)
        run.inputs = image_rows(run.inputs.array, SPEC, "cpu", resident=resident)
        rows = [run.step_epoch() for _ in range(2)]
        traces.append([[row["train_loss"], row["val_loss"]] for row in rows])
    assert traces[0] == traces[1]


def test_an_error_while_reading_ahead_reaches_the_reader(monkeypatch):
    monkeypatch.setattr(batches, "PIECE", 1)
    rows = Rows(np.zeros((5, 2), np.float32), "cpu").batches(torch.tensor([0, 1, 7, 2]), 1)
    assert next(rows).shape == (1, 2)
    with pytest.raises(IndexError, match="7 is out of bounds"):
        list(rows)


def test_a_reader_that_stops_early_leaves_no_thread(monkeypatch):
    monkeypatch.setattr(batches, "PIECE", 1)
    rows = Rows(np.zeros((50, 2), np.float32), "cpu").batches(torch.arange(50), 1)
    next(rows)
    assert any(t.name.startswith("ThreadPool") for t in threading.enumerate())
    rows.close()
    assert not any(t.name.startswith("ThreadPool") for t in threading.enumerate())


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


def _measure(folder: Path, queue) -> None:
    """Peak of own memory in a run that builds its caches and trains an epoch, by size and kind."""
    torch.set_num_threads(1)
    ARCHITECTURES["small"] = replace(SPEC, build=small_vit, image_size=48)
    peaks = {}
    for n in (2_000, 20_000):
        data = write_images(folder / f"{n}.h5", n)
        settings = Settings(data=str(data), arch="small", cache_dir=folder, batch_size=100)
        for trained in ("all", "head"):
            config = prepare(settings).run_config("scratch", 1.0, 0)
            seen = []

            def sample(done, total, seen=seen):
                seen.append(own_megabytes())

            run = Run(replace(config, trained=trained), progress=sample, preparing=sample)
            row = run.step_epoch()
            sample(0, 0)
            peaks[trained, n] = max(seen)
            assert row["n_train"] == 0.8 * n
    queue.put(peaks)


@pytest.mark.skipif(not STATUS.exists(), reason="needs Linux's /proc")
def test_memory_does_not_grow_with_the_survey(tmp_path):
    """138 MB of images against 14 MB: a run's own memory grows by less than half of that."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_measure, args=(tmp_path, queue))
    process.start()
    peaks = queue.get(timeout=280)
    process.join()
    for trained in ("all", "head"):
        assert peaks[trained, 20_000] - peaks[trained, 2_000] < 62
