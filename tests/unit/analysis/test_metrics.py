from dataclasses import replace

import numpy as np
import pytest
from helpers import metric_coverage, simulation
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    f1_score,
    log_loss,
    roc_auc_score,
    top_k_accuracy_score,
)

from analysis.metrics import ACCURACY, COUNTED, SCORER_RESAMPLES, metric_named
from analysis.stats.bootstrap import draw, why_none
from analysis.stats.estimates import accuracy_difference
from trainable.errors import SettingsError

EACH = np.eye(2)
KINDS = np.arange(4)
BY_SCIKIT_LEARN = {
    "balanced_accuracy": lambda y, p: balanced_accuracy_score(y, p.argmax(1)),
    "macro_f1": lambda y, p: f1_score(y, p.argmax(1), average="macro"),
    "neg_log_loss": lambda y, p: -log_loss(y, p, labels=KINDS),
    "roc_auc_ovr": lambda y, p: roc_auc_score(y, p, multi_class="ovr", labels=KINDS),
    "top_k_accuracy": lambda y, p: top_k_accuracy_score(y, p, labels=KINDS),
    "average_precision": lambda y, p: average_precision_score(np.eye(4)[y], p),
}


@pytest.fixture(scope="module")
def trial():
    """Labels (n,) and probabilities (n, 4) of a classifier that is right on some images."""
    random = np.random.default_rng(0)
    labels = random.choice(4, 120, p=[0.5, 0.3, 0.12, 0.08])
    probabilities = random.dirichlet(np.ones(4), 120) + 0.4 * np.eye(4)[labels]
    return labels, (probabilities / probabilities.sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("name", BY_SCIKIT_LEARN)
def test_values_are_those_of_scikit_learn(name, trial):
    labels, probabilities = trial
    double = probabilities / probabilities.astype(float).sum(axis=1, keepdims=True)
    expected = BY_SCIKIT_LEARN[name](labels, double)
    assert metric_named(name, 4).value(labels, probabilities) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", BY_SCIKIT_LEARN)
def test_resamples_are_those_of_a_slow_bootstrap(name, trial):
    labels, probabilities = trial
    double = probabilities / probabilities.astype(float).sum(axis=1, keepdims=True)
    times = np.random.default_rng(1).multinomial(120, np.full(120, 1 / 120), 20)
    slow = [
        BY_SCIKIT_LEARN[name](np.repeat(labels, t), np.repeat(double, t, axis=0)) for t in times
    ]
    fast = metric_named(name, 4).resampled(labels, probabilities, times)
    assert fast == pytest.approx(np.array(slow), abs=1e-6)


def test_a_class_that_a_resample_misses(trial):
    labels, probabilities = trial
    times = (labels != 3).astype(int)[None]
    kept = labels != 3
    found = [(probabilities[labels == kind].argmax(1) == kind).mean() for kind in range(3)]
    counted = COUNTED["balanced_accuracy"].resampled(labels, probabilities, times)
    assert counted == pytest.approx([np.mean(found)])
    assert np.isnan(metric_named("roc_auc_ovr", 4).resampled(labels, probabilities, times)).all()
    assert metric_named("neg_log_loss", 4).value(labels[kept], probabilities[kept]) is None


def test_added_images_count_for_all_classes_in_equal_parts():
    """A perfect classifier of two classes, one image of each, and one wrong image more."""
    labels, one = np.array([0, 1]), np.ones((1, 2), dtype=int)
    right, wrong = np.array([0]), np.array([1])
    for name in ("accuracy", "balanced_accuracy", "macro_f1"):
        value = COUNTED[name].resampled(labels, np.eye(2), one, right=right, wrong=wrong)
        assert value == pytest.approx([2 / 3])


def by(name, cells):
    """The cells compared by another metric."""
    metric = replace(ACCURACY, name="other") if name == "other" else metric_named(name, 2)
    return [
        replace(
            cell,
            metric=metric,
            accuracies=tuple(
                metric.value(cell.predictions.labels[seen], p[seen])
                for p, seen in zip(
                    cell.predictions.probabilities, cell.predictions.seen, strict=True
                )
            ),
        )
        for cell in cells
    ]


@pytest.mark.parametrize("resample", [False, True])
def test_accuracy_by_counts_has_the_draws_of_accuracy(resample):
    """Both ways to resample are one, with added images, and with sets that vary with the seed."""
    random = np.random.default_rng(0)
    cells = simulation.cells(random, (0.7, 0.6), n_val=80, n_seeds=3, resample=resample)
    expected = draw(cells, extra=EACH, resamples=300)
    found = draw(by("other", cells), extra=EACH, resamples=300)
    assert found.means == pytest.approx(expected.means, abs=1e-6)
    assert found.resampled == expected.resampled == resample


def test_intervals_cover_the_truth():
    low, high = simulation.allowed(100)
    covered = [
        metric_coverage.covers(
            np.random.default_rng(number), "balanced_accuracy", n_val=250, n_seeds=3, resamples=300
        )
        for number in range(100)
    ]
    assert low <= np.mean(covered) <= high


def test_mcnemar_is_of_accuracy_alone():
    random = np.random.default_rng(0)
    cells = simulation.cells(random, (0.7, 0.6), n_val=80, n_seeds=1)
    assert accuracy_difference(*cells).p is not None
    single = accuracy_difference(*by("balanced_accuracy", cells))
    assert single.p is None
    assert single.models is not None


def test_what_is_best_in_all_resamples_has_no_interval():
    """Both name every image's class: no resample of the images shows a difference in ROC AUC."""
    labels = np.tile([0, 1], 20)
    cells = by("roc_auc", [_cell(labels, np.eye(2)[labels]), _cell(labels, np.eye(2)[labels])])
    found = accuracy_difference(*cells)
    assert (found.value, found.low, found.models) == (0, None, None)
    assert "the same in all resamples" in found.how
    assert found.in_points().startswith("+0.000 (no interval")


def test_a_scorer_leaves_out_resamples_without_a_class():
    labels = np.array([0] * 30 + [1])
    some = np.random.default_rng(0).dirichlet((1, 1), 31)
    two = by("neg_log_loss", [_cell(labels, some), _cell(labels, 0.5 * some + 0.25)])
    drawn = draw(two)
    assert SCORER_RESAMPLES / 2 < len(drawn.means) < SCORER_RESAMPLES
    assert np.isfinite(drawn.means).all()
    three = np.array([0] * 30 + [1, 2, 3])
    some = np.random.default_rng(0).dirichlet(np.ones(4), 33)
    cell = replace(_cell(three, some), metric=metric_named("neg_log_loss", 4))
    assert draw([cell]) is None
    assert "few images" in why_none([cell])


def _cell(labels, probabilities):
    """A cell of one seed."""
    made = simulation.cell(np.ones((1, len(labels))))
    predictions = replace(made.predictions, labels=labels, probabilities=probabilities[None])
    return replace(made, predictions=predictions)


@pytest.mark.parametrize(
    ("name", "n_classes"),
    [("f1_macro", 4), ("r2", 4), ("roc_auc_ovo", 4), ("roc_auc", 4), ("top_k_accuracy", 2)],
)
def test_what_takes_no_probabilities_and_weights_is_refused(name, n_classes):
    with pytest.raises(SettingsError, match=f"--metric {name} takes no .*expected one of accuracy"):
        metric_named(name, n_classes)


def test_an_unknown_metric_is_refused_with_what_is_possible():
    with pytest.raises(SettingsError, match=r"is unknown; .* macro_f1, .*roc_auc_ovr"):
        metric_named("acuracy", 4)


def test_shares_are_in_points_and_others_plain():
    assert ACCURACY.level(0.695) == "69.5%"
    assert ACCURACY.difference(-0.06) + ACCURACY.unit == "−6.0 points"
    loss = metric_named("neg_log_loss", 4)
    assert loss.level(-0.8421) == "−0.842"
    assert loss.difference(0.06) + loss.unit == "+0.060"
    assert loss.compared(1) == "higher in negative log loss"
