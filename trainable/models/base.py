"""What an architecture is: how to build it, how it wants its images, and the weights that it knows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from trainable.data.preprocess import EvaluationTransform
from trainable.models.weights import State, read_weights
from trainable.protocol import Transform


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A classifier that a trial can train."""

    build: Callable[[], nn.Module]
    image_size: int
    """Side of the input, pixels."""
    mean: tuple[float, float, float]
    """Subtracted from an image scaled to 0–1, for both inits alike."""
    std: tuple[float, float, float]
    evaluation: EvaluationTransform
    """How its published evaluation frames an image."""
    transform: Transform | None = None
    """What takes the place of the protocol's transform; None: nothing does."""
    head: str
    """Dotted name of the last ``Linear``."""
    encoder: str | None
    """Dotted name of what ``non_encoder`` freezes; None: it has no such part."""
    blocks: Callable[[nn.Module], Sequence[Sequence[str]]] | None = None
    """Names of the parameters of each block (of a convolutional network: stage), first to last, of a
    model that `build` made. What follows the last block, but the head, is part of it."""
    layers: Callable[[nn.Module], Sequence[Sequence[str]]] | None = None
    """Names of the parameters of each layer, as layer-wise decay counts layers, of a model that
    `build` made: first what is before all blocks, then each block. What is in none belongs to the
    head. None: they are not known."""
    undecayed: Callable[[nn.Module], Collection[str]] = lambda _: ()
    """Names, or patterns as of `fnmatch`, of parameters that weight decay is not for, beside those
    of one dimension."""
    weights: Mapping[str, str | Path] = field(default_factory=dict)
    """Named pre-trained weights: the address of a file, or a file that is there."""
    default_weights: str | None
    """None: no weights of it are known."""
    near_domain: frozenset[str] = frozenset()
    """Of `weights`, those that saw images made to look like a survey's: never without that word."""
    backbone: str = ""
    """Dotted name of the module whose names a weights file has; empty: the model itself."""
    file_heads: tuple[str, ...] = ()
    """Dotted names that last layers have in weights files, besides `head`."""
    read: Callable[[Path], State] = read_weights
    """Reads a file of `weights`."""
    adapt: Callable[[State, nn.Module], State] | None = None
    """Gives tensors whose names or shapes are not the model's those that it wants, if it can: other
    layouts, positional embeddings of another resolution. Called with the module `backbone`."""
    has_parameters: bool = True
    """There are some below the head; without, nothing of it follows from weights or a seed."""
    library: str = ""
    """Name and version of the library whose code it is."""
    licence: str | None = None
    """Of the default weights, if known."""

    def weights_label(self, weights: str) -> str:
        """The name of weights in whatever is shown to a person."""
        return f"{weights} (near-domain pre-training)" if weights in self.near_domain else weights


def last_linear(model: nn.Module, name: str) -> nn.Linear:
    """The ``Linear`` of that dotted name; TypeError if another kind of layer has it."""
    layer = model.get_submodule(name)
    if not isinstance(layer, nn.Linear):
        raise TypeError(f"the head {name!r} is a {type(layer).__name__}, expected a Linear")
    return layer


def replace_head(model: nn.Module, head: str, num_classes: int) -> None:
    """Give `model` a fresh last layer."""
    parent, _, name = head.rpartition(".")
    old = last_linear(model, head)
    setattr(model.get_submodule(parent), name, nn.Linear(old.in_features, num_classes))


def on_meta(build: Callable[[], nn.Module]) -> nn.Module:
    """A model without memory for its tensors, in evaluation mode."""
    try:
        with torch.device("meta"):
            model = build()
    except NotImplementedError:  # it computes its widths with tensors, as torchvision's RegNets do
        model = build().to("meta")
    return model.eval()
