"""Tune's own files after a kill: what is corrupt is set aside, never believed.

Tune copies the state of an experiment to its storage again and again, over the copy before. A
kill can leave half of it there, from which Tune would start over in silence; so the last whole copy
is kept beside it.
"""

from __future__ import annotations

import json
import os
import pickletools
import shutil
import time
from pathlib import Path
from typing import Any

from ray import tune

from sweep.ray_compat import STATE_ENTRY, STATE_FILES, forget_decisions
from sweep.storage import Folder
from trainable.errors import SweepError
from trainable.files import write_atomically

KEPT = ".kept"
CORRUPT = ".corrupt"


class KeepState(tune.Callback):
    """Keeps the last whole copy of Tune's state files.

    Parameters
    ----------
    experiment
        The experiment's folder; a remote one is left to its store, which writes files whole.
    seconds
        Between two copies; after every event of a trial for 0.
    """

    def __init__(self, experiment: Folder, seconds: float = 0) -> None:
        self.seconds = seconds
        self.folder = Path(experiment.location) if experiment.is_local else None

    def setup(
        self,
        stop: Any = None,  # noqa: ARG002 - Tune's interface, here and below
        num_samples: int | None = None,  # noqa: ARG002
        total_num_samples: int | None = None,  # noqa: ARG002
        **info: Any,  # noqa: ARG002
    ) -> None:
        """Begin; called by Tune, after a restore too."""
        self.looked = time.monotonic()

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:  # noqa: ARG002
        """Keep, if it is time."""
        if time.monotonic() - self.looked >= self.seconds:
            self.keep()

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:  # noqa: ARG002
        """Keep the last state."""
        self.keep()

    def keep(self) -> None:
        """Copy what has changed and is whole."""
        self.looked = time.monotonic()
        for path in _files(self.folder) if self.folder else ():
            kept = path.with_name(path.name + KEPT)
            if not kept.exists() or kept.stat().st_mtime_ns < path.stat().st_mtime_ns:
                unfinished = path.with_name(path.name + ".tmp")
                shutil.copy2(path, unfinished)
                if is_whole(unfinished):
                    os.replace(unfinished, kept)


def repair(experiment: Folder) -> list[str]:
    """Put whole copies in the place of corrupt files, before Tune reads them.

    Returns
    -------
    list of str
        What was done, for the user.

    Raises
    ------
    SweepError
        A file is corrupt and has no whole copy; the message says what to do.
    """
    if not experiment.is_local or not experiment.exists():
        return []
    folder, done = Path(experiment.location), list[str]()
    for kind in STATE_FILES:
        files = sorted(folder.glob(kind))
        for path in [path for path in files if not is_whole(path)]:
            os.replace(path, path.with_name(path.name + CORRUPT))
            kept = path.with_name(path.name + KEPT)
            if kept.exists():
                shutil.copy2(kept, path)
            done.append(f"{path} was left corrupt by a kill and is set aside")
        if files and not any(path.exists() for path in files):
            raise SweepError(
                f"{files[-1]} is corrupt, and Tune cannot resume without it. To run the trials of "
                f"{folder} again, move that folder away and resume; their checkpoints are in it."
            )
    for path in folder.glob(STATE_FILES[0]):
        state = json.loads(path.read_bytes())
        if forget_decisions(state):
            write_atomically(path, json.dumps(state))
    return done


def is_whole(path: Path) -> bool:
    """Whether a state file has its end: a state is JSON, the searcher and the tuner are pickles.

    Pickles are parsed, not loaded: nothing in them runs.
    """
    contents = path.read_bytes()
    try:
        if path.name.startswith("experiment_state"):
            return STATE_ENTRY in json.loads(contents)
        for _ in pickletools.genops(contents):
            pass  # to its last opcode
    except ValueError:  # of the JSON or the pickle; cut short, or something else
        return False
    return True


def _files(folder: Path) -> list[Path]:
    return [path for kind in STATE_FILES for path in folder.glob(kind)]
