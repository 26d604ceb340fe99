"""Class by class: recall and F1 of both inits, and what pre-training changes in each class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from trainable.protocol import INITS

from . import ratios, words
from .frames import Results
from .ratios import Ratio, Resampling
from .stacks import Stack, at_largest, described, same_images
from .statistics import LEVEL, wilson

SCORES = {"recall": ratios.recall, "F1": ratios.f1}
NO_IMAGE = "no validation image"


@dataclass(frozen=True, kw_only=True)
class ClassByClass:
    """What the report says about the classes."""

    scores: pd.DataFrame
    """As `score_frame` gives it."""
    gains: pd.DataFrame
    """As `gain_frame` gives it; empty where the inits cannot be paired."""
    table: pd.DataFrame
    """`scores` in words, one row for each class."""
    how: str
    """How the intervals of the table were found."""
    sentences: tuple[str, ...]
    """Which classes gain from pre-training and which do not."""


def class_by_class(results: Results) -> ClassByClass | None:
    """Scores and gains of each class; None where no complete trial left predictions."""
    stacks, names = at_largest(results), results.manifest["data"]["class_names"]
    if not stacks:
        return None
    drawn = {init: Resampling(stack.labels, len(names)) for init, stack in stacks.items()}
    scores, gains = score_frame(stacks, names, drawn), gain_frame(stacks, names, drawn)
    return ClassByClass(
        scores=scores,
        gains=gains,
        table=_table(scores, stacks),
        how=_how(stacks),
        sentences=tuple(_sentences(stacks, gains)),
    )


def _images(stack: Stack, kind: int) -> int:
    return int((stack.labels == kind).sum())


def score_frame(
    stacks: dict[str, Stack], names: list[str], drawn: dict[str, Resampling]
) -> pd.DataFrame:
    """One row for each class, score and init.

    Returns
    -------
    pandas.DataFrame
        ``class``, ``score`` (recall or F1), ``init``, ``images``, ``seeds``, ``value``, ``low``,
        ``high``; the last three in 0–1, NA for a class without validation images.
    """
    rows = []
    for kind, name in enumerate(names):
        for score, of in SCORES.items():
            pool = [of(s.labels, s.predicted, kind) for s in stacks.values() if _images(s, kind)]
            for init, stack in stacks.items():
                n = _images(stack, kind)
                found = _score(stack, kind, score, pool, drawn[init]) if n else (pd.NA,) * 3
                rows.append((name, score, init, n, stack.n_seeds, *found))
    columns = ["class", "score", "init", "images", "seeds", "value", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def _score(
    stack: Stack, kind: int, score: str, pool: list[Ratio], drawn: Resampling
) -> tuple[float, float, float]:
    """Value and both ends of its interval."""
    ratio = SCORES[score](stack.labels, stack.predicted, kind)
    if score == "recall" and stack.n_seeds == 1:
        single = wilson(ratio.value, _images(stack, kind))
        return single.value, single.low, single.high
    means = drawn.means(ratio, kind, right_first=True)
    low, high = ratios.interval(ratio.value, means, [ratio], pool)
    return ratio.value, max(low, 0.0), min(high, 1.0)


def gain_frame(
    stacks: dict[str, Stack], names: list[str], drawn: dict[str, Resampling]
) -> pd.DataFrame:
    """What pre-training adds to the scores of each class, paired over the images.

    Returns
    -------
    pandas.DataFrame
        ``class``, ``score``, ``images``, ``value``, ``low``, ``high`` (95 %), ``low_all``,
        ``high_all`` (Bonferroni: 95 % for all classes at once); in -1–1. Classes without
        validation images are left out; empty where `same_images` is false.
    """
    rows: list[dict[str, Any]] = []
    paired = same_images(stacks)
    present = [k for k in range(len(names)) if paired and _images(stacks["scratch"], k)]
    for kind in present:
        labels = stacks["scratch"].labels
        for score, of in SCORES.items():
            pair = [of(labels, stacks[init].predicted, kind) for init in INITS]
            scratch, pretrained = (
                drawn["scratch"].means(r, kind, right_first=k == 1) for k, r in enumerate(pair)
            )
            value = pair[1].value - pair[0].value
            row = {"class": names[kind], "score": score, "images": _images(stacks["scratch"], kind)}
            row["value"] = value
            for end, level in (("", LEVEL), ("_all", 1 - (1 - LEVEL) / len(present))):
                ends = ratios.interval(value, pretrained - scratch, pair, level=level)
                row["low" + end], row["high" + end] = np.clip(ends, -1, 1)
            rows.append(row)
    columns = ["class", "score", "images", "value", "low", "high", "low_all", "high_all"]
    return pd.DataFrame(rows, columns=columns)


def _table(scores: pd.DataFrame, stacks: dict[str, Stack]) -> pd.DataFrame:
    columns: dict[str, list[str]] = {"class": list(dict.fromkeys(scores["class"]))}
    counts = scores.drop_duplicates(["class", "init"])
    for init, stack in stacks.items():
        own = counts[counts["init"] == init]["images"]
        columns.setdefault("validation images", [f"{n:,}" if n else "none" for n in own])
        for score in SCORES:
            rows = scores[(scores["init"] == init) & (scores["score"] == score)]
            columns[f"{score}, {init}, {words.seeds(stack.n_seeds)}"] = [
                f"{r.value * 100:.0f} % [{r.low * 100:.0f}–{r.high * 100:.0f}]"
                if r.images
                else NO_IMAGE
                for r in rows.itertuples()
            ]
    return pd.DataFrame(columns)


def _how(stacks: dict[str, Stack]) -> str:
    counts = {stack.n_seeds for stack in stacks.values()}
    shown = described(stacks)
    text = (
        f"{shown}, mean over seeds, with 95 % intervals over validation images and seeds "
        "(bootstrap over images; Student's interval of the seeds added in quadrature)."
    )
    if counts == {1}:
        text = (
            f"{shown}, with 95 % intervals over the validation images (recall: Wilson; F1: "
            "bootstrap); with one seed, the seed's share is not in them."
        )
    return (
        f"{text} A class named more often gains recall by that alone; F1 counts false alarms too."
    )


def _sentences(stacks: dict[str, Stack], gains: pd.DataFrame) -> list[str]:
    if set(stacks) != set(INITS):
        (only,) = stacks
        return [f"Only {only} has complete trials with predictions: no gain can be told."]
    if gains.empty:
        return [
            "The inits are not scored on one set of images at one fraction, so their classes "
            "cannot be paired and no gain is told."
        ]
    said = [_which(gains[gains["score"] == score], score) for score in SCORES]
    return [*said, _by_chance(gains)]


def _which(gains: pd.DataFrame, score: str) -> str:
    """The classes whose interval lies above 0, below it, and on it."""
    gains = gains.sort_values("value", ascending=False, kind="stable")
    above, below = gains["low"] > 0, gains["high"] < 0
    parts = []
    for rows, verb in ((gains[above], "gains"), (gains[below], "loses")):
        named = [
            f"“{r['class']}” ({words.points(r['value'])} points "
            f"[{words.points(r['low'])}, {words.points(r['high'])}])"
            for _, r in rows.iterrows()
        ]
        parts += [f"pre-training {verb} in {words.listed(named)}"] if named else []
    rest = [f"“{name}”" for name in gains.loc[~above & ~below, "class"]]
    if rest and not parts:
        parts = ["in no class does pre-training change it beyond its interval"]
    elif rest:
        parts.append(f"no difference can be told in {words.listed(rest)}")
    return f"{score[0].upper()}{score[1:]}: {'; '.join(parts)}."


def _by_chance(gains: pd.DataFrame) -> str:
    n = gains["class"].nunique()
    sure = gains[(gains["low_all"] > 0) | (gains["high_all"] < 0)]
    kept = [
        f"“{r['class']}” ({r['score']}, {words.points(r['value'])} points)"
        for _, r in sure.iterrows()
    ]
    return (
        f"Each is a 95 % interval for itself: one of twenty errs by chance, so of {n} classes "
        f"{n * (1 - LEVEL):.2g} may be expected to. With Bonferroni's intervals for all {n} "
        f"classes at once, {'these remain: ' + words.listed(kept) if kept else 'none remains'}."
    )
