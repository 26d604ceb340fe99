"""A table of a report, as frame of text, and as Markdown and LaTeX.

Cells are text, never markup: whatever has a meaning in Markdown or LaTeX is escaped here, once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import pandas as pd

BEST = "best"
"""Mark of a cell in bold type."""

MARKDOWN = re.compile(r"[\\`*|$~]|<(?=[A-Za-z/!?])|&(?=#?\w+;)|\](?=[(\[])|^#|(?<!\w)_|_(?!\w)")
"""Characters where they have a meaning in Markdown; an underscore inside a word has none."""
LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "%": r"\%",
        "_": r"\_",
        "&": r"\&",
        "#": r"\#",
        "$": r"\$",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "−": "$-$",
        "±": r"$\pm$",
        "–": "--",
        "δ": r"$\delta$",
        "≤": r"$\leq$",
    }
)


@dataclass(frozen=True, kw_only=True, eq=False)
class ReportTable:
    """One table of a report."""

    kind: ClassVar[str] = "table"
    frame: pd.DataFrame
    """Text in every cell."""
    title: str = ""
    """Stands above the table."""
    path: str | None = None
    """Where it is written beside the page, without suffix, e.g. ``tables/table_1``. None: it is on
    the page alone."""
    suffixes: tuple[str, ...] = (".md", ".tex")
    """What it is written as: Markdown, LaTeX or both."""
    numbers: bool = True
    """All columns but the first hold numbers, aligned on the right."""
    marks: Mapping[tuple[int, str], str] = field(default_factory=dict)
    """Row and column → class of the cell in the page's style sheet; `BEST` is bold everywhere."""

    def written(self, suffix: str) -> str:
        """The text of the table's file with one of the `suffixes`."""
        best = [place for place, mark in self.marks.items() if mark == BEST]
        form = {".md": to_markdown, ".tex": to_latex}[suffix]
        return form(self.frame, self.title, best)


def to_markdown(table: pd.DataFrame, title: str, bold: Iterable[tuple[int, str]] = ()) -> str:
    """A Markdown table under its title.

    Parameters
    ----------
    table
        Text in every cell.
    bold
        Row and column of the cells in bold type.
    """
    marked = table.map(_markdown).rename(columns=_markdown)
    _embolden(marked, table, bold, "**{}**")
    return f"{title}\n\n{marked.to_markdown(index=False, disable_numparse=True)}\n"


def to_latex(table: pd.DataFrame, title: str, bold: Iterable[tuple[int, str]] = ()) -> str:
    """A LaTeX table (package booktabs) with its caption; parameters as of `to_markdown`."""
    marked = table.map(_latex).rename(columns=_latex)
    _embolden(marked, table, bold, r"\textbf{{{}}}")
    caption = _latex(title).removeprefix("Table ").lstrip("0123456789. ")  # LaTeX numbers them
    return marked.to_latex(index=False, escape=False, caption=caption, position="htbp")


def _embolden(
    marked: pd.DataFrame, table: pd.DataFrame, cells: Iterable[tuple[int, str]], form: str
) -> None:
    for row, column in cells:
        place = row, table.columns.get_loc(column)
        marked.iloc[place] = form.format(marked.iloc[place])


def _markdown(text: str) -> str:
    return MARKDOWN.sub(lambda found: f"\\{found[0]}", text.replace("\n", " "))


def _latex(text: str) -> str:
    return text.replace("\n", " ").translate(LATEX)
