"""The data report's section on what a plain random split leaks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from trainable.galaxy10 import Survey
from trainable.selection import Selection

from . import leak, words
from .data_sections import Section
from .statistics import wilson

TITLE = "What a plain random split leaks"
SHARE = 0.2
"""Of the images that validate (the paper's, §3.1)."""


def leaks(
    survey: Survey,
    selection: Selection,
    pairs: np.ndarray | None,
    seeds: Sequence[int],
    worth: leak.Worth | None,
) -> Section:
    """Expected and actual number of pairs on both sides, and what they are worth in accuracy.

    Parameters
    ----------
    pairs
        Shape (p, 2), rows of the file; None without positions.
    """
    if pairs is None:
        text = "There are no positions in this file: every split of it is a plain one."
        return Section(title=TITLE, texts=(text,))
    if not len(pairs):
        return Section(title=TITLE, texts=("Nothing: no galaxy is there twice.",))
    n = len(selection.rows)
    expected = leak.expected_leaks(len(pairs), n, round(SHARE * n))
    table = leak.actual_leaks(survey, selection, pairs, seeds, SHARE)
    shown = table.rename(
        columns={"plain": "divided by a plain split", "grouped": "divided by the grouped split"}
    )
    texts = [
        f"Of the pairs on the sky (n = {len(pairs)}) a random split that holds "
        f"{words.fraction(SHARE)} back puts {expected:.1f} on both sides, on average; the actual "
        f"splits of {words.seeds(len(table))} put {table['plain'].mean():.1f}. The project's own "
        f"splits keep groups on the sky together and divide {table['grouped'].sum()}.",
        *(worth_sentences(worth) if worth else [NOT_TRAINED]),
    ]
    csv = {"leaks": table}
    if worth is not None:
        csv["leak_trials"] = pd.DataFrame([vars(t) for t in worth.trials])
    return Section(
        title=TITLE,
        headline=f"A plain random split puts {expected:.1f} of the pairs on the sky "
        f"(n = {len(pairs)}) on both sides, on average.",
        texts=tuple(texts),
        tables=(("", shown),),
        csv=csv,
    )


NOT_TRAINED = "What the leak is worth in accuracy takes training: ask for it with --leak."


def worth_sentences(worth: leak.Worth) -> list[str]:
    """What the trials with plain and grouped splits say."""
    trials = len(worth.trials) // 2
    how = "" if worth.difference.low is None else f"; interval {worth.difference.how}"
    sentences = [
        f"The same trial with plain splits scores {words.in_points(worth.difference)} against "
        f"grouped splits ({words.seeds(trials)} of split, initialisation and batch order{how})."
    ]
    right, images = worth.share_right(of_leaked=True)
    if images == 0:
        return [*sentences, "None of these plain splits leaked an image."]
    parts = []
    for name, of_leaked in (("the leaked images", True), ("the others", False)):
        right, images = worth.share_right(of_leaked)
        share = wilson(right / images, images)
        parts.append(
            f"{name} {words.percent(share.value)} "
            f"[{words.percent(share.low)}, {words.percent(share.high)}], n = {images:,}"
        )
    return [
        *sentences,
        f"In the plain splits, accuracy on {parts[0]}; on {parts[1]} (Wilson's 95 % intervals, "
        "seeds pooled). A leaked pair with two labels cannot be right on both sides, so such a "
        "leak can cost accuracy, too.",
    ]
