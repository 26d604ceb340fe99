"""Errors that the user can mend; every other exception is a bug and keeps its traceback.

Command lines catch `UserError` alone, print its message and exit with `EXIT_CODE`, or with
`INCOMPLETE` if it is a `TrainingError`.
"""

from __future__ import annotations

EXIT_CODE = 2
"""Exit code of a command that a `UserError` ended."""
INCOMPLETE = 1
"""Exit code of a command that trained, but not to the end."""


class UserError(Exception):
    """Something that the user can mend.

    The message is complete: what was given, what was expected, and what to do about it.
    """


class DataError(UserError):
    """The images, labels or catalogue cannot be used."""


class WeightsError(UserError):
    """Pre-trained weights cannot be found, read or fitted to the architecture."""


class SettingsError(UserError):
    """A flag, or a combination of flags, that makes no sense."""


class ResourcesError(UserError):
    """The machine or cluster lacks what the trials ask for."""


class SweepError(UserError):
    """A folder that is not a sweep, or a sweep that cannot be continued or combined with another."""


class OutputError(UserError):
    """Results cannot be written where they are asked for; what is there already is whole."""


class TrainingError(UserError):
    """A training run that ended early; the checkpoints it has written stay valid."""


class CheckpointError(TrainingError):
    """A checkpoint cannot be read, or the disk does not take it."""


class NonFiniteLossError(TrainingError):
    """The loss became NaN or infinite."""
