"""The claims of the paper, each with a verdict from the results.

A verdict judges the direction of a claim; how large our value is, and the paper's, stands beside
it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from analysis import formatting, paper
from analysis.report.analysis import Analysis
from analysis.report.section import Section
from analysis.report.tables import ReportTable
from analysis.results.schema import groups, records, rows_where
from analysis.stats.estimates import Estimate, accuracy_difference, mean_difference, ratio
from analysis.stats.label_efficiency import BELOW, CrossingPoint
from analysis.stats.seed_predictions import CellRuns, cell_runs

Verdict = Literal["supported", "not supported", "inconclusive"]
SUPPORTED: Verdict = "supported"
NOT_SUPPORTED: Verdict = "not supported"
INCONCLUSIVE: Verdict = "inconclusive"

TITLE = "The claims of the paper"
TIMING_MARGIN = 0.1
"""Ours: with one seed, times differ if they do by a tenth; trials that share a machine change each
other's times by as much."""
ABOUT = 0.1
"""Ours: "about 50%" of the labels allows for 60%."""
TIMING = (
    "Times are of this machine and of trials that may share it: trials that run at once slow "
    "each other down, unevenly if the grid's trials differ."
)
ONE_SEED = (
    "With one seed each, a claim about what the methods do is inconclusive: one seed does not show "
    "how much seeds differ. What is given is the interval of these trained models. Seconds per "
    "epoch do not depend on the seed and are judged."
)
NO_TIMES = "the epochs' times are not in the logs"
NO_EPOCHS = "the pre-trained model's last layer is fitted at once (a probe), which has no epochs"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim of the paper and what the results say to it."""

    claim: str
    verdict: Verdict
    ours: str
    paper: str
    why: str
    """What the verdict rests on; a sentence, or a clause if it is inconclusive."""


def section(analysis: Analysis) -> Section:
    """All claims in a table; by accuracy, whatever the report's metric."""
    analysis = analysis.by_accuracy
    note = (
        "A verdict judges a claim's direction by the 95% CI of our value; how large the effect is "
        "stands beside it."
    )
    if analysis.not_comparable:
        note += f" The paper's values are for orientation only: {analysis.not_comparable}."
    if any(cell is not None and cell.n == 1 for cell in _both(analysis)):
        note += f" {ONE_SEED}"
    found = claims(analysis)
    table = ReportTable(
        path="claims",
        suffixes=(".md",),
        title=f"{TITLE}, and what these results say to each.",
        frame=claims_table(found),
        numbers=False,
        marks={
            (row, "verdict"): f"verdict {claim.verdict.replace(' ', '-')}"
            for row, claim in enumerate(found)
        },
    )
    return Section(id="claims", title=TITLE, blocks=(note, table))


def claims_table(found: Iterable[Claim]) -> pd.DataFrame:
    """The claims as a frame of text."""
    names = ["claim", "verdict", "here", "the paper", "what the verdict rests on"]
    rows = [(c.claim, c.verdict, c.ours, c.paper, c.why[:1].upper() + c.why[1:]) for c in found]
    return pd.DataFrame(rows, columns=names)


def claims(analysis: Analysis) -> list[Claim]:
    """All claims, in the paper's order."""
    return [
        best_accuracy(analysis),
        first_epochs(analysis),
        epoch_time(analysis),
        longer_training(analysis),
        fewer_labels(analysis),
        time_at_crossing(analysis),
    ]


def inconclusive(claim: str, published: str, why: str) -> Claim:
    """A claim that these results say nothing about, and why."""
    return Claim(claim=claim, verdict=INCONCLUSIVE, ours=formatting.NONE, paper=published, why=why)


# verdicts


def verdict_on_difference(difference: Estimate) -> Verdict:
    """For a claim that something is greater: the interval lies above 0, below 0, or neither."""
    if difference.sign == 1:
        return SUPPORTED
    return NOT_SUPPORTED if difference.sign == -1 else INCONCLUSIVE


def verdict_on_time(share: Estimate) -> Verdict:
    """For a claim that something takes less time: `share` is its time over the other's.

    With an interval, this must lie below 1 (above: not supported). Without, the share must be
    below 1 by `TIMING_MARGIN` (above by as much: not supported).
    """
    low, high = share.low, share.high
    if low is None or high is None:
        low, high = share.value * (1 - TIMING_MARGIN), share.value / (1 - TIMING_MARGIN)
    return SUPPORTED if high < 1 else NOT_SUPPORTED if low > 1 else INCONCLUSIVE


