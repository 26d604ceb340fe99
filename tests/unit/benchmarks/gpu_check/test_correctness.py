"""Each check passes here, and fails for a fault of the kind that it is there for."""

from dataclasses import replace

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.gpu_check import correctness
from benchmarks.gpu_check import setup as setups
from benchmarks.gpu_check.checks import run_check
from benchmarks.gpu_check.setup import Setup
from trainable.data.batches import Rows
from trainable.devices import Gpu
from trainable.models import compiled_blocks
from trainable.run import TrainingRun


def statuses(lines):
    return [line.status for line in lines]


@pytest.fixture
def imitated_gpu(monkeypatch):
    """A CPU that is taken for a GPU whose waits are noted."""
    gpu = Gpu(name="NVIDIA T4", capability=(7, 5), memory=1 << 34)
    monkeypatch.setattr(Setup, "gpus", (gpu,))
    modes = []
    monkeypatch.setattr(correctness, "set_waiting", lambda mode, device: modes.append(mode))
    return modes


def test_all_steps_but_the_first_are_watched(setup, imitated_gpu):
    lines = correctness.no_waits(replace(setup, compiles=False))
    assert [(line.value, line.status) for line in lines] == [(3, "PASS")] * 2
    warm_up, watched = ["default"] * 4, [*["error"] * 3, "default"]
    assert imitated_gpu == 2 * [*warm_up, *watched, "default"]


def test_a_wait_is_a_failure_and_leaves_nothing_switched(setup, imitated_gpu, monkeypatch):
    step = torch.optim.AdamW.step

    def waiting(self, *arguments):
        if imitated_gpu[-1:] == ["error"]:
            raise RuntimeError("called a synchronizing CUDA operation")
        return step(self, *arguments)

    monkeypatch.setattr(torch.optim.AdamW, "step", waiting)
    (line,) = run_check("waits", replace(setup, compiles=False))
    assert line.status == "FAIL"
    assert "called a synchronizing CUDA operation" in line.text()
    assert imitated_gpu[-1] == "default"


def test_there_is_nothing_to_wait_for_on_a_cpu(setup):
    assert statuses(correctness.no_waits(setup)) == ["NOT RUN"] * 2


def test_a_device_that_computes_otherwise_fails(setup, monkeypatch):
    lines = correctness.against_cpu(setup)
    assert [(line.value, line.status) for line in lines] == [(0.0, "PASS")] * 2
    run = Setup.run

    def otherwise(self, config, device=None, **arguments):
        made = run(self, config, device=device, **arguments)
        if device is None:
            with torch.no_grad():
                made.model.conv_proj[0][0].weight.mul_(1.01)
        return made

    monkeypatch.setattr(Setup, "run", otherwise)
    _, gradients = correctness.against_cpu(setup)
    assert gradients.status == "FAIL"


@pytest.fixture
def compiler(monkeypatch):
    """One that changes nothing; what it was given."""
    given = []

    def compile(function, **_):
        given.append(function)
        return function

    monkeypatch.setattr(torch, "compile", compile)
    for module in (compiled_blocks, setups):
        monkeypatch.setattr(module, "why_not_compiled", lambda device_type: None)
    compiled_blocks._compiled.cache_clear()
    yield given
    compiled_blocks._compiled.cache_clear()


def test_bf16_is_within_its_rounding_and_compiled_is_eager(setup, compiler):
    lines = correctness.against_eager(replace(setup, compiles=True))
    assert compiler
    assert statuses(lines) == ["PASS"] * 6
    loss, gradients = lines[:2]
    assert 0 < loss.value < 1e-2 < gradients.value < 1e-1
    assert max(line.value for line in lines[2:4]) < 1e-5  # only attention takes another way


def test_too_much_rounding_fails(setup):
    _, gradients = correctness.against_eager(replace(setup, rounding=1e-3))[:2]
    assert gradients.status == "FAIL"


def test_what_cannot_be_compiled_is_not_run(setup):
    assert statuses(correctness.against_eager(setup))[2:] == ["NOT RUN"] * 2


def test_streams_carry_what_is_in_the_array(setup):
    assert statuses(correctness.streams(setup)) == ["PASS"] * 2


def test_rows_that_are_used_before_they_arrive_are_found(setup, monkeypatch):
    arrived = Rows._arrived
    seen = []

    def too_early(self, rows, arrival):
        seen.append(rows)
        return torch.zeros_like(rows) if len(seen) == 5 else arrived(self, rows, arrival)

    monkeypatch.setattr(Rows, "_arrived", too_early)
    monkeypatch.setattr("trainable.data.batches.PIECE", 1)
    streamed, late = correctness.streams(setup)
    assert (streamed.value, streamed.status) == (1, "FAIL")
    assert late.status == "PASS"


def test_a_resumed_run_is_the_uninterrupted(setup):
    assert statuses(correctness.resumption(setup)) == ["PASS"] * 2
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_state_that_is_not_restored_is_found(setup, monkeypatch):
    restored = TrainingRun.load_state_dict

    def without_optimiser(self, state):
        restored(self, state | {"optimiser": self.optimiser.state_dict()})

    monkeypatch.setattr(TrainingRun, "load_state_dict", without_optimiser)
    assert statuses(correctness.resumption(setup)) == ["FAIL"] * 2


def test_no_network_is_left_when_a_run_is_given_up(setup, monkeypatch):
    networks, memory = correctness.memory(setup)
    assert (networks.status, memory.status) == ("PASS", "NOT RUN")
    kept, run = [], Setup.run

    def keep(self, *arguments, **named):
        kept.append(run(self, *arguments, **named))
        return kept[-1]

    monkeypatch.setattr(Setup, "run", keep)
    networks, _ = correctness.memory(setup)
    assert (networks.value, networks.status) == (3, "FAIL")


@pytest.mark.parametrize(("last", "status"), [(5 << 20, "PASS"), (9 << 20, "FAIL")])
def test_memory_goes_back_to_what_it_was(setup, imitated_gpu, monkeypatch, last, status):
    allocated = iter([5 << 20, 4 << 20, last])
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: next(allocated))
    assert correctness.memory(setup)[1].status == status


def test_a_fused_kernel_of_attention_is_found(setup, imitated_gpu):
    (line,) = correctness.attention(setup)
    assert (line.value, line.status) == (1, "PASS")
    assert "flash" in line.note


def test_a_kernel_of_attention_that_is_not_fused_is_named(setup, imitated_gpu):
    with sdpa_kernel(SDPBackend.MATH):
        (line,) = correctness.attention(setup)
    assert (line.value, line.status) == (0, "FAIL")
    assert "math" in line.note
