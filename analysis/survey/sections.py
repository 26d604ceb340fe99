"""The sections of the report on a survey, in the order of its page.

A new section is a function here (or in a file of its own) and a line in `SECTIONS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis import formatting
from analysis.plots import survey as survey_plots
from analysis.plots.accuracy import class_counts
from analysis.plots.style import STYLE, FigureNames, figure_names
from analysis.report.figures import ReportFigure
from analysis.report.render import Page
from analysis.report.section import Block, Facts, Section, build
from analysis.report.tables import ReportTable
from analysis.results.schema import records, rows_where
from analysis.stats.estimates import wilson
from analysis.survey import leakage, mock_pairs
from analysis.survey.duplicates import (
    HASH_DISTANCE,
    HASH_SIDE,
    SAME_DETAIL,
    Duplicates,
    Fingerprints,
    agreement,
    described,
)
from analysis.survey.image_statistics import (
    BORDER,
    STATISTICS,
    heading,
    in_unit,
    median_and_range,
)
from trainable.data.class_selection import Selection
from trainable.data.dataset import Survey, constant_images, describe_constant
from trainable.protocol import SAME_SKY_ARCSEC

PER_CLASS = 10
"""Images of each class on the contact sheet."""
SHEET_SIDE = 64
"""Pixels of an image on the contact sheet."""
SHEET_SEED = 0
SAME_PLACE = 0.01
"""Arcsec; closer is one position."""
PICTURED = 12
"""Pairs that are shown at most."""
LISTED = 50
"""Pairs that the page lists at most; the CSV files have all."""
VALIDATION_SHARE = 0.2
"""Of the images (the paper's, §3.1)."""
PHOTOGRAPHS = int(STYLE["savefig.dpi"])
"""Dots per inch of figures that are photographs."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SurveyAnalysis:
    """A survey, the classes that take part, and what was measured on their images."""

    survey: Survey
    selection: Selection
    fingerprints: Fingerprints
    duplicates: Duplicates
    seeds: Sequence[int]
    """Of the splits that are looked at."""
    leak_trials: tuple[leakage.Trial, ...] = ()
    """Trials with plain and with grouped splits; none unless they were asked for."""

    @cached_property
    def pairs_by_sky(self) -> pd.DataFrame | None:
        """Pairs at one position of the sky, described; None if the file has no positions."""
        pairs = self.duplicates.by_sky
        return None if pairs is None else self._described(pairs)

    @cached_property
    def pairs_by_image(self) -> pd.DataFrame:
        """Pairs that look alike, described."""
        return self._described(self.duplicates.by_image)

    def _described(self, pairs: pd.DataFrame) -> pd.DataFrame:
        return described(pairs, self.survey, self.selection)

    @cached_property
    def known_pairs(self) -> mock_pairs.KnownPairs | None:
        """The pairs that a mock survey really holds; None of any other survey."""
        return mock_pairs.known_pairs(self.survey.path)

    @cached_property
    def figure_names(self) -> FigureNames:
        """The names of all classes of the file as figures show them, by the file's label."""
        return figure_names(self.survey.class_names)

    @property
    def selected_figure_names(self) -> tuple[str, ...]:
        """The names of the classes that take part, as figures show them."""
        return tuple(self.figure_names.names[label] for label in self.selection.label_values)

    @property
    def pairs_on_sky(self) -> NDArray[np.int64] | None:
        """Rows of the file of the pairs on the sky, (p, 2); None if there are none."""
        pairs = self.pairs_by_sky
        if pairs is None or pairs.empty:
            return None
        return pairs[["row_first", "row_second"]].to_numpy()

    @property
    def expected_leaks(self) -> float | None:
        """Pairs on the sky that a random split puts on both sides on average; None without any."""
        pairs, n = self.pairs_on_sky, len(self.selection.rows)
        if pairs is None:
            return None
        return leakage.expected_leaks(len(pairs), n, round(VALIDATION_SHARE * n))


def summary(analysis: SurveyAnalysis) -> Section:
    """The main findings, which the page begins with."""
    sentences: list[str] = []
    if analysis.pairs_by_sky is not None:
        pairs = _count(analysis.pairs_by_sky)
        sentences.append(f"Within {SAME_SKY_ARCSEC:g} arcsec of each other: {pairs}")
    sentences.append(f"Alike as images: {_count(analysis.pairs_by_image)}")
    if analysis.expected_leaks is not None:
        sentences.append(
            f"A plain random split puts {analysis.expected_leaks:.1f} of the pairs on the sky on "
            "both sides, on average."
        )
    if analysis.leak_trials:
        sentences += leak_sentences(leakage.Worth(trials=analysis.leak_trials))
    return Section(id="summary", title="In short", blocks=tuple(sentences), boxed=True)


def counts(analysis: SurveyAnalysis) -> Section:
    """Images of each class."""
    survey, selection = analysis.survey, analysis.selection
    of_label = np.bincount(survey.labels, minlength=len(survey.class_names))
    table = pd.DataFrame(
        {
            "label": range(len(of_label)),
            "class": survey.class_names,
            "images": of_label,
            "kept": [label in selection.label_values for label in range(len(of_label))],
        }
    )
    figure = Figure(figsize=(6.4, 0.9 + 0.32 * len(table)), layout="constrained")
    shown = analysis.figure_names
    class_counts(table.assign(**{"class": shown.names}), figure.subplots())
    kept = rows_where(table, table["kept"])
    largest = max(records(kept), key=lambda row: row["images"])
    share = formatting.percent(largest["images"] / kept["images"].sum())
    return Section(
        id="counts",
        title="Images of each class",
        blocks=(
            ReportFigure(
                name="counts",
                title="Images of each class",
                caption=f"The most common class, {largest['class']}, as the answer to every image "
                f"is right for {share}. {shown.note}".strip(),
                figure=figure,
            ),
        ),
        data={"counts": table},
    )


def contact_sheet(analysis: SurveyAnalysis) -> Section:
    """A row of images for each class."""
    selection = analysis.selection
    chosen = survey_plots.choose_examples(
        selection.labels, len(selection.class_names), PER_CLASS, seed=SHEET_SEED
    )
    rows = [selection.rows[of_class] for of_class in chosen]
    read = partial(analysis.survey.read_squares, side=SHEET_SIDE)
    sheet = survey_plots.mosaic(rows, read, SHEET_SIDE)
    return Section(
        id="contact-sheet",
        title="Contact sheet",
        blocks=(
            ReportFigure(
                name="contact_sheet",
                title="A row of images for each class",
                caption=f"Drawn at random (seed {SHEET_SEED}), shrunk to {SHEET_SIDE} pixels. "
                f"{analysis.figure_names.note}".strip(),
                figure=survey_plots.contact_sheet_figure(sheet, analysis.selected_figure_names),
                dots_per_inch=survey_plots.SHEET_DPI,
            ),
        ),
    )


def image_statistics(analysis: SurveyAnalysis) -> Section:
    """Sky, noise, colour, size and shape by class; images that show nothing."""
    survey = analysis.survey
    selection, names = analysis.selection, analysis.selection.class_names
    statistics = analysis.fingerprints.statistics
    classes = pd.Series(selection.labels)
    shown = pd.DataFrame({name: in_unit(statistics[name]) for name in STATISTICS})
    rows: list[dict[str, str]] = []
    for label, name in enumerate(names):
        of_class = rows_where(shown, classes == label)
        row = {"class": name, "n": f"{len(of_class):,}"}
        row["without"] = str(of_class["size"].isna().sum())
        row |= {heading(s): median_and_range(of_class[s].dropna()) for s in STATISTICS}
        rows.append(row)
    table = statistics.assign(row=selection.rows, label=[names[c] for c in selection.labels])
    if survey.names is not None:
        table["image"] = [survey.names[row] for row in selection.rows]
    if survey.columns is not None:
        own = survey.columns.iloc[selection.rows].reset_index(drop=True)
        taken = {name: f"{name}_given" for name in own.columns if name in table.columns}
        table = pd.concat([table, own.rename(columns=taken)], axis=1)
    if survey.pixel_scale is not None:
        width = survey.image_sizes[selection.rows].min(1) * survey.pixel_scale[selection.rows]
        table["size_arcsec"] = statistics["size"] * width
    return Section(
        id="statistics",
        title="Image statistics",
        blocks=(
            "Measured on the pictures as they are shown, which are stretched for the eye: good "
            "for comparing pictures and classes, not for astronomy. Sky and noise (of the mean of "
            f"the three channels) come from a frame of {formatting.fraction(BORDER)} of the width, "
            "stars clipped; the galaxy is the connected patch nearest the centre that stands out "
            "of them, with what touches it. Colours are −2.5 lg of the ratio of two channels, "
            "size is the half-light radius, concentration 5 lg(r80/r20) (Bershady et al. 2000), "
            "asymmetry the share of light that changes under a rotation by 180°, minus the sky's "
            "(Conselice et al. 2000).",
            *(
                [f"{empty}."]
                if (empty := describe_constant(survey, constant_images(survey)))
                else []
            ),
            ReportFigure(
                name="image_statistics",
                title="Image statistics by class",
                caption="Box: quartiles and median; whiskers: 5th to 95th percentile; n = "
                f"{len(shown):,} images. {analysis.figure_names.note}".strip(),
                figure=survey_plots.distributions(
                    shown,
                    {name: heading(name, " ({})") for name in STATISTICS},
                    classes,
                    analysis.selected_figure_names,
                ),
            ),
            ReportTable(
                title="Median [16th, 84th percentile]; “without”: images in which nothing stands "
                "out of the sky near the centre.",
                frame=pd.DataFrame(rows),
            ),
        ),
        data={"image_statistics": table},
    )


def pairs_by_sky(analysis: SurveyAnalysis) -> Section:
    """Pairs at one position of the sky."""
    title = f"Galaxies within {SAME_SKY_ARCSEC:g} arcsec of each other"
    table = analysis.pairs_by_sky
    if table is None:
        text = "There are no positions in these data, so none can be sought by the sky."
        return Section(id="pairs-by-sky", title=title, blocks=(text,))
    same = int((table["separation"] < SAME_PLACE).sum())
    among = f", {same} of them at one place (within {SAME_PLACE:g} arcsec)" if same else ""
    return Section(
        id="pairs-by-sky",
        title=title,
        blocks=(
            f"{_pairs(table)}{among}.{_conflicts(table)}",
            *_known(table, analysis),
            *_pictures("pairs_by_sky", "Nearest pairs on the sky", table, analysis),
            *_listing(table),
        ),
        data={"pairs_by_sky": table},
    )


def pairs_by_image(analysis: SurveyAnalysis) -> Section:
    """Pairs that look alike, byte for byte or nearly."""
    table, found = analysis.pairs_by_image, analysis.duplicates
    exact = int((table["kind"] == "exact").sum())
    blocks: list[Block] = [
        f"{exact} pairs are equal in every byte, {len(table) - exact} others nearly: their "
        f"perceptual hashes differ in {HASH_DISTANCE} bits of "
        f"{HASH_SIDE**2} at most (n = {found.candidates:,} pairs), and their small "
        f"structure correlates by {SAME_DETAIL:g} or more.{_conflicts(table)}",
        "The hash alone is not enough: smooth round galaxies all have similar hashes. Pairs are "
        "sought in the same orientation and at the same place in the image; most galaxies that "
        "are shifted in their second image are not found.",
        *_known(table, analysis),
    ]
    if (both := agreement(found)) is not None:
        blocks.append(
            f"{both[0]} pairs are found by sky and by image, {both[1]} by the sky alone, "
            f"{both[2]} by the image alone."
        )
    figure = Figure(figsize=(6.4, 2.8), layout="constrained")
    survey_plots.hash_distances(found.distances, HASH_DISTANCE, figure.subplots())
    blocks.append(
        ReportFigure(
            name="hash_distances",
            title="Distances of the perceptual hashes",
            caption=f"All n = {found.distances.sum():,} pairs of images.",
            figure=figure,
        )
    )
    blocks += _pictures("pairs_by_image", "Pairs that look most alike", table, analysis)
    blocks += _listing(table)
    return Section(
        id="pairs-by-image",
        title="Images that look alike",
        blocks=tuple(blocks),
        data={"pairs_by_image": table},
    )


def _count(table: pd.DataFrame) -> str:
    if table.empty:
        return "no pairs."
    return f"{_pairs(table)}, {int(table['conflict'].sum())} with two different labels."


def _pairs(table: pd.DataFrame) -> str:
    return f"{len(table)} pair{'' if len(table) == 1 else 's'}"


def _conflicts(table: pd.DataFrame) -> str:
    if table.empty:
        return ""
    return f" With two different labels: {int(table['conflict'].sum())} of {len(table)}."


def _known(table: pd.DataFrame, analysis: SurveyAnalysis) -> list[str]:
    """How many of a mock survey's pairs were found."""
    if analysis.known_pairs is None:
        return []
    rows = frozenset(analysis.selection.rows.tolist())
    found = mock_pairs.score(table, analysis.known_pairs, rows)
    return [f"This is a mock survey, whose true pairs are known: {found}"]


def _pictures(
    name: str, title: str, table: pd.DataFrame, analysis: SurveyAnalysis
) -> list[ReportFigure]:
    """The first pairs, side by side."""
    shown = table.head(PICTURED)
    if shown.empty:
        return []
    rows = shown[["row_first", "row_second"]].to_numpy()
    images = analysis.survey.read_squares(rows.ravel())
    renamed = dict(zip(analysis.selection.class_names, analysis.selected_figure_names, strict=True))
    labels = shown[["label_first", "label_second"]].itertuples(index=False)
    figure = survey_plots.pair_pictures(
        images.reshape(*rows.shape, *images.shape[1:]),
        [(renamed[first], renamed[second]) for first, second in labels],
    )
    return [
        ReportFigure(
            name=name,
            title=title,
            caption=f"{_how_many(shown, table)}. {analysis.figure_names.note}".strip(),
            figure=figure,
            dots_per_inch=PHOTOGRAPHS,
        )
    ]


def _listing(table: pd.DataFrame) -> list[ReportTable]:
    if table.empty:
        return []
    shown = table.head(LISTED).round({"ra": 5, "dec": 5, "separation": 2, "correlation": 3})
    if "image_first" in shown.columns:  # who has names needs no numbers
        shown = shown.drop(columns=["row_first", "row_second"])
    shown = shown.assign(conflict=np.where(shown["conflict"], "two labels", "one label"))
    shown = shown.rename(columns=lambda name: str(name).replace("_", " ")).astype(str)
    title = _how_many(shown, table)
    title += "; “row”: of the file." if "row first" in shown.columns else "."
    return [ReportTable(title=title, frame=shown)]


def _how_many(shown: pd.DataFrame, table: pd.DataFrame) -> str:
    if len(shown) < len(table):
        return f"The first {len(shown)} of {len(table)} pairs"
    return "The pair" if len(table) == 1 else f"All {len(table)} pairs"


def leaks(analysis: SurveyAnalysis) -> Section:
    """Expected and actual number of pairs on both sides of a split, and their worth in accuracy."""
    title = "What a plain random split leaks"
    if analysis.pairs_by_sky is None:
        text = "There are no positions in these data: every split of them is a plain one."
        return Section(id="leaks", title=title, blocks=(text,))
    pairs, expected = analysis.pairs_on_sky, analysis.expected_leaks
    if pairs is None or expected is None:
        return Section(id="leaks", title=title, blocks=("Nothing: no galaxy is there twice.",))
    table = leakage.actual_leaks(
        analysis.survey, analysis.selection, pairs, analysis.seeds, VALIDATION_SHARE
    )
    trials = analysis.leak_trials
    headings = {"plain": "divided by a plain split", "grouped": "divided by the grouped split"}
    return Section(
        id="leaks",
        title=title,
        blocks=(
            f"Of the pairs on the sky (n = {len(pairs)}) a random split that holds "
            f"{formatting.fraction(VALIDATION_SHARE)} back puts {expected:.1f} on both sides, on "
            f"average; the actual splits of {formatting.seeds(len(table))} put "
            f"{table['plain'].mean():.1f}. The project's own splits keep groups on the sky "
            f"together and divide {table['grouped'].sum()}.",
            *(leak_sentences(leakage.Worth(trials=trials)) if trials else [NOT_TRAINED]),
            ReportTable(frame=table.rename(columns=headings).astype(str)),
        ),
        data={"leaks": table}
        | ({"leak_trials": pd.DataFrame([asdict(trial) for trial in trials])} if trials else {}),
    )


NOT_TRAINED = "What the leak is worth in accuracy takes training: ask for it with --leak."


def leak_sentences(worth: leakage.Worth) -> list[str]:
    """What the trials with plain and grouped splits say."""
    difference = worth.difference
    how = "" if difference.low is None else f"; interval {difference.how}"
    sentences = [
        f"The same trial with plain splits scores {difference.in_points()} against grouped splits "
        f"({formatting.seeds(len(worth.trials) // 2)} of split, initialisation and batch order"
        f"{how})."
    ]
    if worth.share_right(of_leaked=True)[1] == 0:
        return [*sentences, "None of these plain splits leaked an image."]
    parts: list[str] = []
    for name, of_leaked in (("the leaked images", True), ("the others", False)):
        right, images = worth.share_right(of_leaked)
        share = wilson(right / images, images)
        interval = " to ".join(formatting.percent(end) for end in (share.low, share.high))
        parts.append(
            f"{name} {formatting.percent(share.value)} (95% CI: {interval}), n = {images:,}"
        )
    return [
        *sentences,
        f"In the plain splits, accuracy on {parts[0]}; on {parts[1]} (Wilson's intervals, seeds "
        "pooled). A leaked pair with two labels cannot be right on both sides, so such a leak can "
        "cost accuracy, too.",
    ]


def the_file(analysis: SurveyAnalysis) -> Section:
    """Where the images come from."""
    survey = analysis.survey
    kept, scale = set(analysis.selection.label_values), survey.pixel_scale
    dropped = [name for label, name in enumerate(survey.class_names) if label not in kept]
    return Section(
        id="file",
        title="The data",
        blocks=(
            Facts(
                items=(
                    ("path", str(survey.path)),
                    ("SHA-256", survey.sha256),
                    ("classes left out", ", ".join(dropped) or "none"),
                    ("image size", survey.size_text),
                    (
                        "pixel scale",
                        "not known"
                        if scale is None
                        else f"{scale.min():.3f} to {scale.max():.3f} arcsec/pixel",
                    ),
                    ("positions", _positions(survey)),
                    *(
                        (("left out, and the like", " ".join(survey.notes)),)
                        if survey.notes
                        else ()
                    ),
                    *_how_shown(survey),
                )
            ),
        ),
    )


def _positions(survey: Survey) -> str:
    if survey.right_ascension is None:
        return "not known"
    without = int(np.isnan(survey.right_ascension).sum())
    less = f", not known of {without:,} of the {len(survey.labels):,} images" if without else ""
    return f"right ascension and declination, degrees{less}"


def _how_shown(survey: Survey) -> list[tuple[str, str]]:
    """What was done to make the pixels of these images squares of 8 bits, if anything."""
    facts: list[tuple[str, str]] = []
    if oblong := int((survey.image_sizes[:, 0] != survey.image_sizes[:, 1]).sum()):
        facts.append(
            (
                "not square",
                f"{oblong:,} of {len(survey.labels):,} images: transform “resize” (the paper's) "
                "squashes them to a square, “resize_crop” cuts out their centre; pictures on this "
                "page are whole",
            )
        )
    if (shown := survey.images.key.get("shown")) is not None:
        stretch, q, *bands = shown
        planes = f", --bands {' '.join(map(str, bands))}" if bands else ""
        facts.append(
            ("FITS images", f"after Lupton et al. (2004): --stretch {stretch:g} --q {q:g}{planes}")
        )
    return facts


SECTIONS: tuple[Callable[[SurveyAnalysis], Section | None], ...] = (
    summary,
    counts,
    contact_sheet,
    image_statistics,
    pairs_by_sky,
    pairs_by_image,
    leaks,
    the_file,
)
"""In the order of the page."""


def report(analysis: SurveyAnalysis, name: str) -> Page:
    """The report of a survey called `name`."""
    selection = analysis.selection
    return Page(
        name=f"{name}: survey report",
        title=f"{name}: what is in the data?",
        subtitle=f"{len(selection.rows):,} images of {analysis.survey.size_text} in "
        f"{len(selection.class_names)} classes",
        sections=build(SECTIONS, analysis, analysis.survey.class_names),
    )
