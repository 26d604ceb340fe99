"""Time our runs and the paper's loop, one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from analysis.paper import BASELINE, TRIALS, PaperTrial
from benchmarks.machine import synchronise
from benchmarks.measure import Measure, extrapolate
from benchmarks.paper_loop import PaperLoop
from benchmarks.workload import with_cache
from trainable.config import Precision, TrainingConfig
from trainable.data.dataset import open_as_configured
from trainable.data.splits import planned
from trainable.errors import SettingsError
from trainable.flops import epoch_flops
from trainable.groups_of_heads import groups, make_runs
from trainable.heads_together import train_together
from trainable.machine import usable_cpus
from trainable.models.architectures import size
from trainable.models.features import cached_features
from trainable.prepare import Prepared
from trainable.protocol import Init, Stopping
from trainable.run import Row, TrainingRun

FROZEN: tuple[PaperTrial, ...] = tuple(trial for trial in TRIALS if trial is not BASELINE)
CALIBRATION_IMAGES = 2000
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Reference:
    """How the paper's loop is run."""

    device: torch.device
    precision: Precision
    epochs: int | None
    """Epochs of a trial that are run; the rest is extrapolated. None: all."""
    share: float
    """Of the images of an epoch that are visited; its time is scaled."""
    workers: dict[str, int]
    """For each kind of training (``all``, ``head``, ``non_encoder``)."""

    def loop(self, config: TrainingConfig) -> PaperLoop:
        """The loop for one run."""
        return PaperLoop(
            config,
            device=self.device,
            workers=self.workers[config.trained],
            precision=self.precision,
            share=self.share,
        )

    def seconds(self, config: TrainingConfig) -> float:
        """Seconds of a whole run of `config.max_epochs`, start included."""
        start = time.perf_counter()
        loop = self.loop(config)
        synchronise(self.device)
        started = time.perf_counter() - start
        epochs = min(self.epochs or config.max_epochs, config.max_epochs)
        each = [loop.step_epoch()["epoch_seconds"] / self.share for _ in range(epochs)]
        return started + extrapolate(each, config.max_epochs)


def trial_config(experiment: Prepared, trial: PaperTrial) -> TrainingConfig:
    """The paper's trial with the number of epochs of its table 2; nothing stops it earlier."""
    config = experiment.training_config(trial.init, trial.fraction, 0)
    never = Stopping(rule="paper", delta=1e9, patience=trial.epochs)
    return replace(config, max_epochs=trial.epochs, stopping=never)


def our_seconds(configs: Sequence[TrainingConfig], device: torch.device) -> float:
    """Seconds of our runs, each from its start to its last epoch, as one slot of a sweep trains them.

    Heads train together, all others one after the other.
    """
    start = time.perf_counter()
    named = {str(number): config for number, config in enumerate(configs)}
    together = groups(named, slots=1)
    for group in dict.fromkeys(together.values()):
        for error in train_together(make_runs([named[name] for name in group], device)):
            if error:
                raise error
    for name, config in named.items():
        if name in together:
            continue
        run = TrainingRun(config, device=device)
        while not run.finished:
            run.step_epoch()
    synchronise(device)
    return time.perf_counter() - start


def fastest_workers(config: TrainingConfig, device: torch.device, precision: Precision) -> int:
    """The number of loading processes, of 0, 1, 2, 4, … cores, with the shortest epoch."""
    images = len(open_as_configured(config.data).labels)
    share = min(1.0, CALIBRATION_IMAGES / images)
    seconds: dict[int, float] = {}
    for workers in sorted({0, usable_cpus(), *(2**k for k in range(8) if 2**k < usable_cpus())}):
        loop = PaperLoop(config, device=device, workers=workers, precision=precision, share=share)
        seconds[workers] = min(loop.step_epoch()["epoch_seconds"] for _ in range(3))
    return min(seconds, key=lambda workers: seconds[workers])


def images_seen(config: TrainingConfig, experiment: Prepared) -> tuple[int, int]:
    """Training and validation images of one epoch."""
    split = planned(experiment.survey, experiment.selection, config)
    return len(split.train), len(split.validation)


