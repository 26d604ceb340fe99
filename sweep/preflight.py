"""The nodes of a Ray cluster before the first trial: what they have, see, and need prepared."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sweep.outcomes import last_line
from sweep.storage import Folder
from trainable.config import TrainingConfig
from trainable.data.cache import known_checksum
from trainable.data.preprocess import cached_images
from trainable.devices import Gpu, usable_gpus
from trainable.errors import ResourcesError, UserError
from trainable.models import architectures
from trainable.run import open_as_planned

POLL = 2.0  # seconds between two looks at a cluster that is waited for
Need = dict[str, float]
T = TypeVar("T")


def require(needs: Sequence[Need], where: str, *, wait: bool, say: Callable[[str], None]) -> None:
    """Return when some node has what each trial asks for.

    Parameters
    ----------
    needs
        The resources of each kind of trial, such as ``{"cpu": 1, "gpu": 1}``.
    where
        Name of the cluster, for the message.
    wait
        Wait for such a node to join instead of refusing.

    Raises
    ------
    ResourcesError
        None has, and `wait` is not set.
    """
    told = False
    while lacking := [need for need in needs if not any(_fits(n, need) for n in alive())]:
        has = "; ".join(f"{_name(node)}: {_resources(node['Resources'])}" for node in alive())
        message = f"a trial asks for {_resources(lacking[0])}, and no node of {where} has that"
        if not wait:
            raise ResourcesError(
                f"{message} ({has or 'it has no nodes'}). Add such a node and use "
                "--wait-for-resources, ask for less (--gpus-per-trial), or train on CPUs (--gpus 0)"
            )
        if not told:
            say(f"{message} yet ({has or 'it has no nodes'}); waiting for one to join")
            told = True
        time.sleep(POLL)


def check(
    needs: Sequence[Need],
    runs: Sequence[TrainingConfig],
    weights_sha256: Mapping[str, str],
    folder: Folder,
) -> None:
    """Have each node that may run a trial look for the data, the weights and the storage.

    Parameters
    ----------
    runs
        Configurations of the trials, one of each kind.
    weights_sha256
        Architecture → SHA-256 of the weights that its pre-trained trials start from.
    folder
        Of the sweep; a file is written to it and read by each node.

    Raises
    ------
    ResourcesError
        Names each node that lacks something, and what.
    """
    probe = f".seen-by-all-nodes-{time.time_ns()}"
    folder.write(probe, probe.encode())
    try:
        arguments = list(runs), weights_sha256, str(folder), probe
        _, problems = _on_each_node(_look, needs, *arguments)
    finally:
        folder.delete(probe)
    if problems:
        raise ResourcesError(
            "\n  ".join(["not every node can run the trials:", *problems])
            + "\nData and storage must have the same path on all nodes. No trial has been started."
        )


def prepare(needs: Sequence[Need], runs: Sequence[TrainingConfig]) -> None:
    """Have each node preprocess the images into its own cache, all at once."""
    _, problems = _on_each_node(_preprocess, needs, list(runs))
    if problems:
        raise ResourcesError("\n  ".join(["images could not be preprocessed:", *problems]))


def gpus(needs: Sequence[Need]) -> tuple[Gpu, ...]:
    """A GPU of each node that may run a trial, tried by a tensor; it waits for one that is taken.

    Raises
    ------
    ResourcesError
        Names each node whose GPU cannot be used, and why.
    """
    smallest = min(need["gpu"] for need in needs)
    found, problems = _on_each_node(usable_gpus, needs, num_gpus=smallest)
    if problems:
        raise ResourcesError("\n  ".join(["not every node can use its GPU:", *problems]))
    return tuple(gpu for of_node in found for gpu in of_node)


def alive() -> list[dict[str, Any]]:
    """Ray's description of each node that is up."""
    return [node for node in ray.nodes() if node["Alive"]]


def _on_each_node(
    task: Callable[..., T], needs: Sequence[Need], *arguments: Any, num_gpus: float = 0
) -> tuple[list[T], list[str]]:
    """Run `task` on each node that fits a need: what came of it, and which nodes failed, and why.

    Raises
    ------
    ray.exceptions.RayTaskError
        A bug, with the traceback of the node.
    """
    asked = {
        _name(node): ray.remote(task)
        .options(
            num_cpus=0,
            num_gpus=num_gpus,
            max_retries=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
        )
        .remote(*arguments)
        for node in alive()
        if any(_fits(node, need) for need in needs)
    }
    answers: list[T] = []
    problems: list[str] = []
    for name, answer in asked.items():
        try:
            answers.append(ray.get(answer))
        except RayTaskError as error:
            if not isinstance(error.cause, UserError):
                raise
            problems.append(f"{name}: {error.cause}")
        except RayError as error:  # the node or its worker is gone
            problems.append(f"{name}: {last_line(str(error))}")
    return answers, problems


def _look(
    runs: Sequence[TrainingConfig], weights_sha256: Mapping[str, str], folder: str, probe: str
) -> None:
    for run in runs:
        open_as_planned(run.data)
        if run.weights:
            path = architectures.weights_file(run.arch, run.weights)
            if known_checksum(path) != weights_sha256[run.arch]:
                raise ResourcesError(f"{path} is not the weights file that the driver has")
    if not Folder(folder).exists(probe):
        raise ResourcesError(
            f"{folder} is not the driver's --storage-path; all nodes must share it"
        )


def _preprocess(runs: Sequence[TrainingConfig]) -> None:
    for run in runs:
        cached_images(
            open_as_planned(run.data),
            transform=run.transform,
            size=architectures.architecture(run.arch).image_size,
            evaluation=architectures.architecture(run.arch).evaluation,
            cache_dir=run.data.cache_dir,
        )


def _fits(node: dict[str, Any], need: Need) -> bool:
    return all(node["Resources"].get(kind.upper(), 0) >= amount for kind, amount in need.items())


def _name(node: dict[str, Any]) -> str:
    return f"node {node['NodeManagerAddress']} ({node['NodeID'][:8]})"


def _resources(values: dict[str, float]) -> str:
    """``4 CPU, 1 GPU``; Ray names them in capitals on its nodes, in small letters in requests."""
    known = {kind.upper(): amount for kind, amount in values.items()}
    return ", ".join(f"{known.get(kind, 0):g} {kind}" for kind in ("CPU", "GPU"))
