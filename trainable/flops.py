"""Floating-point operations of training (a multiply-add counts two). Standard library only."""

from __future__ import annotations

from trainable.protocol import PASSES, Trained

FLOPS_PER_WEIGHT = 2
"""Of a linear layer's forward pass: a product and a sum."""
PROBE_STEPS = 500
"""Passes of its images, forward and backward, in which a probe is fitted at all strengths. Conjugate
gradients take as many as they need: 320 and 690 for 180 and 600 images with the demo's features."""


def epoch_flops(
    *,
    trained: Trained,
    forward_flops: int,
    n_train: int,
    n_val: int,
    backward_flops: int | None = None,
) -> int:
    """Operations of an epoch in which every image passes through the whole network.

    Parameters
    ----------
    trained
        What is trained, which decides how far the backward pass goes.
    forward_flops
        Of one image's forward pass.
    n_train, n_val
        Images that are trained on, and that are validated with one forward pass each.
    backward_flops
        Of one image's backward pass; needed if `trained` is not one of `PASSES`.
    """
    if trained in PASSES:
        step = PASSES[trained] * forward_flops
    elif backward_flops is None:
        raise ValueError(f"the backward pass of {trained!r} is not known")
    else:
        step = forward_flops + backward_flops
    return step * n_train + forward_flops * n_val


def head_epoch_flops(*, parameters: int, n_train: int, n_val: int) -> int:
    """Operations of an epoch of a head on cached features: the head is the whole network.

    Parameters
    ----------
    parameters
        Of the head.
    """
    forward_flops = FLOPS_PER_WEIGHT * parameters
    return epoch_flops(trained="all", forward_flops=forward_flops, n_train=n_train, n_val=n_val)


def probe_flops(*, parameters: int, n_train: int, folds: int) -> int:
    """Operations of the fits of a probe, about.

    Parameters
    ----------
    parameters
        Of the head.
    folds
        Fits at each strength; each takes all images, and counts those of its own fold for nothing.
    """
    return PROBE_STEPS * folds * n_train * 2 * FLOPS_PER_WEIGHT * parameters
