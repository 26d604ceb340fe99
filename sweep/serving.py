"""What trials say of one picture: classes, where they look, and the training images nearest to it."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.neighbors import NearestNeighbors
from torchvision.models import VisionTransformer

from analysis import formatting
from analysis.results import load
from analysis.results.chosen import Chosen, best_trials, named_trials
from analysis.results.schema import Results, rows_where
from sweep.prediction import temperature_of
from trainable.classifier import Classifier, load_classifier
from trainable.data.class_selection import Selection, select
from trainable.data.dataset import Survey
from trainable.data.pictures import decode
from trainable.data.pixels import normalise
from trainable.data.splits import planned
from trainable.devices import choose_device
from trainable.errors import DataError, SettingsError, SweepError
from trainable.models.attention_rollout import class_token_maps
from trainable.novelty import Novelty, features_of_rows, of_classifier, unit_length
from trainable.protocol import INITS, UNTRAINED
from trainable.run import open_as_planned

NEAREST = 6
"""Training images that are shown."""
EXAMPLES = 8
"""Test images that can be clicked."""
SHOWN = 224
"""Side of the pictures on the page, pixels."""
NO_ATTENTION = "No attention map: {} is not one of torchvision's Vision Transformers."


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """A training image near the picture."""

    image: NDArray[np.uint8]
    """(H, W, 3)."""
    label: str
    distance: float
    """Between features of length 1, 0 to 2."""


@dataclass(frozen=True, kw_only=True)
class Opinion:
    """What one trial says of a picture."""

    name: str
    """Of the trial."""
    framed: NDArray[np.uint8]
    """(S, S, 3): the picture as the network sees it."""
    probabilities: dict[str, float]
    """Class → 0 to 1, in the order of the classes."""
    attention: NDArray[np.uint8] | None
    """(SHOWN, SHOWN, 3): the framed picture, bright where the network looks; None if it has no such map."""
    neighbours: tuple[Neighbour, ...]
    """Nearest first; none without the training images."""
    distance: float | None
    """To the nearest training images, as `trainable.novelty` measures it."""
    unlike_training: bool | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Reference:
    """The images that a trial was trained on."""

    survey: Survey
    rows: NDArray[np.int64]
    """(n,) in the survey."""
    labels: NDArray[np.int64]
    """(n,) class of each."""
    features: NDArray[np.float32]
    """(n, D), each of length 1."""
    novelty: Novelty


@dataclass(frozen=True, kw_only=True, eq=False)
class Served:
    """A trial on a device, ready for pictures."""

    chosen: Chosen
    network: Classifier
    device: torch.device
    temperature: float
    """Logits are divided by it."""
    reference: Reference | None
    """None: `without_reference` says why."""
    without_reference: str = ""

    @property
    def name(self) -> str:
        """Of the trial."""
        return self.chosen.name

    @property
    def description(self) -> str:
        """The trial in a sentence."""
        config, accuracy = self.chosen.cell.config, self.chosen.accuracy
        trained = "from scratch" if config.init == "scratch" else f"pre-trained, {config.trained}"
        text = f"{config.arch}, {trained}, {self.chosen.cell.n_labels:,} labels"
        if accuracy is not None:
            text += f"; accuracy {formatting.percent(accuracy)} in the sweep"
        return f"{text}; {self.chosen.reason}."

    def classify(self, picture: Image.Image) -> Opinion:
        """What the trial says of a picture, RGB with 8 bits, framed as in training."""
        framed = np.asarray(self.network.frame(picture))
        features = self.network.features(framed[None], self.device, self.network.precision)
        logits = self.network.logits(features)[0] / self.temperature
        probabilities = logits.softmax(dim=0).numpy()
        neighbours: tuple[Neighbour, ...] = ()
        distance = unlike = None
        if self.reference is not None:
            vector = features.numpy()
            novelty = self.reference.novelty
            distance = float(novelty.distances(vector)[0])
            unlike = distance > novelty.threshold
            neighbours = _nearest(self.reference, vector, self.network.class_names)
        return Opinion(
            name=self.name,
            framed=framed,
            probabilities=dict(
                zip(self.network.class_names, map(float, probabilities), strict=True)
            ),
            attention=self._attention(framed),
            neighbours=neighbours,
            distance=distance,
            unlike_training=unlike,
        )

    def _attention(self, framed: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
        if not isinstance(self.network.backbone, VisionTransformer):
            return None
        spec = self.network.spec
        images = torch.from_numpy(framed[None].copy()).to(self.device)
        maps, _ = class_token_maps(self.network.backbone, normalise(images, spec.mean, spec.std))
        return _overlay(framed, maps[0].cpu().numpy())


def require_free(host: str, port: int) -> None:
    """`SettingsError` if nothing can listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((host, port))
        except OSError as error:
            raise SettingsError(
                f"--host {host} --port {port}: cannot listen there ({error.strerror}); choose another "
                "--port"
            ) from error


