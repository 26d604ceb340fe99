"""From sections to a page: one HTML file with everything in it, and its figures and tables beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import jinja2

from analysis.report.section import Section


@dataclass(frozen=True, kw_only=True)
class Page:
    """One report."""

    name: str
    """What the browser's tab says."""
    title: str
    subtitle: str
    """What the report rests on, in one line."""
    sections: tuple[Section, ...]


def render(page: Page) -> str:
    """The page as HTML that fetches nothing; every text in it is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__ or "analysis.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("page.html").render(page=page)


def write(page: Page, path: Path) -> list[Path]:
    """Write a page and what belongs to it.

    Parameters
    ----------
    path
        Of the page. Figures go to ``figures/`` beside it, as SVG and PNG, tables to where they
        say, numbers to ``*.csv``.

    Returns
    -------
    list of pathlib.Path
        The files written, the page first.
    """
    contents: dict[Path, str | bytes] = {path: render(page)}
    for section in page.sections:
        for figure in section.figures:
            contents[path.parent / "figures" / f"{figure.name}.svg"] = figure.svg
            contents[path.parent / "figures" / f"{figure.name}.png"] = figure.png
        for table in section.tables:
            for suffix in table.suffixes if table.path else ():
                contents[path.parent / f"{table.path}{suffix}"] = table.written(suffix)
        for name, frame in section.data.items():
            contents[path.parent / f"{name}.csv"] = frame.to_csv(index=False)
    for file, content in contents.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(contents)
