import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from analysis.plots import style
from analysis.report.figures import ReportFigure
from analysis.report.section import FigureRow, Note, Section, build
from analysis.report.tables import ReportTable


def figure(name):
    return ReportFigure(name=name, title=name, caption="", figure=Figure())


def test_blocks_by_kind():
    table = ReportTable(frame=pd.DataFrame({"a": ["1"]}))
    section = Section(
        id="x",
        title="X",
        blocks=(
            "One.",
            figure("a"),
            Note(text="small"),
            FigureRow(figures=(figure("b"), figure("c"))),
            table,
            "Two.",
        ),
    )
    assert section.paragraphs == ("One.", "Two.")
    assert [made.name for made in section.figures] == ["a", "b", "c"]
    assert section.tables == (table,)


def test_sections_are_made_in_order_and_in_the_style_of_all_figures():
    seen = []

    def first(facts):
        seen.append((facts, matplotlib.rcParams["axes.grid"]))
        return Section(id="first", title="First")

    made = build((first, lambda _: None, lambda _: Section(id="last", title="Last")), 7)
    assert [section.id for section in made] == ["first", "last"]
    assert seen == [(7, style.STYLE["axes.grid"])]
    assert matplotlib.rcParams["axes.grid"] != style.STYLE["axes.grid"]
