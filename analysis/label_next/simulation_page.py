"""The page of a simulation: what was found, curves, and tables."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analysis.formatting import capital, listed, percent
from analysis.label_next.orders import PURITY, SHOWN, TYPICAL_NEIGHBOURS, OrderName
from analysis.label_next.simulation import Simulation
from analysis.plots import label_next as plots
from analysis.plots import style
from analysis.report.figures import ReportFigure
from analysis.report.render import Page
from analysis.report.section import Bullets, Command, Note, Section
from analysis.report.tables import BEST, ReportTable
from analysis.stats.estimates import LEVEL, Estimate
from analysis.stats.label_efficiency import BELOW, NEVER
from analysis.stats.paired import LabelsNeeded

REFERENCES = (
    "TypiClust: Hacohen, Dekel and Weinshall 2022, Active Learning on a Budget: Opposite Strategies Suit "
    "High and Low Budgets, ICML. " + f"Typicality over {TYPICAL_NEIGHBOURS} neighbours, as there.",
    "ProbCover: Yehuda, Dekel, Hacohen and Weinshall 2022, Active Learning Through a Covering Lens, NeurIPS.",
    "Margin: Scheffer, Decomain and Wrobel 2001, Active Hidden Markov Models for Information Extraction, IDA.",
    "BADGE: Ash, Zhang, Krishnamurthy, Langford and Agarwal 2020, Deep Batch Active Learning by Diverse, "
    "Uncertain Gradient Lower Bounds, ICLR.",
    "All by scikit-activeml (Kottke et al. 2021).",
)


def finding(simulation: Simulation) -> tuple[str, ...]:
    """What was found, a sentence each, gains first, then losses, then orders without either."""
    gains: list[tuple[float, str]] = []
    losses: list[tuple[float, str]] = []
    neither: list[str] = []
    several = len(simulation.compared) > 1
    for order, estimates in simulation.gains.items():
        average, name = simulation.averages[order], SHOWN[order]
        is_any = False
        for sign, how, found in ((1, "more", gains), (-1, "less", losses)):
            where = _where(simulation, estimates, sign)
            on_average = several and average.sign == sign
            if where or on_average:
                is_any = True
                most = max(where, key=lambda item: sign * item[1].value, default=None)
                size = average.value if most is None else most[1].value
                text = _sentence(
                    simulation, name, how, where, most, average if on_average else None
                )
                found.append((size, text))
        if not is_any:
            neither.append(name)
    sentences = [text for _, text in sorted(gains, reverse=True)]
    sentences += [text for _, text in sorted(losses)]
    if not gains:
        sentences.insert(0, _no_gain(simulation))
    elif neither:
        sentences.append(f"No significant difference from random: {listed(neither)}.")
    return tuple(sentences)


def _no_gain(simulation: Simulation) -> str:
    budgets = len(simulation.compared)
    at = f"with {simulation.compared[0]:,} labels"
    if budgets > 1:
        at = f"at any of the {budgets} budgets, or on average over them"
    every = listed(SHOWN[order] for order in simulation.orders)
    who = f"none of {every} is" if len(simulation.orders) > 1 else f"{every} is not"
    return f"No gain: {who} significantly more accurate than random {at}."


def _where(
    simulation: Simulation, estimates: Sequence[Estimate], sign: int
) -> list[tuple[int, Estimate]]:
    """Budget and estimate where an order is above (1) or below (-1) random."""
    pairs = zip(simulation.compared, estimates, strict=True)
    return [(budget, estimate) for budget, estimate in pairs if estimate.sign == sign]


def _sentence(
    simulation: Simulation,
    name: str,
    how: str,
    found: Sequence[tuple[int, Estimate]],
    most: tuple[int, Estimate] | None,
    average: Estimate | None,
) -> str:
    budgets = len(simulation.compared)
    parts: list[str] = []
    if average is not None:
        parts.append(f"on average over the {budgets} budgets ({average.in_points()})")
    if most is not None:
        where = f"at {len(found)} of {budgets} budgets, most with" if budgets > 1 else "with"
        parts.append(f"{where} {most[0]:,} labels ({most[1].in_points()})")
    return f"{capital(name)} is {how} accurate than random {', and '.join(parts)}."


def page(simulation: Simulation, name: str, command: str) -> Page:
    """The page, its figure and its tables.

    Parameters
    ----------
    name
        Of the sweep.
    command
        That makes it again.
    """
    first, *others = finding(simulation)
    with style.applied():
        answer = Section(
            id="found",
            title="What was found",
            headline=first,
            blocks=(*others, *_what_was_done(simulation)),
            boxed=True,
            data={"simulation": numbers(simulation)},
        )
        curves = Section(
            id="curves",
            title="Accuracy and gains",
            blocks=(
                _figure(simulation),
                _gains_table(simulation),
                _needs_table(simulation),
                Note(text=_how(simulation)),
            ),
        )
        how = Section(
            id="how",
            title="How it was done",
            blocks=(Bullets(items=(*_methods(simulation), *REFERENCES)), Command(text=command)),
        )
    budgets = simulation.budgets
    return Page(
        name=f"{name}: orders of labelling",
        title=f"What orders of labelling are worth: {name}",
        subtitle=(
            f"{budgets[-1]:,} labelled images, {simulation.correct.shape[3]:,} test images, "
            f"{simulation.repeats} random starts, features: {simulation.backbone}"
        ),
        sections=(answer, curves, how),
    )


def _what_was_done(simulation: Simulation) -> list[str]:
    budgets = simulation.budgets
    detectable = [e.detectable for es in simulation.gains.values() for e in es if e.detectable]
    return [
        f"Labels were hidden and asked for in batches, from {budgets[0]:,} labels ({simulation.start} of each "
        f"class, at random) to all {budgets[-1]:,} of the pool, {simulation.repeats} times from other starts. "
        "After each batch a linear probe was fitted to all labels that there were, and scored on the "
        f"{simulation.correct.shape[3]:,} test images.",
        f"True differences above {100 * min(detectable):.1f} to {100 * max(detectable):.1f} points, by budget "
        "and order, would have been found in 80% of such simulations.",
    ]


def _figure(simulation: Simulation) -> ReportFigure:
    accuracies = simulation.accuracies
    names = [SHOWN[order] for order in simulation.orders]
    figure = plots.simulation(
        simulation.budgets,
        accuracies[0],
        dict(zip(names, accuracies[1:], strict=True)),
        simulation.compared,
        {SHOWN[order]: found for order, found in simulation.gains.items()},
    )
    return ReportFigure(
        name="label_next",
        title="Accuracy by number of labels, and minus random",
        caption=(
            f"Left: means over n = {simulation.repeats} starts; the band holds 80% of the random ones. Right: "
            "95% intervals that hold together for all budgets and orders; full marks exclude 0."
        ),
        figure=figure,
    )


def _gains_table(simulation: Simulation) -> ReportTable:
    random = simulation.accuracies[0].mean(axis=1)[1:-1]
    several = len(random) > 1
    labels = [f"{budget:,}" for budget in simulation.compared]
    values = [percent(value) for value in random]
    columns = {
        "labels": [*labels, "mean"] if several else labels,
        "random": [*values, percent(random.mean())] if several else values,
    }
    marks: dict[tuple[int, str], str] = {}
    for order, estimates in simulation.gains.items():
        every = [*estimates, simulation.averages[order]] if several else estimates
        columns[SHOWN[order]] = [estimate.in_points("") for estimate in every]
        for row, estimate in enumerate(every):
            if estimate.sign:
                marks[row, SHOWN[order]] = BEST
    return ReportTable(
        frame=pd.DataFrame(columns),
        title=(
            "Accuracy of random, and that of each order minus it in points, with simultaneous 95% intervals; "
            "bold: the interval excludes 0."
        ),
        path="tables/gains",
        suffixes=(".md",),
        marks=marks,
    )


def _needs_table(simulation: Simulation) -> ReportTable:
    columns = {"labels": [f"{budget:,}" for budget in simulation.compared]}
    for order, needed in simulation.random_needs.items():
        columns[SHOWN[order]] = [_needed(simulation, one) for one in needed]
    return ReportTable(
        frame=pd.DataFrame(columns),
        title=(
            "How many labels random needs for the accuracy that an order has with the labels of the row (95% CI)."
        ),
        path="tables/random_needs",
        suffixes=(".md",),
    )


def _needed(simulation: Simulation, needed: LabelsNeeded) -> str:
    """E.g. "85 (66 to 130)"; "≤ 12" and "> 1,711" as far as was simulated."""
    low, high = (_amount(simulation, end) for end in (needed.low, needed.high))
    return f"{_amount(simulation, needed.value)} ({low} to {high})"


def _amount(simulation: Simulation, labels: float) -> str:
    if labels == BELOW:
        return f"≤ {simulation.budgets[0]:,}"
    if labels == NEVER:
        return f"> {simulation.budgets[-1]:,}"
    return f"{labels:,.0f}"


def _how(simulation: Simulation) -> str:
    orders = len(simulation.orders)
    together = f"; over the {orders} orders by Bonferroni's inequality" if orders > 1 else ""
    return (
        f"Differences are paired over test images and starts. Intervals: bootstrap over images, Student's t over "
        f"starts, simultaneous over budgets by the joint draws{together}: all of them together cover the true "
        f"differences in {LEVEL:.0%} of such simulations. They are of this pool: another pool may differ by more. "
        "Labels that random needs: isotonic fit of its mean accuracies, bootstrap over images and starts, each "
        "interval alone. With the first and the last budget all orders have the same labels."
    )


def _methods(simulation: Simulation) -> list[str]:
    doubles = all(
        after == 2 * b for b, after in zip(simulation.budgets, simulation.compared, strict=False)
    )
    batches = (
        "as many as there were already"
        if doubles
        else f"{simulation.budgets[1] - simulation.budgets[0]:,}"
    )
    lines = [
        f"Labels of a batch: {batches}. Orders that ask a classifier ask the probe fitted to the labels so far.",
        "TypiClust and ProbCover see features of length 1, BADGE standardised ones, as the probe does.",
    ]
    if simulation.radius is not None:
        lines.append(
            f"ProbCover's radius is {simulation.radius:.4f}, the largest within which at least {PURITY:.0%} of the "
            "images have images of their own k-means cluster alone, with as many clusters as classes: no label "
            "is used."
        )
    return lines


def numbers(simulation: Simulation) -> pd.DataFrame:
    """A row for each order and budget: what the tables show, as numbers in 0–1."""
    rows: list[dict[str, object]] = []
    accuracies = simulation.accuracies.mean(axis=2)
    every: list[OrderName] = ["random", *simulation.orders]
    for number, order in enumerate(every):
        for k, budget in enumerate(simulation.budgets):
            row: dict[str, object] = {
                "order": order,
                "labels": budget,
                "accuracy": accuracies[number, k],
                "random": accuracies[0, k],
                "repeats": simulation.repeats,
                "test_images": simulation.correct.shape[3],
            }
            if order != "random" and budget in simulation.compared:
                estimate = simulation.gains[order][k - 1]
                needed = simulation.random_needs[order][k - 1]
                row |= {
                    "gain": estimate.value,
                    "low": estimate.low,
                    "high": estimate.high,
                    "sign": estimate.sign,
                    "random_needs": needed.value,
                    "random_needs_low": needed.low,
                    "random_needs_high": needed.high,
                }
            rows.append(row)
    return pd.DataFrame(rows)
