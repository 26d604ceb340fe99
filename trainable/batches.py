"""Rows of preprocessed images, or of cached features, as batches on a device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import nn

from .backbones import Architecture
from .preprocess import normalise

# inputs at most, and bytes of the array's rows that they take
EVALUATION = {"cuda": (256, 1 << 25)}  # 222 images of 224 pixels
HOST_EVALUATION = (96, 1 << 20)  # 6 of them, as fast: trials share a node's memory and caches
PIECE = 1 << 21  # bytes of an array fetched at once: many batches where its rows are small
COPY_BLOCK = 1 << 26  # bytes copied at a time to where they stay


class Rows:
    """Rows of an array as a model's inputs on a device.

    On a GPU the array lives in its memory when it takes less than half of what is free.

    Parameters
    ----------
    array
        Shape (N, ...); usually a memory map, of which only what is asked for is read.
    prepare
        Applied to a batch on the device.
    resident
        Whether the device holds the whole array; None decides as said above.
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
            resident = on_gpu and array.nbytes < torch.cuda.mem_get_info(self.device)[0] // 2
        self.resident = self._copy() if resident else None
        self.copies = torch.cuda.Stream(self.device) if on_gpu and not resident else None

    def _copy(self) -> torch.Tensor:
        """The whole array on the device, copied in pieces: the host holds no second one."""
        dtype = torch.from_numpy(np.empty(0, self.array.dtype)).dtype
        whole = torch.empty(self.array.shape, dtype=dtype, device=self.device)
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
        for piece in self._resident(pieces) if self.resident is not None else self._ahead(pieces):
            for batch in piece.split(size):
                yield self.prepare(batch) if self.prepare else batch

    def _resident(self, pieces: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
        for rows in torch.cat(pieces).to(self.device).split(len(pieces[0])):
            yield self.resident[rows]

    def _ahead(self, pieces: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
        if len(pieces) == 1:
            yield self._arrived(*self._fetch(pieces[0]))
            return
        with ThreadPoolExecutor(1) as reader:
            coming = reader.submit(self._fetch, pieces[0])
            for rows in pieces[1:]:
                here, coming = coming, reader.submit(self._fetch, rows)
                yield self._arrived(*here.result())
            yield self._arrived(*coming.result())

    def _fetch(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.cuda.Event | None]:
        """Rows of the array and, where they are on their way to a GPU, their arrival."""
        found = torch.from_numpy(self.array[rows.numpy()])
        if self.copies is None:
            return found, None
        with torch.cuda.stream(self.copies):  # beside the stream that computes
            return found.pin_memory().to(self.device, non_blocking=True), self.copies.record_event()

    def _arrived(self, rows: torch.Tensor, arrival: torch.cuda.Event | None) -> torch.Tensor:
        if arrival is not None:
            computing = torch.cuda.current_stream(self.device)
            computing.wait_event(arrival)
            rows.record_stream(computing)  # its memory is not given away before it is used
        return rows


def image_rows(
    images: np.ndarray, spec: Architecture, device: str | torch.device, **settings: bool | None
) -> Rows:
    """Images (N, S, S, 3) uint8 as normalised inputs (B, 3, S, S) float32 of `spec`."""

    def prepare(batch: torch.Tensor) -> torch.Tensor:
        return normalise(batch, spec.mean, spec.std)

    return Rows(images, device, prepare=prepare, **settings)


def predict(
    model: nn.Module, inputs: Rows, *, rows: torch.Tensor | None = None, autocast: bool = False
) -> torch.Tensor:
    """What `model` gives for every input of `rows` (all where None): (n, C) float32 on the CPU."""
    rows = torch.arange(len(inputs)) if rows is None else rows
    most, limit = EVALUATION.get(inputs.device.type, HOST_EVALUATION)
    size = max(1, min(most, limit // inputs.row_bytes))
    model.eval()
    outputs = []
    with torch.inference_mode():
        for batch in inputs.batches(rows, size):
            with torch.autocast(inputs.device.type, torch.bfloat16, enabled=autocast):
                outputs.append(model(batch).float())
    return torch.cat(outputs).cpu()
