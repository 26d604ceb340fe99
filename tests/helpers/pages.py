"""A report's page, parsed."""

import re
from html.parser import HTMLParser

from analysis.report.render import render
from analysis.report.sections import report


class ParsedPage(HTMLParser):
    """Headings, references, captions and text of a page."""

    def __init__(self, text):
        super().__init__()
        self.headings, self.references, self.captions, self.words = [], [], [], []
        self.tags, self.open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        self.tags.append(tag)
        self.references += [v for k, v in attributes if k in ("src", "href", "action", "data")]
        if tag == "figcaption":
            self.captions.append("")

    def handle_endtag(self, tag):
        if tag in self.open:
            del self.open[len(self.open) - 1 - self.open[::-1].index(tag) :]

    def handle_data(self, text):
        text = text.replace("\xa0", " ")
        if "style" not in self.open:
            self.words.append(text)
        if "figcaption" in self.open:
            self.captions[-1] += text
        if self.open and self.open[-1] in ("h1", "h2") and text.strip():
            self.headings.append(text.strip())

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))


def rendered(results, **settings):
    """The page of a sweep's report."""
    return ParsedPage(render(report(results, **settings)))