def time_trials(
    experiment: Prepared,
    reference: Reference | None,
    *,
    device: torch.device,
    baseline: bool,
    repeats: int,
    say: Say,
) -> list[Measure]:
    """The eight frozen trials and, with `baseline`, these and the scratch trial after them.

    In each repeat ours start from empty caches, the reference follows, and the frozen trials run
    once more with the caches that are there by then.
    """
    seconds: dict[str, list[float]] = {
        name: [] for name in ("cold", "warm", "nine", "frozen", "all")
    }
    for repeat in range(repeats):
        with TemporaryDirectory() as folder:
            fresh = with_cache(experiment, Path(folder))
            frozen = [trial_config(fresh, trial) for trial in FROZEN]
            scratch = [trial_config(fresh, BASELINE)] if baseline else []
            seconds["cold"].append(our_seconds(frozen, device))
            seconds["nine"].append(seconds["cold"][-1] + our_seconds(scratch, device))
            if reference:
                seconds["frozen"].append(sum(map(reference.seconds, frozen)))
                rest = sum(map(reference.seconds, scratch))
                seconds["all"].append(seconds["frozen"][-1] + rest)
            seconds["warm"].append(our_seconds(frozen, device))
        say(f"trials, {repeat + 1} of {repeats}: " + describe(seconds))
    configs = [trial_config(experiment, trial) for trial in FROZEN]
    passes = sum(sum(images_seen(c, experiment)) * c.max_epochs for c in configs)
    forward = forward_flops(experiment)
    features = float(len(experiment.survey.labels) * forward)  # each image once
    measures = [
        Measure(
            name=f"(a) frozen, {caches}",
            ours=tuple(seconds[caches]),
            reference=tuple(seconds["frozen"]),
            images=passes,
            flops=flops,
        )
        for caches, flops in (("cold", features), ("warm", None))
    ]
    if baseline:
        config = trial_config(experiment, BASELINE)
        n_train, n_val = images_seen(config, experiment)
        epoch = epoch_flops(
            trained=config.trained, forward_flops=forward, n_train=n_train, n_val=n_val
        )
        measures.append(
            Measure(
                name="(c) nine trials",
                ours=tuple(seconds["nine"]),
                reference=tuple(seconds["all"]),
                images=passes + config.max_epochs * (n_train + n_val),
                flops=features + config.max_epochs * epoch,
            )
        )
    return measures


def time_epochs(
    experiment: Prepared,
    reference: Reference | None,
    *,
    device: torch.device,
    init: Init,
    name: str,
    repeats: int,
    say: Say,
) -> list[Measure]:
    """An epoch of one run, ours and the reference's in turn, after one of each that is not timed.

    Gives the epoch, validation included, and the training in it.
    """
    config = replace(experiment.training_config(init, 1.0, 0), max_epochs=repeats + 1)
    run, loop = TrainingRun(config, device=device), reference and reference.loop(config)
    rows: list[Row] = []
    their_rows: list[Row] = []
    for repeat in range(repeats + 1):
        rows.append(run.step_epoch())
        if loop:
            their_rows.append(loop.step_epoch())
        say(f"{name}, {repeat} of {repeats}: {rows[-1]['epoch_seconds']:.2f} s")
    n_train, n_val = images_seen(config, experiment)
    share = reference.share if reference else 1.0
    theirs = {
        key: tuple(row[key] / share for row in their_rows[1:])
        for key in ("epoch_seconds", "train_seconds")
    }
    forward = forward_flops(experiment)
    return [
        Measure(
            name=f"{name} epoch",
            ours=tuple(row["epoch_seconds"] for row in rows[1:]),
            reference=theirs["epoch_seconds"],
            images=n_train + n_val,
            flops=epoch_flops(
                trained=config.trained, forward_flops=forward, n_train=n_train, n_val=n_val
            ),
        ),
        Measure(
            name=f"{name} training",
            ours=tuple(n_train / row["images_per_second"] for row in rows[1:]),
            reference=theirs["train_seconds"],
            images=n_train,
            flops=epoch_flops(
                trained=config.trained, forward_flops=forward, n_train=n_train, n_val=0
            ),
        ),
    ]


def time_extraction(
    experiment: Prepared, *, device: torch.device, repeats: int, say: Say
) -> list[Measure]:
    """The pass of all images through a frozen backbone, from its second block of images on.

    Another seed of a backbone without weights makes another cache of features each time.
    """
    base = replace(experiment.training_config("scratch", 1.0, 0), trained="head")
    TrainingRun(replace(base, trained="all"), device=device)  # the images are there from here on
    ours: list[float] = []
    images = 0
    for seed in range(repeats):
        ticks: list[tuple[int, float]] = []
        cached_features(
            experiment.survey,
            replace(base, seed=seed),
            device=device,
            progress=partial(_note_time, ticks),
        )
        (first, start), (last, end) = ticks[0], ticks[-1]
        if first == last:
            raise SettingsError(
                f"{last} images are too few to time the extraction: use more --images"
            )
        ours.append(end - start)
        images = last - first
        say(f"features, {seed + 1} of {repeats}: {end - start:.2f} s")
    flops = float(images * forward_flops(experiment))
    return [Measure(name="features", ours=tuple(ours), images=images, flops=flops)]


def _note_time(ticks: list[tuple[int, float]], done: int, _total: int) -> None:
    ticks.append((done, time.perf_counter()))


def forward_flops(experiment: Prepared) -> int:
    """Floating-point operations of one image's pass through the network."""
    classes = len(experiment.selection.class_names)
    return size(experiment.settings.archs[0], num_classes=classes, trained="all").forward_flops


def describe(seconds: dict[str, list[float]]) -> str:
    """The latest of each, for the terminal."""
    return ", ".join(f"{name} {values[-1]:.2f} s" for name, values in seconds.items() if values)
