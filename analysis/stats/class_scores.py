"""Class by class: recall and F1 of both inits, and what pre-training changes in each class.

Recall is TP / true and F1 is 2 TP / (true + predicted), both sums over images; so both are a mean
over images whose interval follows from the images, and both are averaged over seeds.

An interval has two parts, added in quadrature:

- the images: percentile bootstrap of the mean over seeds, each class resampled for itself
  (the splits are stratified) with one more image that only one init gets right each way, so that
  few images do not look like certainty (after Agresti & Min 2005);
- the seeds: Student's interval of the seeds' mean, from the variance between seeds minus what the
  images already explain of it (the interaction of a two-way random-effects analysis, on
  linearised ratios), pooled over the inits.

A bootstrap that resamples the seeds too is too sure of itself with few of them: simulated with
two, it covers as little as 77%.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis import formatting
from analysis.results.schema import Results, records
from analysis.stats.bootstrap import RESAMPLES
from analysis.stats.estimates import LEVEL, student_half_width, wilson
from analysis.stats.seed_predictions import SeedPredictions, at_largest, described, same_images
from trainable.protocol import INITS

NO_IMAGE = "no image"

Labels = NDArray[np.integer[Any]]


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """One score of one class and init: sums of `over` divided by sums of `under`, by seed."""

    over: NDArray[np.float64]
    """(S, n) float, numerator of each image."""
    under: NDArray[np.float64]
    """(S, n) float, denominator of each image."""
    complete: bool = True
    """Every seed is scored on every image, so that seeds and images cross."""

    @property
    def by_seed(self) -> NDArray[np.float64]:
        """(S,) the score of each seed."""
        return self.over.sum(axis=1) / self.under.sum(axis=1)

    @property
    def value(self) -> float:
        """Mean over seeds."""
        return float(self.by_seed.mean())

    def seed_variance(self) -> float:
        """Variance between seeds beyond what their images explain; needs two seeds."""
        seeds, n = self.over.shape
        between = float(self.by_seed.var(ddof=1))
        if not self.complete or n < 2:
            return between
        linear = (self.over - self.by_seed[:, None] * self.under) / self.under.mean()  # (S, n)
        rest = linear - linear.mean(axis=0)
        interaction = (rest**2).sum() / ((n - 1) * (seeds - 1))
        return max(0.0, between - interaction / n)


def recall(labels: Labels, predicted: Labels, kind: int) -> Ratio:
    """Share of the images of class `kind` that each seed finds.

    Parameters
    ----------
    labels, predicted
        (n,) and (S, n) int; `predicted` is -1 if a seed is not scored on an image.
    """
    seen = predicted >= 0
    true = (labels == kind) & seen
    return Ratio(
        over=(true & (predicted == kind)).astype(float),
        under=true.astype(float),
        complete=bool(seen.all()),
    )


def f1(labels: Labels, predicted: Labels, kind: int) -> Ratio:
    """Harmonic mean of recall and precision of class `kind`; parameters as in `recall`."""
    seen = predicted >= 0
    true, named = (labels == kind) & seen, predicted == kind
    return Ratio(
        over=2.0 * (true & named), under=1.0 * true + 1.0 * named, complete=bool(seen.all())
    )


class Resampling:
    """Images drawn with replacement, class by class, and two more images of each class.

    Parameters
    ----------
    labels
        (n,) int, 0 to C - 1.
    n_classes
        C.
    """

    def __init__(self, labels: Labels, n_classes: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.n = len(labels)
        extended = np.concatenate([labels, np.repeat(np.arange(n_classes), 2)])
        self.weights = np.empty((RESAMPLES, len(extended)), np.float32)  # how often each is drawn
        for images in (np.flatnonzero(extended == kind) for kind in range(n_classes)):
            chances = np.full(len(images), 1 / len(images))
            self.weights[:, images] = rng.multinomial(len(images), chances, RESAMPLES)

    def means(self, ratio: Ratio, kind: int, *, right_first: bool) -> NDArray[np.float64]:
        """(B,) the ratio's mean over seeds on the images drawn.

        Parameters
        ----------
        kind
            The ratio's class, of which it gets two more images: one that all its seeds classify
            correctly, one that none does.
        right_first
            The first of them is the correct one; two inits with opposite values are paired so that
            each is correct on the other's error.
        """
        unit = ratio.over.max(initial=1.0)  # what a correct image adds: 1 to recall, 2 to F1
        first, second = (0, 1) if right_first else (1, 0)
        added = self.n + 2 * kind
        stored, correct, wrong = (
            self.weights[:, : self.n],
            self.weights[:, added + first, None],
            self.weights[:, added + second, None],
        )
        over = stored @ ratio.over.T.astype(np.float32) + unit * correct  # (B, S)
        under = stored @ ratio.under.T.astype(np.float32) + unit * correct + wrong
        return (over / under).mean(axis=1, dtype=float)


def interval(
    value: float,
    drawn: NDArray[np.float64],
    ratios: Sequence[Ratio],
    pool: Sequence[Ratio] | None = None,
    level: float = LEVEL,
) -> tuple[float, float]:
    """Both ends of the interval of `value`, the sum or difference of the `ratios`' values.

    Parameters
    ----------
    drawn
        (B,) `value` over resampled images.
    ratios
        Those that `value` is made of; their seeds are independent of each other.
    pool
        Those whose seeds tell how much a seed matters; the `ratios` unless given.
    """
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    seeds = seeds_half_width(ratios, ratios if pool is None else pool, level)
    low, high = min(low, value), max(high, value)
    return float(value - np.hypot(value - low, seeds)), float(value + np.hypot(high - value, seeds))


def seeds_half_width(ratios: Sequence[Ratio], pool: Sequence[Ratio], level: float = LEVEL) -> float:
    """Half of Student's interval over the seeds; 0 if nothing in `pool` has two of them."""
    known = [(r.seed_variance(), len(r.over)) for r in pool if len(r.over) > 1]
    return student_half_width(known, [len(r.over) for r in ratios], level)


