"""docs/cluster.md and its files: manifests fit their schemas, scripts parse, commands exist."""

from __future__ import annotations

import functools
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import kubernetes_validate
import numpy as np
import pandas as pd
import pytest
import tyro
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.scripts.scripts import cli as ray_command
from surveys import ROOT

from analysis.report import Report
from sweep import run
from sweep.manifest import describe_cells
from sweep.plan import GPUS, cost
from sweep.space import PRESETS, SweepConfig
from trainable import backbones
from trainable.__main__ import SingleRun
from trainable.config import DataConfig
from trainable.galaxy10 import GALAXY10_CLASSES, GALAXY10_COUNTS, Survey, select
from trainable.protocol import DROPPED_LABEL
from trainable.settings import Experiment

PAGE = ROOT / "docs" / "cluster.md"
FILES = ROOT / "docs" / "cluster"
RAY = re.search(r"^ray==(\S+)", (ROOT / "requirements.txt").read_text(), re.M)[1]
TEXT, MAP = {"type": "string"}, {"type": "object"}
COUNT, SWITCH = {"type": "integer", "minimum": 0}, {"type": "boolean"}
WORD = r"""(?:"[^"]*"|[^\s'"&|;`<>()]+)"""


def closed(required: str, **properties) -> dict:
    """A schema of an object that has these fields and no others."""
    return MAP | {
        "properties": properties,
        "required": required.split(),
        "additionalProperties": False,
    }


GROUP = {
    "rayStartParams": MAP | {"additionalProperties": TEXT},
    "template": MAP,  # checked against Kubernetes' own schema
}
RAYJOB = closed(
    "apiVersion kind metadata spec",
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    metadata=closed("name", name=TEXT | {"pattern": "^[a-z0-9-]{1,47}$"}),
    spec=closed(
        "entrypoint rayClusterSpec",
        entrypoint=TEXT,
        backoffLimit=COUNT,
        shutdownAfterJobFinishes=SWITCH,
        ttlSecondsAfterFinished=COUNT,
        activeDeadlineSeconds=COUNT,
        submissionMode={"enum": ["K8sJobMode", "HTTPMode", "SidecarMode", "InteractiveMode"]},
        suspend=SWITCH,
        runtimeEnvYAML=TEXT,
        submitterPodTemplate=MAP,
        rayClusterSpec=closed(
            "rayVersion authOptions headGroupSpec workerGroupSpecs",
            rayVersion=TEXT,
            authOptions=closed("mode", mode={"enum": ["token", "disabled"]}, secretName=TEXT),
            enableInTreeAutoscaling=SWITCH,
            headGroupSpec=closed(
                "template",
                serviceType={"enum": ["ClusterIP", "NodePort", "LoadBalancer"]},
                **GROUP,
            ),
            workerGroupSpecs={
                "type": "array",
                "minItems": 1,
                "items": closed(
                    "groupName template replicas minReplicas maxReplicas",
                    groupName=TEXT,
                    replicas=COUNT,
                    minReplicas=COUNT,
                    maxReplicas=COUNT,
                    **GROUP,
                ),
            },
        ),
    ),
)
"""The part of KubeRay's API that a manifest here may use, by its reference of ray.io/v1, v1.5–1.7;
the CRD itself is in no package registry. Without ``authOptions`` a cluster would be open."""


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

    @pytest.mark.parametrize("arguments", commands(r"python -m trainable") or [["--seed", "1"]])
    def test_single_runs_parse(self, arguments):
        assert tyro.cli(SingleRun, args=arguments)

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


