"""The manifests of docs/cluster fit their tools' schemas and each other."""

from __future__ import annotations

import shlex
from importlib.metadata import version

import jsonschema
import kubernetes_validate
import pytest
import yaml
from helpers import documentation
from helpers.surveys import ROOT
from ray.autoscaler._private.util import prepare_config, validate_config

from trainable import __version__

PAGE = ROOT / "docs" / "cluster.md"
FILES = ROOT / "docs" / "cluster"
RAY = version("ray")


def manifests(name: str) -> list[dict]:
    """The documents of one file."""
    return list(yaml.safe_load_all((FILES / name).read_text()))


TEXT, MAP = {"type": "string"}, {"type": "object"}
COUNT, SWITCH = {"type": "integer", "minimum": 0}, {"type": "boolean"}


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


def refusals(document) -> list[str]:
    """What Kubernetes would have against a document."""
    try:
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
    except kubernetes_validate.ValidationError as error:
        return [error.message]
    return []


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
        assert refusals(document) == []
        assert refusals(document | {"specification": {}}) != []

    def test_rayjob(self):
        (job,) = manifests("kuberay-rayjob.yaml")
        assert list(jsonschema.Draft202012Validator(RAYJOB).iter_errors(job)) == []
        for group in groups(job):
            pod = {"apiVersion": "v1", "kind": "PodTemplate", "template": group["template"]}
            assert refusals(pod) == []

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
        (base,) = dockerfile("FROM")
        assert base[0].startswith(f"rayproject/ray:{RAY}-")
        launcher = manifests("aws.yaml")[0]["setup_commands"]
        asked = {
            word
            for code in (*documentation.inline_code(PAGE), *launcher)
            for word in code.replace("'", "").split()
            if word.startswith("ray[default]")
        }
        assert asked == {f"ray[default]=={RAY}"}

    def test_the_image_has_what_it_copies_and_the_packages_version(self):
        copied = [name for words in dockerfile("COPY") for name in words[1:-1]]
        assert copied
        assert all((ROOT / name).exists() for name in copied)
        built = {
            word.rpartition(":")[2]
            for code in documentation.code_blocks(PAGE)
            for word in shlex.split(code)
            if word.startswith("REGISTRY/vit-label-sweep")
        }
        (job,) = manifests("kuberay-rayjob.yaml")
        (container,) = groups(job)[0]["template"]["spec"]["containers"]
        assert built == {container["image"].rpartition(":")[2]} == {__version__}

    def test_clusters_ask_for_a_token(self):
        (job,) = manifests("kuberay-rayjob.yaml")
        assert job["spec"]["rayClusterSpec"]["authOptions"]["mode"] == "token"
        (launcher,) = manifests("aws.yaml")
        starts = [*launcher["head_start_ray_commands"], *launcher["worker_start_ray_commands"]]
        assert all("RAY_AUTH_MODE=token" in start for start in starts if "ray start" in start)
        assert "export RAY_AUTH_MODE=token" in (FILES / "slurm.sh").read_text().splitlines()
        by_hand = [code for code in documentation.code_blocks(PAGE) if "ray start" in code]
        assert len(by_hand) == 2
        assert all("export RAY_AUTH_MODE=token" in code.splitlines() for code in by_hand)


def dockerfile(instruction: str) -> list[list[str]]:
    """The arguments of each such instruction of the Dockerfile."""
    lines = (FILES / "Dockerfile").read_text().splitlines()
    return [line.split()[1:] for line in lines if line.startswith(f"{instruction} ")]


def groups(job: dict) -> list[dict]:
    cluster = job["spec"]["rayClusterSpec"]
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
