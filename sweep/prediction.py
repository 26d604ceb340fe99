"""Classes, probabilities and features of images, part by part: see `sweep.predict`.

A worker holds the networks and makes whole parts of the catalogue: it reads and frames the images of a
part, computes, and writes the part. On this machine there is one worker; on a cluster Ray Data gives
parts to many (`sweep.prediction_cluster`). What a part holds does not depend on who makes it.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from analysis.results import load
from analysis.results.chosen import Chosen, best_trials, named_trials
from analysis.stats.estimates import wilson
from sweep import shards
from sweep.predict import PredictConfig
from sweep.shards import Shards
from trainable import calibration
from trainable.classifier import Classifier, load_backbone, load_classifier
from trainable.config import Precision, TrainingConfig
from trainable.data.pictures import PictureError
from trainable.data.pool import map_jobs, useful_processes
from trainable.data.sources.source import Picture, some
from trainable.data.unlabelled import LABEL_COLUMN, PATH_COLUMN, ImageSet, open_unlabelled
from trainable.devices import choose_device
from trainable.errors import DataError, SettingsError
from trainable.forward_backward import use_precision
from trainable.novelty import Novelty, of_classifier
from trainable.prepare import data_path, is_path
from trainable.protocol import Transform

PREDICTED = "predicted_class"
PROBABILITY = "probability_"
"""Before the name of a class."""
ENTROPY = "entropy"
DISTANCE = "distance"
UNLIKE = "unlike_training"
EMBEDDING = "embedding"
PROBLEM = "problem"
TRIED = 16
"""Images that are tried before anything is computed: if none of them can be read, the flags are wrong."""
TELL_SECONDS = 30.0
"""Between two lines on the progress if the output is no terminal."""
VERSION = 1
"""Of what the columns mean; parts of another are not resumed."""

Framed = tuple[NDArray[np.uint8], ...] | str
"""An image framed for each network that frames it otherwise, (S, S, 3); or why it cannot be read."""


@dataclass(frozen=True, kw_only=True)
class Member:
    """A trial, as a worker loads it; without a checkpoint a pre-trained backbone."""

    name: str
    checkpoint: Path | None
    config: TrainingConfig | None
    arch: str
    weights: str | None = None
    transform: Transform | None = None
    precision: Precision
    temperature: float = 1.0
    """Logits are divided by it."""

    def load(self) -> Classifier:
        """Build the network and read its weights, on the CPU."""
        if self.checkpoint is None or self.config is None:
            return load_backbone(self.arch, self.weights, self.transform, self.precision)
        return load_classifier(self.checkpoint, self.config, self.precision)


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """All that a worker needs; it can be sent to another machine."""

    members: tuple[Member, ...]
    class_names: tuple[str, ...]
    """None of a backbone alone."""
    embeddings: bool
    novelty: Novelty | None
    images: ImageSet
    shards: Shards

    @property
    def schema(self) -> pa.Schema:
        """Columns of the catalogue."""
        return pa.schema([*self.images.schema, *self.computed])

    @property
    def computed(self) -> list[pa.Field]:
        """The columns that are added to what is known of the images."""
        number, fields = pa.float32(), list[pa.Field]()
        if self.class_names:
            fields.append(pa.field(PREDICTED, pa.string()))
            fields += [pa.field(PROBABILITY + name, number) for name in self.class_names]
            fields.append(pa.field(ENTROPY, number))
        if self.novelty is not None:
            fields += [pa.field(DISTANCE, number), pa.field(UNLIKE, pa.bool_())]
        if self.embeddings:
            # of a fixed size, Parquet would not read it back if an image has none
            fields.append(pa.field(EMBEDDING, pa.list_(number)))
        return [*fields, pa.field(PROBLEM, pa.string())]


@dataclass(frozen=True, kw_only=True)
class Done:
    """A part that has been written."""

    part: int
    images: int


class Worker:
    """The networks of a job on one device.

    Parameters
    ----------
    device
        Where they compute.
    processes
        That decode images.
    """

    def __init__(self, job: Job, device: torch.device, processes: int | None = None) -> None:
        self.job, self.device, self.processes = job, device, processes
        use_precision(job.members[0].precision)
        self.networks = [member.load() for member in job.members]
        for network in self.networks:
            network.backbone.to(device)
        framing: dict[str, Callable[[Image.Image], Image.Image]] = {}
        for network in self.networks:
            framing.setdefault(_framing(network), network.frame)
        self.frames = tuple(framing.values())
        self.place = {framed: place for place, framed in enumerate(framing)}

    def make(self, parts: Sequence[int]) -> Iterator[Done]:
        """Make and write some parts, ascending.

        Raises
        ------
        DataError
            A file with many images can no longer be read.
        OutputError
            A part cannot be written.
        """
        job = self.job
        bounds = [job.shards.bounds(part) for part in parts]
        rows = np.concatenate([np.arange(*bound) for bound in bounds] or [np.empty(0, np.int64)])
        processes = self.processes or useful_processes(len(rows))
        pictures = job.images.pictures(rows)
        framed = map_jobs(partial(_frame, self.frames), pictures, processes=processes)
        ready = itertools.chain.from_iterable(framed)
        for part, (start, stop) in zip(parts, bounds, strict=True):
            table = self.table(start, stop, list(itertools.islice(ready, stop - start)))
            job.shards.write(part, table)
            yield Done(part=part, images=stop - start)

    def table(self, start: int, stop: int, framed: Sequence[Framed]) -> pa.Table:
        """The rows `start` to `stop` - 1 of the catalogue.

        Parameters
        ----------
        framed
            The images of these rows.
        """
        job = self.job
        if len(framed) != stop - start:
            raise ValueError(f"{len(framed)} images for the rows {start} to {stop - 1}")
        readable = np.array([not isinstance(image, str) for image in framed], bool)
        columns: dict[str, Any] = {
            PROBLEM: pa.array([i if isinstance(i, str) else None for i in framed], pa.string())
        }
        if readable.any():
            stacks = [
                np.stack([image[place] for image in framed if not isinstance(image, str)])
                for place in range(len(self.frames))
            ]
            columns |= self._computed(stacks, readable)
        known = job.images.columns(start, stop)
        whole = [
            columns.get(field.name, pa.nulls(len(framed), field.type)) for field in job.computed
        ]
        return pa.Table.from_arrays([*known.columns, *whole], schema=job.schema)

    def _computed(
        self, stacks: Sequence[NDArray[np.uint8]], readable: NDArray[np.bool_]
    ) -> dict[str, pa.Array]:
        """Columns of a part from its framed images, with nulls for what cannot be read."""
        job = self.job
        features: dict[str, torch.Tensor] = {}
        probabilities: list[torch.Tensor] = []
        for member, network in zip(job.members, self.networks, strict=True):
            if network.backbone_id not in features:
                images = stacks[self.place[_framing(network)]]
                found = network.features(images, self.device, network.precision)
                features[network.backbone_id] = found
            if network.head is not None:
                logits = network.logits(features[network.backbone_id])
                probabilities.append((logits.double() / member.temperature).softmax(1))
        first = features[self.networks[0].backbone_id].numpy()
        columns: dict[str, pa.Array] = {}
        if probabilities:
            mean = torch.stack(probabilities).mean(0)
            names = np.array(job.class_names, dtype=object)
            columns[PREDICTED] = _column(names[mean.argmax(1).numpy()], readable, pa.string())
            columns[ENTROPY] = _column(torch.special.entr(mean).sum(1).numpy(), readable)
            for name, values in zip(job.class_names, mean.T.numpy(), strict=True):
                columns[PROBABILITY + name] = _column(values, readable)
        if job.novelty is not None:
            distances = job.novelty.distances(first)
            columns[DISTANCE] = _column(distances, readable)
            unlike = distances > job.novelty.threshold
            columns[UNLIKE] = _column(unlike, readable, pa.bool_())
        if job.embeddings:
            values = np.array([*first, None], object)[:-1]  # (m,), of arrays
            columns[EMBEDDING] = _column(values, readable, pa.list_(pa.float32()))
        return columns


def _framing(network: Classifier) -> str:
    """Equal for networks that frame images alike."""
    return f"{network.transform} {network.size} {network.spec.evaluation}"


def _column(
    values: NDArray[Any], readable: NDArray[np.bool_], kind: pa.DataType | None = None
) -> pa.Array:
    """A column with `values` (m,) where images are readable, (n,) bool, and nulls elsewhere."""
    whole = np.full(len(readable), None, object)
    whole[readable] = values
    return pa.array(whole, kind or pa.float32(), from_pandas=False)


def _frame(
    frames: Sequence[Callable[[Image.Image], Image.Image]], pictures: list[Picture]
) -> list[Framed]:
    """Each picture framed in every way, or why it cannot be read."""
    return [_framed(frames, picture) for picture in pictures]


def _framed(frames: Sequence[Callable[[Image.Image], Image.Image]], picture: Picture) -> Framed:
    try:
        image = Image.fromarray(picture.rgb())
    except PictureError as error:
        return str(error)
    return tuple(np.asarray(frame(image)) for frame in frames)


def run(config: PredictConfig) -> str:
    """Write the catalogue that is asked for, or what is missing of it; a sentence on what was done.

    Raises
    ------
    UserError
        Something cannot be used or written; the message says what.
    """
    console = Console(stderr=True)
    device = torch.device("cpu") if config.address else choose_device(config.device)
    job, members = _prepare(config, device, console)
    with job.shards.held():
        plan = _plan(config, job, members)
        if not job.shards.start(plan):
            missing = job.shards.missing()
            _tell_resumed(job, missing, console)
            made = _workers(config, job, missing, device)
            _follow(made, job, missing, console)
            unreadable = _unreadable(job)
            if config.labels is None:
                _tell_accuracy(job, console)
            job.shards.finish(job.schema)
        else:
            unreadable = []
    return _summary(job, unreadable)


def _prepare(
    config: PredictConfig, device: torch.device, console: Console
) -> tuple[Job, list[Classifier]]:
    """Everything that is checked before a worker starts."""
    chosen = chosen_trials(config)
    members = _members(config, chosen, device)
    use_precision(members[0].precision)
    networks = [member.load() for member in members]
    names = networks[0].class_names
    for trial, network in zip(chosen, networks, strict=False):
        console.print(f"{trial.name}: {trial.reason}", highlight=False, soft_wrap=True)
        if network.class_names != names:
            raise SettingsError(
                f"{trial.name} has the classes {', '.join(network.class_names)}, and "
                f"{chosen[0].name} has {', '.join(names)}: probabilities of other classes cannot be "
                "averaged"
            )
    images = _open_images(config, networks[0], console)
    if chosen and config.calibrated:
        _tell_calibration(chosen, members, console)
    novelty = None
    if config.novelty and chosen:
        networks[0].backbone.to(device)
        try:
            novelty = of_classifier(
                networks[0],
                device=device,
                wanted=config.false_alarms,
                split_hash=chosen[0].cell.split_hash,
                cache_dir=config.cache_dir,
            )
        except DataError as error:
            raise DataError(
                f"{error}. The images that the trial was trained on are needed to tell which are "
                "unlike them: put them back, or use --no-novelty"
            ) from error
        console.print(novelty.sentence, highlight=False, soft_wrap=True)
    out = config.out or ""
    job = Job(
        members=tuple(members),
        class_names=names,
        embeddings=config.embeds,
        novelty=novelty,
        images=images,
        shards=Shards(
            out=out if "://" in out else os.path.abspath(os.path.expanduser(out)),
            as_file=shards.is_file(out),
            rows=images.n,
            rows_of_part=config.shard_images,
        ),
    )
    _check_columns(job, out)
    return job, networks


def chosen_trials(config: PredictConfig) -> tuple[Chosen, ...]:
    """The trials of the sweep that are asked for; none with ``--arch``."""
    if config.sweep is None:
        return ()
    results = load.read(config.sweep)
    if config.trial:
        return named_trials(results, config.trial)
    return best_trials(results, config.ensemble)


def _members(config: PredictConfig, chosen: Sequence[Chosen], device: torch.device) -> list[Member]:
    on_gpu = device.type == "cuda" or (config.address is not None and config.worker_gpus > 0)

    def precision(own: Precision) -> Precision:
        if config.precision != "auto":
            return config.precision
        return own if on_gpu else "fp32"

    if config.arch is not None:
        return [
            Member(
                name=config.arch,
                checkpoint=None,
                config=None,
                arch=config.arch,
                weights=config.weights,
                transform=config.transform,
                precision=precision("fp32"),
            )
        ]
    return [
        Member(
            name=trial.name,
            checkpoint=trial.checkpoint,
            config=trial.cell.config,
            arch=trial.cell.config.arch,
            precision=precision(trial.cell.config.precision),
            temperature=temperature_of(trial).value if config.calibrated else 1.0,
        )
        for trial in chosen
    ]


def temperature_of(trial: Chosen) -> calibration.Temperature:
    """The temperature in a trial's checkpoint; `SettingsError` if none can be had."""
    found = calibration.stored(trial.checkpoint, tested=trial.cell.n_test > 0)
    if found is None:
        raise SettingsError(
            f"{trial.name} stored no validation predictions to fit a temperature to: use "
            "--no-calibrated for its probabilities as they are"
        )
    return found


