"""What more labels would buy, by learning curves continued beyond the largest budget.

By accuracy, whatever the report's metric: the coverage of predictions was measured for it alone.
"""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from analysis import formatting
from analysis.plots import more_labels as plots
from analysis.plots.style import INIT_NAMES
from analysis.report.analysis import Analysis
from analysis.report.figures import ReportFigure
from analysis.report.section import Block, Note, Section
from analysis.report.tables import ReportTable
from analysis.stats.power_law import (
    FURTHEST,
    LEAST_BUDGETS,
    WIDEST,
    LabelsNeeded,
    LearningCurve,
    Prediction,
    Refused,
)

TITLE = "What would more labels buy?"
SCRATCH = INIT_NAMES["scratch"]
NOT_PREDICTED = "not predicted"
CAPTION = (
    "Marks are means over seeds; solid lines an inverse power law fitted to all of them, with a smooth "
    "deviation; dashed lines its continuation. Bands: 95% intervals of the mean accuracy over draws of labelled "
    "images and seeds, on any images like those scored on; they are in lighter colour where they are predictions, "
    f"and end at {FURTHEST} times the largest budget or where the gain is uncertain by more than "
    f"{100 * WIDEST:.0f} points."
)
TABLE_TITLE = "Predictions from the learning curves; in brackets 95% prediction intervals."
HOW = (
    "A prediction interval is one of the mean accuracy over draws (which images are labelled, and the seed) "
    "on any images like those scored on. It covers the variance between seeds, the choice of those images, and the "
    "error that learning curves of other forms than a power law would cause. A single trained model varies around "
    "it. Fitted curves need not pass through the mean of each budget."
)


def section(analysis: Analysis) -> Section | None:
    """A figure and a table; None if no method has enough numbers of labels."""
    analysis = analysis.by_accuracy
    curves = analysis.learning_curves
    if not _enough_budgets(analysis):
        return None
    fitted = {name: curve for name, curve in curves.items() if isinstance(curve, LearningCurve)}
    blocks: list[Block] = [text for text in (sentence(analysis),) if text]
    if fitted:
        blocks += [_figure(analysis, fitted), _table(analysis, fitted)]
        rests = "; ".join(f"{name}: {curve.how}" for name, curve in fitted.items())
        blocks.append(Note(text=f"{HOW} Fitted to: {rests}."))
    blocks += [Note(text=f"Not predicted, {reason}.") for reason in _reasons(analysis)]
    return Section(id="more-labels", title=TITLE, blocks=tuple(blocks))


def sentence(analysis: Analysis) -> str | None:
    """What more labels would buy, as one paragraph for the summary.

    None if no method has enough numbers of labels for a learning curve.
    """
    analysis = analysis.by_accuracy
    if not _enough_budgets(analysis):
        return None
    more = f"{analysis.more_labels:,}"
    gains = {name: _gain(curve, analysis) for name, curve in analysis.learning_curves.items()}
    known = {name: gain for name, gain in gains.items() if isinstance(gain, Prediction)}
    refused = {name: gain.reason for name, gain in gains.items() if isinstance(gain, Refused)}
    if known:
        added = formatting.listed(f"{gain.as_gain} {_to(name)}" for name, gain in known.items())
        text = f"{more} more labels than the largest budget would add {added}"
    else:
        text = f"What {more} more labels would buy is not predicted"
    for name, reason in refused.items():
        text += f"{f'; {name}, nothing is predicted' if known else f'; {name}'}: {reason}"
    return f"{text}.{_target(analysis)}"


def _to(name: str) -> str:
    return "to training from scratch" if name == SCRATCH else f"to the {name} model"


