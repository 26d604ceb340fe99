"""The documentation builds without a warning, and holds what it promises."""

from __future__ import annotations

import os
import subprocess
import sys
from html.parser import HTMLParser
from urllib.parse import urlsplit

import pandas as pd
import pytest
from helpers import documentation, interval_coverage
from helpers.surveys import ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built site."""
    out = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", out],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return out


class Assets(HTMLParser):
    """Addresses that a browser would fetch to show a page."""

    def __init__(self, text):
        super().__init__()
        self.addresses = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        if tag in ("script", "img", "iframe"):
            self.addresses.append(named.get("src"))
        elif tag == "link" and named.get("rel") != "canonical":
            self.addresses.append(named.get("href"))


def test_no_page_fetches_anything_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    addresses = {a for page in pages for a in Assets(page.read_text()).addresses if a}
    assert addresses
    assert {a for a in addresses if urlsplit(a).netloc} == set()


def test_what_pages_include_is_there(site):
    """The protocols as source text, and tables that commands wrote; no line that includes is left."""
    assert "PAPER_FRACTIONS" in (site / "reproduction.html").read_text()
    for name, column in {
        "statistics": "coverage, %",
        "mock-survey": "balanced accuracy, %",
    }.items():
        assert f"{column}</th>" in (site / f"{name}.html").read_text()
    assert [page.name for page in site.rglob("*.html") if "--8" in page.read_text()] == []


@pytest.mark.parametrize("package", ["trainable", "sweep", "analysis"])
def test_every_module_is_in_the_api_reference(site, package):
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / package).rglob("*.py")
        if path.name != "__init__.py"
    }
    reference = "".join(page.read_text() for page in (site / "reference").iterdir())
    assert {name for name in modules if f'id="{name}"' not in reference} == set()


METHODS = {
    "CLIP ViT-B/16, linear probe": ("clip", "pretrained", "paper+probe"),
    "CLIP ViT-B/16, last two blocks": ("clip", "pretrained", "paper+last_2"),
    "EfficientNet-Lite0 (ImageNet), linear probe": ("lite0", "pretrained", "paper+probe"),
    "small ViT from scratch, the paper's protocol": ("vit_demo", "scratch", "paper+probe"),
    "small ViT from scratch, `--protocol modern`": ("vit_demo", "scratch", "modern"),
}
"""Row of README → what the architecture's name contains, init and protocol of its trials."""


def test_accuracies_of_the_readme_are_those_of_the_trials():
    trials = pd.read_csv(ROOT / "docs" / "galaxy10" / "trials.csv")
    trials = trials[trials["status"] == "complete"]
    (table,) = (t for t in documentation.tables(ROOT / "README.md") if t[0][-1] == "579 labels")
    budgets = [int(name.split()[0]) for name in table[0][1:]]
    assert [row[0] for row in table[1:]] == list(METHODS)
    for name, *shown in table[1:]:
        arch, init, protocol = METHODS[name]
        of_method = trials[
            trials["arch"].str.contains(arch)
            & (trials["init"] == init)
            & (trials["protocol"] == protocol)
        ]
        for budget, cell in zip(budgets, shown, strict=True):
            accuracy = 100 * of_method.loc[of_method["n_labels"] == budget, "accuracy"]
            known = f"{accuracy.mean():.1f} ± {accuracy.std():.1f}" if len(accuracy) else ""
            assert cell.strip("*") == known, (name, budget)


def test_the_tables_of_coverage_are_those_of_the_command(tmp_path):
    """One simulation each: the command works, and its tables have the rows of the published ones."""
    interval_coverage.main(interval_coverage.Simulations(repeats=1, out=tmp_path))
    written = sorted(tmp_path.iterdir())
    assert len(written) == 6
    for path in written:
        (made,) = documentation.tables(path)
        (published,) = documentation.tables(ROOT / "docs" / "statistics" / path.name)
        settings = [
            n for n, name in enumerate(made[0]) if "%" not in name and name != "simulations"
        ]
        assert [[row[n] for n in settings] for row in made] == [
            [row[n] for n in settings] for row in published
        ]
