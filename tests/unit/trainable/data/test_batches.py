"""Rows on a device: the same whichever way they get there."""

import threading

import numpy as np
import pytest
import torch

from trainable.data import batches
from trainable.data.batches import Rows, image_rows
from trainable.data.pixels import normalise
from trainable.models.architectures import ARCHITECTURES

SPEC = ARCHITECTURES["vit_demo"]


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


@pytest.mark.parametrize(("free", "resident"), [(1282, True), (1281, False)])
def test_images_stay_on_a_gpu_if_they_take_less_than_half_of_what_is_free(
    monkeypatch, free, resident
):
    """640 bytes of images."""
    monkeypatch.setattr(batches, "free_memory", lambda device: free)
    monkeypatch.setattr(Rows, "_copy", lambda self: torch.empty(0))
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: "stream")
    rows = Rows(np.zeros((10, 64), np.uint8), "cuda")
    assert (rows.resident is not None) == resident
    assert rows.copies == (None if resident else "stream")


def test_rows_that_follow_each_other_are_read_at_once():
    array = np.arange(40, dtype=np.float32).reshape(20, 2)
    rows = Rows(array, "cpu")
    for wanted in ([3, 4, 5, 6], [0], [6, 5, 4, 3], [3, 5, 4, 6], [19, 18], [-2, -1], []):
        asked = torch.tensor(wanted, dtype=torch.int64)
        assert torch.equal(rows[asked], torch.from_numpy(array[asked.numpy()]))


def test_what_was_read_is_the_callers_own():
    """Also rows that follow each other, which numpy gives as a view of the array."""
    array = np.zeros((4, 2), np.float32)
    Rows(array, "cpu")[torch.arange(3)].add_(1)
    next(Rows(array, "cpu").batches(torch.arange(3), 3)).add_(1)
    assert not array.any()


@pytest.mark.parametrize("behind", [0, 2, 50])
def test_outputs_come_in_order_however_far_behind(monkeypatch, behind):
    """Bit for bit those of one batch after the other; a tensor is the caller's to keep."""
    monkeypatch.setattr(batches, "BEHIND", behind)
    array = np.random.default_rng(0).normal(size=(23, 4)).astype(np.float32)
    inputs, model = Rows(array, "cpu"), torch.nn.Linear(4, 3)
    found = list(batches.outputs(model, inputs, at_most=5))
    assert [len(output) for output in found] == [5, 5, 5, 5, 3]
    with torch.inference_mode():  # batches of the same size: others may be rounded otherwise
        alone = [model(part) for part in torch.from_numpy(array).split(5)]
        assert all(map(torch.equal, found, alone))
        rows = torch.tensor([7, 2, 9])
        of_rows = model(torch.from_numpy(array)[rows])
    assert torch.equal(batches.predict(model, inputs, rows=rows), of_rows)


def test_gradients_are_not_switched_off_for_who_takes_the_outputs():
    model = torch.nn.Linear(4, 3)
    for _ in batches.outputs(model, Rows(np.zeros((9, 4), np.float32), "cpu"), at_most=2):
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()


def test_a_gpu_is_not_waited_for_until_it_is_two_batches_ahead(monkeypatch):
    """Its events are imitated: when is each batch sent, and when is it awaited?"""
    log = []

    class Arrival:
        def __init__(self, number):
            self.number = number

        def synchronize(self):
            log.append(f"await {self.number}")

    def sent(output):
        number = sum(entry.startswith("send") for entry in log)
        log.append(f"send {number}")
        return output, Arrival(number)

    monkeypatch.setattr(batches, "_sent_to_host", sent)
    model, inputs = torch.nn.Linear(4, 3), Rows(np.zeros((8, 4), np.float32), "cpu")
    list(batches.outputs(model, inputs, at_most=2))
    assert log == [
        "send 0",
        "send 1",
        "send 2",
        "await 0",
        "send 3",
        "await 1",
        "await 2",
        "await 3",
    ]
