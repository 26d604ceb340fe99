"""Class by class: what pre-training changes, confusion matrices, calibration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.metrics import confusion_matrix

from analysis.plots import class_scores
from analysis.plots.style import text_width
from analysis.report.analysis import Analysis
from analysis.report.figures import ReportFigure
from analysis.report.section import Block, FigureRow, Heading, Note, Section
from analysis.report.tables import ReportTable
from analysis.results.schema import records, rows_where
from analysis.stats.calibration import BINS, Calibration, calibration
from analysis.stats.class_scores import SCORES, class_by_class
from analysis.stats.seed_predictions import SeedPredictions, described, same_images


def section(analysis: Analysis) -> Section | None:
    """Scores, confusion matrices and calibration; None if no trial stored predictions."""
    by_init, classes = analysis.predictions, class_by_class(analysis.results)
    if not by_init or classes is None:
        return None
    blocks: list[Block] = [*classes.sentences]
    if not classes.gains.empty:
        blocks.append(_gains(classes.gains, analysis))
    blocks += [
        ReportTable(frame=classes.table),
        Note(text=classes.how),
        FigureRow(figures=tuple(_confusions(analysis))),
    ]
    found = calibration(analysis.results)
    if found is not None:
        blocks += [Heading(text="Calibration"), *found.sentences, _reliability(found, by_init)]
    return Section(id="classes", title="Class by class", blocks=tuple(blocks))


def _gains(gains: pd.DataFrame, analysis: Analysis) -> ReportFigure:
    shown = analysis.figure_names
    renamed = dict(zip(analysis.all_class_names, shown.names, strict=True))
    frame = gains.assign(**{"class": gains["class"].map(renamed)})
    recall = records(rows_where(frame, frame["score"] == "recall"))
    order = [row["class"] for row in sorted(recall, key=lambda row: -row["value"])]
    figure = Figure(figsize=(9.6, 1.1 + 0.34 * len(order)), layout="constrained")
    for ax, score in zip(figure.subplots(1, 2, sharey=True), SCORES, strict=True):
        class_scores.gains(rows_where(frame, frame["score"] == score), order, ax)
    return ReportFigure(
        name="class_gains",
        title="What pre-training changes in each class",
        caption=f"{described(analysis.predictions)}; classes by gain in recall, with their "
        "images. Thick: 95% CI of each class; thin: 95% for all classes at once "
        "(Bonferroni). Orange: pre-training gains; blue: it loses; grey and hollow: "
        f"inconclusive. {shown.note}".strip(),
        figure=figure,
    )


def confusion_shares(
    predictions: SeedPredictions, names: Sequence[str]
) -> tuple[pd.DataFrame, pd.Series]:
    """Share of each true class (row) that is taken for each class (column), over all seeds.

    Returns
    -------
    shares : pandas.DataFrame
        0–1; NaN in the row of a class without images.
    images : pandas.Series
        Validation images of each class.
    """
    seen, kinds = predictions.seen, np.arange(len(names))
    true = np.broadcast_to(predictions.labels, seen.shape)[seen]
    counts = confusion_matrix(true, predictions.predicted[seen], labels=kinds)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.full(counts.shape, np.nan), where=totals > 0)
    images = np.bincount(predictions.labels, minlength=len(names))
    index = list(names)
    return pd.DataFrame(shares, index, index), pd.Series(images, index)


def _confusions(analysis: Analysis) -> Iterator[ReportFigure]:
    by_init, note = analysis.predictions, analysis.figure_names.note
    names = analysis.figure_names.names[: len(analysis.class_names)]
    found = {init: confusion_shares(predictions, names) for init, predictions in by_init.items()}
    for init, (shares, images) in found.items():
        figure = _square(names)
        class_scores.confusion(shares, images, figure.subplots())
        yield ReportFigure(
            name=f"confusion_{init}",
            title=f"Confusion matrix, {init}",
            caption=f"{described({init: by_init[init]})}, {len(by_init[init].rows):,} "
            f"images. Per cent of the true class, over all seeds. {note}".strip(),
            figure=figure,
        )
    if same_images(by_init):
        (scratch, images), (pretrained, _) = found["scratch"], found["pretrained"]
        figure = _square(names)
        class_scores.confusion(pretrained - scratch, images, figure.subplots(), difference=True)
        yield ReportFigure(
            name="confusion_difference",
            title="Confusion matrix, pre-trained minus scratch",
            caption=f"{described(by_init)}. Points of the true class; orange: more often with "
            "pre-training, purple: less often. On the diagonal more is better, beside it less. "
            f"{note}".strip(),
            figure=figure,
        )


def _square(names: Sequence[str]) -> Figure:
    margin, side = 0.9 + 0.085 * max(map(text_width, names)), 0.5 * len(names)
    return Figure(figsize=(side + margin + 0.5, side + margin), layout="constrained")


def _reliability(found: Calibration, by_init: Mapping[str, SeedPredictions]) -> ReportFigure:
    figure = Figure(figsize=(9.6, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    class_scores.reliability(found.bins, left)
    class_scores.confidences(found.bins, BINS, right)
    return ReportFigure(
        name="reliability",
        title="Reliability: confidence against accuracy",
        caption=f"{described(by_init)}, in {BINS} bins of equal width. Above the dashed line a "
        "model is right more often than it says, below it less often. Whiskers: Wilson's 95% CI "
        "over a bin's images (mean over seeds). Right: how the confidences are spread.",
        figure=figure,
    )
