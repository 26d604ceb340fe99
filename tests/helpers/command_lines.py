"""A command line through the parser of the program that it names; nothing else of it runs."""

from __future__ import annotations

import runpy
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import pytest
import tyro

from trainable import command_line


class _ParsedError(BaseException):
    """Ends the program once its arguments are parsed."""

    def __init__(self, settings: Any) -> None:
        super().__init__()
        self.settings = settings


def parsed(module: str, arguments: Sequence[str]) -> Any:
    """The settings that ``python -m MODULE ARGUMENTS`` would run with.

    Raises
    ------
    SystemExit
        The program refuses the arguments.
    """
    real_cli, real_parse = tyro.cli, command_line.parse
    nested = False

    def cli(*args: Any, **kwargs: Any) -> Any:
        result = real_cli(*args, **kwargs)
        if nested or kwargs.get("return_unknown_args"):  # more is to come
            return result
        raise _ParsedError(result)

    def parse(*args: Any, **kwargs: Any) -> Any:
        nonlocal nested
        nested = True
        raise _ParsedError(real_parse(*args, **kwargs))

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setattr(tyro, "cli", cli)
        patch.setattr(command_line, "parse", parse)
        patch.setattr(sys, "argv", [module, *arguments])
        warnings.simplefilter("ignore", RuntimeWarning)  # the module may be imported already
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        except _ParsedError as done:
            return done.settings
    raise AssertionError(f"{module} does not parse its arguments")
