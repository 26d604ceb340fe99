"""A network cut where its training begins: the frozen part below, and what is trained above it.

What the frozen part makes of an image is the same in every epoch, so it can be computed once. The cut is
found by following the network's own code (torch.fx) down to its frozen and its trained modules, so it needs
no knowledge of a family of networks.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
from torch import fx, nn
from torch.fx.proxy import TraceError
from torch.utils.flop_counter import FlopCounterMode

from trainable.config import Precision
from trainable.models.architectures import architecture, choose_trained
from trainable.models.base import on_meta
from trainable.protocol import Trained


class _Tracer(fx.Tracer):
    """Records calls of modules that are frozen or trained as a whole, and looks into all others."""

    def __init__(self, mixed: set[nn.Module]) -> None:
        super().__init__()
        self.mixed = mixed

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether a call of a module is recorded as one."""
        del module_qualified_name
        return m not in self.mixed


def cut(model: nn.Module) -> tuple[nn.Module, nn.Module] | None:
    """The frozen part of `model`, and the part that is trained on its outputs.

    Both share their modules and parameters with `model`, under the same names. One after the other
    they compute what `model` does.

    Parameters
    ----------
    model
        Takes one batch of images.

    Returns
    -------
    tuple or None
        None if nothing is frozen below what is trained, if more than one tensor passes from one part to
        the other, or if the code of `model` cannot be followed, as it depends on its images.
    """
    mixed = {
        module
        for module in model.modules()
        if len({parameter.requires_grad for parameter in module.parameters()}) == 2
    }
    if model not in mixed:
        return None
    try:
        graph = _Tracer(mixed).trace(model)
    except TraceError:
        return None
    above, of_images = _above(graph, model), _of_images(graph)
    passed = {
        node
        for node in graph.nodes
        if node in of_images and node not in above and any(user in above for user in node.users)
    }
    if len(passed) != 1:
        return None
    (node,) = passed
    return _part(model, graph, None, node), _part(model, graph, node, None)


def _above(graph: fx.Graph, model: nn.Module) -> set[fx.Node]:
    """Nodes whose values depend on what is trained."""
    found: set[fx.Node] = set()
    for node in graph.nodes:
        trained = False
        if node.op == "call_module":
            module = model.get_submodule(str(node.target))
            trained = any(parameter.requires_grad for parameter in module.parameters())
        elif node.op == "get_attr":
            owner, _, name = str(node.target).rpartition(".")
            trained = getattr(model.get_submodule(owner), name).requires_grad
        if trained or any(given in found for given in node.all_input_nodes):
            found.add(node)
    return found


def _of_images(graph: fx.Graph) -> set[fx.Node]:
    """Nodes whose values depend on the images."""
    found: set[fx.Node] = set()
    for node in graph.nodes:
        if node.op == "placeholder" or any(given in found for given in node.all_input_nodes):
            found.add(node)
    return found


def _part(
    model: nn.Module, graph: fx.Graph, first: fx.Node | None, last: fx.Node | None
) -> fx.GraphModule:
    """The part of a graph that computes `last` (None: its output) from `first` (None: its input)."""
    output = next(node for node in reversed(graph.nodes) if node.op == "output")
    wanted = output.all_input_nodes[0] if last is None else last
    needed: set[fx.Node] = set()
    todo = [wanted]
    while todo:
        node = todo.pop()
        if node not in needed:
            needed.add(node)
            todo += [] if node is first else node.all_input_nodes
    part = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        if node is first:
            copies[node] = part.placeholder("tokens")
        elif node in needed:
            copies[node] = part.node_copy(node, copies.__getitem__)
    part.output(copies[wanted])
    return fx.GraphModule(model, part)


@dataclass(frozen=True, kw_only=True)
class Cut:
    """What a cut network costs."""

    shape: tuple[int, ...]
    """Of what passes the cut of one image."""
    flops_above: int
    """Floating-point operations of one image's forward pass above the cut."""

    def image_bytes(self, precision: Precision) -> int:
        """Bytes that are kept of an image: bfloat16 if the run computes so, else float32."""
        return math.prod(self.shape) * (2 if precision == "bf16" else 4)


@functools.cache
def cut_of(arch: str, trained: Trained) -> Cut | None:
    """The cut of a network of which a part is trained, without allocating it; None as of `cut`."""
    spec = architecture(arch)
    model = on_meta(spec.build)
    choose_trained(model, spec, trained)
    if (parts := cut(model)) is None:
        return None
    below, above = parts
    tokens = below(torch.empty(2, 3, spec.image_size, spec.image_size, device="meta"))
    if not isinstance(tokens, torch.Tensor) or len(tokens) != 2:
        return None  # not one row for each image
    with FlopCounterMode(display=False) as counter:
        above(tokens[:1])
    return Cut(shape=tuple(tokens.shape[1:]), flops_above=counter.get_total_flops())
