"""docs/cluster.md and the files beside it: scripts parse, and what they start exists."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from helpers import documentation, shell
from helpers.command_lines import parsed
from helpers.surveys import ROOT

from sweep.grid import PRESETS
from trainable.models import architectures

PAGE = ROOT / "docs" / "cluster.md"
FILES = ROOT / "docs" / "cluster"
SLURM = """
scontrol() { printf 'node1\\nnode2\\n'; }
awk() { echo 10.0.0.1; }
export SLURM_JOB_ID=7 SLURM_JOB_NODELIST=node[1-2] SLURM_CPUS_PER_TASK=2
"""
"""Functions and variables in place of SLURM's."""


def strings(value) -> Iterator[str]:
    """All strings in a YAML document."""
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from strings(item)
    elif isinstance(value, str):
        yield value


def started(path: Path) -> set[shell.Command]:
    """What a page, manifest or script starts."""
    if path.suffix == ".md":
        return {c for code in documentation.code_blocks(path) for c in shell.commands(code)}
    if path.suffix == ".yaml":
        documents = yaml.safe_load_all(path.read_text())
        return {c for text in strings(list(documents)) for c in shell.commands(text)}
    preamble = f"{SLURM}set -- /shared galaxy10 --seeds 0\n"
    return set(shell.commands(path.read_text(), preamble))


WITH_COMMANDS = [PAGE, *sorted(p for p in FILES.iterdir() if p.suffix in (".yaml", ".sh"))]
SWEEPS = [
    pytest.param(list(command[3:]), id=f"{path.name}: {' '.join(command[3:])}")
    for path in WITH_COMMANDS
    for command in sorted(started(path))
    if command[:3] == ("python", "-m", "sweep.run")
]
RETRIED = [
    pytest.param(list(command[2:]), id=f"{path.name}: {' '.join(command[2:])}")
    for path in WITH_COMMANDS
    for command in sorted(started(path))
    if command[:1] == ("bash",) and command[1:2] and command[1].endswith("start-or-resume.sh")
]


class TestCommands:
    def test_each_file_starts_something(self):
        assert {path.name for path in WITH_COMMANDS if not started(path)} == set()
        assert len(SWEEPS) >= 5
        assert len(RETRIED) >= 3

    @pytest.mark.parametrize("arguments", SWEEPS)
    def test_sweeps_parse(self, arguments):
        resumes = arguments[:1] == ["--resume"]
        config = parsed("sweep.run", arguments[2:] if resumes else arguments)
        assert config.dry_run or config.address

    @pytest.mark.parametrize("arguments", RETRIED)
    def test_sweeps_of_a_scheduler_parse(self, arguments):
        storage, name, *flags = arguments
        config = parsed("sweep.run", ["--storage-path", storage, "--name", name, *flags])
        assert config.seeds == (0, 1, 2, 3, 4)
        assert len(PRESETS["grid"].cells()) == 16 * 3

    def test_ray_has_these_commands_and_options(self):
        from ray.scripts.scripts import cli as ray_command

        calls = {c[1:] for path in WITH_COMMANDS for c in started(path) if c[0] == "ray"}
        assert len(calls) >= 10
        for name, *flags in calls:
            command = ray_command.commands[name]
            command.make_parser(command.context_class(command)).parse_args(flags)


class TestScripts:
    @pytest.mark.parametrize(
        "path", sorted((ROOT / "docs").rglob("*.sh")), ids=lambda path: path.name
    )
    def test_scripts(self, path):
        shellcheck = Path(sys.executable).with_name("shellcheck")
        for command in (["bash", "-n"], [shellcheck, "--severity=warning"]):
            done = subprocess.run([*command, path], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr

    @pytest.mark.parametrize(
        ("page", "code"),
        [
            pytest.param(page, code, id=f"{documentation.name(page)}: {code.splitlines()[0]}")
            for page in documentation.PAGES
            for code in documentation.code_blocks(page)
        ],
    )
    def test_snippets(self, page, code):
        done = subprocess.run(
            ["bash", "-n"], input=code, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{page}\n{code}\n{done.stderr}"

    def test_every_file_is_linked(self):
        linked = {(PAGE.parent / link).resolve() for link in documentation.links(PAGE)}
        assert set(FILES.iterdir()) <= linked

    def test_start_or_resume_tells_a_sweep_that_is_there(self, tmp_path):
        fake = tmp_path / "python"
        fake.write_text('#!/bin/sh\necho "$@"\n')
        fake.chmod(0o755)

        def called() -> str:
            return subprocess.run(
                ["bash", FILES / "start-or-resume.sh", tmp_path, "name", "--seeds", "0", "1"],
                env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
                capture_output=True,
                text=True,
                check=True,
            ).stdout

        assert "--name name" in called()
        assert called().endswith("--seeds 0 1\n")
        (tmp_path / "name").mkdir()
        (tmp_path / "name" / "sweep.json").write_text("{}")
        assert "--resume name" in called()
        assert "--seeds" not in called()

    def test_weights_go_by_the_name_they_are_fetched_as(self):
        url = architectures.architecture("vit_b_16").weights["IMAGENET1K_V1"]
        named = {
            Path(word).name
            for path in WITH_COMMANDS
            for command in started(path)
            for word in " ".join(command).split()
            if word.endswith(".pth")
        }
        assert named == {Path(url).name}