def _target(analysis: Analysis) -> str:
    """How many labels the target takes; empty without one, or if no curve can tell."""
    if analysis.target is None:
        return ""
    parts = [
        f"{found} {name}"
        for name, curve in analysis.learning_curves.items()
        if isinstance(curve, LearningCurve)
        and isinstance(found := curve.needed(analysis.target), LabelsNeeded)
    ]
    if not parts:
        return ""
    target = formatting.fraction(analysis.target)
    return f" An accuracy of {target} takes this many labels: {formatting.listed(parts)}."


def _enough_budgets(analysis: Analysis) -> bool:
    return any(len(cells) >= LEAST_BUDGETS for cells in analysis.methods.values())


def _gain(curve: LearningCurve | Refused, analysis: Analysis) -> Prediction | Refused:
    return curve if isinstance(curve, Refused) else curve.gain(analysis.more_labels)


def _figure(analysis: Analysis, fitted: dict[str, LearningCurve]) -> ReportFigure:
    figure = Figure(figsize=(8, 5), layout="constrained")
    plots.more_labels(
        fitted,
        figure.subplots(),
        baseline=_baseline(analysis),
        target=analysis.target,
        name=analysis.results.accuracy_name,
    )
    return ReportFigure(
        name="more_labels",
        title="Accuracy beyond the largest budget",
        caption=CAPTION,
        figure=figure,
    )


def _baseline(analysis: Analysis) -> float | None:
    """Accuracy from scratch on the most labels, 0–1."""
    if analysis.why_no_baseline is not None:
        return None
    return analysis.methods[SCRATCH][-1].accuracy


def _table(analysis: Analysis, fitted: dict[str, LearningCurve]) -> ReportTable:
    return ReportTable(
        path="tables/more_labels",
        title=TABLE_TITLE,
        frame=predictions_table(analysis, fitted),
        numbers=False,
    )


def predictions_table(analysis: Analysis, fitted: dict[str, LearningCurve]) -> pd.DataFrame:
    """One row per training method."""
    baseline, target, more = _baseline(analysis), analysis.target, analysis.more_labels
    rows: list[dict[str, str]] = []
    for name, curve in fitted.items():
        gain, ahead = curve.gain(more), curve.accuracy(curve.largest + more)
        row = {
            "method": name,
            "largest budget": f"{curve.largest:,}",
            "accuracy there": formatting.percent(curve.cells[-1].accuracy),
            f"with {more:,} more": _text(ahead, "accuracy"),
            "gain, points": _text(gain, "gain"),
        }
        if baseline is not None:
            column = f"labels for the baseline's {formatting.percent(baseline)}"
            row[column] = f"{curve.largest:,}: the baseline"
            if curve.baseline is not None:
                row[column] = _labels(curve.needed(curve.baseline))
        if target is not None:
            row[f"labels for {formatting.fraction(target)}"] = _labels(curve.needed(target))
        rows.append(row)
    return pd.DataFrame(rows)


def _text(found: Prediction | Refused, quantity: str) -> str:
    """Value and interval, as short as a table has them: "74.5% [72.0%, 76.9%]"."""
    if isinstance(found, Refused):
        return NOT_PREDICTED
    shown = formatting.points if quantity == "gain" else formatting.percent
    return f"{shown(found.value)} [{shown(found.low)}, {shown(found.high)}]"


def _labels(found: LabelsNeeded | Refused) -> str:
    """Number of labels and interval, as short as a table has them: "620 [310 to > 4,000]"."""
    if isinstance(found, Refused):
        return NOT_PREDICTED
    return f"{found.text} [{found.ends}]"


def _reasons(analysis: Analysis) -> list[str]:
    """Why something is not predicted, once for each reason."""
    reasons: list[str] = []
    for name, curve in analysis.learning_curves.items():
        asked: list[object] = [_gain(curve, analysis)]
        if isinstance(curve, LearningCurve):
            targets = (curve.baseline, analysis.target)
            asked += [curve.needed(target) for target in targets if target is not None]
        reasons += [f"{name}: {found.reason}" for found in asked if isinstance(found, Refused)]
    return list(dict.fromkeys(reasons))
