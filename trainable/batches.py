"""Rows of preprocessed images, or of cached features, as batches on a device."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import nn

from .backbones import Architecture
from .preprocess import normalise

EVALUATION_BATCH = 256
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
        if resident is None:
            on_gpu = self.device.type == "cuda"
            resident = on_gpu and array.nbytes < torch.cuda.mem_get_info(self.device)[0] // 2
        self.resident = self._copy() if resident else None

    def _copy(self) -> torch.Tensor:
        """The whole array on the device, copied in pieces: the host holds no second one."""
        first = torch.from_numpy(self.array[:1])
        whole = torch.empty(self.array.shape, dtype=first.dtype, device=self.device)
        block = max(1, COPY_BLOCK // max(1, self.array[:1].nbytes))
        for start in range(0, len(self.array), block):
            piece = np.array(self.array[start : start + block])
            whole[start : start + block] = torch.from_numpy(piece)
        return whole

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, rows: torch.Tensor) -> torch.Tensor:
        """Inputs of `rows` (B,), on the device."""
        if self.resident is not None:
            batch = self.resident[rows.to(self.device)]
        else:
            batch = torch.from_numpy(self.array[rows.cpu().numpy()])
            if self.device.type == "cuda":
                batch = batch.pin_memory().to(self.device, non_blocking=True)
        return self.prepare(batch) if self.prepare else batch

    def batches(self, rows: torch.Tensor, size: int) -> Iterator[torch.Tensor]:
        """Inputs of `rows` (n,), `size` at a time; the last batch may be smaller."""
        for chunk in rows.split(size):
            yield self[chunk]


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
    model.eval()
    outputs = []
    with torch.inference_mode():
        for batch in inputs.batches(rows, EVALUATION_BATCH):
            with torch.autocast(inputs.device.type, torch.bfloat16, enabled=autocast):
                outputs.append(model(batch).float())
    return torch.cat(outputs).cpu()
