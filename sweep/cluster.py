"""The nodes of a Ray cluster before the first trial: what they have, see, and need prepared."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from trainable import backbones
from trainable.cache import known_checksum
from trainable.config import RunConfig
from trainable.engine import open_as_planned
from trainable.preprocess import cached_images

from .storage import Folder

POLL = 2.0  # seconds between two looks at a cluster that is waited for
Need = dict[str, float]


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
    ValueError
        None has, and `wait` is not set.
    """
    told = False
    while lacking := [need for need in needs if not any(_fits(n, need) for n in alive())]:
        has = "; ".join(f"{_name(node)}: {_resources(node['Resources'])}" for node in alive())
        message = f"a trial asks for {_resources(lacking[0])}, and no node of {where} has that"
        if not wait:
            raise ValueError(
                f"{message} ({has or 'it has no nodes'}). Add such a node and use "
                "--wait-for-resources, ask for less (--gpus-per-trial), or train on CPUs (--gpus 0)"
            )
        if not told:
            say(f"{message} yet ({has or 'it has no nodes'}); waiting for one to join")
            told = True
        time.sleep(POLL)


def check(
    needs: Sequence[Need],
    runs: Sequence[dict[str, Any]],
    weights_sha256: str | None,
    folder: Folder,
) -> None:
    """Have each node that may run a trial look for the data, the weights and the storage.

    Parameters
    ----------
    runs
        ``RunConfig.to_dict()`` of the trials.
    folder
        Of the sweep; a file is written to it and read by each node.

    Raises
    ------
    ValueError
        Names each node that lacks something, and what.
    """
    probe = f".seen-by-all-nodes-{time.time_ns()}"
    folder.write(probe, probe.encode())
    try:
        problems = _on_each_node(_look, needs, list(runs), weights_sha256, str(folder), probe)
    finally:
        folder.delete(probe)
    if problems:
        raise ValueError(
            "\n  ".join(["not every node can run the trials:", *problems])
            + "\nData and storage must have the same path on all nodes. No trial has been started."
        )


def prepare(needs: Sequence[Need], runs: Sequence[dict[str, Any]]) -> None:
    """Have each node preprocess the images into its own cache, all at once."""
    if problems := _on_each_node(_preprocess, needs, list(runs)):
        raise ValueError("\n  ".join(["images could not be preprocessed:", *problems]))


def alive() -> list[dict[str, Any]]:
    """Ray's description of each node that is up."""
    return [node for node in ray.nodes() if node["Alive"]]


def _on_each_node(task: Callable[..., None], needs: Sequence[Need], *arguments) -> list[str]:
    """Run `task` on each node that fits a need; which nodes failed, and why."""
    asked = {
        _name(node): ray.remote(task)
        .options(
            num_cpus=0,
            max_retries=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
        )
        .remote(*arguments)
        for node in alive()
        if any(_fits(node, need) for need in needs)
    }
    problems = []
    for name, answer in asked.items():
        try:
            ray.get(answer)
        except ray.exceptions.RayTaskError as error:
            problems.append(f"{name}: {error.cause}")
        except ray.exceptions.RayError as error:
            problems.append(f"{name}: {str(error).strip().splitlines()[-1]}")
    return problems


def _look(runs: list[dict[str, Any]], weights_sha256: str | None, folder: str, probe: str) -> None:
    for run in map(RunConfig.from_dict, runs):
        open_as_planned(run.data)
        if run.weights:
            path = backbones.weights_file(run.arch, run.weights)
            if known_checksum(path) != weights_sha256:
                raise ValueError(f"{path} is not the weights file that the driver has")
    if not Folder(folder).exists(probe):
        raise ValueError(f"{folder} is not the driver's --storage-path; all nodes must share it")


def _preprocess(runs: list[dict[str, Any]]) -> None:
    for run in map(RunConfig.from_dict, runs):
        cached_images(
            open_as_planned(run.data),
            transform=run.transform,
            size=backbones.architecture(run.arch).image_size,
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
