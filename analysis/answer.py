"""The reader's question, answered in plain words, whatever the answer is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from . import words
from .baseline import Crossing
from .crossing import BELOW, NEVER, Enough
from .frames import BASELINE_FRACTION, Results
from .verdicts import absent

QUESTION = (
    "Does a pre-trained Vision Transformer beat training from scratch on these images, and how "
    "many labels does it need?"
)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A headline, and the sentences that back it."""

    headline: str
    sentences: tuple[str, ...]


def answer(
    results: Results,
    against: pd.DataFrame,
    equal: pd.DataFrame,
    cross: Crossing,
    found: Enough,
) -> Answer:
    """The answer from the comparisons of `baseline`.

    Parameters
    ----------
    against, equal
        As `baseline.against_baseline` and `baseline.at_equal_labels` give them.
    cross
        As `baseline.crossing` gives it.
    found
        As `crossing.enough` gives it.
    """
    if equal.empty and against.empty:
        reasons = [absent(results, init, BASELINE_FRACTION) for init in ("pretrained", "scratch")]
        why = "; ".join(filter(None, reasons)) or "no cell of one init has its match in the other"
        return Answer(headline=f"This sweep cannot tell yet: {why}.", sentences=())
    sentences = []
    headline = "No fraction was run with both inits; see the baseline below."
    if len(equal):
        headline, sentence = _at_most_labels(equal.iloc[-1])
        headline += _otherwise_with_fewer(equal)
        sentences.append(sentence)
    if len(against):
        sentences.append(labels_needed(against, found))
        sentences.append(_by_its_intervals(cross))
    else:
        why = absent(results, "scratch", BASELINE_FRACTION)
        sentences.append(f"How many labels it needs cannot be told: {why}.")
    if len(equal) > 1:
        sentences.append(_few_labels(equal))
    guess = _guess(results)
    return Answer(headline=headline, sentences=(*sentences, *([guess] if guess else [])))


def _guess(results: Results) -> str | None:
    """What naming the most common class would score, where predictions tell."""
    for trial in results.complete.sort_values("fraction", ascending=False)["trial"]:
        stored = results.predictions(trial)
        if stored is not None:
            name = results.manifest["data"]["class_names"][np.bincount(stored.labels).argmax()]
            share = np.bincount(stored.labels).max() / len(stored.labels)
            return (
                f"For scale: always answering “{name}”, the most common class, is right on "
                f"{words.percent(share)} of the {len(stored.labels):,} validation images."
            )
    return None


def _at_most_labels(row: pd.Series) -> tuple[str, str]:
    """The comparison at the largest fraction that both inits have."""
    place = f"With {row['n_train']:,} training images ({words.fraction(row['fraction'])})"
    if row["sign"] > 0:
        headline = f"Yes: with {row['n_train']:,} labels the pre-trained model is more accurate"
    elif row["sign"] < 0:
        headline = f"No: with {row['n_train']:,} labels training from scratch is more accurate"
    else:
        headline = f"With {row['n_train']:,} labels the two cannot be told apart"
    headline += f", {_difference(row)} (pre-trained less scratch)."
    sentence = (
        f"{place} the pre-trained model reaches {words.percent(row['pretrained'])} "
        f"({words.seeds(int(row['n_pretrained']))}) and the one from scratch "
        f"{words.percent(row['scratch'])} ({words.seeds(int(row['n_scratch']))}) of the "
        f"validation images: {_difference(row)}, 95 % interval {row['how']}."
    )
    return headline, sentence


def _otherwise_with_fewer(equal: pd.DataFrame) -> str:
    """What holds at fewer labels, where that is another answer than at the most."""
    fewer = equal[(equal["sign"] != equal["sign"].iloc[-1]) & (equal["sign"] != 0)]
    parts = []
    for sign, what in ((1, "pre-training helps"), (-1, "training from scratch is better")):
        labels = [f"{n:,}" for n in fewer.loc[fewer["sign"] == sign, "n_train"]]
        if labels:
            parts.append(f" With {words.listed(labels)} labels {what}.")
    return "".join(parts)


def _difference(row: pd.Series) -> str:
    low, high = words.points(row["low"]), words.points(row["high"])
    text = f"{words.points(row['difference'])} points [{low}, {high}]"
    return text + words.p_value(row["p"])


def labels_needed(against: pd.DataFrame, found: Enough) -> str:
    """Where the pre-trained model reaches the baseline, interpolated, with its interval."""
    place, saving = found.crossing, found.savings[-1]
    baseline = f"the baseline (from scratch on all labels, {words.percent(saving.accuracy)})"
    if place.value == NEVER:
        best = against.loc[against["difference"].idxmax()]
        text = (
            f"The pre-trained model does not reach {baseline} at any fraction tested; it comes "
            f"closest at {words.fraction(best['fraction'])}: {_difference(best)}"
        )
    elif place.value == BELOW:
        smallest = against.iloc[0]
        text = (
            f"The pre-trained model is at {baseline} with {words.fraction(smallest['fraction'])} "
            f"of the labels already, {smallest['n_train']:,} images, the smallest fraction tested "
            "(fewer may do)"
        )
    else:
        text = (
            f"The pre-trained model reaches {baseline} with {place.words} of the labels, about "
            f"{place.value * saving.n_train:,.0f} images, interpolated between the fractions tested"
        )
    how = "" if place.low is None else f" ({place.how})"
    return f"{text}; {place.interval}{how}."


def _by_its_intervals(cross: Crossing) -> str:
    """Which fractions tested lie below, at and above the baseline."""
    parts = []
    for fractions, what in (
        (cross.below, "clearly below it"),
        (cross.level, "not to be told from it"),
        (cross.above, "clearly above it"),
    ):
        if fractions:
            parts.append(f"{what} at {words.listed(map(words.fraction, fractions))}")
    return f"Held against the baseline fraction by fraction, it is {'; '.join(parts)}."


def _few_labels(equal: pd.DataFrame) -> str:
    """Both inits at equal labels, from few to many."""
    groups = []
    for sign, what in (
        (1, "pre-training helps"),
        (0, "no difference can be told"),
        (-1, "training from scratch is better"),
    ):
        rows = equal[equal["sign"] == sign]
        if len(rows):
            cells = (f"{row['n_train']:,} ({_difference(row)})" for _, row in rows.iterrows())
            groups.append(f"{what} at {words.listed(cells)}")
    return f"At equal numbers of labels: {'; '.join(groups)}."
