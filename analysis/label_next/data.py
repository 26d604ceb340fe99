"""From a sweep, and a folder without labels, to features, and to which images are left to label."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from analysis.progress import Step
from analysis.results.chosen import Chosen, best_trials, named_trials
from analysis.results.schema import Results
from trainable.classifier import Classifier, load_classifier
from trainable.config import Precision, TrainingConfig
from trainable.data.cache import cache_root, cached_array
from trainable.data.class_selection import Selection, select
from trainable.data.dataset import Survey
from trainable.data.pictures import PictureError
from trainable.data.pool import map_jobs, useful_processes
from trainable.data.sources.source import Images, Picture
from trainable.data.splits import planned, pool_of
from trainable.data.unlabelled import ImageSet
from trainable.errors import SettingsError, SweepError
from trainable.forward_backward import use_precision
from trainable.models.features import cached_features
from trainable.novelty import features_of_rows
from trainable.run import open_as_planned

BLOCK = 256
"""Images that are in memory at a time."""
DIGEST = hashlib.sha256().digest_size


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledFeatures:
    """The labelled images of a sweep, as a frozen backbone sees them."""

    features: NDArray[np.float32]
    """(N, D), of the pool: all labelled images but the test set."""
    labels: NDArray[np.int64]
    """(N,), 0 to C - 1."""
    test_features: NDArray[np.float32]
    """(T, D)."""
    test_labels: NDArray[np.int64]
    """(T,)."""
    class_names: tuple[str, ...]
    """C names."""
    backbone: str
    """The features, in words."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledSurvey:
    """The survey of a sweep, of which all images have a label."""

    survey: Survey
    selection: Selection
    pool: NDArray[np.int64]
    """Rows of the images of the selected classes that are not in the test set."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidates:
    """Images without labels, from which some are chosen."""

    rows: NDArray[np.int64]
    """(m,) rows of the image set that can be read and have no label yet, ascending."""
    digests: NDArray[np.uint8]
    """(m, 32), of their pixels."""
    n: int
    """Images of the set, all together."""
    unreadable: tuple[tuple[int, str], ...]
    """Row and reason of each image that cannot be read."""
    labelled: int
    """Images left out that are in the sweep already, with a label."""
    copies: int
    """Images left out that have the pixels of one before them."""


def frozen_trial(results: Results, trial: str | None) -> Chosen:
    """A pre-trained trial whose backbone can be had as it was before it saw labels.

    Raises
    ------
    SweepError
        There is none, or the one that is named is from scratch.
    """
    if trial is not None:
        (chosen,) = named_trials(results, [trial])
        if chosen.cell.init == "scratch":
            raise SweepError(
                f"the trial {trial} is from scratch, so its features have seen the labels that --simulate "
                "hides: choose a pre-trained --trial"
            )
        return chosen
    usable = results.complete
    usable = usable[usable["checkpoint"].notna()]
    most = usable["n_labels"].max() if len(usable) else 0
    ordered = best_trials(results, max(1, int((usable["n_labels"] == most).sum())))
    for chosen in ordered:
        if chosen.cell.init != "scratch":
            return chosen
    raise SweepError(
        f"{results.manifest.name} has no complete pre-trained trial with the most labels. --simulate needs "
        "features that have not seen the labels: run one (python -m sweep.run --inits pretrained --trained "
        "probe), or name one with --trial"
    )


def labelled_features(
    config: TrainingConfig, *, device: torch.device, progress: Step | None = None
) -> LabelledFeatures:
    """Features of a sweep's pool and test set by the backbone that a trial started from.

    Parameters
    ----------
    config
        Of a pre-trained trial. If it trained its backbone, it is taken as it was before.

    Raises
    ------
    SettingsError
        The sweep has no test set.
    """
    frozen = config
    if not config.on_features:
        frozen = replace(
            config, trained="head", augment=False, cache_features=True, layer_decay=1.0
        )
    labelled = open_labelled(config)
    partition = planned(labelled.survey, labelled.selection, config)
    if not len(partition.test):
        raise SettingsError(
            f"the sweep's split ({config.data.split}) has no test set to score on: --simulate needs a "
            "sweep with --split budget"
        )
    features = cached_features(labelled.survey, frozen, device=device, progress=progress)
    position = np.searchsorted(labelled.selection.rows, labelled.pool)
    return LabelledFeatures(
        features=np.asarray(features[labelled.pool]),
        labels=labelled.selection.labels[position],
        test_features=np.asarray(features[partition.test]),
        test_labels=partition.test_labels,
        class_names=labelled.selection.class_names,
        backbone=f"{config.arch}, {config.transform}",
    )


def open_labelled(config: TrainingConfig) -> LabelledSurvey:
    """The survey of a trial; `DataError` if it is not what it was."""
    survey = open_as_planned(config.data)
    selection = select(survey, config.data.drop_labels, config.data.merge_labels)
    return LabelledSurvey(
        survey=survey, selection=selection, pool=pool_of(survey, selection, config.data)
    )


def load(chosen: Chosen, device: torch.device) -> Classifier:
    """A trial's network on a device; on a CPU it computes in float32, as `sweep.predict` does."""
    own = chosen.cell.config.precision
    precision: Precision = own if device.type == "cuda" else "fp32"
    use_precision(precision)
    classifier = load_classifier(chosen.checkpoint, chosen.cell.config, precision)
    classifier.backbone.to(device)
    return classifier


