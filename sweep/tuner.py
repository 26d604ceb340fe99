"""Tune experiments of a sweep: resources, storage, checkpoints, restore."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import ray
from ray import tune

from trainable.trial import Trial

from .recovery import KeepState
from .space import SweepConfig
from .stopper import EarlyStopper
from .storage import Folder


def start_ray(config: SweepConfig) -> None:
    """Start Ray on this machine, or join the cluster of ``--address``.

    Raises
    ------
    ValueError
        The cluster cannot give a trial what it asks for, or does not answer.
    """
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if config.address is None:
        # "local": never an old cluster whose address a killed run left behind
        ray.init(address="local", num_gpus=config.gpus, include_dashboard=False, **quiet)
        return
    try:
        ray.init(address=config.address, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ValueError(f"no Ray cluster at --address {config.address}: {error}") from error
    needed = resources(config)
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(all(n.get(k.upper(), 0) >= v for k, v in needed.items()) for n in nodes):
        has = "; ".join(f"{n.get('CPU', 0):g} CPUs, {n.get('GPU', 0):g} GPUs" for n in nodes)
        raise ValueError(
            f"a trial asks for {needed}, and no node of {config.address} has that ({has}). "
            "Use --gpus 0 to train on CPUs, or add a node with a GPU."
        )


def resources(config: SweepConfig) -> dict[str, float]:
    """What one trial asks Ray for."""
    return {"cpu": 1, "gpu": config.gpus_per_trial} if config.gpus else {"cpu": 1}


def run_experiment(
    config: SweepConfig,
    folder: Folder,
    name: str,
    runs: dict[str, dict[str, Any]],
    callbacks: Sequence[tune.Callback],
) -> tune.ResultGrid:
    """Run, or go on with, one Tune experiment.

    Parameters
    ----------
    name
        Of the experiment's folder within the sweep's.
    runs
        Cell id → ``RunConfig.to_dict()``.
    """
    trainable = tune.with_resources(Trial, resources(config))
    path = str(folder.child(name))
    if tune.Tuner.can_restore(path):
        tuner = tune.Tuner.restore(path, trainable, resume_errored=True)
    else:
        tuner = tune.Tuner(
            trainable,
            param_space={
                "cell": tune.grid_search(list(runs)),
                "run": tune.sample_from(lambda spec: runs[spec.config["cell"]]),
            },
            tune_config=tune.TuneConfig(
                reuse_actors=True,
                trial_name_creator=lambda trial: trial.config["cell"],
                trial_dirname_creator=lambda trial: trial.config["cell"],
            ),
            run_config=tune.RunConfig(
                name=name,
                storage_path=str(folder),
                stop=EarlyStopper(),
                # Two kept and no score: with one, or by score, a kill can leave Tune's state
                # pointing at a checkpoint that is gone. The best weights are in every checkpoint.
                checkpoint_config=tune.CheckpointConfig(
                    checkpoint_frequency=1, checkpoint_at_end=True, num_to_keep=2
                ),
                callbacks=[*callbacks, KeepState(folder.child(name))],
                verbose=0,
            ),
        )
    return tuner.fit()


def finished_cells(experiment: Folder) -> set[str]:
    """Cells of a Tune experiment whose trials ran to their end."""
    if not tune.Tuner.can_restore(str(experiment)):
        return set()
    grid = tune.ResultGrid(tune.ExperimentAnalysis(str(experiment)))
    return {result.config["cell"] for result in grid if is_finished(result)}


def is_finished(result: tune.Result) -> bool:
    """Whether the trial ended by its stopper or at its last epoch.

    An interrupted ``fit`` returns as if all were well; its trials lack this mark.
    """
    return bool(result.config and result.metrics and result.metrics.get("finished"))


def extra_callbacks(config: SweepConfig, name: str) -> list[tune.Callback]:
    """Ray's own MLflow and Weights & Biases loggers, where asked for."""
    callbacks: list[tune.Callback] = []
    try:
        if "mlflow" in config.log_to:
            import mlflow  # noqa: F401 - Ray's logger would only warn
            from ray.tune.logger.mlflow import MLflowLoggerCallback

            callbacks.append(MLflowLoggerCallback(experiment_name=name))
        if "wandb" in config.log_to:
            import wandb  # noqa: F401
            from ray.air.integrations.wandb import WandbLoggerCallback

            callbacks.append(WandbLoggerCallback(project="vit-label-sweep", group=name))
    except ImportError as error:
        raise ValueError(
            f"--log-to {error.name}: not installed in this environment; pip install {error.name}"
        ) from error
    return callbacks
