"""The manifests of docs/cluster fit their tools' schemas and each other."""

from __future__ import annotations

import re

import jsonschema
import kubernetes_validate
import pytest
from ray.autoscaler._private.util import prepare_config, validate_config
from surveys import ROOT
from test_cluster_docs import FILES, PAGE, manifests, snippets

RAY = re.search(r"^ray==(\S+)", (ROOT / "requirements.txt").read_text(), re.M)[1]
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


def groups(job: dict) -> list[dict]:
    cluster = job["spec"]["rayClusterSpec"]
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