def _tell_calibration(
    chosen: Sequence[Chosen], members: Sequence[Member], console: Console
) -> None:
    temperatures = [member.temperature for member in members]
    shown = ", ".join(f"{temperature:.2f}" for temperature in temperatures)
    text = f"Temperature {shown} by validation"
    if all(trial.cell.n_test for trial in chosen):
        error = calibration.error_of([trial.checkpoint for trial in chosen], temperatures)
        text += f": {error.sentence}" if error else ""
    console.print(f"{text}.", highlight=False, soft_wrap=True)


def _open_images(config: PredictConfig, network: Classifier, console: Console) -> ImageSet:
    """The images, of which some have been tried."""
    location = config.images or ""
    if "://" not in location and not is_path(location):
        location = str(data_path(location, config.cache_dir))
    of_trial = network.config.data.source if network.config else None
    images = open_unlabelled(
        location,
        labels=config.labels,
        flags=config.source(of_trial),
        classes=network.class_names,
    )
    for note in images.notes:
        console.print(note, highlight=False, soft_wrap=True)
    rows = np.unique(np.linspace(0, images.n - 1, TRIED).astype(np.int64))
    problems = [
        f"{picture.name}: {found}"
        for picture in images.pictures(rows)
        if isinstance(found := _framed((), picture), str)
    ]
    if len(problems) == len(rows):
        raise DataError(
            f"none of {len(rows)} images of {location} that were tried can be read, the first is "
            f"{problems[0]}"
        )
    return images


