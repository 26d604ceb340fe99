"""How trials stand, judged by the files that they wrote themselves; no Ray.

A trial's folder is ``SWEEP/run-K/CELL_ID``. Each ``checkpoint_*`` in it holds ``status.json`` and
``epochs.json``, written by the trial; ``error.txt`` is Tune's record of the trial's failures.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sweep.storage import Folder

ERRORS = ("error.txt", "error.pkl")
"""Files in which Tune records the failures of a trial."""
PAST_ERROR = "error-before-resume.txt"


@dataclass(frozen=True, kw_only=True)
class TrialOutcome:
    """How one trial stands."""

    cell: str
    """Id of the cell, which is the name of the trial's folder."""
    epoch: int
    """Epochs in its newest sound checkpoint; 0 without one."""
    finished: bool
    """It ended by its stopper or at its last epoch."""
    error: str | None
    """Last line of what Tune recorded of its latest failure; None if it never failed. A trial that
    finished may have one, from a failure that it recovered from."""


def trial_outcome(experiment: Folder, cell: str) -> TrialOutcome:
    """How the trial of a cell stands.

    Parameters
    ----------
    experiment
        Folder of the Tune experiment that runs the cell; it need not exist yet.
    """
    trial = experiment.child(cell)
    status = _newest_status(trial)
    return TrialOutcome(
        cell=cell,
        epoch=status["epoch"] if status else 0,
        finished=bool(status and status["finished"]),
        error=_error(trial),
    )


def set_errors_aside(experiment: Folder, cells: list[str]) -> None:
    """Rename the record of failures of trials that are about to be resumed.

    An error that is on record afterwards is then one of the trial that was resumed.
    """
    for cell in cells:
        trial = experiment.child(cell)
        if trial.exists(ERRORS[0]):
            trial.write(PAST_ERROR, trial.read(ERRORS[0]))
        for name in ERRORS:
            if trial.exists(name):
                trial.delete(name)


def last_line(text: str) -> str:
    """The last line that is not empty: of a traceback, the exception."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def _newest_status(trial: Folder) -> dict[str, Any] | None:
    for name in sorted(trial.names(), reverse=True):
        if name.startswith("checkpoint_"):
            checkpoint = trial.child(name)
            try:
                json.loads(checkpoint.read("epochs.json"))
                return json.loads(checkpoint.read("status.json"))
            except (FileNotFoundError, ValueError):
                continue  # a kill left it incomplete or corrupt: the one before counts
    return None


def _error(trial: Folder) -> str | None:
    try:
        return last_line(trial.read(ERRORS[0]).decode(errors="replace"))
    except FileNotFoundError:
        return None
