"""Tune's own files after a kill: what is torn is set aside, never believed.

Tune copies the state of an experiment to its storage again and again, over the copy before. A
kill can leave half of it there, from which Tune would start over in silence; so the last whole copy
is kept beside it. The state also holds what Tune had just decided for its trials: for one that
failed for good while it was saved it says STOP, which would end the trial one epoch after it was
taken up again.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import time
from pathlib import Path

from ray import tune

from .storage import Folder

KINDS = ("experiment_state-*.json", "basic-variant-state-*.json", "tuner.pkl")
KEPT = ".kept"
OF_THE_MOMENT = ("_cached_trial_decisions", "_queued_trial_decisions")


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

    def setup(self, stop=None, num_samples=None, total_num_samples=None, **info) -> None:
        """Begin; called by Tune, after a restore too."""
        self.looked = time.monotonic()

    def on_step_end(self, iteration, trials, **info) -> None:
        """Keep, if it is time."""
        if time.monotonic() - self.looked >= self.seconds:
            self.keep()

    def on_experiment_end(self, trials, **info) -> None:
        """Keep the last state."""
        self.keep()

    def keep(self) -> None:
        """Copy what has changed and reads well."""
        self.looked = time.monotonic()
        for path in _files(self.folder) if self.folder else ():
            kept = path.with_name(path.name + KEPT)
            if not kept.exists() or kept.stat().st_mtime_ns < path.stat().st_mtime_ns:
                unfinished = path.with_name(path.name + ".tmp")
                shutil.copy2(path, unfinished)
                if is_whole(unfinished):
                    os.replace(unfinished, kept)


def repair(experiment: Folder) -> list[str]:
    """Put whole copies in the place of torn files, before Tune reads them.

    Returns
    -------
    list of str
        What was done, for the user.

    Raises
    ------
    ValueError
        A file is torn and has no whole copy; the message says what to do.
    """
    if not experiment.is_local or not experiment.exists():
        return []
    folder, done = Path(experiment.location), []
    for kind in KINDS:
        files = sorted(folder.glob(kind))
        for path in [path for path in files if not is_whole(path)]:
            os.replace(path, path.with_name(path.name + ".torn"))
            kept = path.with_name(path.name + KEPT)
            if kept.exists():
                shutil.copy2(kept, path)
            done.append(f"{path} was torn by a kill and is set aside")
        if files and not any(path.exists() for path in files):
            raise ValueError(
                f"{files[-1]} is damaged, and without it Tune cannot go on. To run the trials of "
                f"{folder} anew, move that folder away and resume; their checkpoints are in it."
            )
    for path in folder.glob(KINDS[0]):
        _forget_decisions(path)
    return done


def _forget_decisions(path: Path) -> None:
    state = json.loads(path.read_bytes())
    if any(state["runner_data"].get(name) for name in OF_THE_MOMENT):
        state["runner_data"] |= {name: {} for name in OF_THE_MOMENT}
        unfinished = path.with_name(path.name + ".tmp")
        unfinished.write_text(json.dumps(state))
        os.replace(unfinished, path)


def is_whole(path: Path) -> bool:
    """Whether Tune could read the file: a state is JSON, the searcher and the tuner pickles."""
    contents = path.read_bytes()
    try:
        if path.name.startswith("experiment_state"):
            return "trial_data" in json.loads(contents)
        pickle.loads(contents)  # Tune's own files, which it is about to unpickle itself
    except Exception:  # unpickling half a file raises nearly anything
        return False
    return True


def _files(folder: Path) -> list[Path]:
    return [path for kind in KINDS for path in folder.glob(kind)]
