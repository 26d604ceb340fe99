"""Batches of preprocessed images on a device, and a model's logits for them."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from .backbones import Architecture
from .preprocess import normalise

EVALUATION_BATCH = 256


class Images:
    """Rows of the preprocessed images as batches on a device.

    On a GPU the images live in its memory when they take less than half of what is free.

    Parameters
    ----------
    images
        Shape (N, S, S, 3), uint8; usually a memory map.
    """

    def __init__(self, images: np.ndarray, device: torch.device, *, resident: bool | None = None):
        self.images, self.device = images, device
        if resident is None:
            resident = (
                device.type == "cuda" and images.nbytes < torch.cuda.mem_get_info(device)[0] // 2
            )
        self.resident = torch.from_numpy(np.array(images)).to(device) if resident else None

    def __getitem__(self, rows: torch.Tensor) -> torch.Tensor:
        """Images of `rows` (B,): (B, S, S, 3) uint8 on the device."""
        if self.resident is not None:
            return self.resident[rows.to(self.device)]
        batch = torch.from_numpy(self.images[rows.numpy()])
        if self.device.type == "cuda":
            return batch.pin_memory().to(self.device, non_blocking=True)
        return batch


def predict(
    model: nn.Module,
    images: Images | torch.Tensor,
    spec: Architecture,
    *,
    device: str | torch.device,
    rows: torch.Tensor | None = None,
    autocast: bool = False,
) -> torch.Tensor:
    """Logits of every image of `rows` (all where None): (n, C) float32 on the CPU."""
    rows = torch.arange(len(images)) if rows is None else rows
    device = torch.device(device)
    model.eval()
    logits = []
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=autocast):
        for chunk in rows.split(EVALUATION_BATCH):
            logits.append(model(normalise(images[chunk].to(device), spec.mean, spec.std)))
    return torch.cat(logits).float().cpu()
