from dataclasses import replace

import pytest
from helpers import synthetic
from helpers.figures import overlaps, texts

from analysis.report.analysis import Analysis
from analysis.report.sections import paper_figures

ALL = ["figure_2", "figure_3", "figure_4", "figure_5", "figure_6", "figure_7"]


def by_name(analysis):
    return {figure.name: figure for figure in paper_figures.section(analysis).figures}


def figures(results, **settings):
    return by_name(Analysis(everything=results, **settings))


@pytest.fixture(scope="module")
def of_the_paper(paper_grid):
    return figures(paper_grid)


@pytest.fixture(scope="module")
def of_other_data(full_analysis):
    return by_name(full_analysis)


def test_full_grid_of_other_data(of_other_data):
    assert list(of_other_data) == ALL
    assert "authors" not in " ".join(figure.caption for figure in of_other_data.values())


def test_paper_grid_has_the_authors_curves(of_the_paper, paper_grid):
    assert list(of_the_paper) == ALL
    assert "ft_vit_95 and ft_vit_100 are later re-runs" in of_the_paper["figure_5"].caption
    assert len(of_the_paper["figure_5"].figure.axes) == 2
    without = figures(paper_grid, with_authors=False)
    assert "authors" not in " ".join(figure.caption for figure in without.values())


def test_without_a_complete_trial(make_results):
    cells = synthetic.grid((1.0,), (0,))
    results = make_results(cells, status={cell.id: ("not started", "") for cell in cells})
    assert list(figures(results)) == ["figure_2", "figure_3"]
    assert list(figures(replace(results, examples=None))) == ["figure_3"]


def test_classes_left_out_are_counted(of_other_data):
    assert "cigar (left out)" in texts(of_other_data["figure_3"].figure)


def test_no_texts_overlap(of_the_paper, of_other_data):
    for made in (of_the_paper, of_other_data):
        for figure in made.values():
            assert not overlaps(figure.figure), figure.name
