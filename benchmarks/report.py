"""Measures as a table on the terminal and as a section of RESULTS.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.measure import Measure

COLUMNS = ("", "ours, s", "theirs, s", "ratio (range)", "images/s", "TFLOP/s", "limit")
"""Theirs is the paper's loop; limit is the share of the device's matrix rate that ours reach."""
RESULTS = Path(__file__).with_name("RESULTS.md")
NONE = "–"
WIDTH = 110  # columns of characters that all tables fit in


def cells(measure: Measure, rate: float) -> tuple[str, ...]:
    """One row of the table.

    Parameters
    ----------
    rate
        The device's limit, FLOP/s.
    """
    ratio = NONE
    if measure.ratios:
        low, high = min(measure.ratios), max(measure.ratios)
        ratio = f"{median(measure.ratios):,.3g} ({low:,.3g}–{high:,.3g})"
    sustained, share = measure.flops_per_second, measure.share_of(rate)
    return (
        measure.name,
        f"{median(measure.ours):,.2f}",
        f"{median(measure.reference):,.2f}" if measure.reference else NONE,
        ratio,
        f"{measure.images_per_second:,.0f}",
        NONE if sustained is None else f"{sustained / 1e12:,.3g}",
        NONE if share is None else f"{share:.1%}",
    )


def wide_console() -> Console:
    """The terminal; if it is narrow its lines wrap, and no number is cut off."""
    console = Console()
    console.width = max(console.width, WIDTH)
    return console


def terminal_table(rows: Sequence[Sequence[str]], columns: Sequence[str] = COLUMNS) -> Table:
    """For a person at a terminal."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for index, name in enumerate(columns):
        table.add_column(name, justify="right" if index else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def markdown_table(rows: Sequence[Sequence[str]], columns: Sequence[str] = COLUMNS) -> str:
    """For RESULTS.md."""
    rule = ["---", *["---:"] * (len(columns) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (columns, rule, *rows))


def append_section(path: Path, title: str, facts: dict[str, str], tables: Sequence[str]) -> None:
    """Add a section to the end of a Markdown file; what is there stays.

    Parameters
    ----------
    title
        Of the section.
    facts
        How it was measured, one line each.
    tables
        In Markdown.
    """
    lines = "\n".join(f"- {name}: {value}" for name, value in facts.items())
    body = "\n\n".join([f"## {title}", lines, *tables])
    before = path.read_text().rstrip() + "\n\n" if path.exists() else ""
    path.write_text(f"{before}{body}\n")
