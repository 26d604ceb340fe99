"""How fast the GPU trains, validates and extracts features, against the floors of its kind."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median

import torch

from analysis.paper import BASELINE, TRIALS, PaperTrial
from benchmarks.gpu_check.lines import Line, floors_of
from benchmarks.gpu_check.setup import Setup, switched_to
from benchmarks.machine import matrix_rate, synchronise
from trainable.config import Precision
from trainable.data.batches import evaluation_batch, outputs
from trainable.data.sources.known_files import GALAXY10_COUNTS, PAPERS_IMAGES
from trainable.devices import device_label
from trainable.flops import epoch_flops
from trainable.heads_together import train_together
from trainable.models.architectures import size
from trainable.models.compiled_blocks import compile_blocks
from trainable.models.features import backbone
from trainable.run import TrainingRun

REPEATS = 3
"""Times that each rate is measured, of which the median counts; after once that does not."""
SLOW_REPEATS = 1
"""Of what is there for comparison alone."""
WAYS: tuple[tuple[str, Precision, bool], ...] = (
    ("fp32", "fp32", False),
    ("tf32", "tf32", False),
    ("bf16", "bf16", False),
    ("bf16, compiled", "bf16", True),
)
"""Name, precision and whether the blocks are compiled and whole steps replayed."""
HEADS = 8
"""That train together: as many as the paper's frozen trials."""
ALL_IMAGES = sum(GALAXY10_COUNTS.values())
VALIDATION = 0.2
"""Of a trial's images, those that validate (the paper's §3.1)."""


def rates(setup: Setup) -> list[Line]:
    """Images per second of everything that a sweep does, and what of the GPU they use.

    The paper's nine trials are added up from them: no other work, as that of a process that starts, is
    in it, nor the validation of a head, which is one product.
    """
    floors = floors_of(device_label(setup.device))
    lines: list[Line] = []
    scratch: dict[str, float] = {}
    for name, precision, compiled in WAYS:
        if compiled and (reason := setup.why_not_compiled()):
            lines.append(Line(name=f"scratch, {name}", note=reason))
            continue
        default = (precision, compiled) == (setup.precision, setup.compiled)
        scratch[name] = scratch_rate(
            setup, precision, compiled, REPEATS if default else SLOW_REPEATS
        )
        lines.append(
            Line(
                name=f"scratch, {name}",
                value=scratch[name],
                unit="images/s",
                at_least=floors.scratch if floors and default else None,
                note="what auto means here" if default else "",
            )
        )
        if default:
            scratch["default"] = scratch[name]
    if not (reason := setup.why_not_compiled()):
        asked = scratch_rate(setup, "bf16", True, SLOW_REPEATS, replayed=False)
        note = "for comparison: the host asks for each kernel"
    else:
        asked, note = None, reason
    name = "scratch, bf16, compiled, not replayed"
    lines.append(Line(name=name, value=asked, unit="images/s", note=note))
    validation = validation_rate(setup)
    lines.append(Line(name="validation", value=validation, unit="images/s"))
    extraction = extraction_rate(setup)
    lines.append(
        Line(
            name="feature extraction",
            value=extraction,
            unit="images/s",
            at_least=floors.extraction if floors else None,
            note="images streamed from the host",
        )
    )
    name = "feature extraction, compiled"
    if reason := setup.why_not_compiled():
        lines.append(Line(name=name, note=reason))
    else:
        compiled_rate = extraction_rate(setup, compiled=True)
        note = "for comparison: a sweep does not compile it"
        lines.append(Line(name=name, value=compiled_rate, unit="images/s", note=note))
    heads = head_rate(setup)
    lines.append(
        Line(
            name="heads on features",
            value=heads,
            unit="images/s",
            note=f"{heads / setup.config().batch_size:,.0f} steps/s of one head",
        )
    )
    together = heads_together_rate(setup)
    lines.append(
        Line(
            name=f"{HEADS} heads together",
            value=together,
            unit="images/s",
            note=f"{together / HEADS / setup.config().batch_size:,.0f} steps/s of all of them",
        )
    )
    lines += share_of_products(setup, scratch["default"])
    minutes = paper_minutes(
        scratch=scratch["default"], validation=validation, extraction=extraction, heads=heads
    )
    lines.append(
        Line(
            name="the paper's nine trials",
            value=minutes,
            unit="min",
            at_most=floors.paper_minutes if floors else None,
            note="added up from the rates above, one trial after the other; a sweep trains heads together",
        )
    )
    return lines


