"""The page of a label audit: the answer, the suspected images, the check, and a sample to review."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.formatting import number, percent, points
from analysis.label_audit.confident_learning import Audit
from analysis.label_audit.features import LabelledFeatures
from analysis.label_audit.flips import AT, KINDS, Check
from analysis.label_audit.share import Share
from analysis.plots import label_audit as plots
from analysis.report.figures import ReportFigure
from analysis.report.render import Page
from analysis.report.section import (
    Bullets,
    Command,
    Facts,
    Note,
    Section,
    Thumbnail,
    Thumbnails,
    build,
)
from analysis.report.tables import ReportTable
from analysis.report.thumbnails import small_jpeg

PAIRS = 12
"""Pairs of given and suggested class that are listed."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelAudit:
    """Everything that the page is made from."""

    name: str
    images: LabelledFeatures
    audit: Audit
    check: Check | None
    share: Share | None
    """None without a check and a review."""
    by_review: Share | None = None
    """If verdicts were given."""
    review: NDArray[np.int64]
    """Indices of the sample to review."""
    review_table: pd.DataFrame
    top: int
    command: str

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.images.selection.class_names

    @property
    def n(self) -> int:
        """Labels that were audited."""
        return len(self.audit.labels)


def page(analysis: LabelAudit) -> Page:
    """The page; its tables and figures go beside it."""
    found = analysis.audit
    return Page(
        name=f"Label audit: {analysis.name}",
        title=f"Which labels of {analysis.name} are wrong?",
        subtitle=(
            f"{analysis.n:,} labelled images in {len(analysis.classes)} classes; a linear probe on "
            f"{analysis.images.backbone}; {percent(found.accuracy)} accurate out of fold"
        ),
        sections=build(SECTIONS, analysis, analysis.classes),
    )


def headline(analysis: LabelAudit) -> str:
    """The answer in one sentence."""
    n = f"{analysis.n:,} labels"
    if (seen := analysis.by_review) is not None:
        middle = "" if seen.estimate is None else f", the best estimate is {percent(seen.estimate)}"
        return (
            f"Between {percent(seen.low)} and {percent(seen.high)} of the {n} are wrong (95% CI), "
            f"judged by eye on a random sample of {seen.reviewed}{middle}."
        )
    if analysis.share is None:
        return (
            f"Confident learning suspects {percent(analysis.audit.suspected.mean())} of the {n}; without "
            "--check nothing can be said of how many are wrong."
        )
    if (high := analysis.share.high) is None:
        return (
            f"How many of the {n} are wrong cannot be said: this probe's estimate hardly changes when "
            "labels are made wrong on purpose."
        )
    return (
        f"At most {percent(high)} of the {n} are wrong (95% limit); how many fewer, down to none, "
        "cannot be told from labels and features alone."
    )


def answer(analysis: LabelAudit) -> Section:
    """How many labels are wrong, and what that means for accuracies."""
    found, share = analysis.audit, analysis.share
    text = [
        f"Confident learning's own estimate is {percent(found.estimate)}. It is no measurement of wrong labels: "
        "an image that is hard for the probe counts like one with a wrong label, and the probe misses "
        f"{percent(1 - found.accuracy)} of the given labels.",
    ]
    if share is not None and share.high is not None:
        slopes = " and ".join(
            f"{number(response.slope)} (flipped {KINDS[response.kind]})"
            for response in share.responses
        )
        text.append(
            f"The limit comes from labels flipped on purpose: for each flipped label the estimate rises by {slopes} "
            "labels. If none of it came from hard images, the estimate would stand for that share. It assumes "
            "that real errors are counted at least as well as such flips; errors on the very images "
            "that look like another class are not."
        )
    elif share is not None:
        text.append(
            "The estimate is dominated by hard images, and flips change it too little or too "
            "irregularly for a limit. A better backbone, more labels or a review by eye can give one."
        )
    return Section(
        id="answer",
        title="The answer",
        headline=headline(analysis),
        boxed=True,
        blocks=(*text, *_ceiling(analysis), _suspects_sentence(analysis)),
    )


def _ceiling(analysis: LabelAudit) -> tuple[str, ...]:
    """What the share means for accuracies."""
    share = analysis.by_review or analysis.share
    if share is None or share.high is None:
        return ()
    top = "100%" if share.low == 0 else percent(1 - share.low)
    text = (
        f"Accuracy that can be seen: with a share q of wrong test labels a perfect classifier is seen at about "
        f"1 − q, thus at {percent(1 - share.high)} to {top}. This assumes that the test labels are as "
        "the others and that errors do not depend on the model; a model that repeats the errors is seen higher."
    )
    best = analysis.images.best_accuracy
    if best is None:
        return (text,)
    explained = min(1.0, share.high / (1 - best)) if best < 1 else 1.0
    return (
        f"{text} The sweep's best accuracy is {percent(best)}: wrong labels explain "
        f"at most {percent(explained, 0)} of the {points(1 - best).lstrip('+')} points that it lacks.",
    )


