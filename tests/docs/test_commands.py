"""Every command in the documentation is one that its program understands."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import subprocess

import h5py
import numpy as np
import pytest
from helpers import documentation, shell
from helpers.command_lines import parsed
from helpers.surveys import ROOT
from ray.scripts.scripts import cli as ray_command

from trainable.data.dataset import open_survey

HISTORY = ROOT / "CHANGELOG.md"  # names that are no more
PAGES = [page for page in documentation.PAGES if page != HISTORY]
PROGRAMS = (
    "trainable",
    "trainable.pretrain",
    "trainable.fetch",
    "sweep.run",
    "sweep.predict",
    "analysis.report",
    "analysis.label_audit",
    "analysis.survey",
    "analysis.label_next",
    "sweep.serve",
    "analysis.compare_sweeps",
    "analysis.mock_vs_real",
    "benchmarks.bench",
    "helpers.killing",
)


def quoted(program: str) -> list:
    """The arguments of a program wherever a page quotes it, as test cases named by the page."""
    found = {
        (documentation.name(page), command[1:]): None
        for page in PAGES
        for code in (*documentation.code_blocks(page), *documentation.inline_code(page))
        if " " in code
        for command in shell.commands(code)
        if command[0] == program
    }
    return [pytest.param(rest, id=f"{page}: {' '.join(rest)}") for page, rest in found]


def without_resume(arguments: list[str]) -> list[str]:
    """A sweep that is resumed would be read from disk; its other flags are those of a new one."""
    if "--resume" not in arguments:
        return arguments
    at = arguments.index("--resume")
    return arguments[:at] + arguments[at + 2 :]


@pytest.mark.parametrize("arguments", quoted("python"))
def test_python(arguments):
    assert arguments[0] == "-m"
    if len(arguments) == 1:  # the phrase `python -m`
        return
    _, module, *flags = arguments
    assert importlib.util.find_spec(module)
    if flags and flags != ["--help"]:
        parsed(module, without_resume(flags))


@pytest.mark.parametrize("arguments", quoted("make"))
def test_make(arguments):
    dry = subprocess.run(
        ["make", "--dry-run", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert dry.returncode == 0, dry.stderr


@pytest.mark.parametrize("arguments", quoted("ray"))
def test_ray(arguments):
    name, *flags = arguments
    command = ray_command.commands[name]
    values, rest, _ = command.make_parser(command.context_class(command)).parse_args(flags)
    assert set(values) <= {parameter.name for parameter in command.params}
    assert rest == [flag for flag in flags if flag in rest and not flag.startswith("-")]


@pytest.fixture(scope="module")
def flags():
    """Every flag of every program, by its ``--help``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "400")
        return {word for program in PROGRAMS for word in _help(program).replace(",", " ").split()}


def _help(program: str) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as shown, pytest.raises(SystemExit) as end:
        parsed(program, ["--help"])
    assert not end.value.code
    return shown.getvalue()


def named_flags(page) -> set[str]:
    """What a page names as a flag, in backticks and without its program."""
    return {
        word
        for code in documentation.inline_code(page)
        if code.startswith("--")
        for word in code.split()
        if word.startswith("--")
    }


@pytest.mark.parametrize(
    "page",
    # cluster.md names flags of SLURM and Ray
    [page for page in PAGES if named_flags(page) and page.name != "cluster.md"],
    ids=documentation.name,
)
def test_flags_that_are_named_exist(page, flags):
    assert named_flags(page) <= flags


def test_the_file_of_your_own_data_is_read(tmp_path, monkeypatch):
    """The Python code of the guide, run: its file opens with what was put in."""
    (code,) = documentation.code_blocks(ROOT / "docs" / "guide" / "own-data.md", "python")
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (6, 20, 20, 3), np.uint8)
    labels, ra, dec = np.arange(6) % 3, random.uniform(0, 360, 6), random.uniform(-90, 90, 6)
    exec(code, {"images": images, "labels": labels, "ra": ra, "dec": dec})
    survey = open_survey(tmp_path / "mine.h5")
    assert (survey.labels == labels).all()
    assert len(survey.class_names) == 3
    assert survey.size_text == "20 × 20 pixels"
    assert (survey.right_ascension == ra).all()
    with h5py.File(tmp_path / "mine.h5") as file:
        assert (file["images"][:] == images).all()
