import pytest

from analysis.report.analysis import Analysis
from analysis.report.render import render
from analysis.report.sections import report


@pytest.fixture(scope="session")
def full_analysis(full_grid):
    """What the sections of one report share, of both inits at four fractions with three seeds."""
    return Analysis(everything=full_grid)


@pytest.fixture(scope="session")
def paper_html(paper_grid):
    """The page of a report of the paper's grid, with one seed."""
    return render(report(paper_grid))
