"""A bar for each thing that takes long, below each other."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

Step = Callable[[int, int], None]
"""Called with what is done and how much there is."""
Show = Callable[[str], Step]
"""Called with the name of what is done; starts its bar."""


@contextmanager
def bars(console: Console) -> Generator[Show]:
    """Bars on a terminal, nothing elsewhere."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(
        *columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal
    ) as progress:

        def show(what: str) -> Step:
            task = progress.add_task(what, total=None)
            return lambda done, total: progress.update(task, completed=done, total=total)

        yield show
