"""A figure of a report, with its caption, and what it is written as."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from typing import ClassVar

import matplotlib
from matplotlib.figure import Figure

from analysis.plots.style import STYLE


@dataclass(frozen=True, kw_only=True, eq=False)
class ReportFigure:
    """One figure of a report."""

    kind: ClassVar[str] = "figure"
    name: str
    """File name without suffix, and the figure's anchor on the page."""
    title: str
    caption: str
    figure: Figure
    dots_per_inch: int | None = None
    """Of photographs, which go into the page as pixels. None: the page has vectors."""

    @cached_property
    def png(self) -> bytes:
        """The figure as pixels."""
        return self._drawn("png")

    @cached_property
    def svg(self) -> bytes:
        """The figure as vectors; the same bytes whenever it is drawn."""
        return self._drawn("svg")

    @property
    def data_uri(self) -> str:
        """The figure as the page shows it, for ``<img src>``."""
        if self.dots_per_inch is None:
            content, mime = self.svg, "image/svg+xml"
        else:
            content, mime = self.png, "image/png"
        return f"data:{mime};base64,{base64.b64encode(content).decode()}"

    def _drawn(self, form: str) -> bytes:
        buffer = BytesIO()
        with matplotlib.rc_context(STYLE):
            self.figure.savefig(
                buffer,
                format=form,
                dpi=self.dots_per_inch or STYLE["savefig.dpi"],
                metadata={"Date": None} if form == "svg" else None,
            )
        self.figure.set_layout_engine("none")  # laid out once, for all forms
        return buffer.getvalue()
