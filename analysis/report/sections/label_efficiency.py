"""How many labels are enough: one figure, and what it saves in labels and computation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd
from matplotlib.figure import Figure

from analysis import formatting
from analysis.formatting import capital
from analysis.metrics import ACCURACY, Metric
from analysis.plots import learning_curve
from analysis.report.analysis import Analysis
from analysis.report.figures import ReportFigure
from analysis.report.section import Block, Section
from analysis.report.tables import ReportTable
from analysis.stats.cost import Share, shares
from analysis.stats.label_efficiency import LabelEfficiency

TITLE = "How many labels are enough?"
CURVES = (
    "Left: {} over labels; marks are means over seeds, bands their 95% CI over images "
    "and seeds (one seed: {}images alone), lines isotonic fits. If the pre-trained "
    "line meets the baseline (dotted; diamond, grey: 95% CI), the labels there are enough to match training "
    "from scratch on all of them."
)
COUNTS = {
    "images": "images through the network",
    "flops": "floating-point operations",
    "seconds": "seconds of the epochs",
}
AMOUNTS: dict[str, Callable[[float], str]] = {
    "images": lambda count: f"{count:,.0f}",
    "flops": lambda count: f"{count / 1e12:.3g} TFLOP",
    "seconds": formatting.duration,
}
SAVING_TITLE = (
    "Labels saved at equal {}: what the pre-trained model needs to {} one "
    "from scratch, and how many times fewer labels that is; 95% CI by {}."
)
COSTS_TITLE = (
    "Cost of the pre-trained model {}, against the baseline; means over seeds and Student's 95% CI "
    "of the share. Validation images are counted too. “Every image, every epoch”: each passes the "
    "whole network in each epoch, as the paper runs it (a training step costs three forward passes "
    "if all is trained, two if all but the encoder is, one below a frozen backbone). “As run "
    "here”: a head on cached features needs one pass of each image, once; seconds are without "
    "that pass."
)


def section(analysis: Analysis) -> Section | None:
    """The answer as a figure and two tables; None without a baseline and a pre-trained cell."""
    point = analysis.label_efficiency.crossing
    if point is None:
        return None
    reached = analysis.crossing.fraction
    fraction = point.tested[-1] if reached is None else reached
    which = (
        "the largest tested, as the baseline is not reached"
        if reached is None
        else "the smallest fraction tested that reaches it"
    )
    where = f"at {formatting.fraction(fraction)}, {which}"
    compared = shares(analysis.results, fraction)
    blocks: list[Block] = [
        _figure(analysis, compared, fraction, where),
        ReportTable(
            path="tables/label_saving",
            title=_saving_title(analysis.results.metric, point.how),
            frame=savings_table(analysis.label_efficiency, analysis.results.metric),
            numbers=False,
        ),
    ]
    if compared:
        blocks.append(
            ReportTable(
                path="tables/compute_saving",
                title=COSTS_TITLE.format(where),
                frame=costs_table(compared),
                numbers=False,
            )
        )
    return Section(id="labels", title=TITLE, blocks=tuple(blocks))


def _saving_title(metric: Metric, how: str) -> str:
    reach = "be as accurate as" if metric == ACCURACY else "equal"
    return SAVING_TITLE.format(metric.label, reach, how)


def _figure(
    analysis: Analysis, compared: Sequence[Share], fraction: float, where: str
) -> ReportFigure:
    figure = Figure(figsize=(11, 5), layout="constrained")
    results = analysis.results
    wilson = "Wilson's, " if results.metric == ACCURACY else ""
    caption = CURVES.format(results.metric.label, wilson)
    if compared:
        left, right = figure.subplots(1, 2, width_ratios=(1.75, 1))
        learning_curve.costs(compared, right, f"at {formatting.fraction(fraction)}")
        caption += f" Right: what training the pre-trained model costs {where}, in shares of the "
        caption += "baseline's cost (dotted line)."
    else:
        left = figure.subplots()
    learning_curve.learning(
        analysis.accuracies,
        analysis.label_efficiency,
        left,
        name=results.accuracy_name,
        shares=results.metric.shares,
    )
    return ReportFigure(
        name="learning_curve",
        title=f"{capital(results.metric.label)} and cost by number of labels",
        caption=caption,
        figure=figure,
    )


def savings_table(found: LabelEfficiency, metric: Metric = ACCURACY) -> pd.DataFrame:
    """One row per fraction of scratch; `metric` is what the values are of."""
    rows = [
        {
            "from scratch": formatting.fraction(saving.fraction),
            "labels": f"{saving.n_labels:,}",
            metric.heading: metric.cell(saving.accuracy),
            "pre-trained needs": saving.crossing.text,
            "95% CI": saving.crossing.interval.removeprefix("95% CI: "),
            "times fewer labels": saving.times_fewer,
        }
        for saving in found.savings
    ]
    return pd.DataFrame(rows)


def costs_table(compared: Sequence[Share]) -> pd.DataFrame:
    """One row per cost and way of counting it."""
    rows: list[dict[str, str]] = []
    for share in compared:
        amount, low, high = AMOUNTS[share.quantity], share.share.low, share.share.high
        interval = share.share.how
        if low is not None and high is not None:
            interval = f"{_percent(low)} to {_percent(high)}"
        rows.append(
            {
                "cost": COUNTS[share.quantity],
                "counted": share.counted,
                "pre-trained": amount(share.ours),
                "baseline": amount(share.baseline),
                "share": _percent(share.share.value),
                "95% CI": interval,
                "saving": learning_curve.factor(share),
            }
        )
    return pd.DataFrame(rows)


def _percent(share: float) -> str:
    """Three digits or more: 0.0895 → "8.95%", 10.02 → "1,002%"."""
    return f"{share * 100:,.0f}%" if share >= 1 else f"{share * 100:.3g}%"