def open_sweep(
    sweep: Path,
    names: Sequence[str] = (),
    *,
    calibrated: bool = True,
    false_alarms: float = 0.05,
    device: str | None = None,
    cache_dir: Path | None = None,
) -> tuple[Served, ...]:
    """Load the trials that are asked for, or of each init the best by validation.

    Parameters
    ----------
    names
        Of trials.
    false_alarms
        Share of images like the training images that may be called unlike them.

    Raises
    ------
    UserError
        A trial is not there, not complete, or its checkpoint or weights cannot be used.
    """
    results = load.read(sweep)
    chosen = named_trials(results, names) if names else _best_of_each_init(results)
    on = choose_device(device)
    return tuple(_served(trial, on, calibrated, false_alarms, cache_dir) for trial in chosen)


def _best_of_each_init(results: Results) -> tuple[Chosen, ...]:
    found: list[Chosen] = []
    for init in INITS:
        trials = rows_where(results.trials, results.trials["init"] == init)
        trials = rows_where(trials, [UNTRAINED.name not in names for names in trials["protocols"]])
        part = results.part(trials.reset_index(drop=True), results.manifests)
        if part.complete["checkpoint"].notna().any():
            found += best_trials(part)
    if not found:
        name = results.manifest.name
        raise SweepError(
            f"{name} has no complete trial with a checkpoint: resume it "
            f"(python -m sweep.run --resume {name})"
        )
    return tuple(found)


def _served(
    chosen: Chosen,
    device: torch.device,
    calibrated: bool,
    false_alarms: float,
    cache_dir: Path | None,
) -> Served:
    config = chosen.cell.config
    precision = config.precision if device.type == "cuda" else "fp32"
    network = load_classifier(chosen.checkpoint, config, precision)
    network.backbone.to(device)
    reference, why = None, ""
    try:
        reference = _reference(network, chosen, device, false_alarms, cache_dir)
    except DataError as error:  # the page is of use without them, and says so
        why = f"Without the training images: {error}."
    return Served(
        chosen=chosen,
        network=network,
        device=device,
        temperature=temperature_of(chosen).value if calibrated else 1.0,
        reference=reference,
        without_reference=why,
    )


def _reference(
    network: Classifier,
    chosen: Chosen,
    device: torch.device,
    false_alarms: float,
    cache_dir: Path | None,
) -> Reference:
    config, split_hash = chosen.cell.config, chosen.cell.split_hash
    novelty = of_classifier(
        network, device=device, wanted=false_alarms, split_hash=split_hash, cache_dir=cache_dir
    )
    survey = open_as_planned(config.data)
    selection = select(survey, config.data.drop_labels, config.data.merge_labels)
    rows = planned(survey, selection, config).train
    features = features_of_rows(network, survey, rows, device=device, cache_dir=cache_dir)
    return Reference(
        survey=survey,
        rows=rows,
        labels=_labels(selection, rows),
        features=unit_length(features),
        novelty=novelty,
    )


def _nearest(
    reference: Reference, vector: NDArray[np.float32], names: Sequence[str]
) -> tuple[Neighbour, ...]:
    count = min(NEAREST, len(reference.rows))
    index = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(reference.features)
    distances, places = index.kneighbors(unit_length(vector))
    return tuple(
        Neighbour(
            image=image_of(reference.survey, int(reference.rows[place])),
            label=names[int(reference.labels[place])],
            distance=float(distance),
        )
        for distance, place in zip(distances[0], places[0], strict=True)
    )


def _labels(selection: Selection, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,) class of each of some rows of the survey."""
    return selection.labels[np.searchsorted(selection.rows, rows)]


def image_of(survey: Survey, row: int) -> NDArray[np.uint8]:
    """(H, W, 3): an image of the survey, decoded."""
    (picture,) = survey.images.pictures(np.array([row]))
    return picture.rgb()


def examples(served: Served, number: int = EXAMPLES) -> list[tuple[NDArray[np.uint8], str]]:
    """Test images of a trial with their classes, one of each class in turn; none without a test set."""
    if served.reference is None:
        return []
    config, survey = served.chosen.cell.config, served.reference.survey
    selection = select(survey, config.data.drop_labels, config.data.merge_labels)
    rows = planned(survey, selection, config).test
    labels = _labels(selection, rows)
    names = served.network.class_names
    return [
        (image_of(survey, int(rows[labels == label][0])), names[label])
        for label in np.unique(labels).tolist()[:number]
    ]


def read_picture(path: Path) -> Image.Image:
    """A picture as training reads it: RGB with 8 bits; `PictureError` if it is none."""
    return decode(path.read_bytes())


def _overlay(framed: NDArray[np.uint8], attention: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The picture, dark where the class token does not look."""
    share = attention / attention.max()
    mask = Image.fromarray((255 * share).astype(np.uint8)).resize(
        (SHOWN, SHOWN), Image.Resampling.BICUBIC
    )
    picture = Image.fromarray(framed).resize((SHOWN, SHOWN), Image.Resampling.BICUBIC)
    weight = 0.25 + 0.75 * np.asarray(mask, np.float32)[..., None] / 255
    return (np.asarray(picture, np.float32) * weight).astype(np.uint8)
