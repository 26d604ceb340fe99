import json
import re

import pytest
import torch
from helpers.few_packages import install_few, run_with_few

from benchmarks.gpu_check import __main__ as program
from benchmarks.gpu_check import checks
from benchmarks.gpu_check.lines import Line


@pytest.fixture
def out(tmp_path):
    return tmp_path / "gpu-check.json"


def test_without_a_gpu_it_says_so_and_ends_well(out, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert program.main(["--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert "There is no GPU that torch can use" in text
    assert re.search(r"NOT RUN +streams +Streamed batches are the resident ones", text)
    found = json.loads(out.read_text())
    statuses = {line["name"]: line["status"] for line in found["lines"]}
    assert statuses["device"] == "MEASURED"
    assert {statuses[name] for name in checks.CHECKS if name != "machine"} == {"NOT RUN"}
    assert found["complete"]


def test_checks_are_chosen_by_name(out, capsys):
    small = ["--device", "cpu", "--small", "--out", str(out)]
    assert program.main([*small, "--only", "resume", "machine"]) == 0
    found = json.loads(out.read_text())
    names = [line["name"] for line in found["lines"]]
    assert names[0] == "device"
    assert names[-2:] == ["resumed, as by default", "resumed, deterministic"]
    assert torch.__version__.startswith(found["versions"]["torch"])
    assert "2 PASS, 0 FAIL" in capsys.readouterr().out


def test_a_failure_is_told_by_the_exit_code_and_ends_nothing(out, monkeypatch):
    def broken(setup):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    passing = Line(name="other", value=0, at_most=0)
    monkeypatch.setattr(checks, "CHECKS", {"broken": broken, "other": lambda setup: [passing]})
    monkeypatch.setattr(program, "CHECKS", checks.CHECKS)
    assert program.main(["--device", "cpu", "--out", str(out)]) == 1
    first, second = json.loads(out.read_text())["lines"]
    assert (first["status"], second["status"]) == ("FAIL", "PASS")
    assert "Traceback" in first["error"]
    assert "illegal memory access" in first["error"]


def test_a_bug_is_no_failed_check(monkeypatch):
    monkeypatch.setattr(checks, "CHECKS", {"bug": lambda setup: [][0]})
    with pytest.raises(IndexError):
        checks.run_check("bug", checks.small(torch.device("cpu")))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--only", "nonsense"], "--only nonsense: must be some of machine, waits"),
        (["--device", "warp-drive"], "--device warp-drive: this machine has no such device"),
    ],
)
def test_mistakes_are_the_users_to_mend(flags, message, capsys, out):
    assert program.main([*flags, "--out", str(out)]) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_an_old_torch_is_refused(monkeypatch, capsys, out):
    monkeypatch.setattr(torch, "__version__", "2.9.1+cu128")
    assert program.main(["--out", str(out)]) == 2
    assert "torch 2.9.1+cu128 is here; the check needs 2.11 or newer" in capsys.readouterr().err


def test_numpy_torch_and_torchvision_are_enough(tmp_path, out):
    """Nothing else that the project needs is installed there."""
    packages = install_few(tmp_path)
    missing = "from importlib.util import find_spec; print(find_spec('pandas'), find_spec('ray'))"
    assert run_with_few(packages, "-c", missing).stdout == "None None\n"
    flags = ["--device", "cpu", "--small", "--out", str(out)]
    done = run_with_few(packages, "-m", "benchmarks.gpu_check", *flags)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(out.read_text())["complete"]
