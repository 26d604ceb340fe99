"""What this process may use of its machine: CPUs and memory, by affinity and control group."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Memory of the machine, or of the container that this process lives in; bytes."""

    limit: int
    used: int


def usable_cpus() -> int:
    """CPUs that this process may use: by its affinity (``taskset``, SLURM) and quota; at least 1."""
    allowed = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    quotas = [quota for folder in _groups("cpu") if (quota := _cpu_quota(folder)) is not None]
    return max(1, int(min([allowed, *quotas])))


def memory() -> Memory:
    """What is there and what is in use now; the tightest control group decides, if there is one."""
    import psutil  # here, as CPUs are counted without it

    machine = psutil.virtual_memory()
    found = Memory(limit=machine.total, used=machine.total - machine.available)
    for folder in _groups("memory"):
        limit = _number(folder / "memory.max") or _number(folder / "memory.limit_in_bytes")
        used = _number(folder / "memory.current") or _number(folder / "memory.usage_in_bytes")
        if limit and used and limit < found.limit:
            found = Memory(limit=limit, used=used - _page_cache(folder))
    return found


def memory_below() -> int:
    """Bytes that all processes below this one keep for themselves; mapped files do not count."""
    import psutil

    total = 0
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it has just ended
            total += process.memory_full_info().uss
    return total


def _groups(controller: str) -> list[Path]:
    """Folders of the control groups that this process is in, from its own up to the root's."""
    try:
        lines = MEMBERSHIP.read_text().splitlines()
    except OSError:  # not Linux
        return []
    folders: list[Path] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = CGROUPS / controller if controllers else CGROUPS
        # a container sees its own group as the root, whatever the path says
        inside = root / path.lstrip("/")
        folders += [p for p in (inside, *inside.parents) if p.is_relative_to(root) and p.is_dir()]
    return folders


def _cpu_quota(folder: Path) -> float | None:
    """CPUs' worth of time that a control group may use; None without a limit."""
    text = _text(folder / "cpu.max")  # version 2: "quota period" or "max period"
    if text:
        quota, period = text.split()
        return None if quota == "max" else int(quota) / int(period)
    quota, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
    return quota / period if quota and period and quota > 0 else None


def _page_cache(folder: Path) -> int:
    """Bytes of files that the kernel would give up for others; they count as used."""
    for line in _text(folder / "memory.stat").splitlines():
        name, _, value = line.partition(" ")
        if name in ("inactive_file", "total_inactive_file"):
            return int(value)
    return 0


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text.lstrip("-").isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:  # this version of control groups, or this level, has no such file
        return ""