def _suspects_sentence(analysis: LabelAudit) -> str:
    """How many are suspected, in the pool and in the test set."""
    found, is_test = analysis.audit, analysis.images.is_test
    text = f"{found.suspected.sum():,} labels are suspected, i.e. worth a look"
    if is_test is None:
        return f"{text}; no test set is set aside."
    test, pool = found.suspected[is_test], found.suspected[~is_test]
    return (
        f"{text}: {test.sum():,} of {len(test):,} in the test set ({percent(float(test.mean()))}) and "
        f"{pool.sum():,} of {len(pool):,} others ({percent(float(pool.mean()))})."
    )


def suspects(analysis: LabelAudit) -> Section:
    """The most suspect images."""
    found, shown = analysis.audit, analysis.audit.order[: analysis.top]
    lines = [
        (
            analysis.images.names[index],
            f"given: {analysis.classes[found.labels[index]]}",
            f"suggested: {analysis.classes[found.suggested[index]]} "
            f"({percent(found.probabilities[index].max())})",
            f"label quality: {found.quality[index]:.4f}{_side(analysis, int(index))}",
        )
        for index in shown
    ]
    return Section(
        id="suspects",
        title=f"The {len(shown)} most suspect labels",
        blocks=(
            "From the lowest label quality, the probability that a probe which has not seen an image gives "
            "to its label. Look before you change a label: a rare kind of image looks the same to a probe.",
            Thumbnails(items=_thumbnails(analysis, shown, lines)),
            Note(text="labels.csv has all labels with their scores, in this order."),
        ),
        data={"labels": all_labels(analysis)},
    )


def _side(analysis: LabelAudit, index: int) -> str:
    is_test = analysis.images.is_test
    return ", test set" if is_test is not None and is_test[index] else ""


def all_labels(analysis: LabelAudit) -> pd.DataFrame:
    """Every label with its scores: suspected ones first, then by label quality."""
    found, images = analysis.audit, analysis.images
    classes = np.array(analysis.classes, dtype=object)
    n, is_test = analysis.n, images.is_test
    frame = pd.DataFrame(
        {
            "image": images.names,
            "row": images.selection.rows,
            "split": "" if is_test is None else np.where(is_test, "test", "pool"),
            "given": classes[found.labels],
            "suggested": classes[found.suggested],
            "suspected": found.suspected,
            "label_quality": found.quality,
            "probability_suggested": found.probabilities[np.arange(n), found.suggested],
        }
    )
    order = np.lexsort((found.quality, ~found.suspected))
    return frame.iloc[order].reset_index(drop=True)


def pairs(analysis: LabelAudit) -> Section | None:
    """Which classes are given for which."""
    found, classes = analysis.audit, analysis.classes
    counts = np.zeros((len(classes), len(classes)), np.int64)
    suspected = found.suspected
    np.add.at(counts, (found.labels[suspected], found.suggested[suspected]), 1)
    if not counts.any():
        return None
    order = np.argsort(-counts, axis=None, kind="stable")[:PAIRS]
    totals = np.bincount(found.labels, minlength=len(classes))
    rows = [
        (classes[given], classes[other], f"{counts[given, other]:,}",
         percent(float(counts[given, other] / totals[given])), percent(float(found.joint[given, other])))
        for given, other in zip(*np.unravel_index(order, counts.shape), strict=True)
        if counts[given, other]
    ]  # fmt: skip
    frame = pd.DataFrame(
        rows,
        columns=["given", "suggested", "suspected", "of the labels of that class",
                 "estimated joint, of all labels"],
    )  # fmt: skip
    return Section(
        id="pairs",
        title="Which classes are confused",
        blocks=(
            "Two classes that are suspected in both directions are hard to tell apart, for the probe or "
            "for those who labelled; one direction alone points to a rule that was applied wrongly.",
            ReportTable(frame=frame, numbers=False, path="tables/pairs", suffixes=(".md",)),
        ),
    )


