import pytest
from helpers import synthetic
from helpers.pages import ParsedPage
from helpers.protocols import a_cell, some_cells

from analysis.report.analysis import Analysis
from analysis.report.render import write
from analysis.report.sections import claims, protocols, report, summary, trials
from analysis.stats.protocols import compared


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    folder = tmp_path_factory.mktemp("protocols")
    return synthetic.results(folder, some_cells(), protocol="paper")


def section(results):
    return protocols.section(Analysis(everything=results))


def test_none_of_one_protocol(full_grid):
    assert section(full_grid) is None


def test_says_what_the_protocols_share(several, make_results):
    assert "The same images, splits and seeds by 3" in section(several).paragraphs[0]
    cells = [a_cell("pretrained", 0.4, 0, "paper"), a_cell("pretrained", 1.0, 0, "authors")]
    apart = make_results(cells, protocol="paper")
    assert "The same images and seeds by 2" in section(apart).paragraphs[0]


def test_figure_leaves_out_cells_in_which_nothing_differs(several):
    frame = compared(several)
    drawn = protocols.protocols_figure(frame, several)
    everywhere = frame[~((frame["init"] == "scratch") & (frame["protocol"] == "authors"))]
    fewer = protocols.protocols_figure(everywhere, several)
    titles = [[ax.get_title() for ax in p.figure.axes if ax.get_visible()] for p in (drawn, fewer)]
    assert titles[1] == [title for title in titles[0] if "scratch" not in title] != titles[0]
    assert "scratch 100%" in fewer.caption
    assert "scratch 100%" not in drawn.caption
    all_the_same = protocols.protocols_figure(everywhere[everywhere["init"] == "scratch"], several)
    assert [ax.get_title() for ax in all_the_same.figure.axes] == ["scratch 100%, 992 labels"]


def test_report_is_about_the_first_protocol_and_lists_the_trials_of_all(several, tmp_path):
    page = report(several, sections=(protocols.section, trials.section))
    written = write(page, tmp_path / "report.html")
    names = {path.name for path in written}
    assert {"protocols.svg", "protocols.png", "protocols.md", "protocols.tex"} <= names
    page = ParsedPage((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "What the protocols change" in page.headings
    assert "9 of 9 trials complete, n = 3 seeds per cell" in page.text
    assert "authors-pretrained-100-s0" in page.text
    lines = (tmp_path / "trials.csv").read_text().splitlines()
    assert len(lines) - 1 == len(several.trials) == 24
    every, first = (Analysis(everything=results) for results in (several, several.only("paper")))
    assert claims.claims(every) == claims.claims(first)
    assert summary.headline(every) == summary.headline(first)
