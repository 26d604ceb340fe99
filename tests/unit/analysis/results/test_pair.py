"""Which architectures a report is about."""

from dataclasses import replace

import pytest
from helpers import synthetic

from analysis.report.analysis import Analysis
from analysis.report.sections import summary
from analysis.results.pair import pair
from trainable.errors import SweepError

FRACTIONS = (0.1, 0.3, 1.0)
LEVELS = {"vit_tiny": 0.0, "other": 0.1, "weak": -0.1}


def accuracies(levels):
    def of(level):
        return lambda init, n_train, seed: synthetic.accuracy_of(init, n_train, seed) + level

    return {arch: of(level) for arch, level in levels.items()}


@pytest.fixture
def make_several(make_results):
    """Three architectures pre-trained, two of them from scratch, too; scored on a test set or not."""

    def make(split="budget", **kw):
        cells = [
            *synthetic.grid(FRACTIONS, n_val=1200),
            *synthetic.grid(FRACTIONS, arch="weak", n_val=1200),
            *synthetic.grid(FRACTIONS, inits=("pretrained",), arch="other", n_val=1200),
        ]
        tested = [replace(cell, n_test=1200) for cell in cells] if split == "budget" else cells
        return make_results(tested, accuracies(LEVELS), split=split, **kw)

    return make


def test_the_best_by_validation_are_compared(make_several):
    results = make_several()
    found = pair(results)
    assert (found.pretrained, found.scratch) == ("other", "vit_tiny")
    assert [c.arch for c in found.among_pretrained] == ["other", "vit_tiny", "weak"]
    assert [c.arch for c in found.among_scratch] == ["vit_tiny", "weak"]
    trials = found.results.complete
    assert set(trials.loc[trials["init"] == "pretrained", "arch"]) == {"other"}
    assert set(trials.loc[trials["init"] == "scratch", "arch"]) == {"vit_tiny"}
    assert len(trials) == len(found.results.trials) == 2 * 3 * len(FRACTIONS)
    assert found.results.manifest.arch == "other"
    assert all(found.results.cell(name) for name in trials["trial"])


def test_test_images_choose_nothing(make_several):
    results = make_several()
    swapped = results.trials.assign(accuracy=1 - results.trials["accuracy"])
    assert pair(replace(results, trials=swapped)).pretrained == "other"


def test_accuracies_of_validation_images_choose_nothing_either(make_several):
    found = pair(make_several(split="fixed"))
    assert (found.pretrained, found.scratch) == ("vit_tiny", "vit_tiny")


def test_architectures_can_be_named(make_several):
    results = make_several()
    found = pair(results, "weak", "weak")
    assert (found.pretrained, found.scratch, found.named) == ("weak", "weak", True)
    with pytest.raises(SweepError, match=r"--baseline other: no scratch trial.*vit_tiny or weak"):
        pair(results, None, "other")
    with pytest.raises(SweepError, match=r"--of resnet: no pretrained trial"):
        pair(results, "resnet")


def test_of_one_architecture_it_is_what_the_first_protocol_prescribes(full_grid):
    found = pair(full_grid)
    main = full_grid.main
    assert found.results.trials["trial"].tolist() == main.trials["trial"].tolist()
    assert [m.cells for m in found.results.manifests] == [m.cells for m in main.manifests]


def test_the_answer_names_both(make_several):
    results = make_several()
    headline = summary.headline(Analysis(everything=results))
    assert "the pre-trained other is" in headline
    assert "training vit_tiny from scratch" in headline
    first = summary.section(Analysis(everything=results)).paragraphs[0]
    assert "the highest accuracy on their validation images" in first
    assert "--baseline" in first
    named = summary.section(Analysis(everything=results, of="weak")).paragraphs[0]
    assert "as asked for" in named
