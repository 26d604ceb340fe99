"""The protocols against the text of the paper and the authors' notebooks, value by value."""

import pytest

from trainable import protocol
from trainable.protocol import AS_RUN, PAPER, PAPER_CELLS, Stopping


def test_the_text():
    assert (PAPER.batch_size, PAPER.validation_fraction) == (32, 0.2)
    assert PAPER.scratch.trained == "all"
    assert PAPER.pretrained.trained == "head"
    assert PAPER.scratch.transform == PAPER.pretrained.transform == "resize"
    assert PAPER.scratch.learning_rate == PAPER.pretrained.learning_rate == 1e-4
    for init, fraction in PAPER_CELLS:
        stopping = PAPER.stopping_for(init, fraction)
        assert stopping == Stopping(rule="paper", delta=0.03, patience=3)
        assert PAPER.max_epochs_for(init, fraction) == 100


@pytest.mark.parametrize(
    ("init", "fraction", "delta", "patience", "max_epochs"),
    [
        ("scratch", 1.0, 0.05, 3, 100),
        ("pretrained", 0.4, 1.0, 3, 40),
        ("pretrained", 0.5, 1.0, 3, 100),
        ("pretrained", 0.6, 0.02, 3, 100),
        ("pretrained", 0.7, 0.05, 3, 100),
        ("pretrained", 0.8, 0.02, 2, 100),
        ("pretrained", 0.9, 0.05, 3, 100),
        ("pretrained", 0.95, 0.02, 3, 100),
        ("pretrained", 1.0, 0.05, 3, 100),
    ],
)
def test_the_notebooks(init, fraction, delta, patience, max_epochs):
    expected = Stopping(rule="as_run", delta=delta, patience=patience)
    assert AS_RUN.stopping_for(init, fraction) == expected
    assert AS_RUN.max_epochs_for(init, fraction) == max_epochs


def test_the_notebooks_train_more_and_crop():
    assert AS_RUN.scratch == PAPER.scratch
    assert (AS_RUN.pretrained.trained, AS_RUN.pretrained.transform) == ("as_run", "resize_crop")


def test_nine_trials():
    assert len(PAPER_CELLS) == 9
    assert PAPER_CELLS[0] == ("scratch", 1.0)
    assert protocol.IMAGENET_MEAN == (0.485, 0.456, 0.406)
    assert protocol.IMAGENET_STD == (0.229, 0.224, 0.225)
