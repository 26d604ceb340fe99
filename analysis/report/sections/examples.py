"""Single galaxies: mistakes, galaxies that one init alone gets right, attention maps."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis import formatting
from analysis.plots.examples import AttentionMaps, ImageRow, attention, gallery
from analysis.report.analysis import Analysis
from analysis.report.figures import ReportFigure
from analysis.report.section import Block, Section
from analysis.results.artifacts import NotAtHand, Survey, as_framed, attention_maps, survey_of
from analysis.results.schema import records, rows_where
from analysis.stats.seed_predictions import SeedPredictions, described
from trainable.protocol import INITS

SHOWN = 6
"""Galaxies in a row of the gallery."""
QUANTILES = {"clear": 0.9, "middling": 0.5}
"""Which galaxies stand for a class: places in its order by probability of the true class."""
DOTS_PER_INCH = 130  # of the page: each photograph costs bytes
WIDE = 27  # characters of a class's name in one line under an image
INIT_NAMES = {"scratch": "scratch", "pretrained": "pre-trained"}
ROLLOUT = (
    "Attention rollout (Abnar & Zuidema 2020): how much the class token draws on each patch "
    "through all layers, where 1 is its even share. It follows the attention alone, so it shows "
    "where a model may look, not why it decides"
)

ByInit = Mapping[str, SeedPredictions]


def section(analysis: Analysis) -> Section | None:
    """The galleries, or why there are none; None if no trial stored predictions."""
    if not analysis.predictions:
        return None
    return Section(id="galaxies", title="Looking at galaxies", blocks=tuple(_blocks(analysis)))


def _blocks(analysis: Analysis) -> list[Block]:
    try:
        survey = survey_of(analysis.results.manifest)
    except NotAtHand as error:
        return [f"The images are not at hand: {error}."]
    galleries = (mistakes(analysis, survey), only_one(analysis, survey))
    blocks: list[Block] = [figure for figure in galleries if figure is not None]
    if not blocks:
        blocks.append("Every image is classified correctly by every seed.")
    try:
        blocks.append(attention_figure(analysis, survey))
    except NotAtHand as error:
        blocks.insert(0, f"There are no attention maps: {error}.")
    return blocks


def mistakes(analysis: Analysis, survey: Survey) -> ReportFigure | None:
    """The most confident mistakes of each init; None if there are none."""
    names = analysis.figure_names.names
    rows: list[ImageRow] = []
    for predictions in analysis.predictions.values():
        found = confident_mistakes(predictions)
        texts = [
            "\n".join(
                (
                    _wrapped(f"true: {names[row['label']]}"),
                    _wrapped(f"says: {names[row['mistake']]}"),
                    f"{formatting.percent(row['mistake_confidence'], 0)} sure, "
                    f"{row['seeds'] - row['right']} of {row['seeds']} wrong",
                )
            )
            for row in records(found)
        ]
        if texts:
            images = survey.read_images(found.index.to_numpy())
            rows.append(ImageRow(heading=predictions.label, images=images, texts=texts))
    if not rows:
        return None
    return ReportFigure(
        name="galaxies_mistakes",
        title="The most confident mistakes",
        caption="Images that seeds get wrong, those that most get wrong first, then the "
        "surest; confidence: mean over the seeds that say so. "
        f"{analysis.figure_names.note}".strip(),
        figure=gallery(rows, SHOWN),
        dots_per_inch=DOTS_PER_INCH,
    )


def only_one(analysis: Analysis, survey: Survey) -> ReportFigure | None:
    """Galaxies that one init gets right more often than the other; None if there are none."""
    by_init, names = analysis.predictions, analysis.figure_names.names
    if set(by_init) != set(INITS):
        return None
    rows: list[ImageRow] = []
    for init in reversed(INITS):
        found = only_one_right(by_init, init)
        texts = ["\n".join(_what_both_say(row, names)) for row in records(found)]
        if texts:
            heading = f"more often right: {INIT_NAMES[init]}"
            images = survey.read_images(found.index.to_numpy())
            rows.append(ImageRow(heading=heading, images=images, texts=texts))
    if not rows:
        return None
    return ReportFigure(
        name="galaxies_only_one",
        title="Galaxies that only one of the two gets right",
        caption=f"{described(by_init)}. Ranked by the difference between the shares of seeds that "
        "are right, then by the confidence of the one that is. Confidence: mean over the seeds "
        f"that say so. {analysis.figure_names.note}".strip(),
        figure=gallery(rows, SHOWN),
        dots_per_inch=DOTS_PER_INCH,
    )


def _what_both_say(row: Mapping[Any, Any], names: Sequence[str]) -> list[str]:
    lines = [_wrapped(f"true: {names[row['label']]}")]
    for init in INITS:
        lines.append(_wrapped(f"{INIT_NAMES[init]}: {names[row[f'said_{init}']]}"))
        sure = formatting.percent(row[f"confidence_{init}"], 0)
        lines.append(f"{sure} sure, {row[f'right_{init}']} of {row[f'seeds_{init}']} right")
    return lines


def _wrapped(text: str) -> str:
    return textwrap.fill(text, WIDE, break_on_hyphens=False)


def attention_figure(analysis: Analysis, survey: Survey) -> ReportFigure:
    """Galaxies of each class, each with the map of every init; `NotAtHand` if there are none."""
    by_init, shown = analysis.predictions, analysis.figure_names
    chosen = samples(by_init, len(analysis.class_names))
    if chosen.empty:
        raise NotAtHand("no image is scored by every seed")
    images = survey.read_images(chosen["row"].to_numpy())
    models: list[AttentionMaps] = []
    for init, predictions in by_init.items():
        stored = predictions.probabilities[0, np.searchsorted(predictions.rows, chosen["row"])]
        maps, config = attention_maps(analysis.results, predictions.trials[0], images, stored)
        models.append(
            AttentionMaps(
                heading=INIT_NAMES[init],
                framed=as_framed(images, config.transform, survey.display_side, config.arch),
                maps=maps * maps[0].size,  # 1: an even share
            )
        )
    kinds = {
        textwrap.fill(shown.names[kind], 18, break_on_hyphens=False): np.flatnonzero(
            chosen["label"] == kind
        ).tolist()
        for kind in chosen["label"].unique()
    }
    trials = formatting.listed(predictions.trials[0] for predictions in by_init.values())
    quantiles = formatting.listed(f"{name}: quantile {q:g}" for name, q in QUANTILES.items())
    return ReportFigure(
        name="galaxies_attention",
        title="Where the class token looks",
        caption=f"{ROLLOUT}. {trials}, n = 1 seed each. In each class a clear galaxy and a "
        "middling one, by the mean probability of the true class over all seeds "
        f"({quantiles}). {shown.note}".strip(),
        figure=attention(images, kinds, [f"a {name} one" for name in QUANTILES], models),
        dots_per_inch=DOTS_PER_INCH,
    )


# which galaxies are shown


def opinion(predictions: SeedPredictions) -> pd.DataFrame:
    """What an init says of each image, over its seeds.

    Returns
    -------
    pandas.DataFrame
        Indexed by ``row`` of the data file: ``label``, ``seeds`` that are scored on the image,
        ``right`` (how many of them), ``said`` (what most of them say), ``confidence`` (mean
        probability of ``said`` over those that say it; 0–1), ``mistake`` and
        ``mistake_confidence`` (the same over the seeds that are wrong; -1 and 0 if none is).
    """
    wrong = predictions.seen & ~predictions.correct
    said, confidence = _most_say(predictions, predictions.seen)
    mistake, mistake_confidence = _most_say(predictions, wrong)
    return pd.DataFrame(
        {
            "label": predictions.labels,
            "seeds": predictions.seen.sum(axis=0),
            "right": predictions.correct.sum(axis=0),
            "said": said,
            "confidence": confidence,
            "mistake": mistake,
            "mistake_confidence": mistake_confidence,
        },
        index=pd.Index(predictions.rows, name="row"),
    )


def _most_say(
    predictions: SeedPredictions, which: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(n,) what most of the seeds in `which` (S, n) say, and how surely; -1 and 0 without any.

    A tie goes to the class with the higher summed confidence.
    """
    predicted, confidence = predictions.predicted, predictions.confidence
    votes = np.zeros(predictions.probabilities.shape[1:])
    sums = np.zeros_like(votes)
    for kinds, sure, counted in zip(predicted, confidence, which, strict=True):
        votes[np.flatnonzero(counted), kinds[counted]] += 1
        sums[np.flatnonzero(counted), kinds[counted]] += sure[counted]
    best = (votes + sums / (len(predicted) + 1)).argmax(axis=1)
    taken = np.arange(len(best)), best
    mean = np.divide(sums[taken], votes[taken], out=np.zeros(len(best)), where=votes[taken] > 0)
    return np.where(which.any(axis=0), best, -1), mean