def _check_columns(job: Job, out: str) -> None:
    """Refuse columns of the images that the catalogue cannot have."""
    computed = {field.name for field in job.computed}
    if taken := [name for name in job.images.schema.names if name in computed]:
        raise SettingsError(
            f"the images have a column {some(taken)} already, the name of what is written: rename it"
        )
    if out.lower().endswith(".csv"):
        for field in job.images.schema:
            if pa.types.is_nested(field.type) or pa.types.is_binary(field.type):
                raise SettingsError(
                    f"column {field.name!r} of the images is {field.type}, which CSV cannot hold: "
                    "name a .parquet file with --out"
                )


def _plan(config: PredictConfig, job: Job, networks: Sequence[Classifier]) -> dict[str, Any]:
    """What parts have in common that may stand in one catalogue."""
    novelty = job.novelty
    return {
        "version": VERSION,
        "trials": [member.name for member in job.members],
        "networks": [network.identity for network in networks],
        "precision": [member.precision for member in job.members],
        "temperatures": [member.temperature for member in job.members],
        "images": config.images,
        "images_fingerprint": job.images.fingerprint,
        "rows": job.shards.rows,
        "rows_of_part": job.shards.rows_of_part,
        "columns": [f"{field.name}: {field.type}" for field in job.schema],
        "threshold": None if novelty is None else [novelty.threshold, novelty.neighbours],
    }


