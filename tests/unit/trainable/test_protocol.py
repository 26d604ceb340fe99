"""The protocols against the text of the paper and the authors' notebooks, value by value."""

from dataclasses import asdict, replace

import pytest

from trainable import protocol
from trainable.errors import SettingsError
from trainable.protocol import (
    AUTHORS,
    DEMO,
    DEMO_FULL,
    MODERN,
    PAPER,
    PAPER_CELLS,
    PROTOCOLS,
    SWITCHED,
    Stopping,
    protocol_named,
)


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
    expected = Stopping(rule="resetting", delta=delta, patience=patience)
    assert AUTHORS.stopping_for(init, fraction) == expected
    assert AUTHORS.max_epochs_for(init, fraction) == max_epochs


def test_the_notebooks_train_more_and_crop():
    assert AUTHORS.scratch == PAPER.scratch
    assert (AUTHORS.pretrained.trained, AUTHORS.pretrained.transform) == (
        "non_encoder",
        "resize_crop",
    )


def test_nine_trials():
    assert len(PAPER_CELLS) == 9
    assert PAPER_CELLS[0] == ("scratch", 1.0)
    assert protocol.IMAGENET_MEAN == (0.485, 0.456, 0.406)
    assert protocol.IMAGENET_STD == (0.229, 0.224, 0.225)


def test_the_modern_protocol_is_alike_for_both_inits_but_for_rates_by_layer():
    """Values of the published recipes; sources are in the protocol's own docstring."""
    assert replace(MODERN.pretrained, layer_decay=1.0) == replace(
        MODERN.scratch, learning_rate=MODERN.pretrained.learning_rate
    )
    assert (MODERN.scratch.layer_decay, MODERN.pretrained.layer_decay) == (1.0, 0.75)
    assert (MODERN.weight_decay, MODERN.label_smoothing, MODERN.mixup) == (0.05, 0.1, 0.8)
    assert (MODERN.schedule, MODERN.warmup * MODERN.max_epochs) == ("cosine", 5)
    assert MODERN.stopping.rule == "none"
    at_1024 = {"scratch": 1e-3, "pretrained": 4e-3}  # DeiT, MAE
    for init, rate in at_1024.items():
        found = MODERN.recipe(init).learning_rate
        assert found == pytest.approx(rate * (MODERN.batch_size / 1024) ** 0.5, rel=0.02)
    assert {MODERN.max_epochs_for(init, 0.5) for init in ("scratch", "pretrained")} == {100}


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
        ("authors", {"trained", "transform", "rule", *DELTA}),
    ],
)
def test_each_protocol_switches_one_thing(name, switched):
    assert differences(PROTOCOLS[name]) == switched


def test_all_four_switches_are_the_authors_protocol():
    trained, transform, rule, delta = SWITCHED
    both = replace(
        delta,
        name="authors",
        pretrained=replace(trained.pretrained, transform=transform.pretrained.transform),
        stopping=replace(delta.stopping, rule=rule.stopping.rule),
        stopping_of_cell=tuple(
            (init, fraction, replace(stopping, rule=rule.stopping.rule))
            for init, fraction, stopping in delta.stopping_of_cell
        ),
    )
    assert both == AUTHORS


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_has_its_name(name):
    assert protocol_named(name) is PROTOCOLS[name]
    assert PROTOCOLS[name].name == name


def test_a_variant_differs_in_what_trains_of_the_pretrained_model():
    variant = protocol_named("authors+probe")
    assert variant == replace(
        AUTHORS, name="authors+probe", pretrained=replace(AUTHORS.pretrained, trained="probe")
    )


def test_the_demo_with_all_layers_has_one_learning_rate_under_both_names():
    assert protocol_named("demo+all") == replace(DEMO_FULL, name="demo+all")
    assert DEMO_FULL.pretrained == replace(DEMO.pretrained, trained="all", learning_rate=5e-4)
    assert protocol_named("demo+full+all").pretrained == DEMO_FULL.pretrained
    assert protocol_named("demo+head") == replace(DEMO, name="demo+head")


@pytest.mark.parametrize("name", ["demo+nothing", "nothing+all", "nothing", "probe"])
def test_an_unknown_protocol_is_refused(name):
    with pytest.raises(SettingsError, match=rf"unknown protocol '{name.replace('+', '.')}'"):
        protocol_named(name)
