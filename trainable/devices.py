"""The device that a command or a trial computes on, and whether a GPU can be used at all."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import torch

from trainable.config import Precision, PrecisionChoice, Settings
from trainable.errors import ResourcesError, SettingsError
from trainable.machine import usable_cpus

S = TypeVar("S", bound=Settings)

NEEDED_DRIVER = {"11": 450, "12": 525, "13": 580}
"""CUDA's major version → the oldest major version of NVIDIA's driver on Linux that runs it (NVIDIA,
"CUDA Compatibility", table of minor version compatibility)."""
DRIVER_FILE = Path("/proc/driver/nvidia/version")
CPU_FILE = Path("/proc/cpuinfo")
VERSION = re.compile(r"\d{3}\.\d+(\.\d+)?")
TRY_SECONDS = 300
"""How long a process may take to import torch and to try all GPUs; it takes seconds."""
TRY_ALL = """
import json, torch
found = []
for index in range(torch.cuda.device_count()):
    gpu = {"name": f"GPU {index}", "capability": [0, 0], "memory": 0, "error": None}
    try:
        gpu["name"] = torch.cuda.get_device_name(index)
        gpu["capability"] = torch.cuda.get_device_capability(index)
        gpu["memory"] = torch.cuda.get_device_properties(index).total_memory
        torch.ones(1024, device=f"cuda:{index}").sum().item()
    except (RuntimeError, AssertionError) as error:
        gpu["error"] = str(error).strip().partition("\\n")[0]
    found.append(gpu)
print(json.dumps(found))
"""
"""A program that puts a tensor on each GPU and prints `Gpu` and an error for each, as JSON."""


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """A GPU that a process could put a tensor on."""

    name: str
    capability: tuple[int, int]
    """NVIDIA's compute capability."""
    memory: int
    """Bytes, all of it."""


LEAST_MEMORY = 2 << 30
"""Bytes for a trial with a small share of a GPU, which may be the one to compute the features.
Predicted, for 256 images of ViT-B/16 in float32: 0.34 GB of weights, and of 256 × 197 × 768 × 4 bytes =
0.155 GB each the residual, its norm, the MLP's hidden layer (4) and that after GELU (4)."""
BF16_FROM = (8, 0)
"""Compute capability of the first GPUs with products in bfloat16 (NVIDIA's Ampere, e.g. A100); below
it torch imitates them."""
COMPILERS = ("cc", "gcc", "clang")
"""What Triton looks for to build what starts its kernels, if ``$CC`` names no other."""


def choose_device(name: str | None) -> torch.device:
    """The device of that name; None: a GPU if torch can use one, else the CPU.

    A GPU comes with its number, without which torch's functions for its memory refuse it.

    Raises
    ------
    SettingsError
        Torch does not know the name, or this machine does not have the device.
    """
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.empty(0, device=torch.device(name)).device
    except (RuntimeError, AssertionError) as error:  # the latter from a torch without CUDA
        first_line = str(error).partition("\n")[0]
        raise SettingsError(
            f"--device {name}: this machine has no such device, e.g. cpu or cuda:0 ({first_line})"
        ) from error