def seconds_of(work: Callable[[], object], setup: Setup, repeats: int) -> float:
    """The median of some times of the same work, after one that is not timed."""
    seconds: list[float] = []
    for _ in range(repeats + 1):
        synchronise(setup.device)
        start = time.perf_counter()
        work()
        synchronise(setup.device)
        seconds.append(time.perf_counter() - start)
    return median(seconds[1:])


def scratch_rate(
    setup: Setup, precision: Precision, compiled: bool, repeats: int, *, replayed: bool = True
) -> float:
    """Images per second of a training epoch through the whole network.

    Parameters
    ----------
    replayed
        Whether a GPU replays whole steps, as it does if they are compiled.
    """
    config = setup.config(precision=precision, compile=compiled)
    with switched_to(precision):
        run = setup.run(config)
        if not replayed:
            run.captured = None
        return training_rate(run, setup, repeats)


def head_rate(setup: Setup) -> float:
    """Images per second of a training epoch of one head."""
    with switched_to(setup.precision):
        (run,) = setup.head_runs(1)
        return training_rate(run, setup, REPEATS)


def heads_together_rate(setup: Setup) -> float:
    """Images per second, of all heads, of epochs that they train together, with their validation."""
    seconds: list[float] = []
    runs: list[TrainingRun] = []
    for _ in range(REPEATS + 1):
        with switched_to(setup.precision):
            runs = setup.head_runs(HEADS, max_epochs=2)
            synchronise(setup.device)
            start = time.perf_counter()
            train_together(runs)
            synchronise(setup.device)
            seconds.append(time.perf_counter() - start)
    return sum(run.epoch * len(run.partition.train) for run in runs) / median(seconds[1:])


def training_rate(run: TrainingRun, setup: Setup, repeats: int) -> float:
    """Images per second of a run's epochs, without their validation."""
    return len(run.partition.train) / seconds_of(run.train_epoch, setup, repeats)


def validation_rate(setup: Setup) -> float:
    """Images per second of an epoch's validation."""
    config = setup.fast()
    with switched_to(config.precision):
        run = setup.run(config)
        rows = run.partition.validation
        return len(rows) / seconds_of(lambda: run.logits(rows), setup, REPEATS)


def extraction_rate(setup: Setup, *, compiled: bool = False) -> float:
    """Images per second through the frozen backbone, from the host's memory and back to it."""
    config = replace(setup.config(precision=setup.precision), trained="head")
    times = -(-setup.extracted // setup.images)
    rows = torch.arange(setup.images).repeat(times)
    with switched_to(config.precision):
        model = backbone(config).to(setup.device)
        inputs = setup.rows(config, resident=False)
        if compiled:
            compile_blocks(model, evaluation_batch(inputs), setup.device, training=False)

        def extract() -> None:
            for _ in outputs(model, inputs, rows=rows, autocast=config.precision == "bf16"):
                pass

        return len(rows) / seconds_of(extract, setup, REPEATS)


def share_of_products(setup: Setup, scratch: float) -> list[Line]:
    """The rate of a large matrix product, and the share of it that training reaches.

    Parameters
    ----------
    scratch
        Images per second of training from scratch.
    """
    rate = matrix_rate(setup.device, setup.precision, side=setup.side)
    forward = size(setup.arch, num_classes=9, trained="all").forward_flops
    image = epoch_flops(trained="all", forward_flops=forward, n_train=1, n_val=0)
    return [
        Line(
            name=f"matrix products, {setup.precision}",
            value=rate / 1e12,
            unit="TFLOP/s",
            note=f"{setup.side} × {setup.side}",
        ),
        Line(
            name="scratch, of the matrix products",
            value=100 * scratch * image / rate,
            unit="%",
            note=f"{scratch * image / 1e12:.3g} TFLOP/s",
        ),
    ]


def paper_minutes(*, scratch: float, validation: float, extraction: float, heads: float) -> float:
    """Minutes of the paper's nine trials at its numbers of epochs, from rates in images per second.

    Features are extracted once, of all images of the file.
    """
    train, val = images_of(BASELINE)
    seconds = BASELINE.epochs * (train / scratch + val / validation)
    seconds += ALL_IMAGES / extraction
    for trial in TRIALS:
        if trial is not BASELINE:
            seconds += trial.epochs * images_of(trial)[0] / heads
    return seconds / 60


def images_of(trial: PaperTrial) -> tuple[int, int]:
    """Images that train and images that validate in one of the paper's trials."""
    images = round(trial.fraction * PAPERS_IMAGES)
    validation = round(VALIDATION * images)
    return images - validation, validation
