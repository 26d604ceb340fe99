"""Floating-point operations of training."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from trainable.flops import epoch_flops, head_epoch_flops
from trainable.models import architectures


def counted(trained, images):
    """What torch counts in the training step of a ViT-B/16 without data."""
    with torch.device("meta"):
        model = architectures.ARCHITECTURES["vit_b_16"].build()
        batch = torch.empty(images, 3, 224, 224)
    architectures.choose_trained(model, architectures.ARCHITECTURES["vit_b_16"], trained)
    with FlopCounterMode(display=False) as counter:
        model(batch).sum().backward()
    return counter.get_total_flops()


@pytest.mark.parametrize("trained", ["all", "non_encoder", "head"])
def test_a_training_step_costs_what_torch_counts(trained):
    forward = architectures.size("vit_b_16", num_classes=1000, trained="all").forward_flops
    found = epoch_flops(trained=trained, forward_flops=forward, n_train=2, n_val=0)
    assert found == pytest.approx(counted(trained, 2), rel=0.02)


@pytest.mark.parametrize("blocks", [1, 3, 12])
def test_a_frozen_prefix_needs_no_backward_pass(blocks):
    """A block is 1/12 of ViT-B/16 but for the patches; its backward pass costs two forward ones."""
    size = architectures.size("vit_b_16", num_classes=1000, trained=f"last_{blocks}")
    assert size.backward_flops == pytest.approx(2 * size.forward_flops * blocks / 12, rel=0.02)
    found = epoch_flops(
        trained=f"last_{blocks}",
        forward_flops=size.forward_flops,
        backward_flops=size.backward_flops,
        n_train=2,
        n_val=1,
    )
    assert found == 3 * size.forward_flops + 2 * size.backward_flops
    assert found == pytest.approx(counted(f"last_{blocks}", 2) + size.forward_flops, rel=0.001)


def test_grouped_convolutions_are_counted_as_such():
    """torch's own formula ignores the groups and finds 15 forward passes instead of two."""
    size = architectures.size("convnext_tiny", num_classes=10, trained="last_4")
    assert size.backward_flops == pytest.approx(2 * size.forward_flops, rel=0.02)


def test_passes_that_are_not_known():
    with pytest.raises(ValueError, match="the backward pass of 'last_2' is not known"):
        epoch_flops(trained="last_2", forward_flops=1, n_train=1, n_val=1)


def test_validation_is_one_forward_pass():
    assert epoch_flops(trained="all", forward_flops=10, n_train=3, n_val=5) == 10 * (3 * 3 + 5)


def test_a_head_on_features_is_the_whole_network():
    assert head_epoch_flops(parameters=7, n_train=3, n_val=5) == 14 * (3 * 3 + 5)
