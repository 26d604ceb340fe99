import numpy as np
import pytest

from analysis import gallery
from analysis.stacks import Stack


def stack(init, labels, said, sure, n_classes=3):
    """A stack from (S, n) answers and confidences; row k is 10·k of the file."""
    said, sure = np.atleast_2d(said), np.atleast_2d(sure).astype(float)
    probabilities = np.repeat(((1 - sure) / (n_classes - 1))[..., None], n_classes, axis=2)
    np.put_along_axis(probabilities, said[..., None], sure[..., None], axis=2)
    return Stack(
        init=init,
        fraction=1.0,
        trials=tuple(f"{init}{k}" for k in range(len(said))),
        rows=10 * np.arange(len(labels)),
        labels=np.array(labels),
        probabilities=probabilities,
        seen=np.ones(said.shape, bool),
    )


LABELS = [0, 0, 1, 1, 2]
SCRATCH = stack(
    "scratch",
    LABELS,
    [[0, 1, 1, 2, 0], [0, 1, 0, 2, 1]],
    [[0.9, 0.6, 0.8, 0.9, 0.5], [0.8, 0.8, 0.9, 0.7, 0.9]],
)
PRETRAINED = stack(
    "pretrained",
    LABELS,
    [[1, 0, 1, 1, 0], [1, 0, 1, 2, 0]],
    [[0.6, 0.7, 0.9, 0.5, 0.8], [0.6, 0.9, 0.9, 0.6, 0.7]],
)
BOTH = {"scratch": SCRATCH, "pretrained": PRETRAINED}


def test_opinion_is_that_of_most_seeds():
    found = gallery.opinion(SCRATCH)
    assert found["right"].tolist() == [2, 0, 1, 0, 0]
    assert found["said"].tolist() == [0, 1, 0, 2, 1]  # two ties go to the surer seed
    assert found["confidence"].tolist() == pytest.approx([0.85, 0.7, 0.9, 0.8, 0.9])
    assert found["mistake"].tolist() == [-1, 1, 0, 2, 1]
    assert found["mistake_confidence"].tolist() == pytest.approx([0, 0.7, 0.9, 0.8, 0.9])


def test_mistakes_of_most_seeds_and_then_the_surest():
    found = gallery.confident_mistakes(SCRATCH)
    assert found.index.tolist() == [40, 30, 10, 20]
    assert gallery.confident_mistakes(SCRATCH, n=1).index.tolist() == [40]


def test_no_mistakes_no_rows():
    perfect = stack("scratch", LABELS, [LABELS], [[0.9] * 5])
    assert gallery.confident_mistakes(perfect).empty


def test_only_one_right_ranks_by_share_then_confidence():
    found = gallery.only_one_right(BOTH, "pretrained")
    assert found.index.tolist() == [10, 20, 30]
    assert found["share"].tolist() == [1, 0.5, 0.5]
    assert found.loc[20, "confidence_pretrained"] > found.loc[30, "confidence_pretrained"]
    assert found.loc[10, ["said_scratch", "said_pretrained"]].tolist() == [1, 0]
    assert gallery.only_one_right(BOTH, "scratch").index.tolist() == [0]


def test_only_images_that_both_are_scored_on():
    fewer = stack("pretrained", LABELS[:2], [[1, 0]], [[0.6, 0.7]])
    found = gallery.only_one_right({"scratch": SCRATCH, "pretrained": fewer}, "pretrained")
    assert found.index.tolist() == [10]


def test_samples_are_quantiles_of_the_true_classs_probability():
    labels = np.repeat([0, 1], [11, 1])
    sure = np.append(np.linspace(0.4, 0.9, 11), 0.8)
    made = {"scratch": stack("scratch", labels, [labels], [sure])}
    found = gallery.samples(made, 3)
    assert found["row"].tolist() == [90, 50, 110]
    assert found["label"].tolist() == [0, 0, 1]
    assert found["quantile"].tolist() == [0.9, 0.5, 0.9]
