"""From a configuration to a sweep that is checked, laid out on disk, and run."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import filelock
import ray
from ray import tune

from analysis.metrics import metric_named
from analysis.results.transfer import FILE as TRANSFER
from sweep import preflight
from sweep.cells import describe, describe_cells, examples, must_be_fetched
from sweep.dry_run import features_work, galaxy10_without_its_file, shared_features, work
from sweep.experiment import extra_callbacks, resources, run_experiment
from sweep.grid import SweepConfig
from sweep.live_table import LiveTable
from sweep.outcomes import TrialOutcome, last_line, set_errors_aside, trial_outcome
from sweep.ray_compat import MemoryShortage, memory_shortage
from sweep.ray_session import start_ray
from sweep.state_backup import repair
from sweep.storage import Folder
from trainable.config import TrainingConfig
from trainable.data.preprocess import cached_images
from trainable.devices import Gpu, compiler_missing, require_gpus, suited_to
from trainable.errors import SweepError
from trainable.machine import memory, memory_below
from trainable.manifest import FILE, Manifest, differences
from trainable.models import architectures
from trainable.models.features import features_folder
from trainable.prepare import Prepared, is_path, prepare
from trainable.protocol import Transform
from trainable.tune_trial import TOGETHER

Progress = Callable[[int, int], None]
Say = Callable[[str], None]
T = TypeVar("T")

LOCATIONS = ("data", "labels", "weights", "cache_dir", "storage_path")
"""Settings that say where files are; on resuming, those given last hold."""
SPEED = ("precision", "compile")
"""Settings whose ``auto`` is decided by the GPUs, once for a sweep."""
PLANNED = (
    *("until_decided", "max_seeds", "detect", "seeds", "probe_draws", "inits"),
    *("fractions", "scratch_fractions", "budgets", "scratch_budgets"),
    *("arch", "scratch_arch", "controls"),
)
"""Settings that say when a sweep ``--until-decided`` ends."""
MEMORY_RETRIES = 3
"""Times in a row that a sweep resumes after a shortage of memory without an epoch in between."""
MEMORY_POLL = 5.0
"""Seconds between two looks at the memory that is waited for."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A sweep whose data, weights and trials have been found and checked."""

    config: SweepConfig
    folder: Folder
    prepared: Prepared
    manifest: Manifest
    cannot_run: Mapping[str, str]
    """Of a plan: cell id → why its images cannot be split. A sweep that runs has none."""
    lock: filelock.FileLock | None
    """Held while the sweep is in hand; None for a plan, or if the store has none."""


@dataclass(kw_only=True)
class Outcome:
    """What became of the cells."""

    finished: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    """Cell → its error, in a line."""
    unfinished: set[str] = field(default_factory=set)
    """Neither: the sweep was interrupted."""


def gpus_for(config: SweepConfig) -> tuple[Gpu, ...]:
    """The GPUs of this machine that the trials will use, each tried by a tensor.

    Returns
    -------
    tuple of Gpu
        None if the trials run on CPUs or on a cluster, or if nothing will run.

    Raises
    ------
    ResourcesError
        The machine lacks the GPUs asked for, or one of them cannot be used.
    """
    if not config.gpus or config.dry_run or config.address is not None:
        return ()
    return require_gpus(
        config.gpus,
        "Use --gpus 0 to train on the CPU (with --arch vit_demo: vit_b_16 takes days there), or "
        "--preset demo for a sweep of a few minutes.",
    )


def check_before_fetching(config: SweepConfig) -> None:
    """See that weights and GPUs are there before the 2.5 GB of Galaxy10 are fetched.

    All other data are read, and their mistakes told, before anything is asked of the GPUs.

    Raises
    ------
    WeightsError, ResourcesError
        They are not.
    """
    if config.data != "galaxy10" or config.dry_run:
        return
    from trainable.data.download import find_galaxy10  # slow to import

    if find_galaxy10() is not None:
        return
    for arch in config.archs if "pretrained" in config.inits else ():
        given = config.weights_of(arch)
        if given is not None and not must_be_fetched(arch, given):
            architectures.weights_file(arch, given)
    gpus_for(config)


