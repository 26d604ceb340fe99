"""How time and memory grow with the number of images."""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch

from benchmarks.machine import PeakMemory
from benchmarks.workload import Workload
from trainable.forward_backward import use_determinism, use_precision
from trainable.run import TrainingRun

COUNTS = (2_000, 20_000)
COLUMNS = ("work", "images", "seconds", "s per 1,000", "memory at most, MB", "beyond the start")


@dataclass(frozen=True, kw_only=True)
class Point:
    """What one kind of work took at one number of images."""

    work: str
    images: int
    seconds: float
    peak: int
    """Bytes of the process's own memory, mapped files not counted."""
    before: int
    """Bytes held before any data was opened; the libraries are loaded by then."""

    def cells(self) -> tuple[str, ...]:
        """One row of the table."""
        return (
            self.work,
            f"{self.images:,}",
            f"{self.seconds:,.2f}",
            f"{1000 * self.seconds / self.images:,.3f}",
            f"{self.peak / 1e6:,.0f}",
            f"{(self.peak - self.before) / 1e6:,.0f}",
        )


def growth(points: list[Point]) -> dict[str, tuple[float, int]]:
    """For each work, from its smallest to its largest number of images.

    Returns
    -------
    dict
        Work → factor of the time per image (1 if time is linear), bytes that the peak of memory
        rises by (0 if it is flat).
    """
    factors: dict[str, tuple[float, int]] = {}
    for work in dict.fromkeys(point.work for point in points):
        own = sorted((p for p in points if p.work == work), key=lambda p: p.images)
        small, large = own[0], own[-1]
        per_image = (large.seconds / large.images) / (small.seconds / small.images)
        factors[work] = per_image, (large.peak - large.before) - (small.peak - small.before)
    return factors


def summary(points: list[Point]) -> str:
    """The results of `growth`, a line for each work."""
    return "\n".join(
        f"- {work}: {time:.2f} times the time per image, {memory / 1e6:+,.0f} MB at the peak"
        for work, (time, memory) in growth(points).items()
    )


def measure_growth(workload: Workload, counts: tuple[int, ...], repeats: int) -> list[Point]:
    """All numbers of images in turn, `repeats` times: medians of the seconds, the highest peaks.

    Each is measured in a process of its own, so that none inherits memory.
    """
    found: dict[tuple[int, str], list[Point]] = {}
    for images in counts * repeats:
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=spawn) as pool:
            for point in pool.submit(points_at, replace(workload, images=images)).result():
                found.setdefault((images, point.work), []).append(point)
    return [
        replace(
            max(points, key=lambda point: point.peak - point.before),
            seconds=median(point.seconds for point in points),
        )
        for points in found.values()
    ]


def points_at(workload: Workload) -> list[Point]:
    """Time the caches, an epoch of a linear probe and one from scratch."""
    device = workload.torch_device
    use_determinism(workload.deterministic, str(device))
    use_precision(workload.suited_precision)
    torch.zeros(1, device=device)  # a GPU's context is not the data's doing
    with TemporaryDirectory() as folder:
        experiment = workload.prepare(Path(folder))
        probe, scratch = (
            experiment.training_config(init, 1.0, 0) for init in ("pretrained", "scratch")
        )
        points: list[Point] = []
        assert workload.images is not None, "the growth is measured on random images"
        images = workload.images

        def note(work: str, start: float, memory: PeakMemory) -> None:
            points.append(
                Point(
                    work=work,
                    images=images,
                    seconds=time.perf_counter() - start,
                    peak=memory.peak,
                    before=before,
                )
            )

        with PeakMemory() as memory:
            before = memory.before
            start = time.perf_counter()
            run = TrainingRun(probe, device=device)
        note("images and features, from nothing", start, memory)
        for work, config in (("epoch, linear probe", probe), ("epoch, from scratch", scratch)):
            with PeakMemory() as memory:
                run = TrainingRun(config, device=device)
                run.step_epoch()
                start = time.perf_counter()
                run.step_epoch()
            note(work, start, memory)
    return points
