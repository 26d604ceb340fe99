"""The reader's question, answered in plain words, whatever the answer is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis import formatting
from analysis.metrics import ACCURACY, Metric
from analysis.report.analysis import Analysis
from analysis.report.section import Section
from analysis.report.sections import more_labels, transfer
from analysis.results.pair import Candidate
from analysis.results.schema import records
from analysis.stats.estimates import POWER, Estimate
from analysis.stats.label_efficiency import BELOW, NEVER
from analysis.stats.sequential import decision, looks_of

Row = Mapping[str, Any]
"""Of `comparisons.against_baseline` or `comparisons.at_equal_labels`."""
QUESTION = (
    "Does a pre-trained Vision Transformer beat training from scratch on these images, and how "
    "many labels does it need?"
)


def section(analysis: Analysis) -> Section:
    """The answer: one sentence, and the numbers that it rests on."""
    missing = len(analysis.everything.missing)
    note = (
        f"{missing} of the grid's trials {'is' if missing == 1 else 'are'} not complete and not in "
        "these numbers; see “Missing or failed”."
    )
    return Section(
        id="answer",
        title=QUESTION,
        headline=headline(analysis),
        blocks=(*_sentences(analysis), *([note] if missing else [])),
        boxed=True,
    )


def headline(analysis: Analysis) -> str:
    """One sentence that answers `QUESTION`."""
    equal, needed = analysis.at_equal_labels, _labels_that_suffice(analysis)
    if equal.empty and needed is None:
        why = analysis.why_absent(analysis.baseline_fraction)
        return f"No answer yet: {why or 'no cell of one init has its match in the other'}."
    if equal.empty:
        return f"Only in part, as no number of labels was run with both inits: {needed}."
    parts = [_at_most_labels(analysis, records(equal)[-1])]
    parts += [f", and {needed}"] if needed else []
    parts += _otherwise_with_fewer(analysis)
    return f"{''.join(parts)}."


def _at_most_labels(analysis: Analysis, row: Row) -> str:
    """Whether pre-training helps at the largest number of labels that both inits have."""
    pretrained, scratch = analysis.pretrained_name, analysis.scratch_name
    labels, difference = f"with {row['n_labels']:,} labels", _estimate(row)
    metric = difference.metric
    if difference.sign is None and difference.models is None:
        return (
            f"Inconclusive: {labels} the methods cannot be compared "
            f"({difference.in_points()}, pre-trained minus scratch)"
        )
    if difference.sign is None:
        return (
            f"Inconclusive: {labels} the methods cannot be compared from one seed each; these two "
            f"trained models differ by {metric.difference(difference.value)}{metric.unit}"
            f"{_of_models(difference)}, pre-trained minus scratch"
        )
    if difference.sign == 0:
        return (
            f"Inconclusive: {labels} there is no significant difference between {pretrained} "
            f"and {scratch} ({difference.in_points()}, pre-trained minus scratch){_none_above(difference)}"
        )
    ends = sorted(abs(end) for end in (difference.low, difference.high) if end is not None)
    interval = " to ".join(map(metric.size, ends))
    answer = "Yes" if difference.value > 0 else "No"
    return (
        f"{answer}: {labels} {pretrained} is {metric.size(difference.value)}{metric.unit} "
        f"{metric.compared(difference.sign)} than {scratch} (95% CI: {interval})"
    )


def _none_above(difference: Estimate) -> str:
    """The largest difference, either way, that the interval of an insignificant one allows."""
    if difference.low is None or difference.high is None:
        return ""
    bound = max(-difference.low, difference.high)
    return f", and none above {difference.metric.size(bound)}{difference.metric.unit}"


def _of_models(difference: Estimate) -> str:
    if difference.models is None:
        return ""
    return f" (95% CI: {' to '.join(map(difference.metric.difference, difference.models))})"


def _labels_that_suffice(analysis: Analysis) -> str | None:
    """How many labels the pre-trained model needs to match the baseline, as a clause."""
    crossing = analysis.label_efficiency.crossing
    if crossing is None:
        return None
    if crossing.value == NEVER and crossing.low not in (None, NEVER):
        return (
            f"it seems to need more labels than were tested ({crossing.interval}) to match "
            f"{analysis.scratch_name} on {_all_labels(analysis)}"
        )
    if crossing.value == NEVER:
        return (
            f"at no number of labels tested does it reach the {analysis.results.metric.label} of "
            f"{analysis.scratch_name} on {_all_labels(analysis)}"
        )
    interval = "" if crossing.low is None else f" ({crossing.interval})"
    if crossing.value == BELOW:
        text = f"{crossing.smallest}{interval}, the fewest tested, suffice"
    else:
        text = f"{crossing.amount}{interval} suffice"
    return f"{text} to match {analysis.scratch_name} on {_all_labels(analysis)}"


def _all_labels(analysis: Analysis) -> str:
    """The labels of the baseline: "all labels", or "all 1,198" if budgets are counted."""
    whole, crossing = analysis.label_efficiency.savings[-1], analysis.label_efficiency.crossing
    if crossing is None or crossing.n_pool is None:
        return "all labels"
    return f"{'all ' if whole.fraction == 1 else ''}{whole.n_labels:,}"


def _otherwise_with_fewer(analysis: Analysis) -> list[str]:
    """What is true with fewer labels, if that is another answer than with the most."""
    metric = analysis.results.metric
    *fewer, most = records(analysis.at_equal_labels)
    parts: list[str] = []
    for sign, better in ((1, analysis.pretrained_name), (-1, analysis.scratch_name)):
        labels = [f"{row['n_labels']:,}" for row in fewer if row["sign"] == sign != most["sign"]]
        if labels:
            parts.append(
                f"; with {formatting.listed(labels)} labels {better} is {metric.compared(1)}"
            )
    return parts


def _sentences(analysis: Analysis) -> list[str]:
    equal, against = analysis.at_equal_labels, analysis.against_baseline
    if equal.empty and against.empty:
        return []
    sentences = [_at_most_labels_in_full(analysis, records(equal)[-1])] if len(equal) else []
    if len(against):
        sentences += [_labels_needed(analysis), _by_fraction(analysis)]
    else:
        sentences.append(f"How many labels it needs is unknown: {analysis.why_no_baseline}.")
    if len(equal) > 1:
        sentences.append(_at_equal_labels(equal, analysis.results.metric))
    sentences += filter(None, (more_labels.sentence(analysis), transfer.in_short(analysis)))
    return [
        *_chosen_of_several(analysis),
        *sentences,
        *_looked_at(analysis),
        *_most_common_class(analysis),
    ]


def _chosen_of_several(analysis: Analysis) -> list[str]:
    """Which architectures the answer is about, and how they were chosen; empty if there is one."""
    pair = analysis.pair
    several = {"pre-trained": pair.among_pretrained, "trained from scratch": pair.among_scratch}
    names = {candidate.arch for candidates in several.values() for candidate in candidates}
    if len(names) < 2:
        return []
    lists = [
        f"{what} {formatting.listed(_validated(candidates))}"
        for what, candidates in several.items()
        if candidates
    ]
    how = (
        "as asked for"
        if pair.named
        else "the ones with the highest accuracy on their validation images; the test images chose nothing"
        if analysis.results.scored_on == "test"
        else "the first ones of the sweep"
    )
    return [
        f"This page is about {analysis.pretrained_name} and {analysis.scratch_name}: {how}. Validation "
        f"accuracy with the most labels: {'; '.join(lists)}. Other choices: --of ARCH and "
        "--baseline ARCH; “Which backbone needs the fewest labels?” compares all of them at once."
    ]


def _validated(candidates: Sequence[Candidate]) -> list[str]:
    return [f"{c.arch} {formatting.percent(c.validation_accuracy)}" for c in candidates]


def _at_most_labels_in_full(analysis: Analysis, row: Row) -> str:
    power, metric = _estimate(row).power, analysis.results.metric
    pretrained, scratch = (
        f"{metric.level(row[init])} ({formatting.seeds(int(row[f'n_{init}']))})"
        for init in ("pretrained", "scratch")
    )
    if metric == ACCURACY:
        values = (
            f"classifies {pretrained} and the one from scratch {scratch} of the "
            f"{analysis.results.scored_on} images correctly"
        )
    else:
        name = analysis.results.accuracy_name
        values = f"has a {name} of {pretrained} and the one from scratch of {scratch}"
    return (
        f"With {row['n_labels']:,} labels ({formatting.fraction(row['fraction'])} of them) the "
        f"pre-trained model {values}; pre-trained minus scratch {_estimate(row).in_points()}. "
        f"Brackets: 95% CI, {row['how']}."
        + ("" if power is None else f" No significant difference; {power}.")
    )


def _estimate(row: Row) -> Estimate:
    """A row of the comparisons as a difference with its interval."""
    estimate: Estimate = row["estimate"]
    return estimate


def _labels_needed(analysis: Analysis) -> str:
    """Where the pre-trained model reaches the baseline, interpolated, with its interval."""
    against, crossing = records(analysis.against_baseline), analysis.label_efficiency.crossing
    if crossing is None:
        return "How many labels the pre-trained model needs is unknown."
    whole = analysis.label_efficiency.savings[-1]
    labels = f"{_all_labels(analysis)}{'' if crossing.n_pool is None else ' labels'}"
    baseline = (
        f"the baseline (from scratch on {labels}, {analysis.results.metric.level(whole.accuracy)})"
    )
    if crossing.value == NEVER:
        best = max(against, key=lambda row: row["difference"])
        text = (
            f"The pre-trained model does not reach {baseline} with any number of labels tested; it "
            f"comes closest with {best['n_labels']:,}: {_estimate(best).in_points()}"
        )
    elif crossing.value == BELOW:
        smallest = against[0]
        text = (
            f"The pre-trained model is at {baseline} with {smallest['n_labels']:,} labels "
            f"({formatting.fraction(smallest['fraction'])}) already, the fewest tested; fewer may "
            "suffice"
        )
    else:
        text = (
            f"The pre-trained model reaches {baseline} with about "
            f"{crossing.value / whole.fraction * whole.n_labels:,.0f} labels "
            f"({formatting.percent(crossing.value, 0)}), interpolated between the numbers tested"
        )
    how = "" if crossing.low is None else f" ({crossing.how})"
    return f"{text}; {crossing.interval}{how}."


def _by_fraction(analysis: Analysis) -> str:
    """Which numbers of labels tested lie below, at and above the baseline."""
    crossing = analysis.crossing
    rows = records(analysis.against_baseline)
    labels = {float(row["fraction"]): f"{row['n_labels']:,}" for row in rows}
    parts = [
        f"{what} with {formatting.listed(labels[fraction] for fraction in fractions)}"
        for fractions, what in (
            (crossing.below, analysis.results.metric.compared(-1)),
            (crossing.level, "not significantly different"),
            (crossing.above, analysis.results.metric.compared(1)),
            (crossing.without, f"not to be compared{_from_one_seed(rows)}"),
        )
        if fractions
    ]
    return (
        f"Compared with the baseline at each number of labels tested, it is {'; '.join(parts)}."
        f"{'' if len(analysis.at_equal_labels) > 1 else _simultaneous(rows)}{_power(rows)}"
    )


def _from_one_seed(rows: Sequence[Row]) -> str:
    """Why differences have no interval between methods, unless each has a reason of its own."""
    without = [_estimate(row) for row in rows if _estimate(row).sign is None]
    return " from one seed each" if any(e.models is not None for e in without) else ""


def _simultaneous(rows: Sequence[Row]) -> str:
    """That the intervals of several fractions hold together, if they do."""
    together = sum(_estimate(row).critical is not None for row in rows)
    if not together:
        return ""
    return (
        f" The {together} intervals are simultaneous 95% intervals: in 95% of such sweeps all of "
        "them together cover their true values."
    )


def _power(rows: Sequence[Row]) -> str:
    """What would have been found where there is no significant difference."""
    metric = _estimate(rows[0]).metric
    detectable = [
        estimate.detectable
        for row in rows
        if (estimate := _estimate(row)).sign == 0 and estimate.detectable is not None
    ]
    if not detectable:
        return ""
    if metric.shares and min(detectable) >= 1:
        return (
            " If there is no significant difference, none, however large, would have been found in "
            f"{POWER:.0%} of such sweeps."
        )
    least, most = metric.size(min(detectable)), metric.size(max(detectable))
    size = least if least == most else f"{least} to {most}"
    if metric.shares and max(detectable) >= 1:
        size = f"{least} to more than 100"
    size += metric.unit
    depending = "" if least == most else ", depending on the number of labels,"
    return (
        f" If there is no significant difference, a difference above {size}{depending} would have "
        f"been found in {POWER:.0%} of such sweeps."
    )


def _at_equal_labels(equal: pd.DataFrame, metric: Metric) -> str:
    """Both inits at equal labels, from few to many."""
    groups: list[str] = []
    every = records(equal)
    for sign, what in (
        (1, f"the pre-trained model is {metric.compared(1)}"),
        (0, "there is no significant difference"),
        (-1, f"training from scratch is {metric.compared(1)}"),
        (None, f"the methods cannot be compared{_from_one_seed(every)}"),
    ):
        rows = [row for row in every if _estimate(row).sign == sign]
        if rows:
            cells = (f"{row['n_labels']:,} ({_estimate(row).in_points()})" for row in rows)
            groups.append(f"{what} with {formatting.listed(cells)}")
    return (
        f"At equal numbers of labels (pre-trained minus scratch): {'; '.join(groups)}."
        f"{_simultaneous(every)}{_power(every)}"
    )


def _looked_at(analysis: Analysis) -> list[str]:
    """That the sweep could end by its result, and what is corrected for it."""
    settings = analysis.results.manifest.settings
    looks, equal = looks_of(settings), analysis.by_accuracy.at_equal_labels
    if looks is None or equal.empty:
        return []
    by = "" if analysis.results.metric == ACCURACY else ", by accuracy"
    fewest = equal[["n_pretrained", "n_scratch"]].min(axis=1)
    taken = 1 + max(looks.reached(int(n)) for n in fewest)
    decisions = [decision(estimate, settings["detect"] / 100) for estimate in equal["estimate"]]
    undecided = decisions.count(None)
    end = (
        f"{undecided} of {len(decisions)} comparisons are undecided"
        if undecided
        else "all comparisons are decided"
    )
    alike = decisions.count("alike")
    if alike:
        end += f", {alike} of them as smaller than {settings['detect']:g} points"
    return [
        f"This sweep ran in rounds of seeds and was looked at after each{by}: {taken} of at most "
        f"{len(looks.seeds)} times, with {looks.seeds[0]} to {looks.seeds[taken - 1]} seeds; {end}. "
        "The intervals of differences between pre-trained and scratch are wider for that: those of "
        "all looks together cover their true values in 95% of such sweeps. Where a clear difference "
        "ended the rounds, it is too large on average; intervals of accuracies and of labels needed "
        "are not corrected for looking."
    ]


def _most_common_class(analysis: Analysis) -> list[str]:
    """The accuracy of naming the most common class, if a trial stored its predictions."""
    if analysis.results.metric != ACCURACY:
        return []
    complete = analysis.results.complete.sort_values("fraction", ascending=False)
    for trial in complete["trial"]:
        stored = analysis.results.predictions(trial)
        if stored is not None:
            counts = np.bincount(stored.labels)
            name, share = analysis.class_names[counts.argmax()], counts.max() / counts.sum()
            return [
                f"For scale: always answering “{name}”, the most common class, is right for "
                f"{formatting.percent(share)} of the {counts.sum():,} {analysis.results.scored_on} images."
            ]
    return []