def _workers(
    config: PredictConfig, job: Job, missing: Sequence[int], device: torch.device
) -> Iterable[Done]:
    """The parts that are missing, as they are made."""
    if not missing:
        return ()
    if config.address is None:
        return Worker(job, device).make(missing)
    from sweep import prediction_cluster  # Ray

    return prediction_cluster.make(config, job, missing)


def _tell_resumed(job: Job, missing: Sequence[int], console: Console) -> None:
    there = job.shards.number - len(missing)
    if there:
        console.print(
            f"resuming: {there} of {job.shards.number} parts are there already", highlight=False
        )


def _follow(made: Iterable[Done], job: Job, missing: Sequence[int], console: Console) -> None:
    """Show how far the work is, and when it will be done."""
    total = sum(stop - start for start, stop in map(job.shards.bounds, missing))
    if console.is_terminal:
        shown = (
            *(TextColumn("images"), BarColumn(), MofNCompleteColumn()),
            *(TextColumn("left:"), TimeRemainingColumn()),
        )
        with Progress(*shown, console=console) as progress:
            task = progress.add_task("images", total=total)
            for done in made:
                progress.advance(task, done.images)
        return
    began = told = time.monotonic()
    images = 0
    for done in made:
        images += done.images
        now = time.monotonic()
        if now - told >= TELL_SECONDS:
            told, rate = now, images / (now - began)
            console.print(
                f"{images:,} of {total:,} images, {rate:.0f} images/s, "
                f"{(total - images) / rate / 60:.1f} min left",
                highlight=False,
                soft_wrap=True,
            )


