"""The claims of the paper, each with a verdict from the results.

A verdict (`verdicts`) judges the direction of a claim; how large our value is, and the paper's,
stands beside it.
"""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from . import paper, words
from .baseline import Crossing, against_baseline, crossing
from .claims_time import epoch_time, longer_training, time_at_crossing
from .crossing import Enough, enough
from .frames import BASELINE_FRACTION, Results
from .statistics import Arm, Estimate, accuracy_difference, arm
from .verdicts import (
    ABOUT,
    Claim,
    absent,
    both_absent,
    unknown,
    verdict_on_difference,
    verdict_on_fraction,
)


def claims(
    results: Results, compared: pd.DataFrame | None = None, found: Enough | None = None
) -> list[Claim]:
    """All claims, in the paper's order.

    Parameters
    ----------
    compared, found
        As `against_baseline` and `crossing.enough` give them; made here unless given.
    """
    compared = against_baseline(results) if compared is None else compared
    found = enough(results) if found is None else found
    cross = crossing(compared)
    return [
        _best_accuracy(results),
        _first_epochs(results),
        epoch_time(results),
        longer_training(results),
        _fewer_labels(results, cross, found),
        time_at_crossing(results, cross),
    ]


def _both(results: Results) -> tuple[str | None, Arm | None, Arm | None]:
    """Why the two arms at 100 % cannot be compared, or both: pre-trained, scratch."""
    why = both_absent(results)
    if why:
        return why, None, None
    return None, *(arm(results, init, BASELINE_FRACTION) for init in ("pretrained", "scratch"))


def _size(results: Results, ours: Estimate, published: float) -> str:
    """Whether the paper's value agrees with ours, where the two may be compared."""
    if ours.low is None or ours.high is None or paper.why_not_comparable(results.manifest):
        return ""
    inside = ours.low <= published <= ours.high
    return f" The paper's value lies {'in' if inside else 'outside'} our interval."


def _better(claim: str, published: str, ours: Arm, theirs: Arm, value: float, results: Results):
    """The claim that `ours` is more accurate than `theirs`."""
    difference = accuracy_difference(ours, theirs)
    return Claim(
        claim=claim,
        verdict=verdict_on_difference(difference),
        ours=f"{words.percent(ours.accuracy)} against {words.percent(theirs.accuracy)}: "
        f"{words.in_points(difference)}",
        paper=published,
        why=f"{difference.how[0].upper()}{difference.how[1:]}." + _size(results, difference, value),
    )


def _best_accuracy(results: Results) -> Claim:
    claim = "With all labels, the pre-trained model is more accurate than one from scratch."
    full, base = paper.TRIALS[-1], paper.BASELINE
    gain = full.accuracy - base.accuracy
    published = (
        f"{words.percent(full.accuracy, 2)} against {words.percent(base.accuracy, 2)}: "
        f"{words.points(gain, 2)} points (table 1)"
    )
    why, ours, theirs = _both(results)
    if ours is None or theirs is None:
        return unknown(claim, published, why)
    return _better(claim, published, ours, theirs, gain, results)


def _first_epochs(results: Results) -> Claim:
    n = paper.FIRST_EPOCHS
    claim = f"It is more accurate over the first {n} epochs already."
    published = f"about {words.points(paper.FIRST_EPOCHS_GAIN, 0)} points (§5.1)"
    why, ours, theirs = _both(results)
    if ours is None or theirs is None:
        return unknown(claim, published, why)
    arms = []
    for side, init in ((ours, "pretrained"), (theirs, "scratch")):
        epochs = results.epochs
        epochs = epochs[epochs["trial"].isin(results.of(init, BASELINE_FRACTION)["trial"])]
        first = epochs[epochs["epoch"] <= n].groupby("trial")["val_accuracy"]
        if len(first) < side.n or (first.count() < n).any():
            return unknown(claim, published, f"a trial of {side.label} has fewer than {n} epochs")
        arms.append(replace(side, accuracies=tuple(first.mean()), rows=None))
    result = _better(claim, published, *arms, paper.FIRST_EPOCHS_GAIN, results)
    return replace(
        result, why=f"Mean validation accuracy of epochs 1 to {n}, images unpaired. {result.why}"
    )


def _fewer_labels(results: Results, cross: Crossing, found: Enough) -> Claim:
    claimed = paper.SMALLEST_FRACTION
    claim = f"It matches the baseline with about {words.fraction(claimed)} of the labels."
    match = paper.published("pretrained", claimed)
    published = (
        f"{words.fraction(claimed)}: {words.percent(match.accuracy, 2)} against "
        f"{words.percent(paper.BASELINE.accuracy, 2)} (table 1)"
    )
    why, place = absent(results, "scratch", BASELINE_FRACTION), found.crossing
    if why or place is None:
        return unknown(claim, published, why or "no pre-trained trial is complete")
    parts = [
        f"interval {where} the baseline at {words.listed(map(words.fraction, fractions))}"
        for where, fractions in (
            ("below", cross.below),
            ("around", cross.level),
            ("above", cross.above),
        )
        if fractions
    ]
    return Claim(
        claim=claim,
        verdict=verdict_on_fraction(place, claimed),
        ours=f"{place.words}; {place.interval}",
        paper=published,
        why=f"Isotonic fit, interpolated; {place.how}. “About” allows {words.fraction(ABOUT)} of "
        f"the labels more. Of the fractions tested: {'; '.join(parts)}.",
    )
