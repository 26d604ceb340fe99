"""What each order is worth: labels of a sweep are hidden, and asked for batch after batch.

In each repeat some labelled images of each class, drawn at random, are what one begins with. Each order
then asks for the labels of a batch, a linear probe is fitted to all labels that there are, and it is scored
on the sweep's test set, until the whole pool is labelled. All orders of a repeat begin from the same
images. Random is one of the orders: the others are compared with it, repeat by repeat.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from analysis.label_next.data import LabelledFeatures
from analysis.label_next.orders import WITH_CLASSIFIER, Order, OrderName, Pool
from analysis.progress import Step
from analysis.stats.estimates import LEVEL, Estimate
from analysis.stats.paired import LabelsNeeded, labels_needed, paired_differences, with_average
from trainable.errors import SettingsError
from trainable.probe import LinearProbe, fit_probe
from trainable.protocol import FOLDS, LEAVE_ONE_OUT


@dataclass(frozen=True, kw_only=True, eq=False)
class Simulation:
    """What the probes got right."""

    orders: tuple[OrderName, ...]
    """Those compared with random."""
    budgets: tuple[int, ...]
    """(K,) labels after each batch; the first is what one begins with, the last the pool."""
    correct: NDArray[np.bool_]
    """(1 + O, K, R, T): of random first, then of each order: right with a budget, in a repeat, on a test
    image."""
    radius: float | None
    """ProbCover's, if it was asked."""
    start: int
    """Labelled images of each class that one begins with."""
    seed: int
    backbone: str
    """The features, in words."""

    @property
    def repeats(self) -> int:
        """R."""
        return self.correct.shape[2]

    @property
    def compared(self) -> tuple[int, ...]:
        """Budgets at which orders can differ: all but the first and the last."""
        return self.budgets[1:-1]

    @property
    def accuracies(self) -> NDArray[np.float64]:
        """(1 + O, K, R), 0–1."""
        return self.correct.mean(axis=3)

    @cached_property
    def _differences(self) -> dict[OrderName, list[Estimate]]:
        """Of each order: its differences from random at each of `compared`, and their mean."""
        level = 1 - (1 - LEVEL) / len(self.orders)
        random = with_average(self.correct[0, 1:-1])
        return {
            order: paired_differences(with_average(self.correct[number, 1:-1]), random, level=level)
            for number, order in enumerate(self.orders, start=1)
        }

    @property
    def gains(self) -> dict[OrderName, list[Estimate]]:
        """Of each order: its accuracy minus that of random at each of `compared`.

        With intervals that hold together with those of `averages` over all budgets and orders: over the
        budgets of an order from its joint draws, over the orders by Bonferroni's inequality.
        """
        return {order: found[:-1] for order, found in self._differences.items()}

    @property
    def averages(self) -> dict[OrderName, Estimate]:
        """Of each order: the mean of its `gains`, each budget counting alike."""
        return {order: found[-1] for order, found in self._differences.items()}

    @cached_property
    def random_needs(self) -> dict[OrderName, list[LabelsNeeded]]:
        """Of each order: the labels with which random is as accurate as it is at each of `compared`."""
        return {
            order: labels_needed(self.budgets, self.correct[number], self.correct[0])[1:-1]
            for number, order in enumerate(self.orders, start=1)
        }


def plan_budgets(pool: int, start: int, batch: int | None) -> tuple[int, ...]:
    """Labels after each batch, from `start` to the whole pool.

    Parameters
    ----------
    batch
        Labels of a batch; None: as many as there are already, so that each budget is twice the one before.

    Raises
    ------
    SettingsError
        No budget lies between them.
    """
    budgets = [start]
    while (following := budgets[-1] + (batch or budgets[-1])) < pool:
        budgets.append(following)
    if len(budgets) < 2:
        raise SettingsError(
            f"the sweep has {pool:,} labelled images beside its test set, and {start:,} to begin with leave "
            f"no batch of {batch or start:,} to choose: lower --start or --batch"
        )
    return (*budgets, pool)


