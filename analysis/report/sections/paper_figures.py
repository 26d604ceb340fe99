"""Figures 2 to 7 of the paper: examples, class counts, training curves, accuracy and loss."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import formatting, paper
from analysis.formatting import capital
from analysis.plots import accuracy, training_curves
from analysis.plots.grid import image_grid, show_image
from analysis.plots.style import COLOURS, STYLE
from analysis.report.analysis import Analysis
from analysis.report.figures import ReportFigure
from analysis.report.section import Section
from analysis.results.schema import groups, rows_where

COLUMNS = 5
SEEDS_AND_MEAN = (
    "With several seeds, thin lines are seeds and the thick one is their mean, as far as all of "
    "them were trained."
)
PROBE_LEVEL = (
    "The pre-trained model's last layer is fitted at once: its line is its mean over seeds; validation "
    "images are those of the label budget, each by a fit that has not seen it."
)
WHISKERS = (
    "One seed: Wilson's 95% CI over the images. Several: their standard deviation, and "
    "each seed as a dot."
)


def section(analysis: Analysis) -> Section:
    """All figures that the results allow, in the paper's order; by accuracy, as the paper's."""
    analysis = analysis.by_accuracy
    makers = [examples, class_counts]
    if len(analysis.results.complete):
        makers += [training, validation, best_accuracy, lowest_loss]
    made = (maker(analysis) for maker in makers)
    return Section(
        id="figures",
        title="Figures",
        blocks=tuple(figure for figure in made if figure is not None),
    )


def examples(analysis: Analysis) -> ReportFigure | None:
    """Figure 2: one image of each class; None if the sweep stored none."""
    images, names = analysis.results.examples, analysis.class_names
    if images is None or len(images) != len(names):
        return None
    figure, axes = image_grid(len(names), COLUMNS, width=1.75, height=1.95)
    shown = analysis.figure_names.names[: len(names)]
    for ax, image, name in zip(axes, images, shown, strict=True):
        show_image(image, name, ax)
    return ReportFigure(
        name="figure_2",
        title="Figure 2. One image of each class",
        caption=_joined(f"The n = {len(names)} classes that are kept.", analysis.figure_names.note),
        figure=figure,
        dots_per_inch=int(STYLE["savefig.dpi"]),
    )


def class_counts(analysis: Analysis) -> ReportFigure:
    """Figure 3: images of each class, those left out too."""
    data = analysis.results.manifest.data
    counts = pd.DataFrame(
        {
            "class": analysis.figure_names.names,
            "images": [*data.class_counts, *(kind.n_images for kind in data.dropped)],
            "kept": [True] * len(data.class_counts) + [False] * len(data.dropped),
        }
    )
    figure = Figure(figsize=(6.4, 0.9 + 0.32 * len(counts)), layout="constrained")
    accuracy.class_counts(counts, figure.subplots())
    left_out = "Hollow: left out of all trials." if data.dropped else "No class is left out."
    return ReportFigure(
        name="figure_3",
        title="Figure 3. Images of each class",
        caption=_joined("Training and validation together.", left_out, analysis.figure_names.note),
        figure=figure,
    )


def training(analysis: Analysis) -> ReportFigure:
    """Figure 4: training and validation curves at the largest fraction of each init."""
    complete, authors = analysis.results.complete, _authors(analysis)
    trials = [
        name
        for _, rows in groups(complete, "init")
        for name in rows.loc[rows["fraction"] == rows["fraction"].max(), "trial"]
    ]
    epochs = analysis.results.epochs
    epochs = rows_where(epochs, epochs["trial"].isin(trials))
    figure = Figure(figsize=(9.6, 3.4), layout="constrained")
    axes = figure.subplots(1, 2)
    for ax, metric in zip(axes, ("loss", "accuracy"), strict=True):
        training_curves.train_and_validation(epochs, ax, metric=metric)
        if authors is not None:
            full = rows_where(authors, authors["fraction"] == 1)
            training_curves.authors(full, ax, metric=metric, parts=("train", "val"))
    columns = 2 if authors is None else 3
    _shared_legend(figure, axes, loc="outside lower center", ncols=columns)
    return ReportFigure(
        name="figure_4",
        title="Figure 4. Loss and accuracy, from scratch against pre-trained",
        caption=_joined(
            "The largest fraction of each init.", SEEDS_AND_MEAN, _level(analysis), _note(authors)
        ),
        figure=figure,
    )


def _level(analysis: Analysis) -> str:
    """What the lines of probes are."""
    return PROBE_LEVEL if analysis.results.are_probes("pretrained") else ""


def validation(analysis: Analysis) -> ReportFigure:
    """Figure 5: validation curves of all cells."""
    complete, authors = analysis.results.complete, _authors(analysis)
    epochs = analysis.results.epochs
    epochs = rows_where(epochs, epochs["trial"].isin(complete["trial"]))
    fractions = {init: set(rows["fraction"]) for init, rows in groups(complete, "init")}
    inits = [init for init in COLOURS if init in fractions]
    together = len(inits) == 1 or len(fractions["scratch"]) == 1
    rows = [inits] if together else [[init] for init in inits]
    figure = Figure(figsize=(9.6, 3.5 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), 2, squeeze=False, sharey="col", sharex=True)
    for row, shown in zip(axes, rows, strict=True):
        part = rows_where(epochs, epochs["init"].isin(shown))
        for ax, metric in zip(row, ("loss", "accuracy"), strict=True):
            training_curves.validation(part, ax, metric=metric)
            if authors is not None:
                theirs = rows_where(authors, authors["init"].isin(shown))
                training_curves.authors(theirs, ax, metric=metric, parts=("val",))
        row[1].legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    for ax in axes[:-1].flat:
        ax.set_xlabel("")
    return ReportFigure(
        name="figure_5",
        title="Figure 5. Validation loss and accuracy of all trials",
        caption=_joined(
            "The darker, the more labels.", SEEDS_AND_MEAN, _level(analysis), _note(authors)
        ),
        figure=figure,
    )


def best_accuracy(analysis: Analysis) -> ReportFigure:
    """Figure 6: accuracy of each cell."""
    figure = _wide_enough(analysis)
    results = analysis.results
    accuracy.best_accuracy(
        results.complete,
        figure.subplots(),
        _published(analysis),
        baseline=results.baseline_fraction,
        name=results.accuracy_name,
    )
    return ReportFigure(
        name="figure_6",
        title=f"Figure 6. {capital(results.accuracy_name)} of each trial",
        caption=_joined("Mean over seeds.", WHISKERS, *_legend(analysis)),
        figure=figure,
    )


def lowest_loss(analysis: Analysis) -> ReportFigure:
    """Figure 7: loss of each cell."""
    figure = _wide_enough(analysis)
    results = analysis.results
    accuracy.lowest_loss(
        results.complete,
        figure.subplots(),
        _published(analysis),
        baseline=results.baseline_fraction,
        name=results.loss_name,
    )
    spread = "With several seeds: their standard deviation, and each seed as a dot."
    return ReportFigure(
        name="figure_7",
        title=f"Figure 7. {capital(results.loss_name)} of each trial",
        caption=_joined("Mean over seeds.", spread, *_legend(analysis)),
        figure=figure,
    )


def _wide_enough(analysis: Analysis) -> Figure:
    cells = len(groups(analysis.results.complete, "init", "fraction"))
    return Figure(figsize=(float(np.clip(2.5 + 0.55 * cells, 6.4, 11)), 3.7), layout="constrained")


def _published(analysis: Analysis) -> pd.DataFrame | None:
    return paper.table() if analysis.not_comparable is None else None


def _legend(analysis: Analysis) -> list[str]:
    parts: list[str] = []
    if len(analysis.results.of("scratch", analysis.results.baseline_fraction)):
        parts.append("Dotted line: the baseline, from scratch on the most labels.")
    if analysis.not_comparable is None:
        parts.append("Hollow: the paper's table 1, one run each.")
    return parts


def _authors(analysis: Analysis) -> pd.DataFrame | None:
    """The authors' own curves, if they may be compared with ours and are wanted."""
    wanted = analysis.with_authors and analysis.not_comparable is None
    return paper.authors_curves() if wanted else None


def _note(authors: pd.DataFrame | None) -> str:
    if authors is None:
        return ""
    reruns = formatting.listed(authors.loc[authors["rerun"], "trial"].unique())
    return (
        "Dotted, thin: the authors' own runs from their public logs, of which "
        f"{reruns} are later re-runs and not the trials of table 1."
    )


def _shared_legend(figure: Figure, axes: Iterable[Axes], **place: Any) -> None:
    handles: dict[str, Any] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(list(handles.values()), list(handles), **place)


def _joined(*sentences: str) -> str:
    return " ".join(filter(None, sentences))
