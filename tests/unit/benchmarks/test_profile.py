import time

import pytest
import torch

from benchmarks import profile
from benchmarks.profile import Phases, phase_rows, phases_of_an_epoch


def test_every_step_passes_every_phase(make_run):
    """Six steps of 8 images; all phases and the rest add up to the epoch."""
    run = make_run(batch_size=8)
    run.step_epoch()
    phases, whole = phases_of_an_epoch(run)
    names = ("normalise", profile.FORWARD_BACKWARD, "forward", "backward", "optimiser")
    expected = dict.fromkeys(names, 6)
    assert phases.calls == expected | {"gather": 7, "validation": 1}  # the seventh: no more
    assert all(seconds > 0 for seconds in phases.seconds.values())
    assert sum(phases.seconds.values()) < whole


def test_timing_changes_neither_losses_nor_what_comes_after(make_run):
    timed, plain = make_run(), make_run()
    phases_of_an_epoch(timed)
    plain.step_epoch()
    assert timed.step_epoch()["train_loss"] == plain.step_epoch()["train_loss"]
    assert "forward" not in vars(timed.model)


def test_a_head_in_closed_form_is_one_phase(make_run):
    phases, _ = phases_of_an_epoch(make_run("pretrained", batch_size=8))
    assert phases.calls == {
        profile.FORWARD_BACKWARD: 6,
        "optimiser": 6,
        "gather": 7,
        "validation": 1,
    }


def test_time_within_another_phase_counts_once():
    phases = Phases(torch.device("cpu"))
    with phases.phase("outer"):
        with phases.phase("inner"):
            time.sleep(0.05)
        time.sleep(0.01)
    assert phases.seconds["inner"] >= 0.05
    assert phases.seconds["outer"] < phases.seconds["inner"]


def test_validation_is_one_phase():
    phases = Phases(torch.device("cpu"))
    with phases.phase("validation"), phases.phase("forward"):
        pass
    assert dict(phases.calls) == {"validation": 1}


def test_shares_are_of_the_training():
    phases = Phases(torch.device("cpu"))
    phases.seconds |= {"forward": 3.0, "validation": 2.0}
    phases.calls |= {"forward": 10}
    assert phase_rows(phases, whole=6.0, steps=10) == [
        ("forward", "300.000", "75.0%", "10"),
        (profile.REST, "100.000", "25.0%", "0"),
        ("validation", "200.000", "", ""),
    ]


@pytest.mark.parametrize("flags", [["--init", "scratch"], ["--init", "pretrained"]])
def test_command(survey_path, weights_path, capsys, flags):
    arguments = ["--data", str(survey_path), "--weights", str(weights_path), "--operators", "3"]
    assert profile.main([*arguments, *flags]) == 0
    out = capsys.readouterr().out
    assert ("head trained" if "pretrained" in flags else "all trained") in out
    assert "optimiser" in out
    assert "Self CPU" in out
