"""Whole figures out of single axes, with their captions. No files, no Ray."""

from __future__ import annotations

from dataclasses import dataclass

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from . import curves, figures, paper, words
from .frames import BASELINE_FRACTION, Results

COLUMNS = 5


@dataclass(frozen=True, kw_only=True)
class Plate:
    """One figure of the report."""

    name: str
    """File name without suffix."""
    title: str
    caption: str
    figure: Figure
    section: str = "figures"
    """Id of the report's section that shows it."""
    dots_per_inch: int | None = None
    """Of photographs, which go into the page as pixels; None: as vectors."""


def plates(results: Results, *, with_authors: bool) -> list[Plate]:
    """All figures that these results allow, in the order of the report.

    Parameters
    ----------
    with_authors
        Lay the authors' own curves under ours in figures 4 and 5.
    """
    authors = paper.authors_curves() if with_authors else None
    with matplotlib.rc_context(figures.STYLE):
        made = [_examples(results), _counts(results)]
        if len(results.complete):
            made += [
                _curves(results, authors),
                _validation(results, authors),
                _per_trial(results, "figure_6"),
                _per_trial(results, "figure_7"),
            ]
        return [plate for plate in made if plate is not None]


def _examples(results: Results) -> Plate | None:
    images, names = results.examples, results.manifest["data"]["class_names"]
    if images is None or len(images) != len(names):
        return None
    columns = min(COLUMNS, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(1.75 * columns, 1.95 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax, image, name in zip(axes, images, names, strict=False):
        figures.example(image, name, ax)
    for ax in axes[len(names) :]:
        ax.set_visible(False)
    return Plate(
        name="figure_2",
        title="Figure 2. One image of each class",
        caption=f"The n = {len(names)} classes that are kept.",
        figure=figure,
        dots_per_inch=int(figures.STYLE["savefig.dpi"]),
    )


def _counts(results: Results) -> Plate:
    data = results.manifest["data"]
    kept = zip(data["class_names"], data["class_counts"], strict=True)
    rows = [(name, count, True) for name, count in kept]
    rows += [(name, count, False) for _, name, count in data["dropped"]]
    counts = pd.DataFrame(rows, columns=["class", "images", "kept"])
    figure = Figure(figsize=(6.4, 0.9 + 0.32 * len(rows)), layout="constrained")
    figures.class_counts(counts, figure.subplots())
    left_out = "Hollow: left out of all trials." if data["dropped"] else "No class is left out."
    return Plate(
        name="figure_3",
        title="Figure 3. Images of each class",
        caption=f"Training and validation together. {left_out}",
        figure=figure,
    )


def _pair(height: float = 3.4) -> tuple[Figure, np.ndarray]:
    figure = Figure(figsize=(9.6, height), layout="constrained")
    return figure, figure.subplots(1, 2)


def _shared_legend(figure: Figure, axes: np.ndarray, **place) -> None:
    handles = {}
    for ax in axes.flat:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(handles.values(), handles.keys(), **place)


AUTHORS = (
    " Dotted, thin: the authors' own runs from their public logs, of which {} are later re-runs "
    "and not the trials of table 1."
)


def _note(authors: pd.DataFrame | None) -> str:
    if authors is None:
        return ""
    return AUTHORS.format(words.listed(authors.loc[authors["rerun"], "trial"].unique()))


def _curves(results: Results, authors: pd.DataFrame | None) -> Plate:
    complete = results.complete
    largest = complete.groupby("init")["fraction"].transform("max")
    trials = complete.loc[complete["fraction"] == largest, "trial"]
    epochs = results.epochs[results.epochs["trial"].isin(trials)]
    figure, axes = _pair()
    for ax, metric in zip(axes, ("loss", "accuracy"), strict=True):
        curves.train_and_validation(epochs, ax, metric=metric)
        if authors is not None:
            same = authors[authors["fraction"] == 1]
            curves.authors(same, ax, metric=metric, parts=("train", "val"))
    _shared_legend(figure, axes, loc="outside lower center", ncols=3 if authors is not None else 2)
    return Plate(
        name="figure_4",
        title="Figure 4. Loss and accuracy, from scratch against pre-trained",
        caption="The largest fraction of each init. With several seeds, thin lines are seeds and "
        f"the thick one is their mean, as far as all of them go.{_note(authors)}",
        figure=figure,
    )


def _validation(results: Results, authors: pd.DataFrame | None) -> Plate:
    epochs = results.epochs[results.epochs["trial"].isin(results.complete["trial"])]
    counts = results.complete.groupby("init")["fraction"].nunique()
    inits = [init for init in figures.COLOURS if init in counts]
    rows = [inits] if len(inits) == 1 or counts.get("scratch") == 1 else [[i] for i in inits]
    figure = Figure(figsize=(9.6, 3.5 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), 2, squeeze=False, sharey="col", sharex=True)
    for row, shown in zip(axes, rows, strict=True):
        part = epochs[epochs["init"].isin(shown)]
        for ax, metric in zip(row, ("loss", "accuracy"), strict=True):
            curves.validation(part, ax, metric=metric)
            if authors is not None:
                curves.authors(
                    authors[authors["init"].isin(shown)], ax, metric=metric, parts=("val",)
                )
        row[1].legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    for ax in axes[:-1].flat:
        ax.set_xlabel("")
    return Plate(
        name="figure_5",
        title="Figure 5. Validation loss and accuracy of all trials",
        caption="The darker, the more labels. With several seeds, thin lines are seeds and the "
        f"thick one is their mean, as far as all of them go.{_note(authors)}",
        figure=figure,
    )


WHISKERS = (
    "One seed: Wilson's 95 % interval over the validation images. Several: their standard "
    "deviation, and each seed as a dot."
)


def _per_trial(results: Results, name: str) -> Plate:
    trials = results.complete
    per_fraction = trials.groupby("fraction")["init"].nunique().sum()
    width = float(np.clip(2.5 + 0.55 * per_fraction, 6.4, 11))
    figure = Figure(figsize=(width, 3.7), layout="constrained")
    accuracy = name == "figure_6"
    published = None if paper.why_not_comparable(results.manifest) else paper.table()
    draw = figures.best_accuracy if accuracy else figures.lowest_loss
    draw(trials, figure.subplots(), published)
    what = "Best validation accuracy" if accuracy else "Lowest validation loss"
    spread = "With several seeds: their standard deviation, and each seed as a dot."
    spread = WHISKERS if accuracy else spread
    baseline = len(results.of("scratch", BASELINE_FRACTION))
    red = "Red, dotted: the baseline, from scratch on all labels." if baseline else ""
    hollow = "" if published is None else "Hollow: the paper's table 1, one run each."
    return Plate(
        name=name,
        title=f"Figure {name[-1]}. {what} of each trial",
        caption=" ".join(filter(None, ["Mean over seeds.", spread, red, hollow])),
        figure=figure,
    )
