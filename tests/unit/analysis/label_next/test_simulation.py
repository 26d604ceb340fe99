"""Simulations on features that are made up."""

from dataclasses import replace

import numpy as np
import pytest

from analysis.label_next.data import LabelledFeatures
from analysis.label_next.simulation import Simulation, plan_budgets, probe_folds, simulate
from analysis.label_next.simulation_page import finding, numbers, page
from analysis.report.render import render
from trainable.errors import SettingsError


@pytest.fixture(scope="module")
def data():
    """Three classes that overlap, in 6 features; 90 labelled images and 60 test images."""
    random = np.random.default_rng(0)
    labels = np.arange(150) % 3
    features = np.eye(3, 6)[labels] * 2 + random.normal(0, 1, (150, 6))
    features = features.astype(np.float32)
    return LabelledFeatures(
        features=features[:90],
        labels=labels[:90],
        test_features=features[90:],
        test_labels=labels[90:],
        class_names=("a", "b", "c"),
        backbone="made up",
    )


@pytest.fixture(scope="module")
def found(data):
    orders = ("typiclust", "probcover", "margin", "badge")
    return simulate(data, orders, start=2, batch=35, repeats=2, seed=0)


def test_budgets_double_to_the_pool():
    assert plan_budgets(90, 6, None) == (6, 12, 24, 48, 90)
    assert plan_budgets(90, 6, 40) == (6, 46, 86, 90)
    assert plan_budgets(13, 6, None) == (6, 12, 13)
    with pytest.raises(SettingsError, match="12 labelled images beside its test set, and 6 to"):
        plan_budgets(12, 6, None)


def test_all_orders_begin_and_end_with_the_same_labels(found):
    assert found.budgets == (6, 41, 76, 90)
    assert found.correct.shape == (5, 4, 2, 60)
    assert (found.correct[:, 0] == found.correct[0, 0]).all()
    assert (found.correct[:, -1] == found.correct[0, -1, 0]).all()
    assert not (found.correct[1:, 1:-1] == found.correct[0, 1:-1]).all(axis=(1, 2, 3)).any()
    assert found.accuracies[:, -1].min() > 0.6


def test_the_same_again(data, found):
    again = simulate(data, ("margin",), start=2, batch=35, repeats=2, seed=0)
    margin = 1 + found.orders.index("margin")
    np.testing.assert_array_equal(again.correct[0], found.correct[0])
    np.testing.assert_array_equal(again.correct[1], found.correct[margin])
    other = simulate(data, ("margin",), start=2, batch=35, repeats=2, seed=1)
    assert (other.correct != again.correct).any()


def test_a_class_with_too_few_images(data):
    few = replace(data, features=data.features[:31], labels=np.r_[np.zeros(30, int), 1])
    with pytest.raises(SettingsError, match="--start 3: class 'c' has 0 labelled images"):
        simulate(few, ("margin",), start=3, batch=None, repeats=2, seed=0)


def test_folds_are_those_of_a_probe():
    labels = np.repeat([0, 1, 2], [30, 20, 10])
    folds = probe_folds(labels)
    counts = [np.bincount(folds[labels == label], minlength=5).tolist() for label in range(3)]
    assert counts == [[6] * 5, [4] * 5, [2] * 5]
    assert sorted(probe_folds(labels[:40])) == list(range(40))


def made_up(*gains, repeats=20, images=300, seed=0):
    """A simulation in which an order is better or worse than random by so much at each budget."""
    random = np.random.default_rng(seed)
    budgets = (10, *(20 * 2**k for k in range(len(gains))), 1000)
    base = random.random((repeats, 1, images))
    noise = random.random((2, repeats, len(budgets), images))
    rates = np.array([np.full(len(budgets), 0.6), 0.6 + np.array([0, *gains, 0])])
    # two thirds of the images are decided by what they are, whichever order is used
    luck = np.where(random.random(images) < 2 / 3, base, noise)
    correct = np.swapaxes(luck < rates[:, None, :, None], 1, 2)
    correct[1, [0, -1]] = correct[0, [0, -1]]
    return Simulation(
        orders=("typiclust",),
        budgets=budgets,
        correct=correct,
        radius=None,
        start=5,
        seed=0,
        backbone="made up",
    )


def test_gains_and_losses_are_found():
    simulation = made_up(0.1, 0.0, -0.1)
    assert [estimate.sign for estimate in simulation.gains["typiclust"]] == [1, 0, -1]
    gain, loss = finding(simulation)
    more, less = (f"TypiClust is {how} accurate than random" for how in ("more", "less"))
    assert gain.startswith(f"{more} at 1 of 3 budgets, most with 20 labels (+")
    assert loss.startswith(f"{less} at 1 of 3 budgets, most with 80 labels (−")


def test_a_gain_on_average_is_found():
    simulation = made_up(0.05, 0.05, 0.05)
    average = simulation.averages["typiclust"]
    assert average.sign == 1
    mean = np.mean([estimate.value for estimate in simulation.gains["typiclust"]])
    assert average.value == pytest.approx(mean)
    (sentence,) = finding(simulation)
    assert sentence.startswith(
        "TypiClust is more accurate than random on average over the 3 budgets (+"
    )


def test_random_against_random_is_no_gain():
    simulation = made_up(0.0, 0.0, 0.0)
    assert finding(simulation) == (
        "No gain: TypiClust is not significantly more accurate than random at any of the 3 budgets, "
        "or on average over them.",
    )


def test_a_loss_is_said_after_that_there_is_no_gain():
    first, second = finding(made_up(-0.15, 0.0))
    assert first.startswith("No gain: TypiClust is not")
    assert second.startswith("TypiClust is less accurate than random on average over the 2 budgets")
    assert "and at 1 of 2 budgets, most with 20 labels (−" in second


def test_numbers_are_those_of_the_gains(found):
    frame = numbers(found)
    assert len(frame) == 5 * 4
    row = frame[(frame["order"] == "margin") & (frame["labels"] == 76)].iloc[0]
    estimate = found.gains["margin"][1]
    assert (row["gain"], row["low"], row["high"]) == (estimate.value, estimate.low, estimate.high)
    assert row["accuracy"] - row["random"] == pytest.approx(estimate.value)
    ends = frame[frame["labels"].isin([6, 90])]
    assert ends["gain"].isna().all()


def test_page_begins_with_what_was_found(found):
    made = page(found, "made-up", "python -m analysis.label_next --simulate")
    assert made.sections[0].headline == finding(found)[0]
    html = render(made)
    for text in ("ProbCover", "radius", "Hacohen", "2 random starts", "made-up"):
        assert text in html
    gains, needed = made.sections[1].tables
    assert gains.frame["labels"].tolist() == ["41", "76", "mean"]
    assert needed.frame.columns.tolist() == ["labels", "TypiClust", "ProbCover", "margin", "BADGE"]
    assert made.sections[1].figures[0].png.startswith(b"\x89PNG")
