"""Training steps that a GPU replays as one graph, which the host asks for once; torch alone.

A step of ViT-B/16 is some 650 kernels that take an H100 11 ms, and its host 40 ms to ask for one by one
(``benchmarks/RESULTS.md``, 2026-11-27). CUDA can keep all that a step asks of a GPU, and do it again at a word.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

LOG = logging.getLogger(__name__)
WARM_STEPS = 3
"""Steps that are taken as ever before one is captured: what is compiled, tuned or allocated once may not be
captured (PyTorch, "CUDA semantics", section "CUDA Graphs")."""

APART = 0.1
"""Relative difference, at most, between what a step changes when it is replayed and when it is taken as ever. A
replay that leaves something out is apart by about one. Sums in another order may be apart by more than their
rounding: AdamW moves a weight whose gradient is next to nothing as far as any other."""

Step = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(batch, targets) → logits, with what is trained moved by a step of the optimiser."""


class CapturedStep:
    """A training step that is replayed once it has been seen a few times.

    The same kernels compute the same numbers, which is tried once, on the first step that is replayed: from the
    same state it must change what the step changes when it is taken as ever. A batch of another size, such as an
    epoch's last, is trained on as ever, and so are all, after one warning, if the step cannot be captured or its
    replay does something else.

    Parameters
    ----------
    step
        The whole step, the optimiser's included; it reads nothing that the host decides anew for each step.
    model, optimiser
        What the step changes.
    """

    def __init__(self, step: Step, model: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        self._step, self._model, self._optimiser = step, model, optimiser
        self._size = self._seen = 0  # of the largest batch, and how many had it
        self._given_up = False
        self._graph: torch.cuda.CUDAGraph | None = None
        self._batch = self._targets = self._logits = torch.empty(0)

    def __call__(self, batch: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Logits of `batch` (B, ...) before the step; the next call may write over them."""
        if self._given_up:
            return self._step(batch, targets)
        if self._graph is None:
            return self._not_yet(batch, targets)
        if not self._fits(batch, targets):
            return self._step(batch, targets)
        return self._replayed(self._graph, batch, targets)

    @property
    def replays(self) -> bool:
        """A step has been captured, and its replay tried."""
        return self._graph is not None

    def forget(self) -> None:
        """Capture anew: the tensors that the step reads and writes have been replaced."""
        self._size, self._seen, self._graph = 0, 0, None
        _CAPTURED.discard(self)

    def _fits(self, batch: torch.Tensor, targets: torch.Tensor) -> bool:
        mine = (self._batch, self._targets)
        return all(
            a.shape == b.shape and a.dtype == b.dtype
            for a, b in zip(mine, (batch, targets), strict=True)
        )

    def _not_yet(self, batch: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        if len(batch) > self._size:
            self._size, self._seen = len(batch), 0
        if len(batch) < self._size:  # an epoch's last
            return self._step(batch, targets)
        self._seen += 1
        if self._seen <= WARM_STEPS:
            return self._on_another_stream(batch, targets)
        return self._tried(batch, targets)

    def _on_another_stream(self, batch: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """As a step is captured: on no stream that waits for the others of its own accord."""
        current = torch.cuda.current_stream(batch.device)
        other = torch.cuda.Stream(batch.device)
        other.wait_stream(current)
        with torch.cuda.stream(other):
            logits = self._step(batch, targets)
        current.wait_stream(other)
        for tensor in (batch, targets):
            tensor.record_stream(other)
        logits.record_stream(current)
        return logits

    def _replayed(
        self, graph: torch.cuda.CUDAGraph, batch: torch.Tensor, targets: torch.Tensor
    ) -> torch.Tensor:
        self._batch.copy_(batch)
        self._targets.copy_(targets)
        graph.replay()
        return self._logits

    def _tried(self, batch: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Take the step as ever; then capture it, and go back to replay it, if that changes the same."""
        state, random = self._state(), torch.cuda.get_rng_state(batch.device)
        # not on the GPU, which may be full if trials have shares of it
        kept = [tensor.detach().to("cpu", copy=True) for tensor in state]
        before = in_a_row(self._model)
        logits = self._step(batch, targets).clone()
        moved = in_a_row(self._model) - before
        graph = self._capture(batch, targets)
        if graph is None:
            return logits

        def go_back() -> None:
            with torch.no_grad():
                for tensor, was in zip(state, kept, strict=True):
                    tensor.copy_(was)
            torch.cuda.set_rng_state(random, batch.device)

        go_back()
        replayed = self._replayed(graph, batch, targets)
        apart = max(
            relative_difference(replayed, logits),
            relative_difference(in_a_row(self._model) - before, moved),
        )
        if apart <= APART:
            self._graph = graph
            _CAPTURED.add(self)
            return replayed
        self._give_up(f"a replay changes something else (relative difference {apart:.2g})")
        go_back()
        return self._step(batch, targets)

    def _state(self) -> list[torch.Tensor]:
        kept = [value for each in self._optimiser.state.values() for value in each.values()]
        tensors = [value for value in kept if isinstance(value, torch.Tensor)]
        return [*self._model.parameters(), *self._model.buffers(), *tensors]

    def _capture(self, batch: torch.Tensor, targets: torch.Tensor) -> torch.cuda.CUDAGraph | None:
        """None, after a warning, if there is something in the step that cannot be captured."""
        self._batch, self._targets = batch.clone(), targets.clone()
        # replayed in turn, and what they give is read before the next one: they can share their memory
        pool = next((other.pool for other in _CAPTURED), None)
        graph = torch.cuda.CUDAGraph()
        try:
            # other threads, such as the one that reads images, may ask the GPU for memory meanwhile
            with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
                self._logits = self._step(self._batch, self._targets)
        except RuntimeError as error:
            self._give_up(str(error).strip().partition("\n")[0])
            return None
        return graph

    def _give_up(self, reason: str) -> None:
        self._given_up = True
        LOG.warning("training steps are not replayed, and take longer: %s", reason)

    @property
    def pool(self) -> Any:
        """Of the memory of what is captured."""
        assert self._graph is not None, "nothing is captured"
        return self._graph.pool()


def in_a_row(model: nn.Module) -> torch.Tensor:
    """What of a model is trained, (P,); on the CPU."""
    trained = [p.detach().flatten() for p in model.parameters() if p.requires_grad]
    return torch.cat(trained).to("cpu", copy=True)


def relative_difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Of the norms; zero if both are zero."""
    norm = float(expected.norm())
    apart = float((found - expected).norm())
    return apart / norm if norm else apart


_CAPTURED: weakref.WeakSet[CapturedStep] = weakref.WeakSet()
"""Those of this process that have a graph."""