SCORES: dict[str, Callable[[Labels, Labels, int], Ratio]] = {"recall": recall, "F1": f1}
"""Name of a score → the function of labels, predictions and class that gives it."""


@dataclass(frozen=True, kw_only=True)
class ClassByClass:
    """Scores and gains of each class, as numbers, as a table and in sentences."""

    scores: pd.DataFrame
    """As `score_frame` gives it."""
    gains: pd.DataFrame
    """As `gain_frame` gives it; empty if the inits cannot be paired."""
    table: pd.DataFrame
    """`scores` as text, one row for each class."""
    how: str
    """How the intervals of the table were found."""
    sentences: tuple[str, ...]
    """Which classes gain from pre-training and which do not."""


def class_by_class(results: Results) -> ClassByClass | None:
    """Scores and gains of each class; None if no complete trial left predictions."""
    by_init, names = at_largest(results), results.manifest.data.class_names
    if not by_init:
        return None
    drawn = {
        init: Resampling(predictions.labels, len(names)) for init, predictions in by_init.items()
    }
    scores, gains = score_frame(by_init, names, drawn), gain_frame(by_init, names, drawn)
    return ClassByClass(
        scores=scores,
        gains=gains,
        table=_table(scores, by_init),
        how=_how(by_init),
        sentences=tuple(_sentences(by_init, gains)),
    )


def _images(predictions: SeedPredictions, kind: int) -> int:
    return int((predictions.labels == kind).sum())


