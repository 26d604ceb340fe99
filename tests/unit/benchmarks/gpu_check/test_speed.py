import pytest

from analysis.paper import BASELINE, TRIALS
from benchmarks.gpu_check import speed
from benchmarks.gpu_check.lines import FLOORS
from benchmarks.gpu_check.setup import Setup
from benchmarks.machine import float32_products
from trainable.devices import Gpu


def test_every_rate_is_measured(setup):
    """A CPU has no floors, and its default precision is float32."""
    with float32_products("fp32"):
        lines = {line.name: line for line in speed.rates(setup)}
    for name in (
        "scratch, bf16, compiled",
        "scratch, bf16, compiled, not replayed",
        "feature extraction, compiled",
    ):
        assert lines.pop(name).status == "NOT RUN"
    assert {line.status for line in lines.values()} == {"MEASURED"}
    assert all(line.value > 0 for line in lines.values())
    assert lines["scratch, fp32"].note
    assert not lines["scratch, bf16"].note


def test_floors_are_of_what_the_flags_do_by_default(setup, monkeypatch):
    monkeypatch.setattr(speed, "device_label", lambda device: "NVIDIA H100 80GB HBM3")
    monkeypatch.setattr(speed, "seconds_of", lambda work, setup, repeats: 0.01)
    lines = {line.name: line for line in speed.rates(setup)}
    floors = FLOORS["H100"]
    assert lines["scratch, fp32"].at_least == floors.scratch
    assert lines["scratch, tf32"].at_least is None
    assert lines["feature extraction"].at_least == floors.extraction
    assert lines["the paper's nine trials"].at_most == floors.paper_minutes


def test_a_gpu_without_bf16_trains_in_fp32_by_default_and_not_compiled(setup, monkeypatch):
    """Also if there is a compiler."""
    old = Gpu(name="NVIDIA T4", capability=(7, 5), memory=1 << 34)
    monkeypatch.setattr(Setup, "gpus", (old,))
    monkeypatch.setattr(Setup, "why_not_compiled", lambda self: None)
    monkeypatch.setattr(speed, "scratch_rate", lambda *arguments, **named: 10.0)
    monkeypatch.setattr(speed, "compile_blocks", lambda *arguments, **named: None)
    config = setup.fast()
    assert (config.precision, config.compile) == ("fp32", False)
    lines = {line.name: line for line in speed.rates(setup)}
    assert lines["scratch, fp32"].note
    assert lines["the paper's nine trials"].value > 0


def test_the_median_of_what_comes_after_the_first(setup, monkeypatch):
    ticks = iter([0, 100, 200, 201, 300, 302, 400, 403])
    monkeypatch.setattr(speed.time, "perf_counter", lambda: next(ticks))
    assert speed.seconds_of(lambda: None, setup, 3) == 2


def test_images_of_the_papers_trials():
    """§3.1 and table 2: 17,402 images, four fifths of them train."""
    assert (speed.ALL_IMAGES, speed.PAPERS_IMAGES) == (17_736, 17_402)
    assert speed.images_of(BASELINE) == (13_922, 3480)


def test_minutes_of_the_paper_by_hand():
    """One image a second of each kind is the number of images of that kind."""
    fast = dict.fromkeys(("scratch", "validation", "extraction", "heads"), 1e12)

    def seconds(name):
        return 60 * speed.paper_minutes(**fast | {name: 1.0})

    assert seconds("scratch") == pytest.approx(26 * 13_922, abs=1)
    assert seconds("validation") == pytest.approx(26 * 3480, abs=1)
    assert seconds("extraction") == pytest.approx(17_736, abs=1)
    frozen = sum(t.epochs * 0.8 * t.fraction * 17_402 for t in TRIALS if t is not BASELINE)
    assert seconds("heads") == pytest.approx(frozen, rel=1e-3)


def test_floors_of_the_trials_follow_from_the_other_floors():
    """The minutes are what is left of them if heads and validation take none."""
    for floors in FLOORS.values():
        at_least = 60 * speed.paper_minutes(
            scratch=floors.scratch, extraction=floors.extraction, validation=1e12, heads=1e12
        )
        assert at_least < 60 * floors.paper_minutes
