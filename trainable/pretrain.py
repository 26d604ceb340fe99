"""Pre-train a registered architecture on an image folder, on CIFAR-10 or on rendered galaxies.

``python -m trainable.pretrain --data FOLDER --out weights.safetensors`` where FOLDER holds
``train/CLASS/*.jpg`` and ``test/CLASS/*.jpg``; ``--data cifar10`` fetches CIFAR-10 through
torchvision (170 MB) instead, ``--data rendered`` draws galaxies with the mock survey's renderer:
near-domain pre-training, to be called that. The file written holds fp16 tensors and says in its
metadata what they saw, for how long, how good they are, and the versions and command behind them.
``weights.state.pt`` beside it lets ``--resume`` go on after the last whole epoch; everything
random in epoch k follows from (seed, k) alone, so nothing changes by it, bit for bit on a CPU.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torchvision
import tyro
from rich.progress import track
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from .backbones import architecture, replace_head
from .batches import image_rows, predict
from .preprocess import normalise
from .pretrain_images import SOURCES, augment, load_images


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """Settings of one pre-training."""

    data: str
    """``cifar10``, ``rendered``, or a folder with ``train/CLASS/`` and ``test/CLASS/`` in it."""
    out: Path
    """The ``.safetensors`` file to write."""
    resume: bool = False
    """Go on from the state file that an interrupted run with these settings left."""
    arch: str = "vit_demo"
    epochs: int = 30
    batch_size: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    """On matrices and kernels; biases, norms, class token and position embedding have none."""
    label_smoothing: float = 0.1
    warmup: float = 0.05
    """Share of all steps during which the learning rate rises to its peak."""
    seed: int = 0
    rendered_images: int = 20_000
    """For ``rendered``: galaxies to train on; a tenth as many more to test on."""
    device: str = "cuda" if torch.cuda.is_available() else "cpu"

    def __post_init__(self) -> None:
        if self.rendered_images < 400:
            raise ValueError(f"--rendered-images {self.rendered_images}: must be at least 400")

    @property
    def state(self) -> Path:
        """The file that an interrupted run leaves."""
        return self.out.with_suffix(".state.pt")

    @property
    def recipe(self) -> dict[str, str]:
        """What the result depends on."""
        elsewhere = {"data", "out", "resume", "device"}
        if self.data != "rendered":
            elsewhere.add("rendered_images")
        own = {k: str(v) for k, v in asdict(self).items() if k not in elsewhere}
        return own | {"source": SOURCES.get(self.data, Path(self.data).name)}


class Trainer:
    """AdamW with a warm-up and a cosine, epoch by epoch."""

    parts = ("model", "optimiser", "schedule")

    def __init__(self, model: nn.Module, images, labels, settings: Pretraining):
        self.model, self.settings = model.to(settings.device), settings
        self.images, self.labels = images.to(settings.device), labels.to(settings.device)
        self.steps = len(labels) // settings.batch_size
        if not self.steps:
            raise ValueError(f"{len(labels)} images do not fill a batch of {settings.batch_size}")
        self.epoch = 0
        decayed, others = [], []
        for parameter in model.parameters():
            (decayed if parameter.ndim in (2, 4) else others).append(parameter)
        self.optimiser = torch.optim.AdamW(
            [{"params": decayed}, {"params": others, "weight_decay": 0.0}],
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            fused=True,
        )
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimiser,
            settings.learning_rate,
            total_steps=settings.epochs * self.steps,
            pct_start=settings.warmup,
        )

    def step_epoch(self) -> tuple[float, float]:
        """Train for one epoch: mean loss and accuracy on the augmented images."""
        settings, spec = self.settings, architecture(self.settings.arch)
        seeds = np.random.SeedSequence([settings.seed, self.epoch + 1])
        generator = torch.manual_seed(int(seeds.generate_state(1)[0]))  # the global one: dropout
        self.model.train()
        batches = torch.randperm(len(self.labels), generator=generator).split(settings.batch_size)
        loss_sum, correct = 0.0, 0
        for rows in track(batches[: self.steps], f"epoch {self.epoch + 1}", transient=True):
            rows = rows.to(settings.device)
            batch = augment(self.images[rows], generator, pad=self.images.shape[1] // 8)
            logits = self.model(normalise(batch, spec.mean, spec.std))
            loss = functional.cross_entropy(
                logits, self.labels[rows], label_smoothing=settings.label_smoothing
            )
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            self.optimiser.step()
            self.schedule.step()
            loss_sum += loss.detach()
            correct += (logits.detach().argmax(1) == self.labels[rows]).sum()
        self.epoch += 1
        return float(loss_sum) / self.steps, int(correct) / (self.steps * settings.batch_size)

    def save(self) -> None:
        """Write the state file, whole or not at all."""
        state = {name: getattr(self, name).state_dict() for name in self.parts}
        state |= {"recipe": self.settings.recipe, "epoch": self.epoch}
        unfinished = self.settings.state.with_suffix(".tmp")
        torch.save(state, unfinished)
        os.replace(unfinished, self.settings.state)

    def load(self) -> None:
        """Restore what `save` wrote; `ValueError` where it was written with other settings."""
        state = torch.load(self.settings.state, map_location="cpu", weights_only=True)
        was, now = state["recipe"], self.settings.recipe
        changed = [f"{k} was {was.get(k)}" for k in was | now if was.get(k) != now.get(k)]
        if changed:
            raise ValueError(f"{self.settings.state} is of other settings: {', '.join(changed)}")
        for name in self.parts:
            getattr(self, name).load_state_dict(state[name])
        self.epoch = state["epoch"]


def train(trainer: Trainer) -> None:
    """All epochs that are left; one line and one state file each."""
    settings, first, start = trainer.settings, trainer.epoch, time.monotonic()
    while trainer.epoch < settings.epochs:
        loss, accuracy = trainer.step_epoch()
        trainer.save()
        per_epoch = (time.monotonic() - start) / (trainer.epoch - first)
        print(
            f"epoch {trainer.epoch}/{settings.epochs}: training loss {loss:.4f}, accuracy "
            f"{accuracy:.1%} (augmented), {per_epoch:.0f} s an epoch, "
            f"{per_epoch * (settings.epochs - trainer.epoch) / 60:.0f} min left",
            flush=True,
        )


def write(model: nn.Module, settings: Pretraining, facts: dict[str, str]) -> None:
    """The weights as fp16, and what made them as metadata."""
    metadata = {
        **settings.recipe,
        **facts,
        "command": "python -m trainable.pretrain "
        + shlex.join(a for a in sys.argv[1:] if a != "--resume"),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
    }
    tensors = {
        k: (v.half() if v.is_floating_point() else v).cpu().contiguous()  # BatchNorm counts steps
        for k, v in model.state_dict().items()
    }
    save_file(tensors, settings.out, metadata)


def main(settings: Pretraining) -> None:
    """Train, score on the test images, write the file."""
    spec = architecture(settings.arch)
    if settings.resume and not settings.state.exists():
        raise ValueError(f"there is no {settings.state} to resume")
    if settings.state.exists() and not settings.resume:
        raise ValueError(f"{settings.state} is of an interrupted run: add --resume or delete it")
    sets = load_images(settings.data, spec.image_size, rendered=settings.rendered_images)
    (images, labels, classes), (test_images, test_labels, _) = sets
    torch.manual_seed(settings.seed)
    model = spec.build()
    replace_head(model, spec.head, len(classes))
    trainer = Trainer(model, images, labels, settings)
    settings.out.parent.mkdir(parents=True, exist_ok=True)
    if settings.resume:
        trainer.load()
    train(trainer)
    logits = predict(model, image_rows(test_images.numpy(), spec, settings.device))
    accuracy = (logits.argmax(1) == test_labels).double().mean().item()
    facts = {
        "classes": json.dumps(classes),
        "training_images": str(len(labels)),
        "test_images": str(len(test_labels)),
        "test_accuracy": f"{accuracy:.4f}",
    }
    write(model, settings, facts)
    settings.state.unlink()
    print(f"test accuracy {accuracy:.4f} on {len(test_labels):,} images; wrote {settings.out}")


if __name__ == "__main__":
    main(tyro.cli(Pretraining, description=__doc__))
