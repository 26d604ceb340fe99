"""What all figures have in common: colours, marks, type, and how class names are written.

Colours are the paper's: scratch blue, pre-trained orange, the baseline a red dotted line. Marks
differ too (square, circle), so that nothing rests on colour alone.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import matplotlib
from matplotlib import font_manager
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, MaxNLocator

from analysis import formatting

COLOURS = {"scratch": "#1f6fb4", "pretrained": "#e07b00"}
MARKS = {"scratch": "s", "pretrained": "o"}
INIT_NAMES = {"scratch": "from scratch", "pretrained": "pre-trained"}
BASELINE_STYLE: dict[Any, Any] = {
    "color": "#d00000",
    "linestyle": ":",
    "linewidth": 1.8,
    "zorder": 1,
}
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.labelsize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "savefig.dpi": 160,
    "svg.hashsalt": "analysis",
    "text.parse_math": False,  # a class called "Ba$$in" is text, never mathematics
}
FONT = "DejaVu Sans"
"""Comes with Matplotlib; has Latin, Greek and Cyrillic letters."""
NO_LETTERS = ("cm", "STIXNonUnicode", "STIXSize", "Last Resort", "LastResort", ".LastResort")
"""Beginnings of the names of fonts whose glyphs are not the letters that they stand for: parts of
formulas, and placeholders for any character at all."""


@contextmanager
def applied(texts: Iterable[str] = ()) -> Generator[None, None, None]:
    """The style of all figures, for everything that is drawn inside the ``with`` block.

    Parameters
    ----------
    texts
        What figures will show beside our own words, e.g. class names: letters that `FONT` lacks
        are taken from installed fonts that have them.
    """
    families = font_families(texts) or (FONT,)
    with matplotlib.rc_context({**STYLE, "font.family": list(families)}):
        yield


@dataclass(frozen=True, kw_only=True)
class FigureNames:
    """Class names as figures show them."""

    names: tuple[str, ...]
    """The class names, or the numbers 1, 2, … if no installed font has all of their letters."""
    note: str
    """For the caption: which number is which class. Empty if the names are shown."""


def figure_names(class_names: Sequence[str]) -> FigureNames:
    """How figures call the classes, given the fonts that are installed."""
    names = tuple(map(_one_line, class_names))
    if font_families(names) is not None:
        return FigureNames(names=names, note="")
    numbers = tuple(str(number) for number in range(1, len(names) + 1))
    meanings = (f"{n}: {name}" for n, name in zip(numbers, class_names, strict=True))
    note = "The classes are numbered, as no installed font has all letters of their names"
    return FigureNames(names=numbers, note=f"{note} ({'; '.join(meanings)}).")


def _one_line(name: str) -> str:
    """A name without line breaks, tabs and invisible characters."""
    return " ".join("".join(c for c in name if c.isprintable() or c.isspace()).split())


def font_families(texts: Iterable[str]) -> tuple[str, ...] | None:
    """Installed font families that together have every character of the texts, `FONT` first.

    Returns
    -------
    tuple of str
        For ``font.family``. None if some character is in no installed font.
    """
    missing = frozenset(c for text in texts for c in text if c.isprintable())
    missing = glyphs_missing(font_manager.findfont(FONT), missing)
    families = [FONT]
    for font in sorted(font_manager.fontManager.ttflist, key=_plainest_first):
        if not missing:
            break
        if font.name != FONT and not font.name.startswith(NO_LETTERS):
            still_missing = glyphs_missing(font.fname, missing)
            families += [font.name] if still_missing != missing else []
            missing = still_missing
    return None if missing else tuple(families)


def _plainest_first(font: font_manager.FontEntry) -> tuple[bool, int, str]:
    weight = font.weight
    number = weight if isinstance(weight, int) else font_manager.weight_dict.get(weight, 400)
    return font.style != "normal", abs(number - 400), font.name


@lru_cache(maxsize=4096)
def glyphs_missing(path: str, characters: frozenset[str]) -> frozenset[str]:
    """The characters that a font file has no glyph for."""
    try:
        font = font_manager.get_font(path)
    except (OSError, RuntimeError):  # uninstalled since Matplotlib listed it, or damaged
        return characters
    return frozenset(c for c in characters if font.get_char_index(ord(c)) == 0)


def percent_ticks(axis: Axis, most: int = 10) -> None:
    """Shares in 0–1 as per cent on an axis, at up to `most` round steps."""
    axis.set_major_locator(MaxNLocator(most, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda share, _: formatting.fraction(share)))


def text_width(text: str) -> int:
    """Width of a text in Latin letters; Chinese, Japanese and Korean characters count twice."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
