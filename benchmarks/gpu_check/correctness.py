"""Whether what the GPU computes is right, and whether the host stays out of its way.

Each function is a check of a `Setup` and returns its lines. On a CPU they check the same code, as far
as it is the same.
"""

from __future__ import annotations

import gc
import io
import weakref
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch.nn import functional
from torch.profiler import ProfilerActivity

from benchmarks.gpu_check.lines import Line
from benchmarks.gpu_check.setup import Setup, switched_to
from trainable.captured_step import in_a_row, relative_difference
from trainable.config import Precision, TrainingConfig
from trainable.data.batches import outputs
from trainable.forward_backward import use_determinism
from trainable.models.features import backbone

AGAINST_CPU = 1e-3
"""Relative difference of float32 on two devices, at most."""
RESUMED = 1e-2
"""Relative difference of the loss of the first epoch after a resumption, without determinism: one
epoch of different roundings."""
RUNS = 3
"""Runs in one process, of which the first one's rest is the baseline."""
REST = 1 << 20
"""Bytes on the device that a run may leave behind."""
LATE_BATCHES = 32
REPLAYED = 10
"""Steps of an epoch whose replay is compared."""
BUSY_SIDE = 2048
"""Of the matrices whose products delay a stream; torch's own function to do so is private."""
FUSED = ("flash", "cudnn", "efficient")
"""In the names of the kernels of attention that keep no matrix of all pairs of tokens."""


class Watch:
    """A run's progress, which makes each wait for the GPU an error in all steps but the first.

    An epoch begins with copies of its order and labels, and ends with one of its losses.

    Attributes
    ----------
    on : bool
        Whether it watches at all.
    steps : int
        How many have been watched.
    """

    def __init__(self, device: torch.device) -> None:
        self.device, self.on, self.steps = device, False, 0

    def __call__(self, step: int, of: int) -> None:
        """A step is done; the next one is watched."""
        watched = self.on and step < of
        self.steps += watched
        set_waiting("error" if watched else "default", self.device)


def no_waits(setup: Setup) -> list[Line]:
    """In no step of training does the host wait for the GPU; torch raises an error if it does."""
    config, lines = setup.fast(), list[Line]()
    for resident, name in ((True, "images on the GPU"), (False, "images streamed")):
        watch = Watch(setup.device)
        with switched_to(config.precision):
            train = (setup.steps + 1) * config.batch_size
            run = setup.run(config, train=train, resident=resident, progress=watch)
            run.train_epoch()  # compiles, and makes the optimiser's state
            watch.on = True
            try:
                run.train_epoch()
            finally:
                set_waiting("default", setup.device)
        note = "training steps in which a wait is an error"
        lines.append(
            Line(
                name=f"no waits, {name}",
                value=watch.steps if setup.gpus else None,
                at_least=setup.steps,
                note=note if setup.gpus else f"{watch.steps} steps, with no GPU to wait for",
            )
        )
    return lines


def set_waiting(mode: str, device: torch.device) -> None:
    """Have torch ignore waits for a GPU (``default``), or raise RuntimeError (``error``)."""
    if device.type == "cuda":
        torch.cuda.set_sync_debug_mode(mode)


def against_cpu(setup: Setup) -> list[Line]:
    """Loss and gradients of a batch in float32, here and on a CPU."""
    config = setup.config(precision="fp32", batch_size=setup.batch)
    here, there = (one_batch(setup, config, device) for device in (None, "cpu"))
    return compared("fp32 against the CPU", here, there, AGAINST_CPU)


def against_eager(setup: Setup) -> list[Line]:
    """Loss and gradients of a batch in bfloat16, and compiled, against float32 and not compiled."""
    config = setup.config(precision="fp32", batch_size=setup.batch)
    exact = one_batch(setup, config)
    rounded = one_batch(setup, replace(config, precision="bf16"))
    lines = compared("bf16 against fp32", rounded, exact, setup.rounding)
    precisions: tuple[tuple[Precision, Batch], ...] = (("fp32", exact), ("bf16", rounded))
    for precision, eager in precisions:
        name = f"compiled against eager, {precision}"
        if reason := setup.why_not_compiled():
            lines.append(Line(name=name, note=reason))
            continue
        compiled = one_batch(setup, replace(config, precision=precision, compile=True))
        lines += compared(name, compiled, eager, setup.rounding)
    return lines


