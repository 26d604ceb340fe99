"""The accuracy of each cell with its 95 % interval over validation images and seeds."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .draws import draw, stack
from .frames import Results
from .statistics import Estimate, arm, percentiles, wilson

PLUS_FOUR = np.array([True, True, False, False])
"""Two images that are right and two that are wrong, so that perfect accuracy is no certainty
(Agresti & Coull 1998)."""


def accuracies(results: Results) -> pd.DataFrame:
    """Mean best accuracy of each cell that has complete trials.

    Several seeds: by `draws`; the cells of one init share one variance between seeds, since two
    or three values tell little of their own. One seed: Wilson's interval of that run.

    Returns
    -------
    pandas.DataFrame
        ``init``, ``fraction``, ``n_train``, ``n`` (seeds), ``accuracy``, ``low``, ``high``
        (0–1) and ``how``; scratch first, by ascending fraction.
    """
    keys = results.complete[["init", "fraction"]].drop_duplicates()
    keys = keys.sort_values(["init", "fraction"], ascending=[False, True])
    arms = [arm(results, init, fraction) for init, fraction in keys.itertuples(index=False)]
    drawn = _drawn([a for a in arms if a.rows is not None], keys["init"])
    rows = []
    for (init, fraction), a in zip(keys.itertuples(index=False), arms, strict=True):
        estimate = drawn.get(a.label) or wilson(a.accuracy, round(np.mean(a.n_val)))
        low, high, how = estimate.low, estimate.high, estimate.how
        rows.append((init, fraction, a.n_train, a.n, a.accuracy, low, high, how))
    columns = ["init", "fraction", "n_train", "n", "accuracy", "low", "high", "how"]
    return pd.DataFrame(rows, columns=columns)


def _drawn(arms, inits: pd.Series) -> dict[str, Estimate]:
    """Estimates by label of the cells that have several seeds and stored predictions."""
    if not arms or max(a.n for a in arms) < 2:
        return {}
    pools = [sorted(set(inits)).index(a.label.split()[0]) for a in arms]
    extra = np.tile(PLUS_FOUR, (len(arms), 1))
    means = draw(stack(arms), pools=pools, extra=extra).means
    found = {}
    for number, a in enumerate(arms):
        if a.n > 1:
            low, high = percentiles(np.clip(means[:, number], 0, 1))
            low, high = min(low, a.accuracy), max(high, a.accuracy)  # perfect is never without
            how = f"over {len(a.rows):,} validation images and {a.n} seeds"
            found[a.label] = Estimate(value=a.accuracy, low=low, high=high, how=how)
    return found