def absolute(config: SweepConfig) -> SweepConfig:
    """The configuration with every path absolute: Tune's trials run in folders of their own."""
    changes: dict[str, object] = {"storage_path": str(Folder(config.storage_path))}
    if is_path(config.data):
        changes["data"] = str(Path(config.data).expanduser().absolute())
    for name in ("labels", "cache_dir", "transfer_from", "class_map"):
        if (path := getattr(config, name)) is not None:
            changes[name] = path.expanduser().absolute()
    changes["weights"] = tuple(_absolute_weights(config))
    return dataclasses.replace(config, **changes)


def _absolute_weights(config: SweepConfig) -> Iterator[str]:
    """``--weights`` with the paths of files that are there absolute; others are refused as given."""
    for number, arch in enumerate(config.archs):
        weights = config.weights_of(arch)
        if weights is None:
            continue
        path = Path(weights).expanduser()
        if weights not in architectures.architecture(arch).weights and path.exists():
            weights = str(path.absolute())
        yield weights if number == 0 else f"{arch}={weights}"


def lay_out(
    config: SweepConfig, resumed: Folder | None, command: str, progress: Progress, say: Say
) -> Sweep:
    """Find the data and the weights and check every trial; nothing is written yet.

    But the weights of a network that is transferred, into the folder of its own sweep.

    Raises
    ------
    UserError
        Whatever would keep a trial from running, with what to do about it.
    """
    if config.preset == "transfer" and config.transfer_from is None:
        raise SweepError(
            "--preset transfer: needs --transfer-from SWEEP and --class-map FILE, the sweep on another "
            "survey and which classes are the same"
        )
    if config.transfer_from is not None and resumed is None:
        from sweep import transfer  # it imports what predicts, which other sweeps need not

        config = transfer.with_source(config)
    config = absolute(config)
    extra_callbacks(config, name="")
    if resumed:
        config = as_before(config, read_manifest(resumed))
    name = config.name or f"{config.preset}-{datetime.now():%Y%m%d-%H%M%S}"
    folder = resumed or Folder(config.storage_path).child(name)
    if not resumed and folder.exists(FILE) and not config.replace:
        raise SweepError(
            f"{folder} holds a sweep already: resume it by --resume {name}, start again with "
            "--replace, or choose another --name"
        )
    check_before_fetching(config)
    plan_only = config.dry_run
    prepared = (galaxy10_without_its_file(config) if plan_only else None) or prepare(
        config, progress
    )
    metric_named(config.metric, len(prepared.selection.class_names))  # refused before training
    wanted = config.cells(prepared.n_pool, len(prepared.selection.class_names))
    grid = describe_cells(prepared, wanted)
    cells = grid.cells if plan_only else grid.require_all()
    manifest = describe(prepared, config, cells, name, command, fetch=not plan_only)
    for arch in manifest.weights_sha256:
        _check_weights(prepared, arch, say)
    gpus = gpus_for(config)
    if not config.address or plan_only:  # a cluster is asked when it is joined
        config, manifest = at_speed_of(gpus, config, manifest, say)
    lock = None if plan_only else folder.hold()
    if resumed:
        earlier = read_manifest(resumed)
        for experiment in () if plan_only else earlier.experiments:
            for repaired in repair(resumed.child(experiment)):
                say(repaired)
        manifest = resumable(earlier, manifest)
    return Sweep(
        config=config,
        folder=folder,
        prepared=dataclasses.replace(prepared, settings=config),
        manifest=manifest,
        cannot_run=grid.cannot_run,
        lock=lock,
    )


def as_before(config: SweepConfig, earlier: Manifest) -> SweepConfig:
    """The configuration with what ``auto`` meant when the sweep was started."""
    kept = {name: earlier.settings[name] for name in SPEED if getattr(config, name) == "auto"}
    return dataclasses.replace(config, **kept)


