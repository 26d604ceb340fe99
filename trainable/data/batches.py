"""Rows of preprocessed images, or of cached features, as batches on a device."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
import torch
from torch import nn

from trainable.data.pixels import Normaliser
from trainable.devices import free_memory

EVALUATION = {"cuda": (256, 1 << 26)}  # 256 images of 224 pixels are 39 MB
"""By device: the inputs of a batch at most, and bytes of the array's rows that they take."""
HOST_EVALUATION = (96, 1 << 20)  # 6 of them, as fast: trials share a node's memory and caches
BEHIND = 2
"""Batches that a GPU may have been given while the results of the one before are awaited."""
PIECE = 1 << 21
"""Bytes of an array fetched at once: many batches if its rows are small."""
COPY_BLOCK = 1 << 26
"""Bytes copied at a time to the device that keeps them."""


class Normalisation(Protocol):
    """Whatever says how a network wants its images, such as an `Architecture`."""

    @property
    def mean(self) -> tuple[float, float, float]:
        """Subtracted from the three channels of an image scaled to 0–1."""
        ...

    @property
    def std(self) -> tuple[float, float, float]:
        """What the difference is divided by."""
        ...


class Rows:
    """Rows of an array as a model's inputs on a device.

    On a GPU the array stays in its memory if it takes less than half of what is free.

    Parameters
    ----------
    array
        Shape (N, ...); usually a memory map, of which only what is asked for is read.
    prepare
        Applied to a batch on the device.
    resident
        Whether the device holds the whole array; None decides as said above.

    Attributes
    ----------
    resident : torch.Tensor or None
        The whole array on the device, if it holds it.
    """

    def __init__(
        self,
        array: np.ndarray,
        device: str | torch.device,
        *,
        prepare: Callable[[torch.Tensor], torch.Tensor] | None = None,
        resident: bool | None = None,
    ) -> None:
        self.array, self.device, self.prepare = array, torch.device(device), prepare
        self.row_bytes = max(1, array[:1].nbytes)
        on_gpu = self.device.type == "cuda"
        if resident is None:
            resident = on_gpu and array.nbytes < free_memory(self.device) // 2
        self.resident = self._copy() if resident else None
        self.copies = torch.cuda.Stream(self.device) if on_gpu and not resident else None

    def _copy(self) -> torch.Tensor:
        """The whole array on the device, copied in pieces: the host holds no second one."""
        whole = torch.empty(self.array.shape, dtype=_dtype(self.array), device=self.device)
        block = max(1, COPY_BLOCK // self.row_bytes)
        for start in range(0, len(self.array), block):
            piece = np.array(self.array[start : start + block])
            whole[start : start + block] = torch.from_numpy(piece)
        return whole

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, rows: torch.Tensor) -> torch.Tensor:
        """Inputs of `rows` (B,), on the device."""
        return torch.cat(list(self.batches(rows, max(1, len(rows)))))

    def batches(self, rows: torch.Tensor, size: int) -> Iterator[torch.Tensor]:
        """Inputs of `rows` (n,), `size` at a time; the last batch may be smaller.

        While one piece is in use, a thread reads the next and, for a GPU, copies it there.
        """
        pieces = rows.split(size * max(1, PIECE // (size * self.row_bytes)))
        if self.resident is None:
            fetched = self._ahead(pieces)
        else:
            fetched = map(self.resident.__getitem__, rows.to(self.device).split(len(pieces[0])))
        for piece in fetched:
            for batch in piece.split(size):
                yield self.prepare(batch) if self.prepare else batch

    def _ahead(self, pieces: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
        if len(pieces) == 1:
            yield self._arrived(*self._fetch(pieces[0]))
            return
        with ThreadPoolExecutor(1) as reader:
            following = reader.submit(self._fetch, pieces[0])
            for rows in pieces[1:]:
                current, following = following, reader.submit(self._fetch, rows)
                yield self._arrived(*current.result())
            yield self._arrived(*following.result())

    def _fetch(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Event | None]:
        """Rows of the array and, if they are on their way to a GPU, their arrival."""
        following = self._following(rows)
        wanted = self.array[rows.numpy()] if following is None else self.array[following]
        if self.copies is None:  # a slice is a view of the array, which may be a file
            return torch.from_numpy(wanted if following is None else np.array(wanted)), None
        # torch keeps such memory for the next piece
        pinned = torch.empty(wanted.shape, dtype=_dtype(wanted), pin_memory=True)
        pinned.numpy()[...] = wanted
        with torch.cuda.stream(self.copies):  # beside the stream that computes
            moved = pinned.to(self.device, non_blocking=True)
            return moved, self.copies.record_event()

    def _following(self, rows: torch.Tensor) -> slice | None:
        """The slice of rows that follow each other, which one read fetches; None if they do not."""
        if not len(rows):
            return None
        first, end = int(rows[0]), int(rows[-1]) + 1
        inside = first >= 0 and end <= len(self.array) and end - first == len(rows)
        return slice(first, end) if inside and rows.equal(torch.arange(first, end)) else None

    def _arrived(self, rows: torch.Tensor, arrival: torch.Event | None) -> torch.Tensor:
        if arrival is not None:
            computing = torch.cuda.current_stream(self.device)
            computing.wait_event(arrival)
            rows.record_stream(computing)  # its memory is not given away before it is used
        return rows


def _dtype(array: np.ndarray) -> torch.dtype:
    return torch.from_numpy(np.empty(0, array.dtype)).dtype


def image_rows(
    images: np.ndarray,
    normalisation: Normalisation,
    device: str | torch.device,
    *,
    autocast: bool = False,
    resident: bool | None = None,
) -> Rows:
    """Images (N, S, S, 3) uint8 as normalised inputs (B, 3, S, S) float32; see `Rows`.

    With `autocast` they may be bfloat16, to which the first layer of a network would round them.
    """
    prepare = Normaliser(
        normalisation.mean,
        normalisation.std,
        device,
        dtype=torch.bfloat16 if autocast else torch.float32,
    )
    return Rows(images, device, prepare=prepare, resident=resident)


def predict(
    model: nn.Module, inputs: Rows, *, rows: torch.Tensor | None = None, autocast: bool = False
) -> torch.Tensor:
    """The outputs of `model` for the inputs of `rows`, by default all: (n, C) float32 on the CPU."""
    return torch.cat(list(outputs(model, inputs, rows=rows, autocast=autocast)))


def evaluation_batch(inputs: Rows, at_most: int | None = None) -> int:
    """Inputs of a batch without gradients, as many as suit the device, but no more than `at_most`."""
    most, limit = EVALUATION.get(inputs.device.type, HOST_EVALUATION)
    return max(1, min(at_most or most, most, limit // inputs.row_bytes))


def outputs(
    model: nn.Module,
    inputs: Rows,
    *,
    rows: torch.Tensor | None = None,
    at_most: int | None = None,
    autocast: bool = False,
) -> Iterator[torch.Tensor]:
    """The result of `predict`, batch by batch.

    A GPU is kept `BEHIND` batches ahead of what it has given back, and never waits for the next.

    Parameters
    ----------
    at_most
        Inputs of a batch; None: as many as suit the device.
    """
    rows = torch.arange(len(inputs)) if rows is None else rows
    size = evaluation_batch(inputs, at_most)
    model.eval()

    @torch.inference_mode()
    def output(batch: torch.Tensor) -> tuple[torch.Tensor, torch.Event | None]:
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=autocast):
            found = model(batch)
        return _sent_to_host(found.float())

    on_their_way: deque[tuple[torch.Tensor, torch.Event | None]] = deque()
    for batch in inputs.batches(rows, size):
        on_their_way.append(output(batch))
        if len(on_their_way) > BEHIND:
            yield _received(*on_their_way.popleft())
    for sent in on_their_way:
        yield _received(*sent)


def _sent_to_host(output: torch.Tensor) -> tuple[torch.Tensor, torch.Event | None]:
    """A tensor of the CPU and, if it is not there yet, its arrival."""
    if output.device.type != "cuda":
        return output, None
    received = torch.empty(output.shape, dtype=output.dtype, pin_memory=True)
    received.copy_(output, non_blocking=True)
    return received, torch.cuda.current_stream(output.device).record_event()


def _received(output: torch.Tensor, arrival: torch.Event | None) -> torch.Tensor:
    if arrival is not None:
        arrival.synchronize()
    return output
