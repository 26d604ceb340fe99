"""One version, wherever it is named."""

import itertools
from importlib.metadata import version

import yaml
from helpers import documentation
from helpers.surveys import ROOT

from trainable import __version__


def test_the_citation_has_the_packages_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == __version__


def test_the_newest_entry_of_the_changelog_is_the_packages_version():
    tokens = documentation.tokens(ROOT / "CHANGELOG.md")
    headings = [
        text.content
        for opening, text in itertools.pairwise(tokens)
        if opening.type == "heading_open" and opening.tag == "h2"
    ]
    assert headings[0].startswith(f"[{__version__}]")


def test_the_installed_package_has_it():
    assert version("vit-label-sweep") == __version__
