"""What a network that was trained on another survey knows of this one before it sees any of its labels."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.results.schema import CorruptFile, read_json
from trainable.class_map import SharedClass

FILE = "transfer.json"
"""In the sweep's folder."""


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """The network, the classes that both surveys have, and its predictions for this one's test set."""

    sweep: str
    """Name of the sweep on the other survey."""
    data: str
    """Name of that survey."""
    trial: str
    arch: str
    n_labels: int
    """Labels of the other survey that the trial had."""
    accuracy_there: float | None
    """0–1, of the images that the trial was scored on."""
    scored_on: str
    """Which these are: ``test`` or ``validation``."""
    classes: tuple[SharedClass, ...]
    confusion: tuple[tuple[int, ...], ...]
    """Test images of this survey by shared class (down) and by the class predicted (across), (C, C)."""

    @property
    def _counts(self) -> NDArray[np.int64]:
        return np.array(self.confusion, np.int64)

    @property
    def n(self) -> int:
        """Test images of this survey in the shared classes."""
        return int(self._counts.sum())

    @property
    def accuracy(self) -> float:
        """Share of them that are classified rightly, 0–1, with no label of this survey."""
        return float(np.trace(self._counts) / self.n)

    @property
    def recalls(self) -> NDArray[np.float64]:
        """(C,) Share of each class that is found; NaN for a class without a test image."""
        of_class = self._counts.sum(axis=1)
        with np.errstate(invalid="ignore"):
            return np.diag(self._counts) / of_class

    @property
    def largest(self) -> float:
        """Share of the most frequent class: the accuracy of always naming it."""
        return float(self._counts.sum(axis=1).max() / self.n)

    def to_json(self) -> str:
        """The contents of `FILE`."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Transfer:
        """The inverse of ``dataclasses.asdict``, also after a trip through JSON."""
        classes = tuple(
            SharedClass(name=c["name"], source=tuple(c["source"]), target=tuple(c["target"]))
            for c in values["classes"]
        )
        lists: dict[str, Any] = {
            "classes": classes,
            "confusion": tuple(map(tuple, values["confusion"])),
        }
        return cls(**{**values, **lists})

    @classmethod
    def read(cls, folder: Path) -> Transfer | None:
        """That of a sweep's folder; None if the sweep is no transfer.

        Raises
        ------
        CorruptFile
            It is there, but cannot be read.
        """
        path = folder / FILE
        if not path.exists():
            return None
        try:
            return cls.from_dict(read_json(path))
        except (TypeError, KeyError, ValueError) as error:
            raise CorruptFile(f"{path} is corrupt: {error!r}") from error