def simulate(
    data: LabelledFeatures,
    orders: Sequence[OrderName],
    *,
    start: int,
    batch: int | None,
    repeats: int,
    seed: int,
    progress: Step | None = None,
) -> Simulation:
    """Ask for labels in all orders, again and again.

    Parameters
    ----------
    orders
        To compare with random, which need not be among them.
    start
        Labelled images of each class to begin with, at least 2.
    batch
        As of `plan_budgets`.
    repeats
        At least 2.
    seed
        The same seed gives the same simulation.
    progress
        Called with (orders done, orders in all).

    Raises
    ------
    SettingsError
        A class has fewer than `start` images, or too few are left to choose from.
    """
    n_classes = len(data.class_names)
    counts = np.bincount(data.labels, minlength=n_classes)
    if counts.min() < start:
        smallest = int(counts.argmin())
        raise SettingsError(
            f"--start {start}: class {data.class_names[smallest]!r} has {counts[smallest]} labelled images "
            "beside the test set; use a lower --start"
        )
    budgets = plan_budgets(len(data.labels), start * n_classes, batch)
    pool = Pool(features=data.features, n_classes=n_classes, seed=seed)
    every: list[OrderName] = ["random", *(order for order in orders if order != "random")]
    shape = (len(every), len(budgets), repeats, len(data.test_labels))
    correct = np.zeros(shape, np.bool_)
    correct[:, -1] = _score(data, _fit(data, np.arange(len(data.labels))))
    for repeat in range(repeats):
        begun = _start(data.labels, n_classes, start, np.random.default_rng([seed, repeat]))
        first = _fit(data, begun)
        correct[:, 0, repeat] = _score(data, first)
        for number, name in enumerate(every):
            order = Order(name, pool, _seed(seed, repeat, name))
            known = np.zeros(pool.n, np.bool_)
            known[begun] = True
            probe = first
            for k in range(1, len(budgets) - 1):
                asked = _probabilities(probe, data.features) if name in WITH_CLASSIFIER else None
                known[order.next(known, budgets[k] - budgets[k - 1], asked)] = True
                probe = _fit(data, np.flatnonzero(known))
                correct[number, k, repeat] = _score(data, probe)
            if progress is not None:
                progress(repeat * len(every) + number + 1, repeats * len(every))
    return Simulation(
        orders=tuple(every[1:]),
        budgets=budgets,
        correct=correct,
        radius=pool.distinct[0].radius if "probcover" in every else None,
        start=start,
        seed=seed,
        backbone=data.backbone,
    )


def probe_folds(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Folds (n,) to choose a probe's strength by, each class spread evenly, as the sweep has them.

    Each image is a fold of its own up to `LEAVE_ONE_OUT` images.
    """
    number = len(labels) if len(labels) <= LEAVE_ONE_OUT else FOLDS
    folds = np.empty(len(labels), np.int64)
    folds[np.argsort(labels, kind="stable")] = np.arange(len(labels)) % number
    return folds


def _fit(data: LabelledFeatures, rows: NDArray[np.int64]) -> LinearProbe:
    labels = data.labels[rows]
    return fit_probe(data.features[rows], labels, probe_folds(labels))


def _score(data: LabelledFeatures, probe: LinearProbe) -> NDArray[np.bool_]:
    """(T,): right on each test image."""
    return _logits(probe, data.test_features).argmax(1) == data.test_labels


def _logits(probe: LinearProbe, features: NDArray[np.float32]) -> NDArray[np.float64]:
    return features.astype(np.float64) @ probe.weight.T + probe.bias


def _probabilities(probe: LinearProbe, features: NDArray[np.float32]) -> NDArray[np.float64]:
    from scipy.special import softmax

    return softmax(_logits(probe, features), axis=1)


def _start(
    labels: NDArray[np.int64], n_classes: int, start: int, random: np.random.Generator
) -> NDArray[np.int64]:
    """(C · start,) rows: as many of each class, ascending."""
    chosen = [
        random.permutation(np.flatnonzero(labels == label))[:start] for label in range(n_classes)
    ]
    return np.sort(np.concatenate(chosen))


def _seed(seed: int, repeat: int, order: OrderName) -> int:
    """One for each order of each repeat, whichever orders there are."""
    words = np.random.SeedSequence([seed, repeat, *order.encode()])
    return int(words.generate_state(1)[0])
