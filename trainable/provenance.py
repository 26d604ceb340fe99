"""Where a result comes from: versions, commit, device."""

from __future__ import annotations

import platform
import subprocess
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

PACKAGES = ("torch", "torchvision", "ray", "numpy", "scikit-learn", "pillow", "h5py")


@cache
def versions() -> dict[str, str]:
    """Versions of Python and of the installed packages that a result depends on."""
    installed = {"python": platform.python_version()}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):  # a single run needs no Ray
            installed[name] = version(name)
    return installed


@cache
def git_commit() -> str | None:
    """Commit of this source tree, ``-dirty`` if it has changes; None outside a checkout.

    As it was when this process first asked, which is nearer to the code that it runs than what is there now.
    """
    here = Path(__file__).parent
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--match="],
            cwd=here,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return described.stdout.strip()


def device_name(device: torch.device) -> str:
    """Name of the device for a person."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return platform.processor() or platform.machine()
