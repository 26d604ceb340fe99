"""Which galaxies the report shows: mistakes, those that one init alone gets right, and samples."""

from __future__ import annotations

import numpy as np
import pandas as pd

from trainable.protocol import INITS

from .stacks import Stack

SHOWN = 6
"""Galaxies in a row of the gallery."""
QUANTILES = {"clear": 0.9, "middling": 0.5}
"""Which galaxies stand for a class: places in its order by probability of the true class."""


def opinion(stack: Stack) -> pd.DataFrame:
    """What an init says of each image, over its seeds.

    Returns
    -------
    pandas.DataFrame
        Indexed by ``row`` of the data file: ``label``, ``seeds`` that are scored on the image,
        ``right`` (how many of them), ``said`` (what most of them say), ``confidence`` (mean
        probability of ``said`` over those that say it; 0–1), ``mistake`` and
        ``mistake_confidence`` (the same over the seeds that are wrong; -1 and 0 where none is).
    """
    predicted, confidence, seen = stack.predicted, stack.confidence, stack.seen
    said, sure = _most_say(predicted, confidence, seen, stack.probabilities.shape[2])
    wrong = seen & ~stack.correct
    mistake, mistaken = _most_say(predicted, confidence, wrong, stack.probabilities.shape[2])
    return pd.DataFrame(
        {
            "label": stack.labels,
            "seeds": seen.sum(axis=0),
            "right": stack.correct.sum(axis=0),
            "said": said,
            "confidence": sure,
            "mistake": mistake,
            "mistake_confidence": mistaken,
        },
        index=pd.Index(stack.rows, name="row"),
    )


def _most_say(
    predicted: np.ndarray, confidence: np.ndarray, which: np.ndarray, n_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """(n,) what most of the seeds in `which` say, and how surely; -1 and 0 where there is none.

    A tie goes to the class with the higher summed confidence.
    """
    votes = np.zeros((predicted.shape[1], n_classes))
    sums = np.zeros_like(votes)
    for own, sure, counted in zip(predicted, confidence, which, strict=True):
        places = np.flatnonzero(counted), own[counted]
        votes[places] += 1
        sums[places] += sure[counted]
    best = (votes + sums / (len(predicted) + 1)).argmax(axis=1)
    taken = np.arange(len(best)), best
    mean = np.divide(sums[taken], votes[taken], out=np.zeros(len(best)), where=votes[taken] > 0)
    return np.where(which.any(axis=0), best, -1), mean


def confident_mistakes(stack: Stack, n: int = SHOWN) -> pd.DataFrame:
    """The images that most seeds get wrong first, then the surest; rows of `opinion`."""
    found = opinion(stack)
    found["share"] = 1 - found["right"] / found["seeds"]
    found = found[found["share"] > 0]
    return _first(found, ["share", "mistake_confidence"], n)


def only_one_right(stacks: dict[str, Stack], init: str, n: int = SHOWN) -> pd.DataFrame:
    """The images that `init` gets right in more of its seeds than the other init.

    Ranked by the difference of the shares of seeds that are right, then by the confidence of
    `init`.

    Returns
    -------
    pandas.DataFrame
        Indexed by ``row``: ``label``, and the columns of `opinion` with the init's name behind.
    """
    other = next(name for name in INITS if name != init)
    own, theirs = (opinion(stacks[name]) for name in (init, other))
    both = own.add_suffix(f"_{init}").join(theirs.add_suffix(f"_{other}"), how="inner")
    both["label"] = both[f"label_{init}"]
    shares = {i: both[f"right_{i}"] / both[f"seeds_{i}"] for i in (init, other)}
    both["share"] = shares[init] - shares[other]
    return _first(both[both["share"] > 0], ["share", f"confidence_{init}"], n)


def _first(frame: pd.DataFrame, by: list[str], n: int) -> pd.DataFrame:
    ordered = frame.sort_index().sort_values(by, ascending=False, kind="stable")
    return ordered.head(n)


def samples(stacks: dict[str, Stack], n_classes: int) -> pd.DataFrame:
    """Galaxies of each class that stand for it, not the best: by quantile, not by choice.

    Returns
    -------
    pandas.DataFrame
        ``row``, ``label``, ``quantile`` of the mean probability of the true class over both
        inits and all seeds. A class without images, or with one, gives none, or one.
    """
    shared = set.intersection(
        *(set(stack.rows[stack.seen.all(axis=0)]) for stack in stacks.values())
    )
    rows = np.array(sorted(shared), dtype=int)
    sure = np.zeros(len(rows))
    labels = np.zeros(len(rows), dtype=int)
    for stack in stacks.values():
        places = np.searchsorted(stack.rows, rows)
        labels = stack.labels[places]
        sure += stack.probabilities[:, places, labels].mean(axis=0) / len(stacks)
    chosen = []
    for kind in range(n_classes):
        own = np.flatnonzero(labels == kind)
        ranked = own[np.argsort(sure[own], kind="stable")]
        picks = (
            {round(q * (len(ranked) - 1)): q for q in sorted(QUANTILES.values())}
            if len(own)
            else {}
        )
        chosen += [(int(rows[ranked[k]]), kind, q) for k, q in sorted(picks.items(), reverse=True)]
    return pd.DataFrame(chosen, columns=["row", "label", "quantile"])
