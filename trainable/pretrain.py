"""Pre-train a registered architecture on an image folder or on CIFAR-10.

``python -m trainable.pretrain --data FOLDER --out weights.safetensors`` where FOLDER holds
``train/CLASS/*.jpg`` and ``test/CLASS/*.jpg``; ``--data cifar10`` fetches CIFAR-10 through
torchvision (170 MB) instead. The file written holds fp16 tensors and says in its metadata what
they saw, for how long, how good they are, and the versions and command that made them.
"""

from __future__ import annotations

import json
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
from .batches import predict
from .cache import cache_root
from .preprocess import normalise, transform_images


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """Settings of one pre-training."""

    data: str
    """``cifar10``, or a folder with ``train/CLASS/`` and ``test/CLASS/`` in it."""
    out: Path
    """The ``.safetensors`` file to write."""
    arch: str = "vit_demo"
    epochs: int = 30
    batch_size: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    warmup: float = 0.05
    """Share of all steps during which the learning rate rises to its peak."""
    seed: int = 0
    device: str = "cuda" if torch.cuda.is_available() else "cpu"


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
    """Random crops of the padded images, half of them mirrored; (B, S, S, 3) uint8 both ways."""
    batch, size = images.shape[:2]
    padded = functional.pad(images, (0, 0, pad, pad, pad, pad))
    shift = torch.randint(0, 2 * pad + 1, (2, batch, 1), generator=generator)
    steps = torch.arange(size)
    rows, columns = shift[0] + steps, shift[1] + steps  # (B, S) each
    mirrored = torch.rand(batch, 1, generator=generator) < 0.5
    columns = torch.where(mirrored, columns.flip(1), columns)
    return padded[torch.arange(batch)[:, None, None], rows[:, :, None], columns[:, None, :]]


def train(model: nn.Module, images, labels, settings: Pretraining) -> None:
    """AdamW with a warm-up and a cosine; prints the loss after each epoch."""
    spec = architecture(settings.arch)
    steps = settings.epochs * (len(labels) // settings.batch_size)
    optimiser = torch.optim.AdamW(
        model.parameters(),
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
        fused=True,
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.learning_rate, total_steps=steps, pct_start=settings.warmup
    )
    generator = torch.Generator().manual_seed(settings.seed)
    for epoch in range(1, settings.epochs + 1):
        model.train()
        order = torch.randperm(len(labels), generator=generator)
        batches = order.split(settings.batch_size)[: len(labels) // settings.batch_size]
        total, start = 0.0, time.perf_counter()
        for rows in track(batches, f"epoch {epoch}/{settings.epochs}", transient=True):
            batch = augment(images[rows], generator, pad=images.shape[1] // 8)
            logits = model(normalise(batch.to(settings.device), spec.mean, spec.std))
            loss = functional.cross_entropy(
                logits, labels[rows].to(settings.device), label_smoothing=settings.label_smoothing
            )
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.detach()
        seconds = time.perf_counter() - start
        print(
            f"epoch {epoch}: training loss {total / len(batches):.4f}, {seconds:.0f} s", flush=True
        )


def main(settings: Pretraining) -> None:
    """Train, score on the test images, write the file."""
    spec = architecture(settings.arch)
    if settings.data == "cifar10":
        sets = [load_cifar10(train, spec.image_size) for train in (True, False)]
    else:
        sets = [load_folder(Path(settings.data) / s, spec.image_size) for s in ("train", "test")]
    (images, labels, classes), (test_images, test_labels, _) = sets
    torch.manual_seed(settings.seed)
    model = spec.build()
    replace_head(model, spec.head, len(classes))
    model.to(settings.device)
    train(model, images, labels, settings)
    logits = predict(model, test_images, spec, device=settings.device)
    accuracy = (logits.argmax(1) == test_labels).double().mean().item()
    metadata = {
        **{k: str(v) for k, v in asdict(settings).items() if k not in ("data", "out", "device")},
        "source": "CIFAR-10" if settings.data == "cifar10" else Path(settings.data).name,
        "classes": json.dumps(classes),
        "training_images": str(len(labels)),
        "test_images": str(len(test_labels)),
        "test_accuracy": f"{accuracy:.4f}",
        "command": "python -m trainable.pretrain " + shlex.join(sys.argv[1:]),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
    }
    settings.out.parent.mkdir(parents=True, exist_ok=True)
    tensors = {k: v.half().cpu().contiguous() for k, v in model.state_dict().items()}
    save_file(tensors, settings.out, metadata)
    print(f"test accuracy {accuracy:.4f} on {len(test_labels):,} images; wrote {settings.out}")


if __name__ == "__main__":
    main(tyro.cli(Pretraining, description=__doc__))