def checked(analysis: LabelAudit) -> Section | None:
    """Labels flipped on purpose: found, and counted."""
    tried = analysis.check
    if tried is None:
        return None
    rows: list[dict[str, str]] = []
    for kind, words in KINDS.items():
        for rate in tried.rates:
            part = tried.of(kind, rate)
            at = {f"precision at {k}": _with_spread(part[f"precision_at_{k}"]) for k in AT}
            rows.append(
                {
                    "flipped": f"{percent(part['added'].mean())} {words}",
                    "estimate": _with_spread(part["estimate"]),
                    "rise": points(part["estimate"].mean() - analysis.audit.estimate),
                    **at,
                    "at the number flipped": _with_spread(part["precision_at_flipped"]),
                    "average precision": _with_spread(part["average_precision"]),
                    "chance": percent(part["added"].mean()),
                }
            )
    figure = ReportFigure(
        name="check",
        title="Labels flipped on purpose",
        caption=(
            "Left, what confident learning estimates; above the grey line it counts more than was flipped: errors "
            "that were there, and hard images. Right, the share of flipped labels among as many most "
            f"suspect ones. Bars: two standard deviations over {tried.repeats} repeats."
        ),
        figure=plots.check(tried.frame, analysis.audit.estimate, {**KINDS}, tried.repeats),
    )
    return Section(
        id="check",
        title="The check: labels flipped on purpose",
        blocks=(
            f"On top of the given labels a known share of each class is changed, {tried.repeats} times "
            f"each, with other folds each time. Flipped by 0%, the estimate is "
            f"{_spread_text(analysis.audit.estimates)}. Errors that were there before count against the "
            "precision, which is therefore a lower bound. Chance is the share of flipped labels.",
            ReportTable(
                frame=pd.DataFrame(rows),
                title=f"Mean ± standard deviation over {tried.repeats} repeats, in per cent",
                path="tables/check",
                suffixes=(".md",),
            ),
            figure,
        ),
        data={"check": tried.frame},
    )


def _with_spread(values: pd.Series) -> str:
    return _spread_text(values.to_numpy())


def _spread_text(values: NDArray[np.float64]) -> str:
    if np.isnan(values).any():
        return "–"
    return f"{100 * values.mean():.1f} ± {100 * values.std(ddof=1):.1f}"


def to_review(analysis: LabelAudit) -> Section:
    """A random sample for a person to judge."""
    lines = [
        (f"{place}. {image}", f"given: {given}")
        for place, (image, given) in enumerate(
            zip(analysis.review_table["image"], analysis.review_table["given"], strict=True),
            start=1,
        )
    ]
    return Section(
        id="review",
        title="A sample to review, for an interval with two ends",
        blocks=(
            f"{len(lines)} labels at random, half of them suspected; which ones is not said. Write right, "
            "wrong or unsure into the column verdict of review.csv, from the top and as far as you "
            "like, and run the audit again with it. The sample takes the place of the assumption.",
            Command(text=f"{analysis.command} --reviewed review.csv"),
            Thumbnails(items=_thumbnails(analysis, analysis.review, lines)),
        ),
        data={"review": analysis.review_table},
    )


def made(analysis: LabelAudit) -> Section:
    """What was done."""
    found = analysis.audit
    facts = (
        ("data", str(analysis.images.survey.path)),
        ("backbone", analysis.images.backbone),
        ("features", f"{analysis.images.features.shape[1]:,} numbers an image"),
        ("probe", f"closed form, five folds stratified by label, {len(found.estimates)} draws of the folds; "
                  "images of one place on the sky in one fold"),
        ("command", analysis.command),
    )  # fmt: skip
    return Section(
        id="made",
        title="How it was made",
        blocks=(
            Facts(items=facts),
            Bullets(
                items=(
                    "Suspected: cleanlab's find_label_issues (prune by noise rate) on mean out-of-fold "
                    "probabilities; quality: its self-confidence; estimate: what the calibrated confident "
                    "joint has off its diagonal (Northcutt, Jiang and Chuang 2021).",
                    "Limit: e / (m + e), for the estimate e at the upper end of its exact 95% interval and its rise m for "
                    "each flipped label at the lower end of its own, of the kind of flips that is counted worst.",
                )
            ),
        ),
    )


def _thumbnails(
    analysis: LabelAudit, indices: NDArray[np.int64], lines: list[tuple[str, ...]]
) -> tuple[Thumbnail, ...]:
    images = analysis.images.survey.read_images(analysis.images.selection.rows[indices])
    return tuple(
        Thumbnail(data_uri=small_jpeg(image), lines=text)
        for image, text in zip(images, lines, strict=True)
    )


SECTIONS = (answer, suspects, pairs, checked, to_review, made)
"""From top to bottom."""