def verdict_on_fraction(crossing: CrossingPoint, claimed: float) -> Verdict:
    """For the claim that about `claimed` of the labels suffice to match the baseline.

    Supported if the crossing's interval ends at `claimed` and `ABOUT` or before, not supported if
    it starts beyond. Inconclusive without an interval, or with that of these trained models.
    """
    if crossing.low is None or crossing.high is None or crossing.of_models:
        return INCONCLUSIVE
    most = claimed + ABOUT
    last = crossing.tested[0] if crossing.high == BELOW else crossing.high
    return SUPPORTED if last <= most else NOT_SUPPORTED if crossing.low > most else INCONCLUSIVE


def verdict_on_epochs(
    more: Estimate, *, longer_cut_short: bool, shorter_cut_short: bool
) -> Verdict:
    """For the claim that one trains for more epochs before the stopper ends it.

    Parameters
    ----------
    more
        Epochs of the one claimed to train longer, minus those of the other.
    longer_cut_short, shorter_cut_short
        A trial ended at the epoch limit instead: its epochs are a lower bound, so they can
        speak for "more" but not for "fewer".
    """
    verdict = verdict_on_difference(more)
    if (verdict == SUPPORTED and shorter_cut_short) or (
        verdict == NOT_SUPPORTED and longer_cut_short
    ):
        return INCONCLUSIVE
    return verdict


# accuracy


def best_accuracy(analysis: Analysis) -> Claim:
    """Accuracy with all labels (table 1)."""
    claim = "With all labels, the pre-trained model is more accurate than one from scratch."
    full, base = paper.TRIALS[-1], paper.BASELINE
    gain = full.accuracy - base.accuracy
    published = (
        f"{formatting.percent(full.accuracy, 2)} against {formatting.percent(base.accuracy, 2)}: "
        f"{formatting.points(gain, 2)} points (table 1)"
    )
    pretrained, scratch = _both(analysis)
    if pretrained is None or scratch is None:
        return inconclusive(claim, published, analysis.why_absent(analysis.baseline_fraction) or "")
    at_equal_labels = records(analysis.at_equal_labels)  # the interval that the summary gives, too
    (row,) = (r for r in at_equal_labels if np.isclose(r["fraction"], analysis.baseline_fraction))
    cells = pretrained, scratch
    return _more_accurate(claim, published, cells, row["estimate"], gain, analysis)


def first_epochs(analysis: Analysis) -> Claim:
    """Accuracy over the first epochs (§5.1)."""
    n = paper.FIRST_EPOCHS
    claim = f"It is more accurate over the first {n} epochs already."
    published = f"about {formatting.points(paper.FIRST_EPOCHS_GAIN, 0)} points (§5.1)"
    if analysis.results.are_probes("pretrained"):
        return inconclusive(claim, published, NO_EPOCHS)
    cells: list[CellRuns] = []
    for cell in _both(analysis):
        if cell is None:
            return inconclusive(
                claim, published, analysis.why_absent(analysis.baseline_fraction) or ""
            )
        epochs = analysis.results.epochs
        trials = analysis.results.of(cell.init, cell.fraction)
        of_cell = epochs["trial"].isin(trials["trial"])
        first = rows_where(epochs, of_cell & (epochs["epoch"] <= n))
        known = [rows["val_accuracy"].dropna() for _, rows in groups(first, "trial")]
        if len(known) < cell.n or any(len(values) < n for values in known):
            return inconclusive(
                claim, published, f"a trial of {cell.label} has fewer than {n} epochs"
            )
        cells.append(
            replace(
                cell,
                accuracies=tuple(values.mean() for values in known),
                predictions=None,
                n_scored=tuple(map(int, trials["n_val"])),
                scored_on="validation",
            )
        )
    pretrained, scratch = cells
    gain, difference = paper.FIRST_EPOCHS_GAIN, accuracy_difference(pretrained, scratch)
    result = _more_accurate(claim, published, (pretrained, scratch), difference, gain, analysis)
    return replace(
        result, why=f"Mean validation accuracy of epochs 1 to {n}, images unpaired. {result.why}"
    )


def _both(analysis: Analysis) -> tuple[CellRuns | None, CellRuns | None]:
    """Pre-trained and scratch, on all labels."""
    results = analysis.results
    return (
        cell_runs(results, "pretrained", analysis.baseline_fraction),
        cell_runs(results, "scratch", analysis.baseline_fraction),
    )


