"""The plates of the classes, with their captions."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.metrics import confusion_matrix

from . import class_figures, figures
from .calibration import BINS, Calibration
from .classes import SCORES, ClassByClass
from .frames import Results
from .plates import Plate
from .stacks import Stack, at_largest, described, same_images

SECTION = "classes"


def class_plates(
    results: Results, classes: ClassByClass | None, calibration: Calibration | None
) -> list[Plate]:
    """Gains, confusion matrices and reliability, as far as the results allow."""
    stacks, names = at_largest(results), results.manifest["data"]["class_names"]
    with matplotlib.rc_context(figures.STYLE):
        made = [] if classes is None or classes.gains.empty else [_gains(classes, stacks)]
        made += _confusions(stacks, names)
        return made if calibration is None else [*made, _reliability(calibration, stacks)]


def _gains(classes: ClassByClass, stacks: dict[str, Stack]) -> Plate:
    frame = classes.gains
    order = (
        frame[frame["score"] == "recall"]
        .sort_values("value", ascending=False, kind="stable")["class"]
        .tolist()
    )
    figure = Figure(figsize=(9.6, 1.1 + 0.34 * len(order)), layout="constrained")
    for ax, score in zip(figure.subplots(1, 2, sharey=True), SCORES, strict=True):
        class_figures.gains(frame[frame["score"] == score], order, ax)
    return Plate(
        name="class_gains",
        title="What pre-training changes in each class",
        caption=f"{described(stacks)}; classes by gain in recall, with their validation images. "
        "Thick: 95 % interval of each class; thin: 95 % for all classes at once (Bonferroni). "
        "Orange: pre-training gains; blue: it loses; grey and hollow: cannot be told.",
        figure=figure,
        section=SECTION,
    )


def confusion_shares(stack: Stack, names: list[str]) -> tuple[pd.DataFrame, pd.Series]:
    """Share of each true class (row) that is taken for each class (column), over all seeds.

    Returns
    -------
    shares : pandas.DataFrame
        0–1; NaN in the row of a class without images.
    images : pandas.Series
        Validation images of each class.
    """
    kinds = np.arange(len(names))
    true = np.broadcast_to(stack.labels, stack.seen.shape)[stack.seen]
    counts = confusion_matrix(true, stack.predicted[stack.seen], labels=kinds)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.full(counts.shape, np.nan), where=totals > 0)
    images = np.bincount(stack.labels, minlength=len(names))
    return pd.DataFrame(shares, names, names), pd.Series(images, names)


def _matrix(names: list[str]) -> Figure:
    margin, side = 0.9 + 0.085 * max(map(len, names)), 0.5 * len(names)
    return Figure(figsize=(side + margin + 0.5, side + margin), layout="constrained")


def _confusions(stacks: dict[str, Stack], names: list[str]) -> Iterator[Plate]:
    found = {init: confusion_shares(stack, names) for init, stack in stacks.items()}
    for init, (shares, images) in found.items():
        figure = _matrix(names)
        class_figures.confusion(shares, images, figure.subplots())
        yield Plate(
            name=f"confusion_{init}",
            title=f"Confusion matrix, {init}",
            caption=f"{described({init: stacks[init]})}, {len(stacks[init].rows):,} validation "
            "images. Per cent of the true class, over all seeds.",
            figure=figure,
            section=SECTION,
        )
    if same_images(stacks):
        (scratch, images), (pretrained, _) = found["scratch"], found["pretrained"]
        figure = _matrix(names)
        class_figures.confusion(pretrained - scratch, images, figure.subplots(), difference=True)
        yield Plate(
            name="confusion_difference",
            title="Confusion matrix, pre-trained less scratch",
            caption=f"{described(stacks)}. Points of the true class; orange: more often with "
            "pre-training, purple: less often. On the diagonal more is better, beside it less.",
            figure=figure,
            section=SECTION,
        )


def _reliability(calibration: Calibration, stacks: dict[str, Stack]) -> Plate:
    figure = Figure(figsize=(9.6, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    class_figures.reliability(calibration.bins, left)
    class_figures.confidences(calibration.bins, BINS, right)
    return Plate(
        name="reliability",
        title="Reliability: confidence against accuracy",
        caption=f"{described(stacks)}, in {BINS} bins of equal width. Above the dashed line a "
        "model is right more often than it says, below it less often. Whiskers: Wilson's 95 % "
        "interval over a bin's images (mean over seeds). Right: how the confidences are spread.",
        figure=figure,
        section=SECTION,
    )