def _unreadable(job: Job) -> list[str]:
    """Names of the images of which the catalogue has a problem and no prediction."""
    named = job.images.schema.names[0]
    for preferred in ("path", "id", "file", "row"):
        if preferred in job.images.schema.names:
            named = preferred
            break
    found: list[str] = []
    for table in job.shards.read([named, PROBLEM]):
        bad = table.filter(table.column(PROBLEM).is_valid())
        rows = zip(bad.column(named).to_pylist(), bad.column(PROBLEM).to_pylist(), strict=True)
        found += [f"{named} {name}: {problem}" for name, problem in rows]
    return found


def _tell_accuracy(job: Job, console: Console) -> None:
    """The accuracy on the images that lie in folders named after the classes, if there are any."""
    if not job.class_names or job.images.schema.names != [PATH_COLUMN, LABEL_COLUMN]:
        return
    right = [
        label == predicted
        for table in job.shards.read([LABEL_COLUMN, PREDICTED])
        for label, predicted in zip(
            table.column(LABEL_COLUMN).to_pylist(),
            table.column(PREDICTED).to_pylist(),
            strict=True,
        )
        if label is not None and predicted is not None
    ]
    if not right:
        return
    accuracy = wilson(float(np.mean(right)), len(right))
    console.print(
        f"{len(right):,} images lie in folders named after the classes (column {LABEL_COLUMN}): "
        f"{accuracy.value:.1%} are predicted as their folder says (95% CI {accuracy.low:.1%} to "
        f"{accuracy.high:.1%}). Images that the trial was trained on count, if they are among them.",
        highlight=False,
        soft_wrap=True,
    )


def _summary(job: Job, unreadable: Sequence[str]) -> str:
    text = f"wrote {job.images.n:,} rows to {job.shards.out}"
    if not unreadable:
        return text
    return (
        f"{text}; {len(unreadable):,} of them without a prediction, as the image cannot be read "
        f"(column {PROBLEM}): {some(list(unreadable))}"
    )