def _more_accurate(
    claim: str,
    published: str,
    cells: tuple[CellRuns, CellRuns],
    difference: Estimate,
    gain: float,
    analysis: Analysis,
) -> Claim:
    """The claim that the first cell is more accurate than the second; the paper's `gain` in 0–1."""
    why = f"{difference.how[0].upper()}{difference.how[1:]}."
    if difference.power:
        why += f" No significant difference; {difference.power}."
    low, high = difference.models or (difference.low, difference.high)
    if analysis.not_comparable is None and low is not None and high is not None:
        whose = "our interval" if difference.models is None else "that of these two trained models"
        why += f" The paper's value lies {'in' if low <= gain <= high else 'outside'} {whose}."
    accuracies = (formatting.percent(cell.accuracy) for cell in cells)
    return Claim(
        claim=claim,
        verdict=verdict_on_difference(difference),
        ours=f"{' against '.join(accuracies)}: {difference.in_points()}",
        paper=published,
        why=why,
    )


def fewer_labels(analysis: Analysis) -> Claim:
    """Labels that the pre-trained model needs (§5.2)."""
    claimed = paper.SMALLEST_FRACTION
    claim = f"It matches the baseline with about {formatting.fraction(claimed)} of the labels."
    match = _published_match()
    published = (
        f"{formatting.fraction(claimed)}: {formatting.percent(match.accuracy, 2)} against "
        f"{formatting.percent(paper.BASELINE.accuracy, 2)} (table 1)"
    )
    crossing = analysis.label_efficiency.crossing
    if crossing is None:
        why = analysis.why_no_baseline or "no pre-trained trial is complete"
        return inconclusive(claim, published, why)
    tested = analysis.crossing
    parts = [
        f"interval {where} the baseline at {formatting.listed(map(formatting.fraction, fractions))}"
        for where, fractions in (
            ("below", tested.below),
            ("around", tested.level),
            ("above", tested.above),
        )
        if fractions
    ]
    if tested.without:
        without = formatting.listed(map(formatting.fraction, tested.without))
        parts.append(f"the methods cannot be compared from one seed each at {without}")
    return Claim(
        claim=claim,
        verdict=verdict_on_fraction(crossing, claimed),
        ours=str(crossing),
        paper=published,
        why=f"Isotonic fit, interpolated; {crossing.how}. “About” allows "
        f"{formatting.fraction(ABOUT)} of the labels more. Of the fractions tested: "
        f"{'; '.join(parts)}.",
    )


# time


def epoch_time(analysis: Analysis) -> Claim:
    """Seconds per epoch with all labels (§5.1, table 2)."""
    claim = "An epoch of the pre-trained model takes less time."
    full, base = paper.TRIALS[-1], paper.BASELINE
    published = (
        f"{formatting.percent(full.epoch_seconds / base.epoch_seconds, 0)} of scratch's time: "
        f"{full.epoch_seconds:.0f} against {base.epoch_seconds:.0f} s (table 2)"
    )
    if analysis.results.are_probes("pretrained"):
        return inconclusive(claim, published, NO_EPOCHS)
    why = analysis.why_absent(analysis.baseline_fraction)
    times = _times(analysis, "epoch_seconds", analysis.baseline_fraction)
    if why or times is None:
        return inconclusive(claim, published, why or NO_TIMES)
    return Claim(
        claim=claim,
        verdict=verdict_on_time(times.share),
        ours=f"{times.as_share('scratch')}: {formatting.duration(times.pretrained)} against "
        f"{formatting.duration(times.baseline)}",
        paper=published,
        why=f"Mean over epochs; {times.share.how}. {TIMING}",
    )


