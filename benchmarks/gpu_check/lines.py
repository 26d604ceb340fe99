"""One result of the check: a value, what it must be, and whether it is. Standard library only."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Status = Literal["PASS", "FAIL", "NOT RUN", "MEASURED"]
"""``MEASURED``: a value for which there is no limit on this device."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A value and its limits."""

    name: str
    value: float | str | None = None
    """None: it was not found out; `note` says why."""
    unit: str = ""
    at_least: float | None = None
    at_most: float | None = None
    note: str = ""
    """How it was measured, or why not."""
    error: str | None = None
    """The exception that ended the check, if one did."""

    @property
    def status(self) -> Status:
        """The verdict."""
        if self.error is not None:
            return "FAIL"
        if self.value is None:
            return "NOT RUN"
        if self.at_least is None and self.at_most is None:
            return "MEASURED"
        assert not isinstance(self.value, str), f"{self.name}: a word has no limits"
        enough = self.at_least is None or self.value >= self.at_least
        inside = self.at_most is None or self.value <= self.at_most
        return "PASS" if enough and inside else "FAIL"  # NaN fails

    @property
    def limit(self) -> str:
        """What the value must be."""
        bounds = (("≥", self.at_least), ("≤", self.at_most))
        return ", ".join(f"{sign} {_number(bound)}" for sign, bound in bounds if bound is not None)

    def text(self) -> str:
        """The line for a person: verdict, name, value, limit, note."""
        value = "" if self.value is None else _number(self.value)
        what = f"{value} {self.unit}".strip() if value else ""
        says = self.note if self.error is None else self.error.strip().splitlines()[-1]
        return f"{self.status:8}  {self.name:44}  {what:>22}  {self.limit:10}  {says}".rstrip()


def _number(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"


def as_json(lines: Iterable[Line], facts: Mapping[str, Any], *, complete: bool) -> str:
    """The contents of ``gpu-check.json``.

    Parameters
    ----------
    facts
        Of the machine and of how it was run.
    complete
        Whether the check has come to its end.
    """
    described = [{"status": line.status, **asdict(line)} for line in lines]
    return json.dumps({**facts, "complete": complete, "lines": described}, indent=1) + "\n"


@dataclass(frozen=True, kw_only=True)
class Floors:
    """What a kind of GPU should reach with ``vit_b_16``, batch 32 and the default flags.

    Predicted from the operations and the bytes of a step; what has been measured stands in `benchmarks/RESULTS.md`.
    """

    scratch: float
    """Images/s in training from scratch."""
    extraction: float
    """Images/s of a frozen backbone."""
    paper_minutes: float
    """Minutes of the paper's nine trials at its numbers of epochs, at most."""


FLOORS = {
    "H100": Floors(scratch=3000, extraction=11_000, paper_minutes=4),
    "H200": Floors(scratch=3400, extraction=12_000, paper_minutes=3.5),
}
"""By a part of the name that torch gives the device."""


def floors_of(device_name: str) -> Floors | None:
    """The floors of a device; None if it has none."""
    return next((floors for part, floors in FLOORS.items() if part in device_name), None)