def confident_mistakes(predictions: SeedPredictions, n: int = SHOWN) -> pd.DataFrame:
    """The images that most seeds get wrong first, then the surest; rows of `opinion`."""
    found = opinion(predictions)
    found["share"] = 1 - found["right"] / found["seeds"]
    return _first(rows_where(found, found["share"] > 0), ["share", "mistake_confidence"], n)


def only_one_right(by_init: ByInit, init: str, n: int = SHOWN) -> pd.DataFrame:
    """The images that `init` gets right in more of its seeds than the other init.

    Ranked by the difference of the shares of seeds that are right, then by the confidence of
    `init`.

    Returns
    -------
    pandas.DataFrame
        Indexed by ``row``: ``label``, and the columns of `opinion` with the init's name behind.
    """
    other = next(name for name in INITS if name != init)
    ours, theirs = (opinion(by_init[name]) for name in (init, other))
    both = ours.add_suffix(f"_{init}").join(theirs.add_suffix(f"_{other}"), how="inner")
    both["label"] = both[f"label_{init}"]
    shares = {i: both[f"right_{i}"] / both[f"seeds_{i}"] for i in (init, other)}
    both["share"] = shares[init] - shares[other]
    return _first(rows_where(both, both["share"] > 0), ["share", f"confidence_{init}"], n)


