"""What ``mkdocs build`` adds to the pages in this folder.

Pages that are files elsewhere in the repository (README, contributing guide, changelog …), the API
reference, one page a package, and links: a page links to a file of the repository as a code host
wants it, and on the site that becomes a link to the page, or to the module in the API reference.
"""

from __future__ import annotations

import logging
import posixpath
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from xml.etree.ElementTree import Element

from markdown import Markdown
from markdown.extensions import Extension
from markdown.treeprocessors import Treeprocessor
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
COPIES = {
    "index.md": "README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "benchmarks.md": "benchmarks/RESULTS.md",
    "weights.md": "trainable/weights_shipped/README.md",
}
"""Page of the site → file of the repository that it shows."""
PACKAGES = ("trainable", "sweep", "analysis")

log = logging.getLogger("mkdocs.site_hooks")  # --strict counts warnings below "mkdocs"


def modules() -> dict[str, list[str]]:
    """Each package with the names of the modules that lie in it directly."""
    found: dict[str, list[str]] = {}
    for top in PACKAGES:
        for path in sorted((ROOT / top).rglob("*.py")):
            if any(part.startswith((".", "__pycache__")) for part in path.parts[len(ROOT.parts) :]):
                continue
            package = ".".join(path.parent.relative_to(ROOT).parts)
            name = package if path.stem == "__init__" else f"{package}.{path.stem}"
            found.setdefault(package, []).append(name)
    return {package: found[package] for package in sorted(found)}


def reference(package: str, names: list[str]) -> str:
    """The page of one package: what it is for, then each module."""
    lines = [f"# {package}", ""]
    for name in sorted(names, key=lambda name: (name != package, name)):
        options = "\n    options:\n      show_root_heading: false" if name == package else ""
        lines += [f"::: {name}{options}", ""]
    return "\n".join(lines)


class _Links(Treeprocessor):
    """Rewrites links to files of the repository; `page` and `source` are set for each page."""

    page = "index.md"
    source = "README.md"
    places: dict[str, str]
    """File or folder of the repository → page of the site, with an anchor for a module."""

    def run(self, root: Element) -> None:
        for element in root.iter():
            attribute = {"a": "href", "img": "src"}.get(element.tag)
            if attribute and element.get(attribute):
                self.rewrite(element, attribute)

    def rewrite(self, element: Element, attribute: str) -> None:
        url = urlsplit(element.attrib[attribute])
        if url.scheme or url.netloc or not url.path:
            return
        folder = posixpath.dirname(self.source)
        path = posixpath.normpath(posixpath.join(folder, unquote(url.path)))
        if place := self.places.get(path):
            target, _, anchor = place.partition("#")
            target = posixpath.relpath(target, posixpath.dirname(self.page) or ".")
            anchor = url.fragment or anchor
            element.set(attribute, f"{target}#{anchor}" if anchor else target)
        elif not (ROOT / path).exists():
            log.warning("%s links to %s, which does not exist", self.source, url.path)
        else:  # a file that the site does not show: its name stays, without a link
            element.tag = "span"
            del element.attrib[attribute]


class _LinksExtension(Extension):
    def __init__(self) -> None:
        super().__init__()
        self.links = _Links()

    def extendMarkdown(self, md: Markdown) -> None:
        md.treeprocessors.register(self.links, "repository_links", 5)  # before MkDocs looks at them


_extension = _LinksExtension()


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Have every page's links rewritten."""
    config.markdown_extensions.append(_extension)  # type: ignore[arg-type]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the copied pages and the API reference."""
    places: dict[str, str] = {}
    for file in files:
        places[f"docs/{file.src_uri}"] = file.src_uri
        if file.name == "index":
            places[posixpath.normpath(f"docs/{posixpath.dirname(file.src_uri)}")] = file.src_uri
    for page, source in COPIES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text()))
        places[source] = page
    pages: list[Any] = []
    for package, names in modules().items():
        page = f"reference/{package}.md"
        files.append(File.generated(config, page, content=reference(package, names)))
        pages.append({package: page})
        places |= {
            f"{name.replace('.', '/')}{end}": f"{page}#{name}"
            for name in names
            for end in (".py", "/__init__.py", "")
            if (ROOT / f"{name.replace('.', '/')}{end}").exists()
        }
    assert config.nav is not None
    next(part for part in config.nav if "API reference" in part)["API reference"] = pages
    _extension.links.places = places
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Note which file the links of this page are relative to."""
    _extension.links.page = page.file.src_uri
    _extension.links.source = COPIES.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    return markdown