class TestManifests:
    def test_cluster_launcher(self):
        config = prepare_config(manifests("aws.yaml")[0])
        validate_config(config)
        workers = config["available_node_types"]["gpu"]
        assert workers["min_workers"] <= workers["max_workers"] <= config["max_workers"]

    def test_cluster_launcher_with_an_unknown_field_is_refused(self):
        config = prepare_config(manifests("aws.yaml")[0] | {"max_worker": 4})
        with pytest.raises(jsonschema.ValidationError):
            validate_config(config)

    @pytest.mark.parametrize("document", manifests("kuberay-storage.yaml"), ids=lambda d: d["kind"])
    def test_storage(self, document):
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)

    def test_rayjob(self):
        (job,) = manifests("kuberay-rayjob.yaml")
        jsonschema.validate(job, RAYJOB)
        for group in groups(job):
            pod = {"apiVersion": "v1", "kind": "PodTemplate", "template": group["template"]}
            kubernetes_validate.validate(pod, kubernetes_validate.latest_version(), strict=True)

    def test_rayjob_rules_bite(self):
        (job,) = manifests("kuberay-rayjob.yaml")
        del job["spec"]["rayClusterSpec"]["authOptions"]
        with pytest.raises(jsonschema.ValidationError, match="authOptions"):
            jsonschema.validate(job, RAYJOB)

    def test_workers_have_a_gpu_and_all_pods_the_shared_volume(self):
        (job,) = manifests("kuberay-rayjob.yaml")
        claim, fetch = manifests("kuberay-storage.yaml")
        assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
        _, *workers = groups(job)
        for worker in workers:
            assert worker["minReplicas"] <= worker["replicas"] <= worker["maxReplicas"]
            (container,) = worker["template"]["spec"]["containers"]
            assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
        pods = [group["template"]["spec"] for group in groups(job)]
        pods.append(fetch["spec"]["template"]["spec"])
        assert len({container["image"] for pod in pods for container in pod["containers"]}) == 1
        for pod in pods:
            volumes = {volume["name"]: volume for volume in pod["volumes"]}
            shared = volumes["shared"]["persistentVolumeClaim"]["claimName"]
            assert shared == claim["metadata"]["name"]
            mounts = {m["name"]: m["mountPath"] for m in pod["containers"][0]["volumeMounts"]}
            assert mounts["shared"] == "/shared"
            assert mounts.keys() == volumes.keys()

    def test_one_version_of_ray(self):
        (job,) = manifests("kuberay-rayjob.yaml")
        assert job["spec"]["rayClusterSpec"]["rayVersion"] == RAY
        assert f"FROM rayproject/ray:{RAY}-" in (FILES / "Dockerfile").read_text()
        for text in (PAGE.read_text(), (FILES / "aws.yaml").read_text()):
            assert set(re.findall(r"ray\[default\]==([\d.]+)", text)) == {RAY}

    def test_the_image_has_what_it_copies(self):
        copied = re.findall(
            r"^COPY --chown=ray (.*) \S+$", (FILES / "Dockerfile").read_text(), re.M
        )
        assert all((ROOT / name).exists() for names in copied for name in names.split())

    def test_clusters_ask_for_a_token(self):
        for name in ("slurm.sh", "aws.yaml", "kuberay-rayjob.yaml"):
            assert re.search(r"RAY_AUTH_MODE=token|mode: token", (FILES / name).read_text())
        starts = [code for code in snippets() if "ray start" in code]
        assert len(starts) == 2
        assert all("export RAY_AUTH_MODE=token" in code for code in starts)

    def test_weights_go_by_the_name_they_are_fetched_as(self):
        url = backbones.architecture("vit_b_16").weights["IMAGENET1K_V1"]
        named = re.findall(r"vit_b_16-\w+\.pth", "".join(code for _, code in shell_code()))
        assert set(named) == {Path(url).name}


def groups(job: dict) -> list[dict]:
    cluster = job["spec"]["rayClusterSpec"]
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]


@pytest.fixture(scope="module")
def cells():
    """The trials of the page's command, on a file with Galaxy10's counts and no positions."""
    labels = np.repeat(np.arange(10), list(GALAXY10_COUNTS.values()))
    survey = Survey(
        path=Path("like_galaxy10.h5"),
        sha256="",
        image_size=256,
        labels=labels,
        class_names=GALAXY10_CLASSES,
        right_ascension=None,
        declination=None,
        pixel_scale=None,
    )
    experiment = Experiment(
        settings=SweepConfig(),
        survey=survey,
        selection=select(survey, [DROPPED_LABEL]),
        data=DataConfig(path="", sha256=""),
        weights="IMAGENET1K_V1",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backbones, "size", functools.cache(backbones.size))  # seconds each
        one_seed = describe_cells(experiment, PRESETS["grid"].cells())
    return [cell | {"run": cell["run"] | {"seed": seed}} for seed in range(5) for cell in one_seed]


class TestCost:
    RATE = 5.26

    @pytest.mark.parametrize("epochs", [100, 28])
    def test_the_table_is_what_the_plan_computes(self, cells, epochs):
        images = sum(GALAXY10_COUNTS.values())
        assert {cell["run"]["max_epochs"] for cell in cells} == {100}
        capped = [cell | {"run": cell["run"] | {"max_epochs": epochs}} for cell in cells]
        rows = re.findall(rf"^\| {epochs} \| (.*) \|$", PAGE.read_text(), re.M)
        expected = [cost(capped, images, self.RATE, gpus) for gpus in GPUS]
        assert rows == [
            f"{of.gpus} | {of.wall:,.1f} | {of.busy:,.1f} | {of.held:,.1f}" for of in expected
        ]

    def test_the_rate_is_that_of_the_authors_first_trial(self, cells):
        """302 s an epoch of all layers (table 2), 80/20 of the images that are left."""
        left = sum(GALAXY10_COUNTS.values()) - GALAXY10_COUNTS["Cigar Shaped Smooth"]
        train, validation = round(0.8 * left), round(0.2 * left)
        flops = cells[0]["forward_flops"] * (3 * train + validation)
        assert round(flops / 302 / 1e12, 2) == self.RATE
        assert f"{train:,} training images" in PAGE.read_text()
        assert f"{validation:,} validation images" in PAGE.read_text()
        of_head = cells[0]["forward_flops"] * (2 * train + validation)
        assert f"gives {of_head / 206 / 1e12:.2f} the same way" in PAGE.read_text()

    def test_the_authors_stopper_ended_trials_at_28_epochs_on_average(self):
        epochs = pd.read_csv(ROOT / "analysis" / "authors_curves.csv").groupby("trial").size()
        assert len(epochs) == 9
        assert round(epochs.mean()) == 28
        assert f"({epochs.sum()} epochs" in PAGE.read_text()
        assert f"ran {epochs['base_vit']} there" in PAGE.read_text()