def at_speed_of(
    gpus: Sequence[Gpu], config: SweepConfig, manifest: Manifest, say: Say
) -> tuple[SweepConfig, Manifest]:
    """Configuration and manifest with ``auto`` replaced by what suits the GPUs that will train."""
    config = suited_to(gpus, config)
    cells = tuple(
        dataclasses.replace(
            cell,
            config=dataclasses.replace(
                cell.config, precision=config.precision, compile=config.compile == "on"
            ),
        )
        for cell in manifest.cells
    )
    settings = {**manifest.settings, **{name: getattr(config, name) for name in SPEED}}
    manifest = dataclasses.replace(manifest, cells=cells, settings=settings)
    if gpus:
        missing = compiler_missing()
        compiled = "compiled" if config.compile == "on" else "not compiled"
        why = f", as {missing}" if missing else ""
        say(f"{len(gpus)} x {gpus[0].name}: trials train in {config.precision}, {compiled}{why}")
        manifest = dataclasses.replace(manifest, device=gpus[0].name)
    return config, manifest


def read_manifest(folder: Folder) -> Manifest:
    """The manifest of a sweep's folder, on a disk or remote; `SweepError` if there is none."""
    if folder.is_local:
        return Manifest.read(Path(folder.location))
    try:
        return Manifest.from_json(folder.read(FILE), f"{folder}/{FILE}")
    except FileNotFoundError:
        raise SweepError(
            f"{folder} is not a sweep: it has no {FILE}; expected a folder that "
            "`python -m sweep.run` wrote"
        ) from None


def resumable(earlier: Manifest, now: Manifest) -> Manifest:
    """The manifest of a sweep that is resumed: its cells and the new ones, with the paths of now.

    The metric is of now, too: it is the report's alone.

    Raises
    ------
    SweepError
        What is given now differs from the sweep in something that all its trials share.
    """
    if _is_in_rounds(earlier) or _is_in_rounds(now):
        for name in PLANNED:
            planned, given = (of.settings.get(name) for of in (earlier, now))
            if planned != given:
                raise SweepError(
                    f"sweep {earlier.name!r} cannot be resumed with --{name.replace('_', '-')} "
                    f"{given}: it was started with {planned}, and when a sweep --until-decided ends "
                    "was planned before its first seed. Start a new sweep with another --name."
                )
    if found := differences(earlier, now):
        changed = "; ".join(f"{d.what} was {d.first!r}, is now {d.second!r}" for d in found)
        raise SweepError(
            f"sweep {earlier.name!r} cannot be resumed with other settings: {changed}. "
            "Start a new sweep with another --name."
        )
    here = {name: now.settings[name] for name in (*LOCATIONS, "metric")}
    added = set(now.archs) - set(earlier.settings["arch"])  # the next resume need not name them
    here["weights"] = [
        weights
        for weights in here["weights"]
        if not any(weights.startswith(f"{arch}=") for arch in added)
    ]
    manifest = earlier.with_cells(now.cells).with_backbones(now.backbones)
    return dataclasses.replace(
        manifest,
        data=dataclasses.replace(earlier.data, path=now.data.path),
        settings={**earlier.settings, **here},
    )


def _is_in_rounds(manifest: Manifest) -> bool:
    return bool(manifest.settings.get("until_decided"))


def _check_weights(prepared: Prepared, arch: str, say: Say) -> None:
    """Weights of another architecture are refused before any trial starts."""
    run = prepared.training_config("pretrained", 1.0, 0, arch=arch)
    architectures.build_for(run, len(prepared.selection.class_names))
    if notes := architectures.fit_of_weights(run.arch, run.weights):
        say(f"{run.weights}: {'; '.join(notes)}")


def build_caches(sweep: Sweep, progress: Progress) -> None:
    """Preprocess the images for this machine's trials, once for each transform."""
    if sweep.config.address:
        return  # each node of a cluster builds its own
    prepared = sweep.prepared
    runs = [cell.config for cell in sweep.manifest.cells]
    framings: dict[tuple[str, Transform], None] = {(run.arch, run.transform): None for run in runs}
    for arch, transform in framings:
        spec = architectures.architecture(arch)
        cached_images(
            prepared.survey,
            transform=transform,
            size=spec.image_size,
            evaluation=spec.evaluation,
            cache_dir=prepared.data.cache_dir,
            progress=progress,
        )


