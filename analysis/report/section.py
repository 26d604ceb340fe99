"""What a report consists of: sections, each a list of blocks from top to bottom.

A section is one file with one function ``section(analysis) -> Section | None``, listed in the
report's ``SECTIONS``; `analysis.report.render` makes the page. A paragraph is a plain string.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, TypeVar

import pandas as pd

from analysis.plots import style
from analysis.report.figures import ReportFigure
from analysis.report.tables import ReportTable


@dataclass(frozen=True, kw_only=True)
class Note:
    """A paragraph in small type, e.g. how the numbers of a table were found."""

    kind: ClassVar[str] = "note"
    text: str


@dataclass(frozen=True, kw_only=True)
class Heading:
    """A heading inside a section."""

    kind: ClassVar[str] = "heading"
    text: str


@dataclass(frozen=True, kw_only=True)
class Bullets:
    """A list of sentences."""

    kind: ClassVar[str] = "bullets"
    items: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Names and values, e.g. the checksum of the data."""

    kind: ClassVar[str] = "facts"
    items: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command line to copy."""

    kind: ClassVar[str] = "command"
    text: str


@dataclass(frozen=True, kw_only=True)
class FigureRow:
    """Figures side by side, two in a row; below each other on a narrow screen."""

    kind: ClassVar[str] = "row"
    figures: tuple[ReportFigure, ...]


@dataclass(frozen=True, kw_only=True)
class Thumbnail:
    """A small photograph with lines of text below it."""

    data_uri: str
    """For ``<img src>``."""
    lines: tuple[str, ...]
    """The first is its name."""


@dataclass(frozen=True, kw_only=True)
class Thumbnails:
    """Photographs in their order, as many in a row as there is room for."""

    kind: ClassVar[str] = "thumbnails"
    items: tuple[Thumbnail, ...]


Block = (
    str
    | Note
    | Heading
    | Bullets
    | Facts
    | Command
    | ReportTable
    | ReportFigure
    | FigureRow
    | Thumbnails
)
"""A part of a section; a string is a paragraph."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page under a heading of its own."""

    id: str
    """Unique on the page; the anchor of links to the section."""
    title: str
    blocks: tuple[Block, ...] = ()
    """From top to bottom."""
    headline: str = ""
    """One sentence in large type that the section begins with."""
    boxed: bool = False
    """Set off by a coloured box, as the answer that the page begins with."""
    data: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    """File name without suffix → numbers, to be written as CSV beside the page."""

    @property
    def paragraphs(self) -> tuple[str, ...]:
        """The texts of the section, without its headline."""
        return tuple(block for block in self.blocks if isinstance(block, str))

    @property
    def figures(self) -> tuple[ReportFigure, ...]:
        """All figures, those side by side too."""
        found: list[ReportFigure] = []
        for block in self.blocks:
            if isinstance(block, ReportFigure):
                found.append(block)
            elif isinstance(block, FigureRow):
                found += block.figures
        return tuple(found)

    @property
    def tables(self) -> tuple[ReportTable, ...]:
        """All tables."""
        return tuple(block for block in self.blocks if isinstance(block, ReportTable))


A = TypeVar("A")
"""What all sections of a page are made from."""


def build(
    makers: Sequence[Callable[[A], Section | None]],
    analysis: A,
    class_names: Iterable[str] = (),
) -> tuple[Section, ...]:
    """The sections of a page, in the style of all figures.

    Parameters
    ----------
    makers
        One function for each section; None is a section that these results do not allow.
    analysis
        What every function is called with.
    class_names
        Names that figures will show, in whatever script.
    """
    with style.applied(class_names):
        made = [maker(analysis) for maker in makers]
    return tuple(section for section in made if section is not None)
