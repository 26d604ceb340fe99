"""The protocols against the text of the paper and the authors' notebooks, value by value."""

from dataclasses import asdict, replace

import pytest

from trainable import protocol
from trainable.protocol import AS_RUN, PAPER, PAPER_CELLS, PROTOCOLS, SWITCHED, Stopping


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


def differences(protocol):
    """What the protocol's runs of the paper's cells have otherwise than the paper's text."""
    found = set()
    for init, fraction in PAPER_CELLS:
        for mine, text in zip(
            *((p.recipe(init), p.stopping_for(init, fraction)) for p in (protocol, PAPER)),
            strict=True,
        ):
            changed = asdict(mine).items() - asdict(text).items()
            found |= {name for name, _ in changed}
        if protocol.max_epochs_for(init, fraction) != PAPER.max_epochs_for(init, fraction):
            found.add("max_epochs")
    same = ("batch_size", "weight_decay", "validation_fraction")
    assert all(getattr(protocol, name) == getattr(PAPER, name) for name in same)
    return found


DELTA = {"delta", "patience", "max_epochs"}


@pytest.mark.parametrize(
    ("name", "switched"),
    [
        ("paper", set()),
        ("paper+trained", {"trained"}),
        ("paper+transform", {"transform"}),
        ("paper+rule", {"rule"}),
        ("paper+delta", DELTA),
        ("as_run", {"trained", "transform", "rule", *DELTA}),
    ],
)
def test_each_protocol_switches_one_thing(name, switched):
    assert differences(PROTOCOLS[name]) == switched


def test_all_four_switches_are_as_run():
    trained, transform, rule, delta = SWITCHED
    both = replace(
        delta,
        name="as_run",
        pretrained=replace(trained.pretrained, transform=transform.pretrained.transform),
        stopping=replace(delta.stopping, rule=rule.stopping.rule),
        stopping_of_cell=tuple(
            (init, fraction, replace(stopping, rule=rule.stopping.rule))
            for init, fraction, stopping in delta.stopping_of_cell
        ),
    )
    assert both == AS_RUN
