import csv
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from contextlib import redirect_stdout
from io import StringIO

import pytest
from helpers import synthetic
from helpers.pages import ParsedPage
from helpers.surveys import ROOT

from analysis.report.__main__ import main

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Ray's workers, see test_results
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

FILES = {
    *(f"figures/figure_{n}.{kind}" for n in range(2, 8) for kind in ("png", "svg")),
    *(
        f"figures/{n}.{k}"
        for n in ("learning_curve", "class_gains", "reliability")
        for k in ("png", "svg")
    ),
    *(
        f"figures/confusion_{i}.{k}"
        for i in ("scratch", "pretrained", "difference")
        for k in ("png", "svg")
    ),
    *(f"tables/table_{n}.{kind}" for n in (1, 2) for kind in ("md", "tex")),
    *(f"tables/{n}_saving.{kind}" for n in ("label", "compute") for kind in ("md", "tex")),
    *("report.html", "claims.md", "trials.csv", "epochs.csv"),
}


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
    return ParsedPage((folder / "report.html").read_text(encoding="utf-8"))


def test_files(written):
    assert {str(p.relative_to(written)) for p in written.rglob("*") if p.is_file()} == FILES


def test_figures_can_be_opened(written):
    for path in written.glob("figures/*.svg"):
        assert ET.parse(path).getroot().tag.endswith("svg")
    for path in written.glob("figures/*.png"):
        assert path.read_bytes().startswith(b"\x89PNG")


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
        assert not re.search(
            r"\b(nan|none|nat|<na>)\b", ParsedPage(text).text.replace("none", ""), re.I
        )


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


def test_another_folder(sweep_folder, tmp_path, capsys):
    assert main([str(sweep_folder), "--out", str(tmp_path / "here"), "--no-authors-curves"]) == 0
    assert (tmp_path / "here" / "report.html").is_file()
    assert str(tmp_path / "here" / "report.html") in capsys.readouterr().out


COMMANDS = ("analysis.report", "analysis.survey", "analysis.mock_vs_real")


@pytest.mark.parametrize("module", COMMANDS)
def test_help_imports_neither_torch_nor_ray(module):
    script = (
        "import sys\n"
        f"from {module}.__main__ import main\n"
        "try:\n"
        "    main(['--help'])\n"
        "except SystemExit as end:\n"
        "    assert end.code == 0\n"
        "heavy = {'torch', 'ray', 'matplotlib', 'pandas', 'scipy'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert process.returncode == 0, process.stderr
    assert f"python -m {module}" in process.stdout


def test_a_sweep_and_its_report(tmp_path, capsys):
    synthetic.sweep(tmp_path / "toy", synthetic.grid((0.5, 1.0), (0,)))
    assert main([str(tmp_path / "toy")]) == 0
    page = ParsedPage((tmp_path / "toy" / "report" / "report.html").read_text(encoding="utf-8"))
    printed = capsys.readouterr().out
    assert "4 of 4 trials complete" in printed
    headline = printed.splitlines()[1]
    assert headline in page.text
    assert "992 labels" in headline
