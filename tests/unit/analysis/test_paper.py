from dataclasses import replace

import pytest
from helpers import synthetic

from analysis import paper
from trainable.protocol import PAPER_CELLS


def test_trials_are_the_papers_cells():
    assert tuple((trial.init, trial.fraction) for trial in paper.TRIALS) == PAPER_CELLS


def test_published_numbers_hang_together():
    """Epochs × seconds is the total, to the minute that table 2 is rounded to (base to 1%)."""
    for trial in paper.TRIALS:
        minutes = trial.epochs * trial.epoch_seconds / 60
        assert minutes == pytest.approx(trial.total_minutes, abs=1, rel=0.01)
    assert sum(trial.total_minutes for trial in paper.TRIALS) == 817


def test_published_finds_by_init_and_fraction():
    assert paper.published("pretrained", 0.95).trial == "ft_vit_95"
    assert paper.published("scratch", 1.0) is paper.BASELINE
    assert paper.published("scratch", 0.5) is None


def test_authors_curves():
    curves = paper.authors_curves()
    assert len(curves) == 249
    assert curves["trial"].nunique() == 9
    assert curves["val_accuracy"].between(0, 1).all()
    best = curves.groupby("trial")["val_accuracy"].max()
    for trial in paper.TRIALS:
        same = abs(best[trial.trial] - trial.accuracy) < 6e-4
        assert same == (trial.trial not in paper.RERUNS)
    assert set(curves.loc[curves["rerun"], "trial"]) == set(paper.RERUNS)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"galaxy10": False}, "the data is mock, not Galaxy10 DECaLS"),
        ({"arch": "vit_tiny"}, "the model is vit_tiny, not vit_b_16"),
        ({"names": ["a", "b"]}, "its classes are other than the paper's 9"),
        ({"protocol": "demo"}, "the protocol is demo, not the paper's"),
    ],
)
def test_why_not_comparable(changes, reason):
    names = [f"class {number}" for number in range(9)]
    settings = {"galaxy10": True, "arch": "vit_b_16", "names": names, "protocol": "paper"}
    made = synthetic.manifest(synthetic.paper_grid(), **settings | changes)
    assert paper.why_not_comparable(made) == reason


def test_augmented_images_and_other_classes_are_not_the_papers():
    names = [f"class {number}" for number in range(9)]
    made = synthetic.manifest(synthetic.paper_grid(), galaxy10=True, arch="vit_b_16", names=names)
    merged = replace(made, data=replace(made.data, dropped=()))
    assert "other than the paper's 9" in paper.why_not_comparable(merged)
    recipe = {"augment": True, "cache_features": False}
    cells = tuple(synthetic.configured(cell, **recipe) for cell in made.cells)
    assert "augmented" in paper.why_not_comparable(replace(made, cells=cells))
