"""The project's Markdown pages, by a Markdown parser: code, tables, words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from helpers.surveys import ROOT
from markdown_it import MarkdownIt
from markdown_it.token import Token

PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *ROOT.glob("benchmarks/*.md"),
        *ROOT.glob("trainable/*/*.md"),
    ]
)


def name(page: Path) -> str:
    """What a page is called in a test's id."""
    return str(page.relative_to(ROOT))


def tokens(page: Path) -> list[Token]:
    """The page, parsed."""
    return MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8"))


def code_blocks(page: Path, language: str = "sh") -> list[str]:
    """The fenced code of one language."""
    return [t.content for t in tokens(page) if t.type == "fence" and t.info.strip() == language]


def inline_code(page: Path) -> list[str]:
    """What stands in backticks, tables included."""
    return [
        child.content
        for token in tokens(page)
        for child in token.children or ()
        if child.type == "code_inline"
    ]


def links(page: Path) -> list[str]:
    """Where the page's links lead."""
    return [
        str(child.attrs["href"])
        for token in tokens(page)
        for child in token.children or ()
        if child.type == "link_open"
    ]


def tables(page: Path) -> Iterator[list[list[str]]]:
    """The tables as rows of cells, the head first."""
    rows: list[list[str]] = []
    in_cell = False
    for token in tokens(page):
        if token.type == "table_open":
            rows = []
        elif token.type == "tr_open":
            rows.append([])
        elif token.type in ("th_open", "td_open"):
            in_cell = True
        elif token.type in ("th_close", "td_close"):
            in_cell = False
        elif token.type == "inline" and in_cell:
            rows[-1].append(token.content)
        elif token.type == "table_close":
            yield rows
