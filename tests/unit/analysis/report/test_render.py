import re
from dataclasses import replace

import pandas as pd
import pytest
from helpers import synthetic
from helpers.pages import ParsedPage, rendered
from matplotlib.figure import Figure

from analysis.report.figures import ReportFigure
from analysis.report.render import Page, render, write
from analysis.report.section import (
    Bullets,
    Command,
    Facts,
    FigureRow,
    Heading,
    Note,
    Section,
)
from analysis.report.sections import SECTIONS, report
from analysis.report.tables import BEST, ReportTable


@pytest.fixture(scope="module")
def pages(full_html, paper_html):
    return ParsedPage(full_html), ParsedPage(paper_html)


def figure(name):
    return ReportFigure(name=name, title=f"Title {name}", caption=f"Caption {name}",
                        figure=Figure(figsize=(1, 1)))  # fmt: skip


def page(*sections):
    return Page(name="tab", title="Title", subtitle="Subtitle", sections=sections)


def test_every_kind_of_block_is_shown():
    table = ReportTable(
        frame=pd.DataFrame({"name": ["r"], "n": ["7"]}), title="Table", marks={(0, "n"): BEST}
    )
    section = Section(
        id="all",
        title="All blocks",
        headline="The headline",
        blocks=(
            "Paragraph",
            Note(text="Note"),
            Heading(text="Heading"),
            Bullets(items=("Item 1", "Item 2")),
            Facts(items=(("Fact", "Value"),)),
            Command(text="python -m this"),
            table,
            figure("a"),
            FigureRow(figures=(figure("b"), figure("c"))),
        ),
    )
    html = render(page(section))
    text = ParsedPage(html).text
    for words in ("tab", "Title", "Subtitle", "All blocks", "The headline", "Paragraph", "Note",
                  "Heading", "Item 2", "Fact", "Value", "python -m this", "Table", "Caption a",
                  "Caption b", "Caption c"):  # fmt: skip
        assert words in text
    assert '<td class="best">7</td>' in html


def test_a_new_section_is_one_function_and_one_line(full_grid, tmp_path):
    def section(analysis):
        n = len(analysis.results.complete)
        return Section(
            id="mine",
            title="My own section",
            blocks=(f"{n} complete trials.", figure("mine")),
            data={"mine": pd.DataFrame({"n": [n]})},
        )

    write(report(full_grid, sections=(*SECTIONS[:2], section)), tmp_path / "report.html")
    shown = ParsedPage((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert shown.headings[-1] == "My own section"
    assert "24 complete trials." in shown.text
    assert "#mine" in shown.references
    assert (tmp_path / "figures" / "mine.svg").is_file()
    assert (tmp_path / "mine.csv").read_text() == "n\n24\n"


def test_ids_are_unique(full_html, paper_html):
    for html in (full_html, paper_html):
        ids = re.findall(r'id="([^"]*)"', html)
        assert len(ids) > 20
        assert len(set(ids)) == len(ids)


def test_names_are_text_and_neither_markup_nor_mathematics(make_results):
    names = ("<script>alert(1)</script>", "a & b", "“q”", "x|y", "Ba$$in", "^{2}_\\frac{1}{2}")
    shown = rendered(make_results(synthetic.grid((1.0,), (0,)), names=names))
    assert "script" not in shown.tags
    assert all(name in shown.text for name in names)


def test_without_a_complete_trial(make_results):
    cells = synthetic.grid((1.0,), (0,))
    results = make_results(cells, status={cell.id: ("not started", "") for cell in cells})
    page = rendered(replace(results, examples=None))
    assert "No answer yet" in page.text
    assert "Class by class" not in page.headings


def test_headings(pages):
    assert pages[0].headings == [
        "toy: from scratch or pre-trained?",
        "Does a pre-trained Vision Transformer beat training from scratch on these images, "
        "and how many labels does it need?",
        "How many labels are enough?",
        "What would more labels buy?",
        *("The claims of the paper", "Tables", "Figures", "Class by class"),
        "Looking at galaxies",
        *("Data, protocol and scoring", "All trials", "Missing or failed", "Limits"),
        "How to reproduce",
    ]


def test_only_the_papers_grid_is_compared_with_the_paper(pages):
    for words in ("difference, points", "authors' own runs", "The paper's value lies"):
        assert [words in page.text for page in pages] == [False, True]


def test_nothing_is_fetched(pages):
    references = pages[0].references
    assert all(reference.startswith(("data:", "#")) for reference in references)
    assert sum(reference.startswith("data:image/") for reference in references) == 13


def test_same_results_same_page(full_grid, full_html):
    assert render(report(full_grid)) == full_html


def test_no_number_is_nan(pages):
    for page in pages:
        text = page.text.replace("none", "").replace("None:", "")
        assert not re.search(r"\b(nan|None|nat|inf)\b|<NA>", text)


def test_percent_without_a_space(pages):
    for page in pages:
        assert not re.search(r"\d\s%", page.text)


@pytest.mark.parametrize("word", ["cannot be told", "less scratch", "holds", "does not hold"])
def test_standard_terms(pages, word):
    for page in pages:
        assert not re.search(rf"\b{word}\b", page.text)
