"""The plates of galaxies: mistakes, galaxies that one init alone gets right, attention maps."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from trainable.protocol import INITS

from . import figures, gallery, words
from .frames import Results
from .images import NotAtHand, Survey, as_framed, attention_maps, survey_of
from .plates import Plate
from .stacks import Stack, at_largest, described

SECTION = "galaxies"
DOTS_PER_INCH = 130  # of the page: each photograph costs bytes
WIDE = 27  # characters of a class's name in one line under an image
NAMES = {"scratch": "scratch", "pretrained": "pre-trained"}
ROLLOUT = (
    "Attention rollout (Abnar & Zuidema 2020): how much the class token draws on each patch "
    "through all layers, where 1 is its even share. It follows the attention alone, so it shows "
    "where a model may look, not why it decides"
)


@dataclass(frozen=True, kw_only=True)
class Galaxies:
    """What the report shows of single galaxies."""

    plates: tuple[Plate, ...]
    sentences: tuple[str, ...]


def galaxies(results: Results) -> Galaxies | None:
    """The galleries, or words on why there are none; None without stored predictions."""
    stacks, names = at_largest(results), results.manifest["data"]["class_names"]
    if not stacks:
        return None
    try:
        survey = survey_of(results.manifest)
    except NotAtHand as error:
        return Galaxies(plates=(), sentences=(f"The images are not at hand: {error}.",))
    with matplotlib.rc_context(figures.STYLE):
        made = [_mistakes(stacks, names, survey)]
        made += [_only_one(stacks, names, survey)] if len(stacks) == len(INITS) else []
        plates = [plate for plate in made if plate is not None]
        said = [] if plates else ["Every validation image is classified rightly by every seed."]
        try:
            plates.append(_attention(results, stacks, names, survey))
        except NotAtHand as error:
            said.append(f"There are no attention maps: {error}.")
    return Galaxies(plates=tuple(plates), sentences=tuple(said))


def _row_of_images(axes, images: np.ndarray, texts: list[str]) -> None:
    """Images with their text below; axes without an image are blank."""
    for ax in axes[len(images) :]:
        ax.set_visible(False)
    for ax, image, text in zip(axes, images, texts, strict=False):
        figures.example(image, "", ax)
        ax.set_xlabel(text, fontsize=7)
        ax.set_anchor("N")


def _wrapped(text: str) -> str:
    return textwrap.fill(text, WIDE, break_on_hyphens=False)


def _gallery(rows: list[tuple[str, np.ndarray, list[str]]]) -> Figure:
    """Rows of images, each under its heading."""
    heights = [1.97 + 0.125 * max(text.count("\n") + 1 for text in texts) for *_, texts in rows]
    figure = Figure(figsize=(9.6, sum(heights)), layout="constrained")
    parts = np.atleast_1d(figure.subfigures(len(rows), 1, height_ratios=heights))
    for part, (heading, images, texts) in zip(parts, rows, strict=True):
        part.suptitle(heading, fontsize=9.5, x=0.01, ha="left")
        _row_of_images(part.subplots(1, gallery.SHOWN), images, texts)
    return figure


def _mistakes(stacks: dict[str, Stack], names: list[str], survey: Survey) -> Plate | None:
    rows = []
    for stack in stacks.values():
        found = gallery.confident_mistakes(stack)
        texts = [
            "\n".join(
                (
                    _wrapped(f"true: {names[r.label]}"),
                    _wrapped(f"says: {names[r.mistake]}"),
                    f"{words.percent(r.mistake_confidence, 0)} sure, "
                    f"{r.seeds - r.right} of {r.seeds} wrong",
                )
            )
            for r in found.itertuples()
        ]
        if texts:
            rows.append((stack.label, survey.read_images(found.index.to_numpy()), texts))
    if not rows:
        return None
    return Plate(
        name="galaxies_mistakes",
        title="The most confident mistakes",
        caption="Validation images that seeds get wrong, those that most get wrong first, then the "
        "surest; confidence: mean over the seeds that say so.",
        figure=_gallery(rows),
        section=SECTION,
        dots_per_inch=DOTS_PER_INCH,
    )


def _only_one(stacks: dict[str, Stack], names: list[str], survey: Survey) -> Plate | None:
    rows = []
    for init in reversed(INITS):
        found = gallery.only_one_right(stacks, init)
        texts = ["\n".join(_both(row, names)) for _, row in found.iterrows()]
        if texts:
            heading = f"more often right: {NAMES[init]}"
            rows.append((heading, survey.read_images(found.index.to_numpy()), texts))
    if not rows:
        return None
    return Plate(
        name="galaxies_only_one",
        title="Galaxies that only one of the two gets right",
        caption=f"{described(stacks)}. Ranked by the difference "
        "between the shares of seeds that are right, then by the confidence of the one that is. "
        "Confidence: mean over the seeds that say so.",
        figure=_gallery(rows),
        section=SECTION,
        dots_per_inch=DOTS_PER_INCH,
    )


def _both(row: pd.Series, names: list[str]) -> list[str]:
    lines = [_wrapped(f"true: {names[int(row['label'])]}")]
    for init in INITS:
        said, sure = names[int(row[f"said_{init}"])], row[f"confidence_{init}"]
        lines.append(_wrapped(f"{NAMES[init]}: {said}"))
        right, seeds = int(row[f"right_{init}"]), int(row[f"seeds_{init}"])
        lines.append(f"{words.percent(sure, 0)} sure, {right} of {seeds} right")
    return lines


def _attention(
    results: Results, stacks: dict[str, Stack], names: list[str], survey: Survey
) -> Plate:
    """One row for each class: galaxies, each with the map of every init."""
    chosen = gallery.samples(stacks, len(names))
    if chosen.empty:
        raise NotAtHand("no image is in the validation set of every seed")
    images = survey.read_images(chosen["row"].to_numpy())
    maps, framed = {}, {}
    for init, stack in stacks.items():
        stored = stack.probabilities[0, np.searchsorted(stack.rows, chosen["row"])]
        found, transform = attention_maps(results, stack.trials[0], images, stored)
        maps[init] = found * found[0].size  # 1: an even share
        framed[init] = as_framed(images, transform, survey.image_size)
    trials = words.listed(stack.trials[0] for stack in stacks.values())
    return Plate(
        name="galaxies_attention",
        title="Where the class token looks",
        caption=f"{ROLLOUT}. {trials}, n = 1 seed each. In each class a clear galaxy and a "
        "middling one, by the mean probability of the true class over all seeds "
        f"({words.listed(f'{name}: quantile {q:g}' for name, q in gallery.QUANTILES.items())}).",
        figure=_attention_figure(chosen, names, images, maps, framed),
        section=SECTION,
        dots_per_inch=DOTS_PER_INCH,
    )


def _attention_figure(chosen, names, images, maps, framed) -> Figure:
    kinds, panels = chosen["label"].unique(), 1 + len(maps)
    columns = panels * len(gallery.QUANTILES)
    figure = Figure(figsize=(9.6, 0.6 + 1.25 * len(kinds)), layout="constrained")
    axes = figure.subplots(len(kinds), columns, squeeze=False)
    everything = np.concatenate([m.ravel() for m in maps.values()])
    scale = LogNorm(everything.min(), everything.max())  # the inits differ by a factor
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    for row, kind in zip(axes, kinds, strict=True):
        row[0].set_ylabel(textwrap.fill(names[kind], 18, break_on_hyphens=False), fontsize=8)
        for place, number in enumerate(np.flatnonzero(chosen["label"] == kind)):
            first, *others = row[place * panels : (place + 1) * panels]
            first.imshow(images[number])
            for ax, init in zip(others, maps, strict=True):
                drawn = _overlay(ax, framed[init][number], maps[init][number], scale)
    for place in range(columns):
        which = list(gallery.QUANTILES)[place // panels]
        heading = f"a {which} one" if place % panels == 0 else NAMES[list(maps)[place % panels - 1]]
        axes[0, place].set_title(heading, fontsize=8.5)
    bar = figure.colorbar(drawn, ax=axes, shrink=min(1.0, 2.5 / len(kinds)), aspect=30, pad=0.01)
    bar.set_label("attention, even share = 1 (log scale)")
    bar.ax.yaxis.set_major_formatter("{x:g}")
    bar.ax.yaxis.set_minor_formatter("{x:g}")
    return figure


def _overlay(ax, image: np.ndarray, patches: np.ndarray, scale: LogNorm):
    """The galaxy in grey under its map."""
    side = len(image)
    ax.imshow(image.mean(axis=2), cmap="gray", vmin=0, vmax=255)
    extent = (-0.5, side - 0.5, side - 0.5, -0.5)
    return ax.imshow(patches, cmap="inferno", norm=scale, alpha=0.65, extent=extent)
