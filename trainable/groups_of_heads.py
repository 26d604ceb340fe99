"""Which trials of heads train together, and the states they end with, which the first to ask leaves for the others."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from trainable import checkpoint, heads_together
from trainable.config import TrainingConfig
from trainable.data.batches import Rows
from trainable.data.cache import cache_root, locked_folder
from trainable.run import TrainingRun

MOST = 100_000_000
"""Training images, counted once an epoch, of trials that train together at most: nothing is saved before all of
them have ended, which is minutes at that number."""


def kind(config: TrainingConfig) -> Hashable | None:
    """What trials have in common that can train together; None if it trains alone.

    They differ in their images, epochs, stopper and seed alone. Alone trains what is to be bit-equal on a GPU, and
    what has a schedule, other labels than one a training image, or several rates.
    """
    if config.trained != "head" or not config.on_features or config.init == "scratch":
        return None
    one_rate = config.schedule == "constant" and config.layer_decay == 1 and config.decay_vectors
    if config.deterministic or not one_rate or config.label_smoothing or config.mixup:
        return None
    return replace(
        config,
        protocol="",
        fraction=1.0,
        per_class=None,
        seed=0,
        max_epochs=1,
        stopping=replace(config.stopping, rule="paper", delta=0.0, patience=1),
        data=replace(config.data, split_seed=0),
    )


def groups(runs: Mapping[str, TrainingConfig], slots: int) -> dict[str, tuple[str, ...]]:
    """Which trials train together, if `slots` trials can run at a time.

    Trials of a kind are dealt into as many groups, so that no slot waits for another.

    Returns
    -------
    dict
        Of each trial that does not train alone: all of its group, itself among them.
    """
    kinds: dict[Hashable, list[str]] = {}
    for name, config in runs.items():
        if (of := kind(config)) is not None:
            kinds.setdefault(of, []).append(name)
    dealt = [tuple(names[slot::slots]) for names in kinds.values() for slot in range(slots)]
    return {name: group for group in dealt if len(group) > 1 for name in group}


def make_runs(
    configs: Sequence[TrainingConfig], device: str | torch.device = "cpu"
) -> list[TrainingRun]:
    """Runs of one `kind` before their first epoch, with one copy of the features for all."""
    inputs: Rows | None = None
    runs: list[TrainingRun] = []
    for config in configs:
        runs.append(TrainingRun(config, device=device, inputs=inputs))
        inputs = runs[0].inputs
    return runs


def final_state(
    name: str, group: Mapping[str, TrainingConfig], folder: Path, device: str | torch.device
) -> dict[str, Any] | None:
    """The `TrainingRun.state_dict` that a trial ends with, if its group trains together.

    The first trial of a group to ask trains all of it, under a lock; the others wait, then read.

    Parameters
    ----------
    name
        Of the trial, one of `group`.
    group
        Names and configurations of trials of one `kind`.
    folder
        Where the states are kept, of these trials alone.

    Returns
    -------
    dict or None
        None if it is to train alone: its validation is cross-validated, its loss is not finite, or the group
        has more than `MOST` images to train on.
    """
    path = folder / f"{name}.pt"
    # the lock is in the node's cache, whose file system has locks; that of a sweep's folder may have none
    lock = hashlib.sha256(f"{folder.absolute()} {min(group)}".encode()).hexdigest()[:20]
    with locked_folder(cache_root(group[name].data.cache_dir) / "together" / lock):
        if not path.exists():
            with checkpoint.disk_errors(folder):
                folder.mkdir(parents=True, exist_ok=True)
            for member, state in _train(group, device).items():
                target = folder / f"{member}.pt"
                checkpoint.write_file(target, lambda file, state=state: torch.save(state, file))
    return checkpoint.read_state(path)


def _train(
    group: Mapping[str, TrainingConfig], device: str | torch.device
) -> dict[str, dict[str, Any] | None]:
    """Name of each trial → the state that it ends with, or None."""
    states: dict[str, dict[str, Any] | None] = dict.fromkeys(group)
    runs = {
        name: run
        for name, run in zip(group, make_runs([*group.values()], device), strict=True)
        if run.partition.folds is None
    }
    if sum(len(run.partition.train) * run.config.max_epochs for run in runs.values()) > MOST:
        return states
    for (name, run), error in zip(
        runs.items(), heads_together.train_together([*runs.values()]), strict=True
    ):
        if error is None:
            states[name] = run.state_dict()
    return states