def device_label(device: torch.device) -> str:
    """The device's name and, of a CPU, the cores that this process may use."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    name = platform.processor() or platform.machine()
    if CPU_FILE.exists():
        lines = (line.partition(":") for line in CPU_FILE.read_text().splitlines())
        name = next((value.strip() for key, _, value in lines if "model name" in key), name)
    return f"{name}, {usable_cpus()} cores"


def gpus_behind(device: torch.device) -> tuple[Gpu, ...]:
    """The GPU of a device that this process uses; none for a CPU."""
    if device.type != "cuda":
        return ()
    properties = torch.cuda.get_device_properties(device)
    return (
        Gpu(
            name=properties.name,
            capability=(properties.major, properties.minor),
            memory=properties.total_memory,
        ),
    )


def suited_to(gpus: Sequence[Gpu], settings: S) -> S:
    """`settings` with ``auto`` replaced by what suits the GPUs, for both inits alike.

    Without GPUs it is float32, not compiled; nor is anything compiled that is to be deterministic.
    """
    settings = replace(settings, precision=suited_precision(gpus, settings.precision))
    if settings.compile == "auto":
        compiled = not settings.deterministic and _are_fast(gpus) and compiler_missing() is None
        settings = replace(settings, compile="on" if compiled else "off")
    return settings


def suited_precision(gpus: Sequence[Gpu], choice: PrecisionChoice) -> Precision:
    """`choice`, if it is one; else the fastest that a network takes no harm from on these GPUs."""
    if choice != "auto":
        return choice
    return "bf16" if _are_fast(gpus) else "fp32"


def _are_fast(gpus: Sequence[Gpu]) -> bool:
    return bool(gpus) and all(gpu.capability >= BF16_FROM for gpu in gpus)


def compiler_missing() -> str | None:
    """What torch.compile lacks on this machine to compile for its GPUs; None if nothing."""
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed"
    named = os.environ.get("CC")
    if any(map(shutil.which, [named] if named else COMPILERS)):
        return None
    return f"there is no C compiler ({named or ', '.join(COMPILERS)})"


def allotted_gpu(share: float = 1.0) -> torch.device:
    """The GPU that was allotted to this process, tried by a tensor.

    Parameters
    ----------
    share
        Of its memory, what this process may take, if that is less than all; but `LEAST_MEMORY` at
        least.

    Raises
    ------
    ResourcesError
        It cannot be used: nothing ever trains on the CPU in its place.
    """
    try:
        tried = torch.ones(1, device="cuda")
        tried.sum().item()
    except (RuntimeError, AssertionError) as error:
        first_line = str(error).partition("\n")[0]
        raise ResourcesError(
            f"a GPU was allotted and cannot be used ({first_line}). {build_and_driver()}"
        ) from error
    device = tried.device
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, max(share, LEAST_MEMORY / total)), device)
    return device


def free_memory(device: torch.device) -> int:
    """Bytes of a GPU that this process can still take: free there, and left of its share.

    What torch keeps for itself of tensors that are gone counts as free.
    """
    free, total = torch.cuda.mem_get_info(device)
    used = torch.cuda.memory_allocated(device)
    kept = torch.cuda.memory_reserved(device) - used
    share = torch.cuda.get_per_process_memory_fraction(device)
    return min(free + kept, int(share * total) - used)


def require_gpus(wanted: int, advice: str) -> tuple[Gpu, ...]:
    """The first `wanted` GPUs of this machine, all of which can be used.

    Parameters
    ----------
    advice
        What to do without them, as a sentence.

    Raises
    ------
    ResourcesError
        There are fewer, or one cannot be used.
    """
    present = usable_gpus()
    if len(present) < wanted:
        raise ResourcesError(
            f"--gpus {wanted}, but torch sees {len(present) or 'no'} GPU on this machine. "
            f"{build_and_driver()} {advice}"
        )
    return present[:wanted]


def usable_gpus() -> tuple[Gpu, ...]:
    """The GPUs of this machine, each tried by a tensor; in a process that ends, so none is held.

    Raises
    ------
    ResourcesError
        One of them cannot be used. Torch counts GPUs by what the driver lists, also those that it
        can put nothing on.
    """
    try:
        tried = subprocess.run(
            [sys.executable, "-c", TRY_ALL], capture_output=True, text=True, timeout=TRY_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise ResourcesError(
            f"no answer within {TRY_SECONDS} s from a process that puts a tensor on each GPU: "
            "look at them by nvidia-smi, or use --gpus 0"
        ) from error
    if tried.returncode:
        raise ResourcesError(
            "a process that puts a tensor on each GPU ended with "
            f"{tried.returncode}: {tried.stderr.strip()[-500:]}. {build_and_driver()}"
        )
    found = json.loads(tried.stdout.splitlines()[-1])
    if broken := [f"{gpu['name']}: {gpu['error']}" for gpu in found if gpu["error"]]:
        raise ResourcesError(
            f"{len(broken)} of {len(found)} GPUs cannot be used ({'; '.join(broken)}). "
            f"{build_and_driver()}"
        )
    return tuple(
        Gpu(
            name=gpu["name"],
            capability=tuple(gpu["capability"]),
            memory=gpu["memory"],
        )
        for gpu in found
    )


def build_and_driver() -> str:
    """What torch was built for, the driver that this needs, and the driver that is there."""
    cuda, driver = torch.version.cuda, driver_version()
    here = f"the driver here is {driver}" if driver else "no NVIDIA driver is loaded here"
    if cuda is None:
        return f"This torch, {torch.__version__}, was built without CUDA, and {here}."
    needed = NEEDED_DRIVER.get(cuda.partition(".")[0])
    needs = f", which needs a driver of {needed} or newer" if needed else ""
    return f"Torch {torch.__version__} was built for CUDA {cuda}{needs}; {here}."


def driver_version() -> str | None:
    """Version of NVIDIA's driver, e.g. 580.65.06; None if none is found."""
    try:
        text = DRIVER_FILE.read_text().partition("\n")[0]
    except OSError:  # none is loaded, or not Linux
        text = _asked_of_nvidia_smi()
    version = VERSION.search(text)
    return version[0] if version else None


def _asked_of_nvidia_smi() -> str:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=60).stdout
    except (OSError, subprocess.TimeoutExpired):  # no such program, or a driver that hangs
        return ""
