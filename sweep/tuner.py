"""Tune experiments of a sweep: resources, storage, checkpoints, restore."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import Any

import ray
from ray import tune
from ray._private import ray_constants
from ray.tune.logger import TBXLoggerCallback

from trainable.trial import Trial

from .recovery import KeepState
from .space import SweepConfig
from .stopper import EarlyStopper
from .storage import Folder

MAX_FAILURES = 3
"""Times that a trial is taken up again, from its last checkpoint, after its worker was lost."""
STATE_SECONDS = 1.0
"""How old Tune's state on disk may be; writing it takes the longer, the more trials there are."""
CURVES = (
    *("train_loss", "train_accuracy", "val_loss", "val_accuracy", "val_macro_f1"),
    *("learning_rate", "images_per_second", "epoch_seconds"),
)
"""What TensorBoard shows of an epoch."""
SMALL_SHARE = 0.1
"""Of a GPU, with ``--gpus-per-trial auto``, for a trial that trains a head on cached features."""


def start_ray(config: SweepConfig) -> None:
    """Start Ray on this machine, or join the cluster of ``--address``; else `ValueError`."""
    logging.getLogger("ray.tune.tune").setLevel(logging.CRITICAL)  # we say which trials failed
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if config.address is None:
        # Ray listens on every interface, except on systems where it would form no cluster
        ray_constants.ENABLE_RAY_CLUSTER = False
        # "local": never an old cluster whose address a killed run left behind
        ray.init(address="local", num_gpus=config.gpus, include_dashboard=False, **quiet)
        return
    try:
        ray.init(address=config.address, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ValueError(f"no Ray cluster at --address {config.address}: {error}") from error


def resources(config: SweepConfig, run: dict[str, Any]) -> dict[str, float]:
    """What a trial asks Ray for; `run` is its ``RunConfig.to_dict()``."""
    if not config.gpus:
        return {"cpu": 1}
    share = config.gpus_per_trial
    if share == "auto":
        on_features = run["trained"] == "head" and run.get("cache_features", True)
        share = SMALL_SHARE if on_features else 1.0
    return {"cpu": 1, "gpu": share}


class TensorBoard(TBXLoggerCallback):
    """`CURVES` alone, written to the disk every 30 s and at a trial's end.

    To log all that Tune has of an epoch, and flush it, takes as long as all else that it does.
    """

    def log_trial_result(self, iteration: int, trial: Any, result: dict[str, Any]) -> None:
        """Log an epoch."""
        if trial not in self._trial_writer:
            self.log_trial_start(trial)
        for name in CURVES:
            tag, epoch = f"ray/tune/{name}", result["training_iteration"]
            self._trial_writer[trial].add_scalar(tag, result[name], epoch)


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
    # a state that misses two checkpoints of a trial would ask for one that is deleted
    state_seconds = min(STATE_SECONDS, config.checkpoint_seconds / 2)
    os.environ["TUNE_GLOBAL_CHECKPOINT_S"] = str(state_seconds)
    trainable = tune.with_resources(Trial, lambda trial: resources(config, trial["run"]))
    path = str(folder.child(name))
    if tune.Tuner.can_restore(path):
        tuner = tune.Tuner.restore(path, trainable, resume_errored=True)
    else:
        tuner = tune.Tuner(
            trainable,
            param_space={
                "cell": tune.grid_search(list(runs)),
                "run": tune.sample_from(lambda spec: runs[spec.config["cell"]]),
                "checkpoint_seconds": config.checkpoint_seconds,
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
                # The trial says when one is due.
                checkpoint_config=tune.CheckpointConfig(num_to_keep=2),
                failure_config=tune.FailureConfig(max_failures=MAX_FAILURES),
                callbacks=[*callbacks, TensorBoard(), KeepState(folder.child(name), state_seconds)],
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

    An interrupted ``fit`` returns as if all were well; its trials lack this mark. A trial that
    failed to save its last epoch has it, and has failed.
    """
    ended = result.config and result.metrics and result.metrics.get("finished")
    return bool(ended and not result.error)


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
