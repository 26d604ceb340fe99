"""The run that a configuration asks for: the one place that knows all kinds of runs."""

from __future__ import annotations

import torch

from trainable.config import TrainingConfig
from trainable.cross_validated_run import CrossValidatedRun
from trainable.probe_run import ProbeRun
from trainable.run import Progress, Run, TrainingRun


def make_run(
    config: TrainingConfig,
    *,
    device: str | torch.device = "cpu",
    progress: Progress | None = None,
    preparing: Progress | None = None,
) -> Run:
    """A run before its first epoch; parameters are those of `trainable.run.TrainingRun`."""
    if config.trained == "probe":
        return ProbeRun(config, device=device, preparing=preparing)
    run = TrainingRun(config, device=device, progress=progress, preparing=preparing)
    return run if run.partition.folds is None else CrossValidatedRun(run)
