"""Tune experiments of a sweep: resources, storage, checkpoints, restore."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import tune
from ray.tune.logger import LoggerCallback
from tensorboardX import SummaryWriter

from sweep.grid import SweepConfig
from sweep.ray_compat import memory_shortage
from sweep.state_backup import KeepState
from sweep.stopper import EarlyStopper
from sweep.storage import Folder
from trainable.config import TrainingConfig
from trainable.errors import SettingsError
from trainable.groups_of_heads import groups
from trainable.machine import usable_cpus
from trainable.tune_trial import Trial

if TYPE_CHECKING:
    from ray.tune.experiment import Trial as TuneTrial

MAX_FAILURES = 3
"""Times that a trial is taken up again, from its last checkpoint, after its worker was lost."""
STATE_SECONDS = 1.0
"""How old Tune's state on disk may be; writing it takes the longer, the more trials there are."""
CURVES = (
    *("train_loss", "train_accuracy", "val_loss", "val_accuracy", "val_macro_f1"),
    *("learning_rate", "images_per_second", "epoch_seconds"),
)
"""What TensorBoard shows of an epoch."""
FLUSH_SECONDS = 30
SMALL_SHARE = 0.1
"""Of a GPU, with ``--gpus-per-trial auto``, for a trial that trains a head on cached features."""
LOCATIONS = ("path", "cache_dir")
"""Fields of a run's data that say where files are, not what they are."""


def resources(config: SweepConfig, run: TrainingConfig) -> dict[str, float]:
    """What a trial asks Ray for."""
    if not config.gpus:
        return {"cpu": 1}
    share = config.gpus_per_trial
    if share == "auto":
        share = SMALL_SHARE if run.on_features else 1.0
    return {"cpu": 1, "gpu": share}


class TensorBoard(LoggerCallback):
    """`CURVES` of each trial, written to the disk every 30 s and at the trial's end.

    Ray's own logger writes all that Tune has of an epoch and flushes it, which takes as long as all
    else that Tune does.
    """

    def __init__(self) -> None:
        self.writers: dict[TuneTrial, SummaryWriter] = {}

    def log_trial_start(self, trial: TuneTrial) -> None:
        """Open a file in the trial's folder, from where Tune copies it to its storage."""
        self.log_trial_end(trial)
        trial.init_local_path()
        self.writers[trial] = SummaryWriter(str(trial.local_path), flush_secs=FLUSH_SECONDS)

    def log_trial_result(self, iteration: int, trial: TuneTrial, result: dict[str, Any]) -> None:
        """Log an epoch."""
        del iteration
        if trial not in self.writers:
            self.log_trial_start(trial)
        for name in CURVES:
            tag, epoch = f"ray/tune/{name}", result["training_iteration"]
            self.writers[trial].add_scalar(tag, result[name], epoch)

    def log_trial_end(self, trial: TuneTrial, failed: bool = False) -> None:
        """Close the trial's file."""
        del failed
        if trial in self.writers:
            self.writers.pop(trial).close()


class UncountedMemoryFailures(tune.Callback):
    """A trial whose worker was killed for memory has not failed: it may fail once more instead."""

    def on_trial_recover(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        """Tune takes a trial up again."""
        del iteration, trials, info
        if memory_shortage(trial.get_pickled_error()):
            trial.max_failures += 1


def trained_together(
    config: SweepConfig, folder: Folder, runs: Mapping[str, TrainingConfig]
) -> dict[str, tuple[str, ...]]:
    """Cell id → ids of the cells that train together with it (`trainable.groups_of_heads`).

    A group for each GPU, or for each CPU without one. None on a cluster, whose trials would have to be on one
    node, nor with a remote storage, in which they could not leave what they find.
    """
    if config.address or not folder.is_local:
        return {}
    return groups(runs, config.gpus or config.cpus or usable_cpus())


def run_experiment(
    config: SweepConfig,
    folder: Folder,
    name: str,
    runs: Mapping[str, TrainingConfig],
    callbacks: Sequence[tune.Callback],
) -> tune.ResultGrid:
    """Run, or resume, one Tune experiment.

    Each trial takes its configuration from `runs`, on resuming too: Tune restores the
    configurations of old, with the paths of old. What it keeps beside the cell's id is for loggers.

    Parameters
    ----------
    name
        Of the experiment's folder within the sweep's.
    runs
        Cell id → its complete configuration.
    """
    # a state that misses two checkpoints of a trial would ask for one that is deleted
    state_seconds = min(STATE_SECONDS, config.checkpoint_seconds / 2)
    os.environ["TUNE_GLOBAL_CHECKPOINT_S"] = str(state_seconds)
    experiment = folder.child(name)
    supplied = tune.with_parameters(
        Trial,
        runs=dict(runs),
        experiment=Path(experiment.location) if experiment.is_local else None,
        checkpoint_seconds=config.checkpoint_seconds,
        together=trained_together(config, folder, runs),
    )

    def of_trial(trial: dict[str, Any]) -> Any:  # Ray takes a dict, though its types do not say so
        return resources(config, runs[trial["cell"]])

    trainable = tune.with_resources(supplied, of_trial)
    if tune.Tuner.can_restore(str(experiment)):
        return tune.Tuner.restore(str(experiment), trainable, resume_errored=True).fit()

    def of_cell(spec: Any) -> dict[str, Any]:
        return logged(runs[spec.config["cell"]])

    tuner = tune.Tuner(
        trainable,
        param_space={
            "cell": tune.grid_search(list(runs)),
            "run": tune.sample_from(of_cell),
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
            callbacks=[
                *callbacks,
                UncountedMemoryFailures(),
                TensorBoard(),
                KeepState(experiment, state_seconds),
            ],
            verbose=0,
        ),
    )
    return tuner.fit()


def logged(run: TrainingConfig) -> dict[str, Any]:
    """A configuration for loggers: without what is true of one machine at one time."""
    values = run.to_dict()
    values["data"] = {k: v for k, v in values["data"].items() if k not in LOCATIONS}
    return values


def extra_callbacks(config: SweepConfig, name: str) -> list[tune.Callback]:
    """Ray's own MLflow and Weights & Biases loggers, if asked for."""
    callbacks: list[tune.Callback] = []
    try:
        if "mlflow" in config.log_to:
            import mlflow  # noqa: F401 # pyright: ignore[reportMissingImports, reportUnusedImport] - an extra; Ray's logger would only warn
            from ray.air.integrations.mlflow import MLflowLoggerCallback

            callbacks.append(MLflowLoggerCallback(experiment_name=name))
        if "wandb" in config.log_to:
            import wandb  # noqa: F401 # pyright: ignore[reportMissingImports, reportUnusedImport] - likewise
            from ray.air.integrations.wandb import WandbLoggerCallback

            callbacks.append(WandbLoggerCallback(project="vit-label-sweep", group=name))
    except ImportError as error:
        raise SettingsError(
            f"--log-to {error.name}: not installed in this environment; pip install {error.name}"
        ) from error
    return callbacks