def replayed(setup: Setup) -> list[Line]:
    """Steps that a GPU replays as one graph move the weights as those that are asked for one by one."""
    name = "replayed steps against single ones"
    if not setup.gpus:
        return [Line(name=name, note="no GPU")]
    config = setup.config(
        precision="fp32",
        compile=True,
        batch_size=setup.batch,
        schedule="cosine",
        warmup=0.3,
        max_epochs=2,
    )
    moved: list[torch.Tensor] = []
    with switched_to(config.precision):
        for captured in (True, False):
            run = setup.run(config, train=REPLAYED * config.batch_size)
            if not captured:
                run.captured = None
            before = in_a_row(run.model)
            for _ in range(config.max_epochs):
                run.step_epoch()
            if run.captured is not None and not run.captured.replays:
                raise RuntimeError("no step was replayed: a warning above says why")
            moved.append(in_a_row(run.model) - before)
    return [
        Line(
            name=name,
            value=relative_difference(*moved),
            at_most=setup.rounding,
            note=f"relative difference of what {2 * REPLAYED} steps of fp32 with a schedule change",
        )
    ]


Batch = tuple[torch.Tensor, torch.Tensor]
"""The loss, (), and all gradients in a row, (P,); float64, on the CPU."""


def one_batch(setup: Setup, config: TrainingConfig, device: str | None = None) -> Batch:
    """The loss of a fresh run's first batch, and its gradients."""
    with switched_to(config.precision):
        run = setup.run(config, resident=False, device=device)
        rows = torch.from_numpy(run.partition.train[: setup.batch])
        labels = torch.from_numpy(run.partition.train_labels[: setup.batch]).to(run.device)
        run.model.train()
        logits = run.forward_backward(run.inputs[rows], labels)
    loss = functional.cross_entropy(logits, labels).double().cpu()
    gradients = [p.grad.double().flatten() for p in run.model.parameters() if p.grad is not None]
    return loss, torch.cat(gradients).cpu()


def compared(name: str, found: Batch, expected: Batch, at_most: float) -> list[Line]:
    """Relative differences: of the loss, and of the gradients by their norms."""
    return [
        Line(
            name=f"{name}: {what}",
            value=float((mine - other).norm() / other.norm()),
            at_most=at_most,
            note="relative difference of one batch",
        )
        for what, mine, other in zip(("loss", "gradients"), found, expected, strict=True)
    ]


def streams(setup: Setup) -> list[Line]:
    """Streamed batches are the resident ones, and results those of a host that waits, bit for bit.

    Races are provoked: long products delay the stream that computes, then the stream that copies.
    """
    config = setup.fast()
    resident = setup.rows(config, resident=True)
    order = torch.randperm(setup.images, generator=torch.Generator().manual_seed(0))
    size, differing = setup.batch, 0
    expected = list(resident.batches(order, size))
    for delayed in ("computing", "copying"):
        streamed = setup.rows(config, resident=False)
        found: list[torch.Tensor] = []
        for number, batch in enumerate(streamed.batches(order, size)):
            if delayed == "computing":
                keep_busy(setup.device, None)
            elif number % 2:
                keep_busy(setup.device, streamed.copies)
            found.append(batch + 0)  # read after the delay, while the next ones arrive
        differing += sum(
            not torch.equal(mine, other) for mine, other in zip(found, expected, strict=True)
        )
    lines = [
        Line(
            name="resident = streamed, batches that differ",
            value=differing,
            at_most=0,
            note=f"of {2 * len(expected)}, with provoked races",
        )
    ]
    plain = setup.config(precision="fp32")
    part = order[: LATE_BATCHES * size]
    with switched_to("fp32"), torch.inference_mode():
        model = backbone(plain).to(setup.device).eval()
        waiting = [
            model(batch).cpu() for batch in setup.rows(plain, resident=True).batches(part, size)
        ]
        late = list(outputs(model, setup.rows(plain, resident=False), rows=part, at_most=size))
    differing = sum(not a.equal(b) for a, b in zip(late, waiting, strict=True))
    lines.append(
        Line(
            name="features copied back late, batches that differ",
            value=differing,
            at_most=0,
            note=f"of {len(waiting)}",
        )
    )
    return lines


