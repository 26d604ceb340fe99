"""What no public call of Ray 2.60 gives; everything here may change with any version of Ray.

``tests/unit/sweep/test_ray_compat.py`` and ``tests/integration/test_state_backup.py`` fail if the
installed Ray lacks any of it.

Loopback
    `listen_on_loopback_alone`: Ray listens on every interface, except on systems on which it would
    form no cluster. The environment variable for that is read when Ray is imported, which is before
    it is known whether a cluster is to be joined.
Tune's state files
    `STATE_FILES`: their names. Ray offers no way to copy or check them, and a state cut short by a
    kill makes Tune start over in silence.
Decisions in the state
    `forget_decisions`: what the controller had just decided for a trial is saved with its state,
    under names of its own, and obeyed after a restore: a trial that failed for good while it was
    being saved would be stopped one epoch after it was resumed.
Memory
    `memory_shortage`: Ray's memory monitor kills a worker, and Tune's actor manager, which knows
    only errors of actors and tasks, raises a RuntimeError out of ``Tuner.fit()``. What was used is
    told in the text alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ray._private import ray_constants
from ray.exceptions import ActorDiedError, OutOfMemoryError

STATE_FILES = ("experiment_state-*.json", "basic-variant-state-*.json", "tuner.pkl")
"""Patterns of Tune's state files in an experiment's folder: experiment, searcher, tuner."""
STATE_ENTRY = "trial_data"
"""A key of every whole experiment state."""
CONTROLLER = "runner_data"
DECISIONS = ("_cached_trial_decisions", "_queued_trial_decisions")

_LOW_MEMORY = "node running low on memory"
_MACHINE = re.compile(r"was ([\d.]+)GB used / ([\d.]+)GB limit")
_WORKER = re.compile(r"pid=(\d+), actual memory used=([\d.]+)GB")


class UnknownRayError(RuntimeError):
    """The installed Ray differs from what this module was written for."""


def listen_on_loopback_alone() -> None:
    """Have a Ray that this process starts open its ports to this machine alone."""
    if not hasattr(ray_constants, "ENABLE_RAY_CLUSTER"):
        raise UnknownRayError(
            "Ray's constant ENABLE_RAY_CLUSTER is gone: without it Ray would listen on every "
            "interface; sweep/ray_compat.py must be adapted to the installed version"
        )
    ray_constants.ENABLE_RAY_CLUSTER = False


def forget_decisions(state: dict[str, Any]) -> bool:
    """Empty what Tune had decided for its trials, in the state of an experiment.

    Returns
    -------
    bool
        Whether there was anything to forget.

    Raises
    ------
    UnknownRayError
        The state has no such entries: see the module's docstring.
    """
    controller = state[CONTROLLER]
    if missing := [name for name in DECISIONS if name not in controller]:
        raise UnknownRayError(
            f"Tune's state has no {', '.join(missing)}; sweep/ray_compat.py was written for Ray "
            "2.60 and must be adapted to the installed version"
        )
    if not any(controller[name] for name in DECISIONS):
        return False
    controller.update({name: {} for name in DECISIONS})
    return True


@dataclass(frozen=True, kw_only=True)
class MemoryShortage:
    """Ray killed a worker since its machine was short of memory; None for what it did not say."""

    pid: int | None
    """Process of the worker."""
    used_gb: float | None
    """Memory of the worker."""
    machine_used_gb: float | None
    machine_limit_gb: float | None


def memory_shortage(error: BaseException | None) -> MemoryShortage | None:
    """What an error says of a worker that was killed for memory; None if it is another error."""
    causes = (error, error.__cause__) if error else ()
    for cause in causes:
        if isinstance(cause, OutOfMemoryError) or (
            isinstance(cause, ActorDiedError) and _LOW_MEMORY in str(cause)
        ):
            worker, machine = _WORKER.search(str(cause)), _MACHINE.search(str(cause))
            return MemoryShortage(
                pid=int(worker[1]) if worker else None,
                used_gb=float(worker[2]) if worker else None,
                machine_used_gb=float(machine[1]) if machine else None,
                machine_limit_gb=float(machine[2]) if machine else None,
            )
    return None