def start(sweep: Sweep, say: Say) -> Sweep:
    """Start Ray, or join the cluster, and see that it can run the trials.

    Returns
    -------
    Sweep
        With ``auto`` replaced by what suits the cluster's GPUs.

    Raises
    ------
    UserError
        It cannot; the message says what it has and what is asked, or which node lacks what.
    """
    config, manifest = sweep.config, sweep.manifest
    start_ray(config)
    runs = [cell.config for cell in manifest.cells]
    needs = list({str(need): need for need in (resources(config, run) for run in runs)}.values())
    where = config.address or "this machine"
    preflight.require(needs, where, wait=config.wait_for_resources, say=say)
    if config.address:
        if config.gpus:
            gpus = preflight.gpus(needs)
            config, manifest = at_speed_of(gpus, config, manifest, say)
            sweep = dataclasses.replace(sweep, config=config, manifest=manifest)
            runs = [cell.config for cell in manifest.cells]
        kinds = _distinct(dataclasses.replace(run, fraction=1.0, seed=0) for run in runs)
        preflight.check(needs, kinds, manifest.weights_sha256, Folder(config.storage_path))
        preflight.prepare(needs, kinds)
    return sweep


def _distinct(values: Iterable[T]) -> list[T]:
    return list(dict.fromkeys(values))


def execute(sweep: Sweep, say: Say) -> Outcome:
    """Run what has not finished. Ray must have been started."""
    folder, config = sweep.folder, sweep.config
    if config.replace and folder.exists(FILE):
        folder.delete()
    manifest = with_new_experiment(sweep.manifest)
    folder.write(FILE, manifest.to_json().encode())
    folder.write("examples.npz", examples(sweep.prepared))
    if config.transfer_from is not None and not folder.exists(TRANSFER):
        from sweep import transfer

        say(f"scoring {config.transfer_trial} of {config.transfer_from.name} without any label")
        scored = transfer.without_labels(config, sweep.prepared, manifest.cells[0])
        folder.write(TRANSFER, scored.to_json().encode())
    runs = {cell.id: cell.config for cell in manifest.cells}
    features = None if config.address else features_folder(config.cache_dir)
    outcome = Outcome()
    for name, cells in manifest.experiments.items():
        standing = _standing(folder.child(name), cells)
        outcome.finished |= {trial.cell for trial in standing if trial.finished}
        if all(trial.finished and trial.error is None for trial in standing):
            continue
        table = LiveTable(manifest.cells, manifest.name, outcome.finished, features)
        ours = {cell: runs[cell] for cell in longest_first(cells, manifest)}
        _run_while_there_is_memory(sweep, name, ours, table, outcome, say)
        if outcome.unfinished:
            break  # interrupted
    return outcome


def longest_first(cells: Iterable[str], manifest: Manifest) -> list[str]:
    """The order in which a new experiment starts its trials: by their work, so that none is left to the end.

    Of the trials on the features of one frozen backbone the first counts their computation as its own, so
    that different features are computed side by side and few trials wait for those that another computes.
    Trials of equal work keep their order.
    """
    images = manifest.data.n_images
    amounts: dict[str, float] = {}
    computed: set[Hashable] = {None}
    for cell in sorted(map(manifest.cell, cells), key=work, reverse=True):
        shared = shared_features(cell)
        features = 0.0 if shared in computed else features_work([cell], images)
        computed.add(shared)
        amounts[cell.id] = work(cell) + features
    return sorted(amounts, key=amounts.__getitem__, reverse=True)


def with_new_experiment(manifest: Manifest) -> Manifest:
    """The manifest with one more Tune experiment, for the cells that none has yet."""
    placed = {cell for cells in manifest.experiments.values() for cell in cells}
    new = tuple(cell.id for cell in manifest.cells if cell.id not in placed)
    if not new:
        return manifest
    experiments = {**manifest.experiments, f"run-{len(manifest.experiments)}": new}
    return dataclasses.replace(manifest, experiments=experiments)


