"""The control whose features are simple statistics of the images."""

import numpy as np
import pytest
import torch

from trainable.models.architectures import architecture, build, size
from trainable.models.image_statistics import GRID, QUANTILES, WIDTH, statistics


def test_the_statistics_are_those_of_each_channel():
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    found = statistics(images).reshape(2, 3, -1)
    values = images.flatten(2).numpy()
    np.testing.assert_allclose(found[:, :, 0], values.mean(2), rtol=1e-5)
    np.testing.assert_allclose(found[:, :, 1], values.std(2), rtol=1e-4)
    quantiles = np.quantile(values, QUANTILES, axis=2).transpose(1, 2, 0)
    np.testing.assert_allclose(found[:, :, 2 : 2 + len(QUANTILES)], quantiles, atol=2e-3)
    corner = images[:, :, : 64 // GRID, : 64 // GRID].mean((2, 3))
    np.testing.assert_allclose(found[:, :, 2 + len(QUANTILES)], corner, rtol=1e-5)


def test_no_shape_is_seen_but_where_light_is():
    """Pixels in another order within each part of the grid change nothing."""
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    side = 64 // GRID
    parts = images.unfold(2, side, side).unfold(3, side, side)
    turned = parts.transpose(4, 5).permute(0, 1, 2, 4, 3, 5).reshape(images.shape)
    assert not torch.equal(turned, images)
    torch.testing.assert_close(statistics(turned), statistics(images))


def test_a_probe_on_it_has_a_weight_for_each_number():
    found = size("image_statistics", num_classes=5, trained="probe")
    assert found.parameters == found.trained_parameters == 5 * (WIDTH + 1)
    assert not architecture("image_statistics").has_parameters


@pytest.mark.parametrize("seed", [0, 1])
def test_features_are_the_statistics_whatever_the_seed(seed):
    model = build(
        "image_statistics", num_classes=2, init="scratch", weights=None, trained="probe", seed=seed
    )
    model.set_submodule("head", torch.nn.Identity())
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(model(images), statistics(images))
