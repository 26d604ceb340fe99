"""Ray's start on this machine: its CPUs, its sockets and its token.

A local Ray listens on the loopback address alone.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
from pathlib import Path
from typing import Any

import ray

from sweep.grid import SweepConfig
from sweep.ray_compat import listen_on_loopback_alone
from sweep.user_folder import (
    TEMPORARY_FOLDERS,
    is_writable,
    private_folder,
    private_temporary_folder,
)
from trainable.errors import ResourcesError
from trainable.machine import usable_cpus

HANDLED = (signal.SIGTERM,)
"""Signals that ``ray.init`` takes over."""
LONGEST_SOCKET = 107
"""Bytes of the longest path of a Unix socket (Linux; one more ends the string)."""
SOCKET = "/session_2026-01-01_00-00-00_000000_0000000/sockets/plasma_store"
"""As long as the longest path of a socket below Ray's folder."""


def start_ray(config: SweepConfig) -> None:
    """Start Ray on this machine, or join the cluster of ``--address``; else `ResourcesError`."""
    logging.getLogger("ray.tune.tune").setLevel(logging.CRITICAL)  # we say which trials failed
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    before = {number: signal.getsignal(number) for number in HANDLED}
    if config.address is None:
        listen_on_loopback_alone()
        _provide_token()
        ray.init(
            address="local",  # never an old cluster whose address a killed run left behind
            num_cpus=config.cpus or usable_cpus(),
            num_gpus=config.gpus,
            include_dashboard=False,
            _temp_dir=temporary_folder(),
            **quiet,
        )
    else:
        try:
            ray.init(address=config.address, **quiet)
        except (ConnectionError, RuntimeError, ValueError) as error:  # what Ray documents for this
            raise ResourcesError(
                f"no Ray cluster at --address {config.address}: {error}"
            ) from error
    for number, handler in before.items():
        signal.signal(number, handler)  # Ray's own print the stack of every thread


def temporary_folder() -> str | None:
    """A folder below which Ray can make its sockets and files; None if its own default will do.

    Raises
    ------
    ResourcesError
        No folder that this user may write to is short enough for the paths of sockets.
    """
    default = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    if _fits(f"{default}/ray") and is_writable(Path(default)):
        return None
    for folder in filter(None, map(private_folder, TEMPORARY_FOLDERS)):
        if _fits(f"{folder}/ray"):
            return f"{folder}/ray"  # which Ray opens to everybody; not so the folder around it
    raise ResourcesError(
        f"Ray has no folder for its sockets: {default} is too long (their paths have at most "
        f"{LONGEST_SOCKET} bytes) or cannot be written to, and neither can "
        f"{', '.join(TEMPORARY_FOLDERS)}. Set RAY_TMPDIR to a short path of a folder of yours."
    )


def _provide_token() -> None:
    """See that Ray can keep the token of its processes, if not in the user's home then elsewhere."""
    if "RAY_AUTH_TOKEN" in os.environ or "RAY_AUTH_TOKEN_PATH" in os.environ:
        return
    if os.environ.get("RAY_AUTH_MODE") == "disabled" or _home_takes_token():
        return
    folder = private_temporary_folder()
    if folder is None:
        raise ResourcesError(
            "Ray keeps a token for its processes in ~/.ray, and neither the home folder nor "
            f"{', '.join(TEMPORARY_FOLDERS)} can be written to. Set RAY_AUTH_TOKEN_PATH to a file "
            "of yours that holds a long random text."
        )
    token = folder / "auth_token"
    if not token.exists():
        token.touch(mode=0o600)
        token.write_text(secrets.token_hex(32))
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(token)


def _home_takes_token() -> bool:
    """Whether ``~/.ray/auth_token``, Ray's default, is there or can be made."""
    token = Path.home() / ".ray" / "auth_token"
    if token.exists():
        return os.access(token, os.R_OK)
    return is_writable(next(folder for folder in token.parents if folder.exists()))


def _fits(folder: str) -> bool:
    return len(os.fsencode(folder + SOCKET)) <= LONGEST_SOCKET