def _standing(experiment: Folder, cells: Iterable[str]) -> list[TrialOutcome]:
    return [trial_outcome(experiment, cell) for cell in cells]


def _run_while_there_is_memory(
    sweep: Sweep,
    name: str,
    runs: dict[str, TrainingConfig],
    table: LiveTable,
    outcome: Outcome,
    say: Say,
) -> None:
    """Run an experiment; when Ray killed a trial for memory, resume it once there is room."""
    experiment = sweep.folder.child(name)
    in_vain, epochs = 0, -1
    while True:
        standing = _standing(experiment, runs)
        set_errors_aside(experiment, [trial.cell for trial in standing if not trial.finished])
        callbacks = [table, *extra_callbacks(sweep.config, sweep.manifest.name)]
        try:
            grid = run_experiment(sweep.config, sweep.folder, name, runs, callbacks)
        except RuntimeError as error:  # what Tune makes of a worker that was killed for memory
            shortage = memory_shortage(error)
            if shortage is None:
                raise
        else:
            take_in(outcome, grid, experiment, list(runs))
            if experiment.is_local and not outcome.unfinished:
                shutil.rmtree(Path(experiment.location) / TOGETHER, ignore_errors=True)
            return
        table.close()
        done = sum(trial.epoch for trial in _standing(experiment, runs))
        in_vain = in_vain + 1 if done <= epochs else 0
        epochs = done
        told = describe_shortage(shortage, table.cell_of(shortage.pid))
        if in_vain >= MEMORY_RETRIES:
            _give_up(outcome, experiment, list(runs), table.cell_of(shortage.pid), told)
            return
        say(f"{told}; it is taken up again from its last checkpoint when there is room")
        need = memory_below() + 1e9 * (shortage.used_gb or 0)
        ray.shutdown()  # what is left of the trials, too
        if sweep.config.address or shortage.machine_used_gb is None:
            time.sleep(MEMORY_POLL)  # another node's memory cannot be watched from here
        else:
            wait_until_used_is_below(1e9 * shortage.machine_used_gb - need)
        start_ray(sweep.config)


def describe_shortage(shortage: MemoryShortage, cell: str | None) -> str:
    """Which trial was killed, what it and the machine used, and what to do, in one sentence."""
    used = f" while it used {shortage.used_gb:.1f} GB" if shortage.used_gb is not None else ""
    machine = (
        f" ({shortage.machine_used_gb:.1f} of {shortage.machine_limit_gb:.1f} GB in use)"
        if shortage.machine_used_gb is not None
        else ""
    )
    return (
        f"{cell or 'a trial'}: ended by Ray{used}, since the machine was short of memory{machine}. "
        "End other programs, or run fewer trials at a time by --cpus or --gpus-per-trial"
    )


def wait_until_used_is_below(limit: float) -> None:
    """Return when so much of the machine's memory is in use at most; bytes."""
    while memory().used > limit:
        time.sleep(MEMORY_POLL)


def _give_up(
    outcome: Outcome, experiment: Folder, cells: list[str], cell: str | None, told: str
) -> None:
    for trial in _standing(experiment, cells):
        if trial.finished:
            outcome.finished.add(trial.cell)
        else:
            outcome.failed[trial.cell] = told if cell in (trial.cell, None) else f"after {told}"


def take_in(outcome: Outcome, grid: tune.ResultGrid, experiment: Folder, cells: list[str]) -> None:
    """Add the trials of an experiment that has just ended, each by the name of its folder.

    A trial that failed before its first epoch has no metrics or configuration of its own, and in a
    reused process it shows those of the trial before.
    """
    errors = {
        Path(result.path).name: last_line(str(result.error)) for result in grid if result.error
    }
    for trial in _standing(experiment, cells):
        if trial.cell in errors:
            outcome.failed[trial.cell] = errors[trial.cell]
        elif trial.finished:
            outcome.finished.add(trial.cell)
        else:
            outcome.unfinished.add(trial.cell)
    outcome.finished -= set(outcome.failed)