def longer_training(analysis: Analysis) -> Claim:
    """Epochs until the stopper ends a trial with all labels (§5.1, table 2)."""
    claim = "It overfits later: the stopper lets it train for more epochs."
    full, base = paper.TRIALS[-1], paper.BASELINE
    published = f"{full.epochs} against {base.epochs} epochs (table 2)"
    if analysis.results.are_probes("pretrained"):
        return inconclusive(claim, published, NO_EPOCHS)
    why = analysis.why_absent(analysis.baseline_fraction)
    if why:
        return inconclusive(claim, published, why)
    both = [
        analysis.results.of(init, analysis.baseline_fraction) for init in ("pretrained", "scratch")
    ]
    cut_short = [not trials["stopped_early"].all() for trials in both]
    more = mean_difference(*(trials["epochs"].tolist() for trials in both))
    epochs = [
        f"{'at least ' if cut else ''}{formatting.number(trials['epochs'].mean(), 0)}"
        for trials, cut in zip(both, cut_short, strict=True)
    ]
    interval = ""
    if more.low is not None and more.high is not None:
        ends = (formatting.number(end, 0, signed=True) for end in (more.low, more.high))
        interval = f" (95% CI: {' to '.join(ends)})"
    limit = ""
    if any(cut_short):
        limit = " Trials that ended at the epoch limit give a lower bound only."
    return Claim(
        claim=claim,
        verdict=verdict_on_epochs(
            more, longer_cut_short=cut_short[0], shorter_cut_short=cut_short[1]
        ),
        ours=f"{epochs[0]} against {epochs[1]} epochs: "
        f"{formatting.number(more.value, 0, signed=True)}{interval}",
        paper=published,
        why=f"Epochs until the stopper ended the trial, {more.how}.{limit}",
    )


def time_at_crossing(analysis: Analysis) -> Claim:
    """Training time at the smallest fraction that reaches the baseline (§5.2, table 2)."""
    claim = "It gets there in less training time than the baseline takes."
    match, base, crossing = _published_match(), paper.BASELINE, analysis.crossing
    published = (
        f"{formatting.percent(match.total_minutes / base.total_minutes, 0)} of the baseline's "
        f"time: {match.total_minutes:.0f} against {base.total_minutes:.0f} min (table 2; the text "
        f"says about {formatting.fraction(paper.TIME_SHARE_IN_TEXT)})"
    )
    if analysis.why_no_baseline or crossing.fraction is None:
        why = analysis.why_no_baseline or f"the baseline is {crossing.why_none}"
        return inconclusive(claim, published, why)
    times = _times(analysis, "total_seconds", crossing.fraction)
    if times is None:
        return inconclusive(claim, published, NO_TIMES)
    how, verdict = times.share.how, verdict_on_time(times.share)
    if times.share.low is None and times.single:
        how, verdict = f"{how}, on which the number of epochs depends", INCONCLUSIVE
    return Claim(
        claim=claim,
        verdict=verdict,
        ours=f"{times.as_share('the baseline')} at {formatting.fraction(crossing.fraction)}: "
        f"{formatting.duration(times.pretrained)} against {formatting.duration(times.baseline)}",
        paper=published,
        why=f"Sum over epochs; {how}. {TIMING}",
    )


def _published_match() -> paper.PaperTrial:
    """The paper's pre-trained trial that matches the baseline."""
    return next(
        trial
        for trial in paper.TRIALS
        if trial.init == "pretrained" and trial.fraction == paper.SMALLEST_FRACTION
    )


@dataclass(frozen=True, kw_only=True)
class Times:
    """Seconds of the pre-trained model beside those of the baseline."""

    pretrained: float
    """Mean over seeds."""
    baseline: float
    """Mean over seeds."""
    share: Estimate
    """The pre-trained model's over the baseline's."""
    single: bool
    """One seed each."""

    def as_share(self, whose: str) -> str:
        """The share as text: "0.6% of scratch's time (95% CI: 0.4% to 0.8%)"."""
        text = f"{_percent(self.share.value)} of {whose}'s time"
        if self.share.low is None or self.share.high is None:
            return text
        return f"{text} (95% CI: {_percent(self.share.low)} to {_percent(self.share.high)})"


def _percent(share: float) -> str:
    return formatting.percent(share, 0 if share >= 0.1 else 1 if share >= 0.01 else 2)


def _times(analysis: Analysis, column: str, fraction: float) -> Times | None:
    """Times of the pre-trained model at `fraction` and of the baseline; None if none are known."""
    ours = analysis.results.of("pretrained", fraction)[column].dropna()
    theirs = analysis.results.of("scratch", analysis.baseline_fraction)[column].dropna()
    if ours.empty or theirs.empty or min(ours.min(), theirs.min()) <= 0:
        return None
    share = ratio(ours.tolist(), theirs.tolist())
    return Times(
        pretrained=float(ours.mean()),
        baseline=float(theirs.mean()),
        share=share,
        single=len(ours) == len(theirs) == 1,
    )