def keep_busy(device: torch.device, stream: torch.cuda.Stream | None) -> None:
    """Give a GPU's stream (None: the current one) some milliseconds of work."""
    if device.type != "cuda":
        return
    with torch.cuda.stream(stream):
        matrix = torch.ones(BUSY_SIDE, BUSY_SIDE, device=device)
        for _ in range(20):
            torch.mm(matrix, matrix)


def resumption(setup: Setup) -> list[Line]:
    """A run that is saved after an epoch and restored in another one, against the uninterrupted."""
    config = setup.fast()
    plain = resumed_difference(setup, config)
    with deterministic(setup.device):
        exact = resumed_difference(setup, replace(config, compile=False, deterministic=True))
    on_gpu = setup.device.type == "cuda"
    return [
        Line(
            name="resumed, as by default",
            value=plain,
            at_most=RESUMED if on_gpu else 0.0,
            note="relative difference of the losses of the next epoch",
        ),
        Line(
            name="resumed, deterministic",
            value=exact,
            at_most=0.0,
            note="the same with --deterministic",
        ),
    ]


def resumed_difference(setup: Setup, config: TrainingConfig) -> float:
    """The largest relative difference of an epoch's losses, after a trip through ``torch.save``."""
    train = min(setup.images // 2, 8 * config.batch_size)
    file = io.BytesIO()
    with switched_to(config.precision):
        run = setup.run(config, train=train)
        run.step_epoch()
        torch.save(run.state_dict(), file)
        expected = run.step_epoch()
        del run
        file.seek(0)
        run = setup.run(config, train=train)
        run.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
        found = run.step_epoch()
    return max(
        abs(found[name] - expected[name]) / expected[name] for name in ("train_loss", "val_loss")
    )


@contextmanager
def deterministic(device: torch.device) -> Generator[None]:
    """Torch's switches as ``--deterministic`` sets them; then as they are without."""
    use_determinism(True, str(device))
    try:
        yield
    finally:
        use_determinism(False, str(device))


def memory(setup: Setup) -> list[Line]:
    """Of runs in turn, given up as a trial's process gives them up, nothing stays."""
    config = setup.fast()
    rests: list[int] = []
    alive = 0
    for _ in range(RUNS):
        with switched_to(config.precision):
            run = setup.run(config, train=2 * config.batch_size)
            run.step_epoch()
        watched = weakref.ref(run.model)
        del run
        give_back(setup.device)
        alive += watched() is not None
        rests.append(torch.cuda.memory_allocated(setup.device) if setup.gpus else 0)
    return [
        Line(
            name=f"{RUNS} runs in turn: networks left",
            value=alive,
            at_most=0,
            note="after each run is given up",
        ),
        Line(
            name=f"{RUNS} runs in turn: memory left",
            value=(max(rests) - rests[0]) / 1e6 if setup.gpus else None,
            unit="MB",
            at_most=REST / 1e6,
            note=f"beyond {rests[0] / 1e6:.0f} MB after the first" if setup.gpus else "no GPU",
        ),
    ]


def give_back(device: torch.device) -> None:
    """Free what nobody refers to, as a process does between two trials."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def attention(setup: Setup) -> list[Line]:
    """Which of torch's kernels computes attention in a step of the network."""
    config = replace(setup.fast(), compile=False, batch_size=setup.batch)
    with torch.profiler.profile(activities=[ProfilerActivity.CPU]) as profiler:
        one_batch(setup, config)
    names = {event.key for event in profiler.key_averages()}
    kernels = sorted(n for n in names if n.startswith("aten::_scaled_dot_product"))
    kernels = [k for k in kernels if not k.endswith("backward")]
    return [
        Line(
            name="attention by a fused kernel",
            value=float(any(part in kernel for kernel in kernels for part in FUSED)),
            at_least=1 if setup.gpus else None,
            note=", ".join(kernel.removeprefix("aten::_scaled_dot_product_") for kernel in kernels)
            or "no product of torch's is called",
        )
    ]
