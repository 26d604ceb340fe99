"""Work on many images in a pool of processes, with the results in order and in little memory."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar, cast

from trainable.machine import usable_cpus

ITEMS_OF_A_PROCESS = 2000
"""Images that pay for the start of a process, which takes seconds."""
PIXELS_OF_A_PROCESS = ITEMS_OF_A_PROCESS * 256**2
"""Their pixels: small images take less time, and pay for it in larger numbers."""
JOB = 32
"""Items that a process is given at once."""
JOBS_OF_A_PROCESS = 8
"""Jobs that are read ahead for each process."""
IDLE_SECONDS = 10
"""After which a process without work ends and gives its memory back."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def useful_processes(items: int, pixels: int | None = None) -> int:
    """Processes for so many images: no more than CPUs, and none that costs more than it saves.

    Parameters
    ----------
    pixels
        Of all images together, if their sizes are known.
    """
    useful = items // ITEMS_OF_A_PROCESS
    if pixels is not None:
        useful = min(useful, pixels // PIXELS_OF_A_PROCESS)
    return max(1, min(usable_cpus(), useful))


def map_jobs(
    function: Callable[[list[Item]], Result], items: Iterable[Item], *, processes: int
) -> Iterator[Result]:
    """The results of `function` for consecutive lists of up to `JOB` items, in order.

    What `function` raises is raised here. The results do not depend on the number of processes.

    Parameters
    ----------
    function, items
        To be sent to other processes, by pickle. `items` is read in this process, a part at a time.
    processes
        1 works in this process.
    """
    jobs = _lists(items, JOB)
    if processes == 1:
        yield from map(function, jobs)
        return
    from joblib import Parallel, delayed  # not needed by what computes alone

    # Not forked, as the caller may hold threads and a GPU, nor spawned by multiprocessing, which
    # would have each process import the caller's main module, and torch and Ray with it. A pool is
    # given lists and no iterator, which joblib would read in a thread that cannot raise.
    with Parallel(processes, return_as="generator", idle_worker_timeout=IDLE_SECONDS) as pool:
        while ahead := list(itertools.islice(jobs, JOBS_OF_A_PROCESS * processes)):
            yield from cast("Iterator[Result]", pool(delayed(function)(job) for job in ahead))


def _lists(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    remaining = iter(items)
    while part := list(itertools.islice(remaining, size)):
        yield part