def score_frame(
    by_init: Mapping[str, SeedPredictions], names: Sequence[str], drawn: Mapping[str, Resampling]
) -> pd.DataFrame:
    """One row for each class, score and init.

    Returns
    -------
    pandas.DataFrame
        ``class``, ``score`` (recall or F1), ``init``, ``images``, ``seeds``, ``value``, ``low``,
        ``high``; the last three in 0–1, NA for a class without images.
    """
    rows: list[tuple[Any, ...]] = []
    for kind, name in enumerate(names):
        for score, of in SCORES.items():
            pool = [of(s.labels, s.predicted, kind) for s in by_init.values() if _images(s, kind)]
            for init, predictions in by_init.items():
                n = _images(predictions, kind)
                value = _score(predictions, kind, score, pool, drawn[init]) if n else (pd.NA,) * 3
                rows.append((name, score, init, n, predictions.n_seeds, *value))
    columns = ["class", "score", "init", "images", "seeds", "value", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def _score(
    predictions: SeedPredictions, kind: int, score: str, pool: list[Ratio], drawn: Resampling
) -> tuple[float, float | None, float | None]:
    """Value and both ends of its interval."""
    ratio = SCORES[score](predictions.labels, predictions.predicted, kind)
    if score == "recall" and predictions.n_seeds == 1:
        single = wilson(ratio.value, _images(predictions, kind))
        return single.value, single.low, single.high
    means = drawn.means(ratio, kind, right_first=True)
    low, high = interval(ratio.value, means, [ratio], pool)
    return ratio.value, max(low, 0.0), min(high, 1.0)


def gain_frame(
    by_init: Mapping[str, SeedPredictions], names: Sequence[str], drawn: Mapping[str, Resampling]
) -> pd.DataFrame:
    """What pre-training adds to the scores of each class, paired over the images.

    Returns
    -------
    pandas.DataFrame
        ``class``, ``score``, ``images``, ``value``, ``low``, ``high`` (95%), ``low_all``,
        ``high_all`` (Bonferroni: 95% for all classes at once); in -1–1. Classes without
        images are left out; empty if `same_images` is false.
    """
    rows: list[dict[str, Any]] = []
    paired = same_images(by_init)
    present = [k for k in range(len(names)) if paired and _images(by_init["scratch"], k)]
    for kind in present:
        labels = by_init["scratch"].labels
        for score, of in SCORES.items():
            pair = [of(labels, by_init[init].predicted, kind) for init in INITS]
            scratch, pretrained = (
                drawn["scratch"].means(r, kind, right_first=k == 1) for k, r in enumerate(pair)
            )
            value = pair[1].value - pair[0].value
            row: dict[str, Any] = {
                "class": names[kind],
                "score": score,
                "images": _images(by_init["scratch"], kind),
                "value": value,
            }
            for end, level in (("", LEVEL), ("_all", 1 - (1 - LEVEL) / len(present))):
                ends = interval(value, pretrained - scratch, pair, level=level)
                row["low" + end], row["high" + end] = np.clip(ends, -1, 1)
            rows.append(row)
    columns = ["class", "score", "images", "value", "low", "high", "low_all", "high_all"]
    return pd.DataFrame(rows, columns=columns)


def _table(scores: pd.DataFrame, by_init: Mapping[str, SeedPredictions]) -> pd.DataFrame:
    columns: dict[str, list[str]] = {"class": list(dict.fromkeys(scores["class"]))}
    rows = records(scores)
    for init, predictions in by_init.items():
        for score in SCORES:
            here = [row for row in rows if row["init"] == init and row["score"] == score]
            columns.setdefault(
                "images", [f"{n:,}" if (n := row["images"]) else "none" for row in here]
            )
            columns[f"{score}, {init}, {formatting.seeds(predictions.n_seeds)}"] = [
                f"{row['value'] * 100:.0f}% [{row['low'] * 100:.0f}–{row['high'] * 100:.0f}]"
                if row["images"]
                else NO_IMAGE
                for row in here
            ]
    return pd.DataFrame(columns)


def _how(by_init: Mapping[str, SeedPredictions]) -> str:
    counts = {predictions.n_seeds for predictions in by_init.values()}
    shown = described(by_init)
    text = (
        f"{shown}, mean over seeds, with 95% intervals over images and seeds "
        "(bootstrap over images; Student's interval of the seeds added in quadrature)."
    )
    if counts == {1}:
        text = (
            f"{shown}, with 95% intervals over the images (recall: Wilson; F1: "
            "bootstrap); with one seed, without the variance between seeds."
        )
    return f"{text} A class that is predicted more often gains recall by that alone; F1 counts false alarms too."


def _sentences(by_init: Mapping[str, SeedPredictions], gains: pd.DataFrame) -> list[str]:
    if set(by_init) != set(INITS):
        (only,) = by_init
        return [
            f"Only {only} has complete trials with predictions, so there is nothing to compare "
            "the classes with."
        ]
    if gains.empty:
        return [
            "The inits are not scored on one set of images at one fraction, so their classes "
            "cannot be paired."
        ]
    rows = sorted(records(gains), key=lambda row: -row["value"])
    return [
        *(_which([row for row in rows if row["score"] == score], score) for score in SCORES),
        _by_chance(records(gains)),
    ]


def _which(gains: Sequence[Mapping[str, Any]], score: str) -> str:
    """The classes whose interval lies above 0, below it, and on it; `gains` of one score."""
    above = [row for row in gains if row["low"] > 0]
    below = [row for row in gains if row["high"] < 0]
    parts: list[str] = []
    for rows, verb in ((above, "gains"), (below, "loses")):
        named = [
            f"“{row['class']}” ({formatting.points(row['value'])} points "
            f"[{formatting.points(row['low'])}, {formatting.points(row['high'])}])"
            for row in rows
        ]
        parts += [f"pre-training {verb} in {formatting.listed(named)}"] if named else []
    rest = [f"“{row['class']}”" for row in gains if not (row["low"] > 0 or row["high"] < 0)]
    if rest:
        which = formatting.listed(rest) if parts else "any class"
        parts.append(f"no significant difference in {which}")
    return f"{score[0].upper()}{score[1:]}: {'; '.join(parts)}."


def _by_chance(gains: Sequence[Mapping[str, Any]]) -> str:
    n = len({row["class"] for row in gains})
    remaining = [
        f"“{row['class']}” ({row['score']}, {formatting.points(row['value'])} points)"
        for row in gains
        if row["low_all"] > 0 or row["high_all"] < 0
    ]
    kept = f"these remain: {formatting.listed(remaining)}" if remaining else "none remains"
    return (
        f"Each is a 95% interval for itself: one of twenty is expected to exclude the truth by "
        f"chance, of {n} classes {n * (1 - LEVEL):.2g}. With Bonferroni's intervals for all {n} "
        f"classes at once, {kept}."
    )
