"""Command lines made of dataclasses: one group of flags for each base class, one line for each flag.

A command's settings are a flat dataclass that inherits its flags from several groups, so that the
code reads ``settings.data``; on the command line every group has a heading of its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import tyro

T = TypeVar("T")


def parse(
    settings: type[T],
    groups: Mapping[str, type],
    arguments: Sequence[str] | None,
    *,
    prog: str,
    description: str,
    default: T | None = None,
) -> T:
    """Read a command line.

    Parameters
    ----------
    settings
        A frozen, keyword-only dataclass that inherits from every group.
    groups
        Heading → dataclass with the flags under it. Together they have every field of `settings`.
    arguments
        None: those of the process.
    default
        What a flag is if it is not given; by default the dataclass's own defaults.

    Returns
    -------
    settings
        Validated by its ``__post_init__``.

    Raises
    ------
    SystemExit
        ``--help``, or flags that cannot be parsed.
    """
    values = {} if default is None else _fields(default)
    nested = dataclasses.make_dataclass(
        settings.__name__,
        [(heading, group, _field(group, values)) for heading, group in groups.items()],
        frozen=True,
        kw_only=True,
    )
    parsed: Any = tyro.cli(
        nested,
        args=arguments,
        prog=prog,
        description=description,
        config=(tyro.conf.OmitArgPrefixes,),
    )
    flat: dict[str, Any] = {}
    for heading in groups:
        flat |= _fields(getattr(parsed, heading))
    return settings(**flat)


def _field(group: type, values: Mapping[str, Any]) -> Any:
    """A field for a group's flags; without a default if one of them must be given."""
    fields = dataclasses.fields(group)
    given = {field.name: values[field.name] for field in fields if field.name in values}
    required = {
        field.name
        for field in fields
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    if required - given.keys():
        return dataclasses.field()
    return dataclasses.field(default=group(**given))


def _fields(instance: Any) -> dict[str, Any]:
    return {f.name: getattr(instance, f.name) for f in dataclasses.fields(instance)}
