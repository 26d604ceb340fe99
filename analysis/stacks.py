"""The trials that the report looks into: all seeds of the largest fraction, image by image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trainable.protocol import INITS

from .frames import Predictions, Results
from .words import fraction, listed, seeds


@dataclass(frozen=True, kw_only=True)
class Stack:
    """What all seeds of one cell say about the images that any of them is scored on."""

    init: str
    fraction: float
    trials: tuple[str, ...]
    """S trials, one for each seed."""
    rows: np.ndarray
    """(n,) int: row of each image in the data file, ascending."""
    labels: np.ndarray
    """(n,) int: true class."""
    probabilities: np.ndarray
    """(S, n, C) float32; 0 where a seed is not scored on an image."""
    seen: np.ndarray
    """(S, n) bool: the seed is scored on the image. All true where seeds share one split."""

    @property
    def n_seeds(self) -> int:
        """S."""
        return len(self.trials)

    @property
    def predicted(self) -> np.ndarray:
        """(S, n) int: most probable class; -1 where unseen."""
        return np.where(self.seen, self.probabilities.argmax(axis=2), -1)

    @property
    def confidence(self) -> np.ndarray:
        """(S, n) float: probability of the most probable class; 0 where unseen."""
        return self.probabilities.max(axis=2).astype(float)

    @property
    def correct(self) -> np.ndarray:
        """(S, n) bool."""
        return self.predicted == self.labels

    @property
    def label(self) -> str:
        """ "scratch at 100 %, n = 3 seeds"."""
        return f"{self.init} at {fraction(self.fraction)}, {seeds(self.n_seeds)}"


def at_largest(results: Results) -> dict[str, Stack]:
    """Init → its seeds at the largest fraction that both inits have, else at its own largest.

    Only complete trials with stored predictions count; an init without any is left out.
    """
    stored = {
        (row.trial, row.init, row.fraction): results.predictions(row.trial)
        for row in results.complete.itertuples()
    }
    known = {key: found for key, found in stored.items() if found is not None}
    tried = {init: {f for _, i, f in known if i == init} for init in INITS}
    shared = set.intersection(*tried.values())
    return {
        init: _stack(
            init, chosen, {t: p for (t, i, f), p in known.items() if (i, f) == (init, chosen)}
        )
        for init in INITS
        if tried[init]
        for chosen in [max(shared or tried[init])]
    }


def _stack(init: str, fraction: float, stored: dict[str, Predictions]) -> Stack:
    rows, labels = _union(list(stored.values()))
    n_classes = max(p.probabilities.shape[1] for p in stored.values())
    probabilities = np.zeros((len(stored), len(rows), n_classes), np.float32)
    seen = np.zeros((len(stored), len(rows)), bool)
    for seed, own in enumerate(stored.values()):
        places = np.searchsorted(rows, own.rows)
        probabilities[seed, places], seen[seed, places] = own.probabilities, True
    return Stack(
        init=init,
        fraction=fraction,
        trials=tuple(stored),
        rows=rows,
        labels=labels,
        probabilities=probabilities,
        seen=seen,
    )


def _union(stored: Sequence[Predictions]) -> tuple[np.ndarray, np.ndarray]:
    rows, first = np.unique(np.concatenate([p.rows for p in stored]), return_index=True)
    return rows, np.concatenate([p.labels for p in stored])[first]


def described(stacks: dict[str, Stack]) -> str:
    """ "Scratch and pretrained at 100 %, n = 3 seeds", or each for itself where they differ."""
    cells = {stack.label.removeprefix(stack.init) for stack in stacks.values()}
    text = listed(stacks) + cells.pop() if len(cells) == 1 else None
    text = text or listed(stack.label for stack in stacks.values())
    return text[0].upper() + text[1:]


def same_images(stacks: dict[str, Stack]) -> bool:
    """Whether both inits are there, at one fraction and with every seed on the same images."""
    if set(stacks) != set(INITS):
        return False
    a, b = stacks.values()
    return (
        a.fraction == b.fraction
        and np.array_equal(a.rows, b.rows)
        and bool(a.seen.all() and b.seen.all())
    )
