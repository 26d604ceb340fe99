"""Steps that a GPU replays; its graphs are imitated by taking the captured step again."""

from contextlib import contextmanager, nullcontext
from typing import ClassVar

import pytest
import torch
from torch import nn
from torch.nn import functional

from trainable import captured_step
from trainable.captured_step import WARM_STEPS, CapturedStep

BATCHES = torch.randn(10, 8, 4, generator=torch.Generator().manual_seed(0))
TARGETS = torch.randint(3, (10, 8), generator=torch.Generator().manual_seed(1))


class Stream:
    """One that does everything at once."""

    def __init__(self, *_):
        pass

    def wait_stream(self, other):
        pass


class Graph:
    """Keeps no kernels, but the step that made them."""

    made: ClassVar[list["Graph"]] = []

    def __init__(self):
        self.captured_pool, self.replays = None, 0
        Graph.made.append(self)

    def pool(self):
        return self.captured_pool or (0, Graph.made.index(self))

    def replay(self):
        self.replays += 1
        self.trainer.replay(self)


class Trainer:
    """A linear model whose steps can be captured, with their batch, targets and logits where they are."""

    def __init__(self, *, smoothing=0.0):
        self.model = nn.Linear(4, 3)
        nn.init.constant_(self.model.weight, 0.1)
        nn.init.zeros_(self.model.bias)
        self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=0.01, weight_decay=0.1)
        self.asked, self.replayed_smoothing = 0, smoothing
        self.tensors: dict[Graph, tuple[torch.Tensor, ...]] = {}
        self.captured = CapturedStep(self.step, self.model, self.optimiser)

    def step(self, batch, targets):
        self.asked += 1
        logits = self.take(batch, targets)
        if Graph.made and not hasattr(Graph.made[-1], "trainer"):
            Graph.made[-1].trainer = self
            self.tensors[Graph.made[-1]] = batch, targets, logits
        return logits

    def take(self, batch, targets, smoothing=0.0):
        self.optimiser.zero_grad()
        logits = self.model(batch)
        functional.cross_entropy(logits, targets, label_smoothing=smoothing).backward()
        self.optimiser.step()
        return logits.detach()

    def replay(self, graph):
        batch, targets, logits = self.tensors[graph]
        logits.copy_(self.take(batch, targets, self.replayed_smoothing))

    @property
    def weights(self):
        return captured_step.in_a_row(self.model)


@pytest.fixture(autouse=True)
def gpu(monkeypatch):
    Graph.made = []

    @contextmanager
    def capture(graph, *, pool, capture_error_mode):
        assert capture_error_mode == "thread_local"
        graph.captured_pool = pool
        yield

    monkeypatch.setattr(captured_step, "_CAPTURED", captured_step.weakref.WeakSet())
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda self, stream: None)
    for name, fake in {
        "Stream": Stream,
        "stream": lambda stream: nullcontext(),
        "current_stream": lambda device: Stream(),
        "get_rng_state": lambda device: torch.get_rng_state(),
        "set_rng_state": lambda state, device: torch.set_rng_state(state),
        "CUDAGraph": Graph,
        "graph": capture,
    }.items():
        monkeypatch.setattr(torch.cuda, name, fake)


def train(trainer, rows=range(10), *, captured=True):
    """Logits of each batch."""
    step = trainer.captured if captured else trainer.step
    return [step(BATCHES[row], TARGETS[row]).clone() for row in rows]


def test_replayed_steps_train_as_single_ones():
    plain, trainer = Trainer(), Trainer()
    expected = train(plain, captured=False)
    assert all(map(torch.equal, train(trainer), expected))
    assert torch.equal(trainer.weights, plain.weights)
    (graph,) = Graph.made
    assert graph.replays == len(BATCHES) - WARM_STEPS
    assert trainer.captured.replays
    assert trainer.asked == WARM_STEPS + 2, "as ever, and as it was captured"


@pytest.mark.parametrize("first", [0, WARM_STEPS], ids=["at once", "before it is captured"])
def test_an_epochs_last_batch_is_trained_on_as_ever(first):
    plain, trainer = Trainer(), Trainer()
    for row in range(len(BATCHES)):
        n = 3 if row == first or row > 7 else 8
        for step in (trainer.captured, plain.step):
            step(BATCHES[row, :n], TARGETS[row, :n])
    assert torch.equal(trainer.weights, plain.weights)
    (graph,) = Graph.made
    assert len(trainer.tensors[graph][0]) == 8
    assert graph.replays == 7 - WARM_STEPS


def test_targets_of_another_kind_are_not_squeezed_into_the_captured_ones():
    trainer = Trainer()
    train(trainer)
    asked = trainer.asked
    trainer.captured(BATCHES[0], torch.full((8, 3), 1 / 3))
    assert trainer.asked == asked + 1


def test_a_replay_that_changes_something_else_is_not_used(caplog):
    plain, trainer = Trainer(), Trainer(smoothing=1.0)
    expected = train(plain, captured=False)
    assert all(map(torch.equal, train(trainer), expected))
    assert torch.equal(trainer.weights, plain.weights)
    assert [graph.replays for graph in Graph.made] == [1]
    assert not trainer.captured.replays
    (record,) = caplog.records
    assert "are not replayed, and take longer: a replay changes something" in record.getMessage()


def test_what_cannot_be_captured_is_trained_on_as_ever(monkeypatch, caplog):
    @contextmanager
    def refuse(*_, **__):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")
        yield

    monkeypatch.setattr(torch.cuda, "graph", refuse)
    plain, trainer = Trainer(), Trainer()
    expected = train(plain, captured=False)
    assert all(map(torch.equal, train(trainer), expected))
    assert torch.equal(trainer.weights, plain.weights)
    (record,) = caplog.records
    assert record.getMessage().endswith("longer: operation not permitted when stream is capturing")


def test_forgotten_steps_are_captured_anew():
    trainer = Trainer()
    train(trainer)
    trainer.captured.forget()
    assert not captured_step._CAPTURED
    train(trainer)
    assert [graph.replays for graph in Graph.made] == 2 * [len(BATCHES) - WARM_STEPS]


def test_graphs_of_one_process_share_their_memory():
    first, second = Trainer(), Trainer()
    train(first)
    train(second)
    assert first.captured.pool == second.captured.pool
    assert Graph.made[1].captured_pool == Graph.made[0].pool()
