"""Pre-train a registered architecture on an image folder or on CIFAR-10.

``python -m trainable.pretrain --data FOLDER --out weights.safetensors`` where FOLDER holds
``train/CLASS/*.jpg`` and ``test/CLASS/*.jpg``; ``--data cifar10`` fetches CIFAR-10 through
torchvision (170 MB) instead. The file written holds fp16 tensors and says in its metadata what
they saw, for how long, how good they are, and the versions and command that made them.
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
from .cache import cache_root
from .preprocess import normalise, transform_images


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """Settings of one pre-training."""

    data: str
    """``cifar10``, or a folder with ``train/CLASS/`` and ``test/CLASS/`` in it."""
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
    device: str = "cuda" if torch.cuda.is_available() else "cpu"

    @property
    def state(self) -> Path:
        """The file that an interrupted run leaves."""
        return self.out.with_suffix(".state.pt")

    @property
    def recipe(self) -> dict[str, str]:
        """What the result depends on, apart from the data."""
        elsewhere = ("data", "out", "resume", "device")
        return {k: str(v) for k, v in asdict(self).items() if k not in elsewhere}


def load_folder(root: Path, size: int) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
    """All images of ``root/CLASS/*``: (N, size, size, 3) uint8, labels (N,), class names."""
    transform = transform_images("resize", size)
    folder = torchvision.datasets.ImageFolder(
        str(root), transform=lambda image: np.asarray(transform(image))
    )
    images = np.stack([folder[i][0] for i in track(range(len(folder)), f"reading {root.name}")])
    return torch.from_numpy(images), torch.tensor(folder.targets), folder.classes


def load_cifar10(train: bool, size: int) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
    """CIFAR-10 through torchvision, fetched into the cache on first use."""
    transform = transform_images("resize", size)
    data = torchvision.datasets.CIFAR10(
        str(cache_root() / "cifar10"),
        train=train,
        download=True,
        transform=lambda image: np.asarray(transform(image)),
    )
    images = np.stack([data[i][0] for i in track(range(len(data)), "reading CIFAR-10")])
    return torch.from_numpy(images), torch.tensor(data.targets), data.classes


def augment(images: torch.Tensor, generator: torch.Generator, pad: int) -> torch.Tensor:
    """Random crops of the padded images, half of them mirrored; (B, S, S, 3) uint8 both ways.

    Each image has its own crop; torchvision's transforms would take one for the whole batch.
    """
    batch, size = images.shape[:2]
    padded = functional.pad(images, (0, 0, pad, pad, pad, pad))
    shift = torch.randint(0, 2 * pad + 1, (2, batch, 1), generator=generator)
    steps = torch.arange(size)
    rows, columns = shift[0] + steps, shift[1] + steps  # (B, S) each
    mirrored = torch.rand(batch, 1, generator=generator) < 0.5
    columns = torch.where(mirrored, columns.flip(1), columns)
    index = torch.arange(batch)[:, None, None], rows[:, :, None], columns[:, None, :]
    return padded[tuple(i.to(images.device) for i in index)]


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
        recipe = self.settings.recipe
        changed = [f"{k} was {v}" for k, v in state["recipe"].items() if recipe.get(k) != v]
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
        "source": "CIFAR-10" if settings.data == "cifar10" else Path(settings.data).name,
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
    if settings.data == "cifar10":
        sets = [load_cifar10(train, spec.image_size) for train in (True, False)]
    else:
        sets = [load_folder(Path(settings.data) / s, spec.image_size) for s in ("train", "test")]
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