def _first(frame: pd.DataFrame, by: list[str], n: int) -> pd.DataFrame:
    ordered = frame.sort_index().sort_values(by, ascending=False, kind="stable")
    return ordered.head(n)


def samples(by_init: ByInit, n_classes: int) -> pd.DataFrame:
    """Galaxies of each class that stand for it, not the best: by quantile, not by choice.

    Returns
    -------
    pandas.DataFrame
        ``row``, ``label``, ``quantile`` of the mean probability of the true class over both
        inits and all seeds. A class without images, or with one, gives none, or one.
    """
    seen_by_all = (set(p.rows[p.seen.all(axis=0)].tolist()) for p in by_init.values())
    rows = np.array(sorted(set[int].intersection(*seen_by_all)), dtype=int)
    sure = np.zeros(len(rows))
    labels = np.zeros(len(rows), dtype=int)
    for predictions in by_init.values():
        images = np.searchsorted(predictions.rows, rows)
        labels = predictions.labels[images]
        sure += predictions.probabilities[:, images, labels].mean(axis=0) / len(by_init)
    chosen: list[tuple[int, int, float]] = []
    for kind in range(n_classes):
        of_kind = np.flatnonzero(labels == kind)
        ranked = of_kind[np.argsort(sure[of_kind], kind="stable")]
        last = len(ranked) - 1
        picks = {round(q * last): q for q in sorted(QUANTILES.values())} if last >= 0 else {}
        chosen += [(int(rows[ranked[k]]), kind, q) for k, q in sorted(picks.items(), reverse=True)]
    return pd.DataFrame(chosen, columns=["row", "label", "quantile"])
