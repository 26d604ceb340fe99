import csv
import re
import sys
import xml.etree.ElementTree as ET
from contextlib import redirect_stdout
from dataclasses import replace
from html.parser import HTMLParser
from io import StringIO

import pytest
import synthetic

from analysis import report
from analysis.page import render
from analysis.report import findings, main, write

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Ray's workers, see test_results
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

FILES = {
    *(f"figures/figure_{n}.{kind}" for n in range(2, 8) for kind in ("png", "svg")),
    *(f"figures/{n}.{k}" for n in ("enough", "class_gains", "reliability") for k in ("png", "svg")),
    *(
        f"figures/confusion_{i}.{k}"
        for i in ("scratch", "pretrained", "difference")
        for k in ("png", "svg")
    ),
    *(f"tables/table_{n}.{kind}" for n in (1, 2) for kind in ("md", "tex")),
    *(f"tables/{n}_saving.{kind}" for n in ("label", "compute") for kind in ("md", "tex")),
    *("report.html", "claims.md", "trials.csv", "epochs.csv"),
}


class Page(HTMLParser):
    """Headings, references and text of a page."""

    def __init__(self, text):
        super().__init__()
        self.headings, self.references, self.words, self.open = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        self.references += [v for k, v in attributes if k in ("src", "href", "action", "data")]

    def handle_data(self, text):
        text = text.replace("\xa0", " ").strip()
        if self.open and self.open[-1] != "style":
            self.words.append(text)
        if self.open and self.open[-1] in ("h1", "h2") and text:
            self.headings.append(text)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))


@pytest.fixture(scope="module")
def ran(sweep_folder):
    """The report of the sweep that Ray Tune ran: its folder, and what was printed."""
    with redirect_stdout(StringIO()) as printed:
        assert main([str(sweep_folder)]) == 0
    return sweep_folder / "report", printed.getvalue()


@pytest.fixture(scope="module")
def written(ran):
    return ran[0]


def page_of(folder):
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def rendered(results, **settings):
    """The page alone, its figures left undrawn."""
    found = findings(results, **settings)
    return Page(render(results, found, {plate.name: "data:," for plate in found.drawn}))


def test_files(written):
    assert {str(p.relative_to(written)) for p in written.rglob("*") if p.is_file()} == FILES


def test_figures_can_be_opened(written):
    for path in written.glob("figures/*.svg"):
        assert ET.parse(path).getroot().tag.endswith("svg")
    for path in written.glob("figures/*.png"):
        assert path.read_bytes().startswith(b"\x89PNG")


def test_page_has_its_sections_and_fetches_nothing(written):
    page = page_of(written)
    assert page.headings == [
        "toy: from scratch or pre-trained?",
        "Does a pre-trained Vision Transformer beat training from scratch on these images, "
        "and how many labels does it need?",
        "How many labels are enough?",
        *("The claims of the paper", "Tables", "Figures", "Class by class"),
        "Looking at galaxies",
        *("Data, protocol and scoring", "All trials", "Missing or failed", "Limits"),
        "How to reproduce",
    ]
    assert all(ref.startswith(("data:", "#")) for ref in page.references)
    assert sum(ref.startswith("data:image/") for ref in page.references) == 12


def test_page_says_what_a_reader_needs(written):
    text = page_of(written).text
    assert "4 of 6 trials complete, n = 1 seed per cell" in text
    assert "RuntimeError: the disk is full (made up)" in text
    assert "2 of the grid's trials are not complete" in text
    assert "not Galaxy10 DECaLS" in text
    assert "python -m sweep.run --preset toy --name toy" in text
    assert "chosen on the very images that it is measured on" in text
    assert synthetic.SHA in text
    assert "0123abc" in text


def test_no_number_is_nan(written):
    for name in ("report.html", "claims.md", "tables/table_1.md", "tables/table_2.tex"):
        text = re.sub(r"base64,[^\"]*", "", (written / name).read_text(encoding="utf-8"))
        assert not re.search(r"\b(nan|none|nat|<na>)\b", Page(text).text.replace("none", ""), re.I)


def test_csv(written):
    with (written / "trials.csv").open(newline="") as file:
        trials = list(csv.DictReader(file))
    with (written / "epochs.csv").open(newline="") as file:
        epochs = list(csv.DictReader(file))
    assert len(trials) == 6
    for trial in trials:
        own = [int(row["epoch"]) for row in epochs if row["trial"] == trial["trial"]]
        assert own == list(range(1, int(trial["epochs"]) + 1))
        if trial["status"] == "complete":
            best = max(float(r["val_accuracy"]) for r in epochs if r["trial"] == trial["trial"])
            assert float(trial["best_val_accuracy"]) == best


def test_printed_answer(ran):
    assert "4 of 6 trials complete" in ran[1]
    assert "with 992 labels" in ran[1].lower()
    assert "table_1.md" in ran[1]


def test_other_place_and_no_authors_curves(sweep_folder, tmp_path, monkeypatch):
    asked = {}
    monkeypatch.setattr(report, "findings", lambda _, **settings: asked.update(settings))
    monkeypatch.setattr(report, "write", lambda *arguments: sys.exit(str(arguments[2])))
    with pytest.raises(SystemExit, match=str(tmp_path)):
        main([str(sweep_folder), "--out", str(tmp_path), "--no-authors-curves"])
    assert asked == {"with_authors": False}


@pytest.mark.parametrize("arguments", [["nothing/here"], []])
def test_not_a_sweep_is_one_line_and_exit_code_2(arguments, capsys):
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1


def test_paper_grid_is_compared(paper_grid):
    text = rendered(paper_grid).text
    assert "difference, points" in text
    assert "authors' own runs" in text
    assert "The paper's value lies" in text
    assert "authors' own runs" not in rendered(paper_grid, with_authors=False).text


def test_subset_first_is_said(make_results):
    results = make_results(synthetic.grid((1.0,), (0,)))
    data = results.manifest["data"] | {"split": "subset-first"}
    text = rendered(replace(results, manifests=(results.manifest | {"data": data},))).text
    assert "The subset is taken first and then split" in text
    assert "one fixed validation set" not in text


def test_resampled_split_is_said(make_results):
    results = make_results(synthetic.grid((1.0,), (0,)))
    data = results.manifest["data"] | {"resample": True}
    text = rendered(replace(results, manifests=(results.manifest | {"data": data},))).text
    assert "Each seed has a split of its own" in text
    assert "one fixed validation set" not in text


def test_report_without_any_complete_trial(make_results, tmp_path):
    cells = synthetic.grid((1.0,), (0,))
    results = make_results(cells, status={cell["id"]: ("not started", "") for cell in cells})
    results = replace(results, examples=None)
    write(results, findings(results), tmp_path)
    page = page_of(tmp_path)
    assert "This sweep cannot tell yet" in page.text
    assert "Class by class" not in page.headings


def test_same_results_same_page(make_results, tmp_path):
    results = make_results(synthetic.grid((1.0,), (0,), inits=("scratch",)))
    pages = []
    for name in ("a", "b"):
        write(results, findings(results), tmp_path / name)
        pages.append((tmp_path / name / "report.html").read_bytes())
    assert pages[0] == pages[1]


def test_class_without_validation_images_has_words(make_results):
    names = [f"class {number}" for number in range(6)]
    results = make_results(synthetic.grid((1.0,), (0,)), names=names)
    data = results.manifest["data"]
    more = {"class_names": [*names, "rare"], "class_counts": [*data["class_counts"], 1]}
    results = replace(results, manifests=(results.manifest | {"data": data | more},))
    assert "no validation image" in rendered(results).text
