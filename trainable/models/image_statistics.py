"""Simple statistics of an image in place of a network: a control for what features of a backbone add.

For each of the three channels, scaled to 0–1: mean, standard deviation, the quantiles `QUANTILES`, and
the means of `GRID` × `GRID` equal parts of the image. A linear probe on these `WIDTH` numbers knows
the colours of an image and where it is bright, and no shape finer than such a part.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from trainable.data.preprocess import EvaluationTransform
from trainable.models.base import Architecture

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
GRID = 8
SIDE = 64
"""Side to which images are resized, pixels."""
WIDTH = 3 * (2 + len(QUANTILES) + GRID**2)


class ImageStatistics(nn.Module):
    """The statistics, and a last layer on them."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(WIDTH, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (B, C) of `images` (B, 3, H, W), 0–1."""
        return self.head(statistics(images.float()))


def statistics(images: torch.Tensor) -> torch.Tensor:
    """The statistics of `images` (B, 3, H, W): (B, `WIDTH`), of all channels one after the other.

    A quantile is the value of the pixel of that rank, not interpolated.
    """
    values = images.flatten(2).sort(2).values  # (B, 3, H W)
    ranks = [round(share * (values.shape[2] - 1)) for share in QUANTILES]
    mean = values.mean(2, keepdim=True)
    deviation = (values - mean).square().mean(2, keepdim=True).sqrt()
    parts = functional.adaptive_avg_pool2d(images, GRID)
    return torch.cat([mean, deviation, values[:, :, ranks], parts.flatten(2)], 2).flatten(1)


ARCHITECTURE = Architecture(
    build=ImageStatistics,
    image_size=SIDE,
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
    evaluation=EvaluationTransform(resize=SIDE, mode="squash"),
    transform="evaluation",
    head="head",
    encoder=None,
    default_weights=None,
    has_parameters=False,
)
