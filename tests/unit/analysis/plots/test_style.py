import warnings
from types import SimpleNamespace

import matplotlib
import pytest
from helpers import synthetic
from helpers.figures import texts
from matplotlib import font_manager
from matplotlib.figure import Figure

from analysis.plots import style
from analysis.report.render import render
from analysis.report.sections import classes, paper_figures, report

MATHEMATICS = ("Ba$$in", "$x$ and $y$", "a_b", "^{2}", "\\frac{1}{2}", "100% #1 & more")
CHINESE = ("旋涡星系", "椭圆星系")


@pytest.fixture
def only_dejavu(monkeypatch):
    """A machine without a font that has Chinese letters."""
    fonts = [f for f in font_manager.fontManager.ttflist if f.name.startswith("DejaVu")]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", fonts)


def drawn(names):
    """A figure whose title is made of names, drawn in the style of all figures."""
    with style.applied(names), warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = Figure()
        figure.subplots().set_title(", ".join(style.figure_names(names).names))
        figure.canvas.draw()
    return figure


@pytest.mark.parametrize("name", MATHEMATICS)
def test_names_are_text_and_never_mathematics(name):
    assert style.figure_names([name]).names == (name,)
    figure = drawn([name])
    assert name in texts(figure)
    (title,) = [text for text in figure.findobj(matplotlib.text.Text) if text.get_text() == name]
    assert not title.get_parse_math()


def test_letters_that_no_font_has_are_numbered(only_dejavu):
    assert style.font_families(CHINESE) is None
    shown = style.figure_names(["spiral", *CHINESE])
    assert shown.names == ("1", "2", "3")
    assert "2: 旋涡星系" in shown.note
    assert "1, 2, 3" in texts(drawn(["spiral", *CHINESE]))


def test_report_without_a_font_says_which_number_is_which(only_dejavu, make_results):
    names = ("spiral", "椭圆 & <b>", "旋涡")
    results = make_results(synthetic.grid((1.0,), (0,)), names=names)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        page = report(results, sections=(paper_figures.section, classes.section))
        html = render(page)
    captions = {f.name: f.caption for section in page.sections for f in section.figures}
    for name in ("figure_2", "figure_3", "class_gains", "confusion_scratch"):
        assert "3: 旋涡" in captions[name]
    assert "2: 椭圆 &amp; &lt;b&gt;" in html
    (gains,) = [f.figure for s in page.sections for f in s.figures if f.name == "class_gains"]
    assert {"1", "2", "3"} == {text.split(" (")[0] for text in texts(gains) if " (" in text}


def test_a_font_that_has_the_letters_is_used(monkeypatch):
    """As if a font for Chinese were installed after one that cannot be opened any more."""
    dejavu = font_manager.findfont(style.FONT)
    missing = {c for name in CHINESE for c in name}

    def get_font(path):
        if path == "gone.ttf":
            raise FileNotFoundError(path)
        lacks = set() if path == "chinese.ttf" else missing
        return SimpleNamespace(get_char_index=lambda code: 0 if chr(code) in lacks else 1)

    entries = [
        SimpleNamespace(name=name, fname=path, style="normal", weight=400)
        for name, path in (("DejaVu Sans", dejavu), ("A", "gone.ttf"), ("Kai", "chinese.ttf"))
    ]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", entries)
    monkeypatch.setattr(font_manager, "get_font", get_font)
    monkeypatch.setattr(font_manager, "findfont", lambda _: dejavu)
    style.glyphs_missing.cache_clear()
    try:
        assert style.font_families(CHINESE) == ("DejaVu Sans", "Kai")
        assert style.figure_names(CHINESE) == style.FigureNames(names=CHINESE, note="")
        with style.applied(CHINESE):
            assert matplotlib.rcParams["font.family"] == ["DejaVu Sans", "Kai"]
    finally:
        style.glyphs_missing.cache_clear()


def test_installed_fonts_complete_each_other():
    """DejaVu Sans has no ℊ; STIX, which comes with Matplotlib too, has one."""
    families = style.font_families(["ℊalaxy"])
    assert families is not None
    assert families[0] == style.FONT
    assert len(families) == 2
    assert "ℊalaxy" in texts(drawn(["ℊalaxy"]))  # without a warning of a missing glyph


def test_line_breaks_and_invisible_characters_are_left_out():
    assert style.figure_names(["a\nb\tc", "x\u200dy"]).names == ("a b c", "xy")


def test_chinese_characters_are_twice_as_wide():
    assert style.text_width("旋涡 a") == 6