def find_candidates(
    images: ImageSet, labelled: Survey, cache_dir: Path | None, progress: Step | None = None
) -> Candidates:
    """Which images of a set are left to label: those that are readable and new.

    Two images are the same if their decoded pixels are equal, whatever their files are called.

    Parameters
    ----------
    labelled
        Survey whose images all have labels.
    progress
        Called with (images read, images in all).
    """
    known = cached_array(
        cache_root(cache_dir) / "pixels",
        {"survey": labelled.sha256, **labelled.images.key},
        shape=(len(labelled.labels), DIGEST),
        dtype=np.uint8,
        blocks=lambda: _all_digests(labelled.images, len(labelled.labels)),
    )
    seen = {digest.tobytes() for digest in known}
    rows: list[int] = []
    digests: list[bytes] = []
    unreadable: list[tuple[int, str]] = []
    n_labelled = copies = 0
    new: set[bytes] = set()
    for row, digest in enumerate(_digests(images.pictures(np.arange(images.n)), images.n)):
        if progress is not None:
            progress(row + 1, images.n)
        if isinstance(digest, str):
            unreadable.append((row, digest))
        elif digest in seen:
            n_labelled += 1
        elif digest in new:
            copies += 1
        else:
            new.add(digest)
            rows.append(row)
            digests.append(digest)
    return Candidates(
        rows=np.array(rows, np.int64),
        digests=np.frombuffer(b"".join(digests), np.uint8).reshape(-1, DIGEST),
        n=images.n,
        unreadable=tuple(unreadable),
        labelled=n_labelled,
        copies=copies,
    )


def candidate_features(
    classifier: Classifier,
    images: ImageSet,
    candidates: Candidates,
    *,
    device: torch.device,
    cache_dir: Path | None,
    progress: Step | None = None,
) -> NDArray[np.float32]:
    """Features (m, D) of the candidates, kept in the node's cache by their pixels."""
    head = classifier.head
    if head is None:
        raise ValueError("a trial has a head")

    def blocks() -> Iterator[np.ndarray]:
        pictures = images.pictures(candidates.rows)
        processes = useful_processes(len(candidates.rows))
        block: list[NDArray[np.uint8]] = []
        for framed in map_jobs(partial(_framed, classifier.frame), pictures, processes=processes):
            block += framed
            if len(block) >= BLOCK:
                yield classifier.features(np.stack(block), device, classifier.precision).numpy()
                block = []
        if block:
            yield classifier.features(np.stack(block), device, classifier.precision).numpy()

    key = {
        "pixels": hashlib.sha256(candidates.digests.tobytes()).hexdigest(),
        "backbone": classifier.backbone_id,
        "precision": classifier.precision,
        "device": device.type,
        "torch": torch.__version__,
        "library": classifier.spec.library,
    }
    return np.asarray(
        cached_array(
            cache_root(cache_dir) / "unlabelled",
            key,
            shape=(len(candidates.rows), head.in_features),
            dtype=np.float32,
            blocks=blocks,
            progress=progress,
        )
    )


def pool_features(
    classifier: Classifier,
    labelled: LabelledSurvey,
    *,
    device: torch.device,
    cache_dir: Path | None,
    progress: Step | None = None,
) -> NDArray[np.float32]:
    """Features (n, D) of the sweep's pool by a trial's network."""
    return features_of_rows(
        classifier,
        labelled.survey,
        labelled.pool,
        device=device,
        cache_dir=cache_dir,
        progress=progress,
    )


def _all_digests(images: Images, n: int) -> Iterator[np.ndarray]:
    for start in range(0, n, BLOCK):
        rows = np.arange(start, min(start + BLOCK, n))
        digests = [_digest(picture) for picture in images.pictures(rows)]
        found = [bytes(DIGEST) if isinstance(digest, str) else digest for digest in digests]
        yield np.frombuffer(b"".join(found), np.uint8).reshape(-1, DIGEST)


def _digests(pictures: Iterator[Picture], n: int) -> Iterator[bytes | str]:
    for part in map_jobs(_each_digest, pictures, processes=useful_processes(n)):
        yield from part


def _each_digest(pictures: list[Picture]) -> list[bytes | str]:
    return [_digest(picture) for picture in pictures]


def _digest(picture: Picture) -> bytes | str:
    """SHA-256 of the decoded pixels and their shape, or why they cannot be read."""
    try:
        pixels = picture.rgb()
    except PictureError as error:
        return str(error)
    found = hashlib.sha256(repr(pixels.shape).encode())
    found.update(np.ascontiguousarray(pixels).data)
    return found.digest()


def _framed(
    frame: Callable[[Image.Image], Image.Image], pictures: Sequence[Picture]
) -> list[NDArray[np.uint8]]:
    return [np.asarray(frame(Image.fromarray(picture.rgb()))) for picture in pictures]
