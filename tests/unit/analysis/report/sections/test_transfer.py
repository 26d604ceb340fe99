"""What the other survey gives, as text and tables."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import synthetic

from analysis.report.analysis import Analysis
from analysis.report.render import render
from analysis.report.sections import report, transfer
from analysis.results.schema import CorruptFile
from analysis.results.transfer import FILE, Transfer
from analysis.stats.estimates import wilson
from trainable.class_map import SharedClass

FRACTIONS = (0.1, 0.25, 0.5, 1.0)


def known(confusion=((500, 200), (200, 100))):
    """A network of another survey; as it is given, right on 600 of 1,000 images."""
    return Transfer(
        sweep="there",
        data="other.h5",
        trial="scratch-100-s2",
        arch="vit_tiny",
        n_labels=4321,
        accuracy_there=0.79,
        scored_on="test",
        classes=(
            SharedClass(name="smooth", source=("round", "cigar"), target=("smooth",)),
            SharedClass(name="spiral", source=("spiral",), target=("spiral",)),
        ),
        confusion=confusion,
    )


def section(results, **kw):
    return transfer.section(Analysis(everything=replace(results, transfer=known(**kw))))


@pytest.fixture
def results(make_results):
    return make_results(synthetic.grid(FRACTIONS, n_val=1200))


def test_other_sweeps_have_none(full_grid):
    assert transfer.section(Analysis(everything=full_grid)) is None


def test_numbers_of_a_transfer_by_hand():
    found = known()
    assert (found.n, found.accuracy, found.largest) == (1000, 0.6, 0.7)
    assert found.recalls == pytest.approx([5 / 7, 1 / 3])
    empty = replace(found, confusion=((3, 1), (0, 0)))
    assert np.isnan(empty.recalls[1])


def test_the_answer_is_told(results):
    made = section(results)
    text = made.paragraphs[0]
    interval = wilson(0.6, 1000)
    assert (
        "the network of there (scratch-100-s2: 4,321 labels of other.h5; right on 79.0% of the test "
        f"images there) is right on 60.0% [{100 * interval.low:.1f}, {100 * interval.high:.1f}] of "
        "1,000 test images. Always naming the largest class would be right on 70.0%."
    ) in text
    by_labels, needed, classes = made.tables
    assert by_labels.frame["labels"][0] == "0"
    assert by_labels.frame["vit_tiny (from scratch)"][0] == "–"
    assert by_labels.frame["vit_tiny (pre-trained, last layer)"][0].startswith("60.0% [")
    assert len(by_labels.frame) == 1 + len(FRACTIONS)
    assert set(needed.frame["method"]) == set(by_labels.frame.columns) - {"labels"}
    assert list(classes.frame["classes there"]) == ["round + cigar", "spiral"]
    assert list(classes.frame["found without labels"]) == ["71.4%", "33.3%"]


@pytest.mark.parametrize(
    ("confusion", "said"),
    [
        (((100, 600), (300, 0)), "is as accurate with the fewest labels tested (95% CI: ≤ "),
        (((700, 0), (30, 270)), "is not as accurate at any budget tested (95% CI: > "),
    ],
)
def test_beyond_what_was_tested_nothing_is_said_of_labels(results, confusion, said):
    assert said in section(results, confusion=confusion).paragraphs[0]


def test_a_sweep_without_complete_trials_has_the_network_alone(make_results):
    cells = synthetic.grid((1.0,))
    made = section(make_results(cells, status={cell.id: ("failed", "why") for cell in cells}))
    assert made.paragraphs[0].startswith("Without a label of this survey")
    assert len(made.tables) == 1


def test_the_report_has_it(results):
    page = render(report(replace(results, transfer=known())))
    assert "What does the other survey give?" in page


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    assert Transfer.read(tmp_path) is None
    (tmp_path / FILE).write_text(known().to_json())
    assert Transfer.read(tmp_path) == known()
    for broken in ("{", "{}", known().to_json().replace("confusion", "confused")):
        (tmp_path / FILE).write_text(broken)
        with pytest.raises(CorruptFile, match=r"transfer\.json is corrupt"):
            Transfer.read(tmp_path)
