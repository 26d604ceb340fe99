"""Parts of a catalogue by the workers of a Ray cluster, given to them by Ray Data."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from typing import Any

import ray
import torch
from ray.exceptions import RayTaskError

from sweep.grid import SweepConfig
from sweep.predict import PredictConfig
from sweep.prediction import Done, Job, Worker
from sweep.ray_session import start_ray
from trainable.devices import allotted_gpu
from trainable.errors import UserError

LOCAL = "local"
"""``--address`` that starts Ray on this machine."""


class ClusterWorker:
    """A `Worker` in a process of its own; Ray Data calls it with the numbers of parts."""

    def __init__(self, job: Job, processes: int) -> None:
        device = allotted_gpu() if ray.get_gpu_ids() else torch.device("cpu")
        if device.type == "cpu":
            torch.set_num_threads(processes)
        self.worker = Worker(job, device, processes)

    def __call__(self, batch: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Make the parts of a batch; a row for each."""
        for done in self.worker.make([int(part) for part in batch["part"]]):
            yield {"part": [done.part], "images": [done.images]}


def make(config: PredictConfig, job: Job, missing: Sequence[int]) -> Iterator[Done]:
    """Start Ray or join a cluster, and have its workers make the parts that are missing.

    Raises
    ------
    ResourcesError
        There is no such cluster.
    UserError
        A worker's.
    """
    address = None if config.address == LOCAL else config.address
    if not ray.is_initialized():
        start_ray(SweepConfig(gpus=math.ceil(config.workers * config.worker_gpus), address=address))
    _be_quiet()
    per_worker: dict[str, Any] = (  # Ray Data takes one of them
        {"num_gpus": config.worker_gpus} if config.worker_gpus else {"num_cpus": config.worker_cpus}
    )
    parts = ray.data.from_items(
        [{"part": part} for part in missing], override_num_blocks=len(missing)
    )
    made = parts.map_batches(
        ClusterWorker,
        fn_constructor_args=(job, config.worker_cpus),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=config.workers),
        **per_worker,
    )
    try:
        for row in made.iter_rows():
            yield Done(part=int(row["part"]), images=int(row["images"]))
    except RayTaskError as error:
        if isinstance(error.cause, UserError):  # with Ray's advice on retries behind it
            sentence = str(error.cause).partition("\nFailed to ")[0]
            raise type(error.cause)(sentence) from error
        raise


def _be_quiet() -> None:
    """No progress of parts that the user does not know; an error is told by who catches it."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.raise_original_map_exception = True
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
