"""What a plain random split lets through from training to validation, and what that is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from analysis.stats.estimates import Estimate, mean_difference
from trainable.config import Settings
from trainable.data.class_selection import Selection
from trainable.data.dataset import Survey
from trainable.data.splits import Partition, partition
from trainable.devices import gpus_behind
from trainable.forward_backward import use_precision
from trainable.prepare import prepare
from trainable.protocol import Init
from trainable.run import TrainingRun


def expected_leaks(n_pairs: int, n: int, n_validation: int) -> float:
    """Pairs that a random split is expected to put on both sides.

    Of n images n_validation are drawn without replacement: a pair is divided with probability
    2 · n_train · n_validation / (n (n − 1)), of its two orders and one side each.
    """
    return n_pairs * 2 * (n - n_validation) * n_validation / (n * (n - 1))


def divided(pairs: np.ndarray, split: Partition) -> np.ndarray:
    """Which pairs of rows (p, 2) have one image on either side; (p,) bool."""
    in_train, in_validation = (np.isin(pairs, rows) for rows in (split.train, split.validation))
    return np.logical_and(in_train.any(1), in_validation.any(1))


def leaked(pairs: np.ndarray, split: Partition) -> np.ndarray:
    """Validation images whose galaxy is among the training images, too: rows, ascending."""
    return np.intersect1d(pairs[divided(pairs, split)], split.validation)


def actual_leaks(
    survey: Survey, selection: Selection, pairs: np.ndarray, seeds: Sequence[int], share: float
) -> pd.DataFrame:
    """Divided pairs in the actual splits of some seeds: ``seed``, ``plain``, ``grouped``.

    Parameters
    ----------
    pairs
        Shape (p, 2), rows of the file.
    share
        Of the validation images.
    """
    rows = []
    for seed in seeds:
        row = {"seed": seed}
        for name, group_sky in (("plain", False), ("grouped", True)):
            split = partition(
                survey,
                selection,
                fraction=1.0,
                split="fixed",
                seed=seed,
                validation_fraction=share,
                group_sky=group_sky,
            )
            row[name] = int(divided(pairs, split).sum())
        rows.append(row)
    return pd.DataFrame(rows)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One trial of the comparison."""

    seed: int
    grouped: bool
    accuracy: float
    n_validation: int
    leaked: int
    """Validation images whose galaxy is among the training images."""
    leaked_correct: int


@dataclass(frozen=True, kw_only=True)
class Worth:
    """How much accuracy the leak is worth."""

    trials: tuple[Trial, ...]

    @property
    def difference(self) -> Estimate:
        """Mean accuracy of the plain splits minus that of the grouped ones."""
        return mean_difference(
            *(
                [t.accuracy for t in self.trials if t.grouped == grouped]
                for grouped in (False, True)
            )
        )

    def share_right(self, of_leaked: bool) -> tuple[int, int]:
        """Right answers and images, over the plain trials: leaked images, or all others."""
        plain = [t for t in self.trials if not t.grouped]
        right, images = sum(t.leaked_correct for t in plain), sum(t.leaked for t in plain)
        if of_leaked:
            return right, images
        all_right = sum(round(t.accuracy * t.n_validation) for t in plain)
        return all_right - right, sum(t.n_validation for t in plain) - images


def trial(settings: Settings, pairs: np.ndarray, init: Init, seed: int, device: str) -> Trial:
    """Train once with `settings`, scored at its best epoch."""
    gpus = gpus_behind(torch.device(device))
    config = prepare(settings, gpus=gpus).training_config(init, 1.0, seed)
    use_precision(config.precision)
    run = TrainingRun(config, device=device)
    while not run.finished:
        run.step_epoch()
    if run.best is None:
        raise RuntimeError("a run that has finished has a best epoch")
    split = run.partition
    correct = run.best["probabilities"].argmax(1).numpy() == split.validation_labels
    of_leaked = np.isin(split.validation, leaked(pairs, split))
    return Trial(
        seed=seed,
        grouped=settings.group_sky,
        accuracy=float(correct.mean()),
        n_validation=len(correct),
        leaked=int(of_leaked.sum()),
        leaked_correct=int((correct & of_leaked).sum()),
    )
