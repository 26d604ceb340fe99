import pandas as pd
import pytest
from helpers import synthetic
from markdown_it import MarkdownIt

from analysis.report.tables import BEST, ReportTable, to_latex, to_markdown

ODD = ("Ba$$in", "a|b", "x & y", "50% #1", "under_score", "^{2}", "back\\slash", "~tilde~",
       "*bold*", "<script>", "[link](http://a)", "`code`", "_edge_", "&lt;", "线")  # fmt: skip


@pytest.fixture
def small():
    return pd.DataFrame({"trial": ["a_1", "b"], "accuracy %": ["70 ± 1", "−2"]})


def test_markdown(small):
    text = to_markdown(small, "Table 1. A title.", [(0, "trial"), (0, "accuracy %")])
    assert text.startswith("Table 1. A title.\n\n| trial")
    assert "| **a_1** | **70 ± 1**   |" in text


def test_latex(small):
    text = to_latex(small, "Table 1. Shares in %", [(0, "trial"), (0, "accuracy %")])
    assert r"\caption{Shares in \%}" in text
    assert r"\textbf{a\_1} & \textbf{70 $\pm$ 1} \\" in text
    assert r"b & $-$2 \\" in text
    assert r"\toprule" in text


@pytest.mark.parametrize("name", ODD)
def test_a_name_is_text_in_markdown(name):
    """The cell that a reader sees is the name, whatever characters it has."""
    tokens = (
        MarkdownIt("commonmark")
        .enable("table")
        .parse(to_markdown(pd.DataFrame({"class": [name], "n": ["1"]}), ""))
    )
    cells = [token for token in tokens if token.type == "inline"]
    shown = ["".join(part.content for part in cell.children) for cell in cells]
    assert shown == ["class", "n", name, "1"]
    assert {part.type for cell in cells for part in cell.children} <= {"text", "text_special"}


def test_a_name_is_text_in_latex():
    special = r"\ % _ & # $ { } ~ ^"
    (line,) = [
        line
        for line in to_latex(pd.DataFrame({"class": [special]}), "").splitlines()
        if line.endswith(r"\\") and "class" not in line
    ]
    assert line == (
        r"\textbackslash{} \% \_ \& \# \$ \{ \} \textasciitilde{} \textasciicircum{} \\"
    )


def test_only_what_is_marked_best_is_bold_in_files(small):
    table = ReportTable(frame=small, marks={(0, "trial"): BEST, (1, "trial"): "verdict"})
    assert "**a_1**" in table.written(".md")
    assert "**b**" not in table.written(".md")
    assert r"\textbf{a\_1}" in table.written(".tex")


def test_names_of_the_synthetic_classes_are_unchanged():
    frame = pd.DataFrame({"class": list(synthetic.NAMES)})
    assert all(name in to_markdown(frame, "") for name in synthetic.NAMES)
