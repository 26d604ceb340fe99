"""A run on a GPU, uninterrupted and resumed, in a process of its own.

  PYTHONPATH=tests:. python -m helpers.gpu_resume FOLDER plain|deterministic cuda|cpu

Prints the rows of both, as JSON: what makes a process deterministic is set before CUDA starts in it.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

from helpers.surveys import write_survey

from trainable import checkpoint
from trainable.config import Settings, TrainingConfig
from trainable.forward_backward import use_determinism, use_precision
from trainable.make_run import make_run
from trainable.prepare import prepare
from trainable.run import TIMES, Run

EPOCHS, CUT = 3, 2
"""Epochs of a run, and those before the interruption."""


def config_of(folder: Path, *, deterministic: bool) -> TrainingConfig:
    """A run from scratch in bfloat16, at two images a batch: many steps."""
    settings = Settings(
        data=str(write_survey(folder / "tiny.h5")),
        arch="vit_demo",
        split="fixed",
        precision="bf16",
        compile="off",
        deterministic=deterministic,
        batch_size=2,
        max_epochs=EPOCHS,
        cache_dir=folder / "cache",
    )
    return replace(prepare(settings).training_config("scratch", 1.0, 0), augment=True)


def rows(run: Run) -> list[dict[str, float]]:
    """Train to the end; what is no time, of each epoch."""
    while not run.finished:
        run.step_epoch()
    return [{k: v for k, v in row.items() if k not in TIMES} for row in run.history]


def main() -> None:
    """Train three times: whole, whole, and interrupted after `CUT` epochs."""
    folder, deterministic, device = Path(sys.argv[1]), sys.argv[2] == "deterministic", sys.argv[3]
    use_precision("bf16")
    use_determinism(deterministic, device)
    config = config_of(folder, deterministic=deterministic)
    first = make_run(config, device=device)
    for _ in range(CUT):
        first.step_epoch()
    checkpoint.save(first, folder / "checkpoint", checkpoint.record(first))
    resumed = make_run(config, device=device)
    checkpoint.load(resumed, folder / "checkpoint")
    whole, again = (rows(make_run(config, device=device)) for _ in range(2))
    print(json.dumps({"whole": whole, "again": again, "resumed": rows(resumed)}))


if __name__ == "__main__":
    main()
