"""From pixels to a network's inputs, on the device; torch alone."""

from __future__ import annotations

import torch


class Normaliser:
    """``ToTensor`` and ``Normalize`` for batches on one device, with constants made once.

    Made of Python's numbers in every step, the constants would be copied to a GPU each time, and
    the host would wait for both copies.

    On a CPU the arithmetic is torchvision's own, bit for bit. Elsewhere it is one multiply-add,
    which reads bytes and writes what the network computes in: within 1e-6 of the former in float32.

    Parameters
    ----------
    mean, std
        One number for each channel, of images scaled to 0–1.
    device
        Where the batches are.
    dtype
        What the inputs shall be; on a CPU they are float32 whatever it says.
    """

    def __init__(
        self,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        device: str | torch.device,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.mean, self.std = (  # (1, C, 1, 1)
            torch.tensor(values, device=device).view(1, -1, 1, 1) for values in (mean, std)
        )
        self.scale, self.shift = 1 / (255 * self.std), -self.mean / self.std
        self.dtype = dtype

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Inputs (B, C, S, S) of `images` (B, S, S, C) uint8, in the memory order of the images."""
        images = images.permute(0, 3, 1, 2)
        if images.device.type == "cpu":
            return images.to(torch.float32).div_(255).sub_(self.mean).div_(self.std)
        return self.multiply_add(images)

    def multiply_add(self, images: torch.Tensor) -> torch.Tensor:
        """Inputs of `images` (B, C, S, S) uint8 by one operation."""
        out = torch.empty_like(images, dtype=self.dtype)
        return torch.addcmul(self.shift, images, self.scale, out=out)


def normalise(
    images: torch.Tensor, mean: tuple[float, ...], std: tuple[float, ...]
) -> torch.Tensor:
    """Inputs (B, C, S, S) float32 of a single batch of `images` (B, S, S, C) uint8."""
    return Normaliser(mean, std, images.device)(images)


def mix(rows: torch.Tensor, share: float) -> torch.Tensor:
    """Each row of a batch mixed with the one at the same place from the end (mixup).

    Parameters
    ----------
    rows
        Shape (B, ...), images or the shares of their classes.
    share
        Of the row itself, 0 to 1.
    """
    return torch.lerp(rows.flip(0), rows, share)


def flip_and_rotate(images: torch.Tensor, ways: torch.Tensor) -> torch.Tensor:
    """Each image in one of the eight orientations that flips and 90° rotations give.

    Parameters
    ----------
    images
        Shape (B, C, S, S).
    ways
        Shape (B, 3), bool: flipped left to right, top to bottom, along the diagonal.

    Returns
    -------
    torch.Tensor
        Shape (B, C, S, S).
    """
    across, down, diagonal = ways.T[:, :, None, None, None]  # (B, 1, 1, 1) each
    images = torch.where(across, images.flip(3), images)
    images = torch.where(down, images.flip(2), images)
    return torch.where(diagonal, images.transpose(2, 3), images)
