"""Pixels as inputs: torchvision's numbers on a CPU, one operation without waiting on a GPU."""

import itertools

import numpy as np
import pytest
import torch
from torchvision import transforms

from trainable.data.pixels import Normaliser, flip_and_rotate, normalise
from trainable.protocol import IMAGENET_MEAN, IMAGENET_STD

BYTES = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
"""Every value in every channel."""


def expected() -> torch.Tensor:
    reference = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD)]
    )
    return reference(BYTES)[None]


def test_on_a_cpu_it_is_torchvisions_bit_for_bit():
    found = normalise(torch.from_numpy(BYTES)[None], IMAGENET_MEAN, IMAGENET_STD)
    assert torch.equal(found, expected())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_one_multiply_add_gives_the_same(dtype):
    """Within 1e-6, or what bfloat16 rounds off (8 bits of at most 2.64)."""
    compute = Normaliser(IMAGENET_MEAN, IMAGENET_STD, "cpu", dtype)
    found = compute.multiply_add(torch.from_numpy(BYTES)[None].permute(0, 3, 1, 2))
    assert found.dtype == dtype
    tolerance = 1e-6 if dtype == torch.float32 else 2**-7
    assert torch.allclose(found.float(), expected(), rtol=0, atol=tolerance)


def test_the_eight_ways_to_show_an_image():
    image = torch.arange(2 * 9.0).reshape(2, 3, 3)
    ways = torch.tensor(list(itertools.product([False, True], repeat=3)))
    shown = flip_and_rotate(image.expand(8, -1, -1, -1), ways)
    turned = [torch.rot90(image, k, (1, 2)) for k in range(4)]
    expected = turned + [t.flip(2) for t in turned]
    assert torch.equal(shown[0], image)
    assert {tuple(x.flatten().tolist()) for x in shown} == {
        tuple(x.flatten().tolist()) for x in expected
    }
