"""Some images of a folder in the order in which to label them, as a table and as a page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from numpy.typing import NDArray
from scipy.special import entr, softmax

from analysis.formatting import percent
from analysis.label_next import data
from analysis.label_next.data import Candidates
from analysis.label_next.orders import SHOWN, WITH_CLASSIFIER, Order, OrderName, Pool
from analysis.progress import Step
from analysis.report.render import Page
from analysis.report.section import Bullets, Command, Note, Section, Thumbnail, Thumbnails
from analysis.report.thumbnails import small_jpeg
from analysis.results.chosen import Chosen
from trainable import calibration
from trainable.classifier import Classifier
from trainable.data.pictures import PictureError
from trainable.data.sources.source import counted, some
from trainable.data.unlabelled import ImageSet
from trainable.errors import DataError, NonFiniteLossError, SettingsError
from trainable.novelty import Novelty, of_classifier

RANK, PREDICTED, PROBABILITY = "rank", "predicted_class", "probability"
ENTROPY, MARGIN = "entropy", "margin"
DISTANCE, UNLIKE = "distance", "unlike_training"
COMPUTED = (PREDICTED, PROBABILITY, ENTROPY, MARGIN, DISTANCE, UNLIKE)
FALSE_ALARMS = 0.05
"""As the default of ``sweep.predict``."""
MOST_SHOWN = 1000
"""Images on the page."""
NAMES = ("path", "id", "file", "row")
"""Columns that tell which image it is, the first that there is."""
REASONS: dict[OrderName, str] = {
    "typiclust": (
        "TypiClust groups labelled and unlabelled images by k-means, one group for each label that there will "
        "be, and takes the most typical image of each of the largest groups without a label."
    ),
    "probcover": (
        "ProbCover takes, again and again, the image with the most images around it that no labelled one covers."
    ),
    "margin": (
        "The network hesitates most between two classes on the first images: the margin is the difference of its "
        "two highest probabilities."
    ),
    "badge": (
        "BADGE takes images on which the network is unsure and which differ from each other, by k-means++ on the "
        "gradients of its last layer."
    ),
    "random": "The order is random.",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class ChosenImages:
    """Images to label, in their order."""

    order: OrderName
    asked: int
    """How many were asked for."""
    rows: NDArray[np.int64]
    """(b,) rows of the image set, the first to label first."""
    table: pd.DataFrame
    """A row for each, with `RANK` from 1, all that is known of the images, and `COMPUTED`."""
    name_column: str
    """Which column names the image."""
    candidates: Candidates
    unreadable: tuple[str, ...]
    """Name and reason of each image that cannot be read."""
    left_out: tuple[str, ...]
    """Columns of the images that CSV cannot hold."""
    trial: Chosen
    n_labelled: int
    """Labelled images of the pool, which the order knows of."""
    radius: float | None
    """ProbCover's."""
    novelty: Novelty

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was chosen, from what, and what was left out."""
        found = self.candidates
        left = len(found.rows)
        first = (
            f"{counted(len(self.rows), 'image')} to label next, by {SHOWN[self.order]}, of {left:,} without a label "
            f"that can be read."
        )
        lines = [first]
        if len(self.rows) < self.asked:
            lines.append(
                f"{self.asked:,} were asked for: there are no more, so the order is of all that are left."
            )
        if found.labelled:
            lines.append(
                f"Left out: {counted(found.labelled, 'image')} that the sweep has a label of (equal pixels)."
            )
        if found.copies:
            lines.append(
                f"Left out: {counted(found.copies, 'image')} with the pixels of another one of the folder."
            )
        if self.unreadable:
            lines.append(
                f"Left out: {counted(len(self.unreadable), 'image')} that cannot be read: "
                f"{some(self.unreadable)}."
            )
        if self.left_out:
            lines.append(f"Not in the CSV, which cannot hold lists: column {some(self.left_out)}.")
        return tuple(lines)


def choose(
    trial: Chosen,
    images: ImageSet,
    *,
    order: OrderName,
    budget: int,
    seed: int,
    device: torch.device,
    cache_dir: Path | None,
    show: Step | None = None,
) -> ChosenImages:
    """Which images of a set to label next.

    Parameters
    ----------
    trial
        Whose features, and for some orders whose probabilities, decide.
    budget
        How many; all that are left if they are fewer.
    seed
        The same seed gives the same images.

    Raises
    ------
    DataError
        No image is left to label, or the sweep's images are not where they were.
    SettingsError
        The images have a column of a name that is written, or are too many for the order.
    """
    columns = images.schema
    if taken := [name for name in columns.names if name in (RANK, *COMPUTED)]:
        raise SettingsError(
            f"the images have a column {some(taken)} already, the name of what is written: rename it"
        )
    named = next((name for name in NAMES if name in columns.names), columns.names[0])
    labelled = data.open_labelled(trial.cell.config)
    found = data.find_candidates(images, labelled.survey, cache_dir, show)
    unreadable = tuple(f"{_name(images, named, row)}: {why}" for row, why in found.unreadable)
    if not len(found.rows):
        raise DataError(
            f"none of {counted(found.n, 'image')} is left to label: the sweep has a label of {found.labelled:,}, "
            f"{len(unreadable):,} cannot be read"
            + (f" ({some(unreadable)})" if unreadable else "")
            + ". Give a folder with others"
        )
    classifier = data.load(trial, device)
    new = data.candidate_features(
        classifier, images, found, device=device, cache_dir=cache_dir, progress=show
    )
    known = data.pool_features(classifier, labelled, device=device, cache_dir=cache_dir)
    both = np.concatenate([known, new])
    if bad := int((~np.isfinite(both).all(1)).sum()):
        raise NonFiniteLossError(
            f"the features of {bad} of {len(both)} images are NaN or infinite; choose another --trial"
        )
    novelty = of_classifier(
        classifier,
        device=device,
        wanted=FALSE_ALARMS,
        split_hash=trial.cell.split_hash,
        cache_dir=cache_dir,
    )
    temperature = calibration.stored(trial.checkpoint, tested=trial.cell.n_test > 0)
    probabilities = _probabilities(
        classifier, both, 1.0 if temperature is None else temperature.value
    )
    pool = Pool(features=both, n_classes=len(classifier.class_names), seed=seed)
    asked = probabilities if order in WITH_CLASSIFIER else None
    is_labelled = np.arange(len(both)) < len(known)
    picked = Order(order, pool, seed).next(is_labelled, budget, asked)
    rows = found.rows[picked - len(known)]
    table, left_out = _known(images, rows)
    table.insert(0, RANK, np.arange(1, len(rows) + 1))
    for name, values in _computed(classifier, probabilities[picked], novelty, both[picked]).items():
        table[name] = values
    return ChosenImages(
        order=order,
        asked=budget,
        rows=rows,
        table=table,
        name_column=named,
        candidates=found,
        unreadable=unreadable,
        left_out=left_out,
        trial=trial,
        n_labelled=len(known),
        radius=pool.distinct[0].radius if order == "probcover" else None,
        novelty=novelty,
    )


def _probabilities(
    classifier: Classifier, features: NDArray[np.float32], temperature: float
) -> NDArray[np.float64]:
    logits = classifier.logits(torch.from_numpy(features)).double().numpy()
    return softmax(logits / temperature, axis=1)


def _computed(
    classifier: Classifier,
    probabilities: NDArray[np.float64],
    novelty: Novelty,
    features: NDArray[np.float32],
) -> dict[str, NDArray[np.generic]]:
    """What is known of the images by the network, by column."""
    highest = np.sort(probabilities, axis=1)
    distances = novelty.distances(features)
    return {
        PREDICTED: np.array(classifier.class_names, object)[probabilities.argmax(1)],
        PROBABILITY: highest[:, -1].astype(np.float32),
        ENTROPY: entr(probabilities).sum(1).astype(np.float32),
        MARGIN: (highest[:, -1] - highest[:, -2]).astype(np.float32),
        DISTANCE: distances,
        UNLIKE: distances > novelty.threshold,
    }


def _known(images: ImageSet, rows: NDArray[np.int64]) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """What is known of some images beside their pixels, in their order, and the columns CSV cannot hold."""
    table = pa.concat_tables(images.columns(row, row + 1) for row in rows.tolist())
    nested = tuple(
        field.name
        for field in table.schema
        if pa.types.is_nested(field.type)
        or pa.types.is_binary(field.type)
        or pa.types.is_large_binary(field.type)
    )
    # Arrow's own types: whole numbers stay whole beside nulls
    return table.drop_columns(list(nested)).to_pandas(types_mapper=pd.ArrowDtype), nested


def _name(images: ImageSet, column: str, row: int) -> str:
    return str(images.columns(row, row + 1).column(column)[0].as_py())


def page(chosen: ChosenImages, images: ImageSet, name: str, command: str) -> Page:
    """The page with the images in their order; they are read again for it.

    Parameters
    ----------
    name
        Of the sweep.
    command
        That makes it again.
    """
    shown = chosen.rows[:MOST_SHOWN]
    items = thumbnails(chosen, images, shown)
    first, *others = chosen.sentences
    if len(shown) < len(chosen.rows):
        others.append(f"The page shows the first {len(shown):,}; label_next.csv has all of them.")
    unlike = int(chosen.table[UNLIKE].sum())
    notes = [
        REASONS[chosen.order],
        f"Network: {chosen.trial.name}, {chosen.trial.reason}. The order knows the {chosen.n_labelled:,} labelled "
        "images of the sweep's pool.",
        f"{chosen.novelty.sentence} Of the images here {unlike:,} are flagged; look at them first: they may be "
        "artefacts, or what the sweep has seen least of.",
    ]
    if chosen.order == "typiclust":
        notes.append(
            "The order is made for its number of images: with a smaller --budget its first images are others."
        )
    if chosen.radius is not None:
        notes.append(f"ProbCover's radius: {chosen.radius:.4f}.")
    return Page(
        name=f"{name}: label next",
        title=f"Which images to label next: {name}",
        subtitle=f"{counted(len(chosen.rows), 'image')}, in the order in which to label them",
        sections=(
            Section(
                id="chosen",
                title="What was chosen",
                headline=first,
                blocks=tuple(others),
                boxed=True,
            ),
            Section(
                id="images",
                title="Images",
                blocks=(
                    Note(
                        text="Below each: rank and name; what the network sees in it with its probability; the margin "
                        "between the two most probable classes."
                    ),
                    Thumbnails(items=items),
                ),
            ),
            Section(
                id="how",
                title="How they were chosen",
                blocks=(Bullets(items=tuple(notes)), Command(text=command)),
            ),
        ),
    )


def thumbnails(
    chosen: ChosenImages, images: ImageSet, rows: NDArray[np.int64]
) -> tuple[Thumbnail, ...]:
    """The first images of the order, small."""
    pictures: dict[int, str] = {}
    ascending = np.sort(rows)
    for row, picture in zip(ascending.tolist(), images.pictures(ascending), strict=True):
        try:
            pictures[row] = small_jpeg(picture.rgb())
        except PictureError as error:
            raise DataError(f"an image changed while it was read: {error}. Run it again") from error
    items: list[Thumbnail] = []
    known = chosen.table.head(len(rows))
    for row, values in zip(rows.tolist(), known.to_dict("records"), strict=True):
        text = f"{values[PREDICTED]}, {percent(values[PROBABILITY], 0)}"
        name = str(values[chosen.name_column]).rpartition("/")[2]
        lines = [f"{values[RANK]}", name, text, f"margin {values[MARGIN]:.2f}"]
        if values[UNLIKE]:
            lines.append("unlike the training images")
        items.append(Thumbnail(data_uri=pictures[row], lines=tuple(lines)))
    return tuple(items)
