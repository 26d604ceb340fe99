"""docs/cluster.md and its files: scripts parse, and the commands exist."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import tyro
import yaml
from ray.scripts.scripts import cli as ray_command
from surveys import ROOT

from analysis.report import Report
from sweep import run
from sweep.space import PRESETS, SweepConfig
from trainable import backbones

PAGE = ROOT / "docs" / "cluster.md"
FILES = ROOT / "docs" / "cluster"
WORD = r"""(?:"[^"]*"|[^\s'"&|;`<>()]+)"""


def manifests(name: str) -> list[dict]:
    return list(yaml.safe_load_all((FILES / name).read_text()))


def snippets() -> list[str]:
    """The shell code of the page."""
    return re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.M | re.S)


def strings(value) -> Iterator[str]:
    """All strings in a YAML document."""
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from strings(item)
    elif isinstance(value, str):
        yield value


def shell_code() -> Iterator[tuple[str, str]]:
    """(file, code) of all that a shell may run, comments left out, continued lines joined."""
    for code in [*snippets(), *re.findall(r"`([^`\n]+)`", PAGE.read_text())]:
        yield PAGE.name, code.replace("\\\n", "")
    for path in sorted(FILES.iterdir()):
        if path.suffix == ".yaml":
            for document in manifests(path.name):
                for text in strings(document):
                    yield path.name, text
        elif path.suffix == ".sh":
            yield path.name, re.sub(r"^#.*\n|\\\n", "", path.read_text(), flags=re.M)


def commands(start: str) -> list:
    """The arguments of each command that begins so, as test cases named by their file."""
    return [
        pytest.param([w for w in shlex.split(words) if w != "$@"], id=f"{name}:{words.strip()}")
        for name, code in shell_code()
        for words in re.findall(rf"{start}((?:[ \t]+{WORD})+)", code)
    ]


SWEEPS = commands(r"python -m sweep\.run")
RETRIED = commands(r"start-or-resume\.sh\"?")


class TestCommands:
    @pytest.fixture(autouse=True)
    def _any_sweep_is_there(self, monkeypatch):
        """Sweeps that a command resumes; nothing is looked for on disk or in a bucket."""
        folder = SimpleNamespace(exists=lambda *_: True)
        folder.child = lambda _: folder
        known = SimpleNamespace(sweep_config=SweepConfig)
        monkeypatch.setattr(run, "Folder", lambda _: folder)
        monkeypatch.setattr(run, "Manifest", SimpleNamespace(load=lambda _: known))

    @pytest.mark.parametrize("arguments", SWEEPS)
    def test_sweeps_parse(self, arguments):
        config, _ = run.parse(arguments)
        assert config.dry_run or config.resume or config.address

    @pytest.mark.parametrize("arguments", RETRIED)
    def test_sweeps_of_a_scheduler_parse(self, arguments):
        storage, name, *flags = arguments
        config, _ = run.parse(["--storage-path", storage, "--name", name, *flags])
        assert config.seeds == (0, 1, 2, 3, 4)
        assert len(PRESETS["grid"].cells()) == 16

    @pytest.mark.parametrize("arguments", commands(r"python -m analysis\.report"))
    def test_reports_parse(self, arguments):
        assert tyro.cli(Report, args=arguments).sweeps

    @pytest.mark.parametrize("arguments", commands(r"(?<![-\w/.])ray(?= [a-z])"))
    def test_ray_has_these_commands_and_options(self, arguments):
        name, *flags = arguments
        command = ray_command.commands[name]
        command.make_parser(command.context_class(command)).parse_args(flags)

    def test_each_file_that_starts_a_sweep_was_read(self):
        files = {case.id.partition(":")[0] for case in [*SWEEPS, *RETRIED]}
        assert files >= {
            "cluster.md",
            "start-or-resume.sh",
            "slurm.sh",
            "kuberay-storage.yaml",
            "kuberay-rayjob.yaml",
        }


class TestScripts:
    @pytest.mark.parametrize("path", sorted(FILES.glob("*.sh")), ids=lambda path: path.name)
    def test_scripts(self, path):
        shellcheck = Path(sys.executable).with_name("shellcheck")
        for command in (["bash", "-n"], [shellcheck, "--severity=warning"]):
            done = subprocess.run([*command, path], capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr

    def test_snippets(self):
        assert len(snippets()) >= 8
        for code in snippets():
            done = subprocess.run(["bash", "-n"], input=code, capture_output=True, text=True)
            assert done.returncode == 0, f"{code}\n{done.stderr}"

    def test_links_lead_to_files(self):
        links = re.findall(r"\]\((cluster[^)#]*)\)", PAGE.read_text())
        assert {FILES / Path(link).name for link in links if "/" in link} == set(FILES.iterdir())

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
        url = backbones.architecture("vit_b_16").weights["IMAGENET1K_V1"]
        named = re.findall(r"vit_b_16-\w+\.pth", "".join(code for _, code in shell_code()))
        assert set(named) == {Path(url).name}
