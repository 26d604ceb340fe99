"""Which backbone needs the fewest labels, as text and tables."""

import re
from dataclasses import replace

import pytest
from helpers import synthetic

from analysis.report.analysis import Analysis
from analysis.report.sections import SECTIONS, backbones, more_labels, protocols, trials

FRACTIONS = (0.1, 0.25, 0.5, 1.0)


def sweep(make_results, *, controls=True, better=2.0, **kw):
    """Two architectures, of which the second needs `better` times fewer labels; both pre-trained."""
    first = synthetic.grid(FRACTIONS, n_val=1200)
    other = synthetic.grid(FRACTIONS, inits=("pretrained",), arch="other", n_val=1200)
    cells = [*first, *other, *(synthetic.control(first) if controls else [])]

    def of_other(init, n_train, seed):
        return synthetic.accuracy_of(init, better * n_train, seed)

    return make_results(cells, {"vit_tiny": synthetic.accuracy_of, "other": of_other}, **kw)


def section(results, **kw):
    return backbones.section(Analysis(everything=results, **kw))


def test_a_sweep_of_one_architecture_has_none(full_grid):
    assert section(full_grid) is None


def test_the_answer_is_told(make_results):
    made = section(sweep(make_results), target=0.65)
    text = made.paragraphs[0]
    assert text.startswith(
        "To be right on 65% of the validation images, other (pre-trained, last layer) needs the "
        "fewest labels: "
    )
    assert "Shown to need more: vit_tiny (pre-trained, last layer), at least 1." in text
    assert "Controls" not in text  # training from scratch is their accuracy here, far below
    assert "about the pre-trained vit_tiny and training from scratch" in made.paragraphs[2]
    needed = made.tables[0].frame
    assert needed["method"][0] == "other (pre-trained, last layer)"
    assert needed["times the fewest"][0] == "1"
    assert set(needed["method"]) == {
        "other (pre-trained, last layer)",
        "vit_tiny (pre-trained, last layer)",
        "vit_tiny (from scratch)",
        "vit_tiny (untrained, linear probe)",
    }
    assert "simultaneous intervals of all 4 methods" in made.tables[0].title
    said = " ".join([needed.to_string(), *made.paragraphs])
    assert not re.search(r"\b(nan|inf|None)\b", said)


def test_accuracies_at_equal_labels_are_compared(make_results):
    made = section(sweep(make_results), target=0.65)
    of, minus = (
        next(t for t in made.tables if t.path == path)
        for path in ("tables/methods", "tables/methods_difference")
    )
    first, *others = of.frame["method"]
    assert list(of.frame.columns[1:]) == [f"{n} labels" for n in (99, 248, 496, 992)]
    assert re.fullmatch(r"\d\d\.\d ± \d\.\d \(3\)", of.frame["99 labels"][0])
    best = of.frame["method"].tolist().index("other (pre-trained, last layer)")
    assert {row for row, _ in of.marks} == {best}
    assert "of other (pre-trained, last layer) minus that of each other method" in minus.title
    assert set(minus.frame["method"]) == {first, *others} - {"other (pre-trained, last layer)"}
    numbers = made.data["methods_at_equal_labels"]
    assert len(numbers) == 4 * 3
    gap = numbers["accuracy"] - numbers["other_accuracy"]
    assert numbers["difference"].to_list() == pytest.approx(gap.to_list())
    assert (numbers["low"] < numbers["difference"]).all()
    assert numbers["level_of_each"].between(0.97, 1).all()  # six pairs
    text = made.paragraphs[1]
    assert text.startswith("With 992 labels, other (pre-trained, last layer) is right on ")
    assert "It is shown to be more accurate than vit_tiny (pre-trained, last layer) +" in text
    assert "; vit_tiny (from scratch) +" in text
    assert "untrained" not in text


def test_methods_that_are_alike_are_not_told_apart(make_results):
    text = section(sweep(make_results, better=1.0, controls=False), target=0.65).paragraphs[0]
    assert "Not shown to need more: " in text
    assert "Shown to need more: vit_tiny (from scratch)" in text


def test_controls_that_need_as_few_labels_are_told(make_results):
    """All methods are equally accurate."""
    cells = synthetic.grid(FRACTIONS)
    results = make_results(
        [*cells, *synthetic.control(cells)],
        lambda init, n, seed: synthetic.accuracy_of("pretrained", n, seed),
    )
    text = section(results, target=0.65).paragraphs[0]
    assert (
        "Controls that are not shown to need more, either: vit_tiny (untrained, linear probe)."
        in text
    )


def test_an_accuracy_that_was_not_asked_for_is_said_to_be_chosen(make_results):
    results = sweep(make_results)
    notes = [block.text for block in section(results).blocks if hasattr(block, "text")]
    assert any("chosen from these results" in note for note in notes)
    notes = [block.text for block in section(results, target=0.65).blocks if hasattr(block, "text")]
    assert not any("chosen from these results" in note for note in notes)


def test_an_accuracy_beyond_all_is_said_to_be(make_results):
    text = section(sweep(make_results), target=0.97).paragraphs[0]
    assert text.endswith("no number of labels tested is enough for any network.")


def test_what_the_architectures_do_not_share(make_results):
    results = sweep(make_results)
    manifest = results.manifest
    first, other = manifest.backbones
    described = replace(
        other, image_size=224, mean=(0.485, 0.456, 0.406), std=(1.0, 1.0, 1.0), library="timm 1.0"
    )
    manifest = replace(manifest, backbones=(first, described))
    table = section(replace(results, manifests=(manifest,)), target=0.65).tables[-1].frame
    row = table.set_index("architecture").loc["other"]
    assert row["input"] == "224 pixels, resize"
    assert (row["mean"], row["s.d."]) == ("0.485, 0.456, 0.406", "1")
    assert row["weights"] == "toy-weights"
    assert table.set_index("architecture").loc["vit_tiny", "mean"] == "–"


def test_it_follows_what_more_labels_would_buy():
    assert SECTIONS.index(backbones.section) == SECTIONS.index(more_labels.section) + 1


def test_all_else_is_about_the_first_architecture(make_results):
    results = sweep(make_results)
    alone = results.of_arch("vit_tiny").only("demo")
    assert results.main.trials.equals(alone.trials)
    assert set(results.main.trials["arch"]) == {"vit_tiny"}
    assert results.protocols == ("demo",)
    assert protocols.section(Analysis(everything=results)) is None
    listed = trials.section(Analysis(everything=results))
    assert set(listed.data["trials"]["arch"]) == {"vit_tiny", "other"}
    assert len(listed.tables[0].frame) == len(results.trials)


@pytest.mark.parametrize("column", ["fraction", "low", "high"])
def test_numbers_are_written_too(make_results, column):
    made = section(sweep(make_results), target=0.65)
    numbers = made.data["labels_needed"]
    known = numbers[numbers["arch"] == "other"]
    assert known[column].between(0.1, 1).all()
    assert numbers["target"].eq(0.65).all()
    assert numbers["control"].sum() == 1
