"""Train a network on photographs or rendered galaxies, and write its weights."""

from __future__ import annotations

import json
import time

import numpy as np
import torch
import torchvision
from rich.progress import track
from safetensors.torch import save as safetensors_bytes
from torch import nn
from torch.nn import functional

from trainable.checkpoint import read_state, write_file
from trainable.data.batches import image_rows, predict
from trainable.data.pixels import Normaliser
from trainable.devices import choose_device
from trainable.errors import SettingsError
from trainable.models.architectures import architecture, replace_head
from trainable.pretrain.images import augment, load_images
from trainable.pretrain.settings import Pretraining


class Trainer:
    """AdamW with a warm-up and a cosine, epoch by epoch.

    Parameters
    ----------
    images
        Shape (N, S, S, 3), uint8.
    labels
        Shape (N,), int64.
    """

    parts = ("model", "optimiser", "schedule")

    def __init__(
        self, model: nn.Module, images: torch.Tensor, labels: torch.Tensor, settings: Pretraining
    ) -> None:
        self.settings, self.device = settings, choose_device(settings.device)
        self.model = model.to(self.device)
        self.images, self.labels = images.to(self.device), labels.to(self.device)
        spec = architecture(settings.arch)
        self.normalise = Normaliser(spec.mean, spec.std, self.device)
        self.steps = len(labels) // settings.batch_size
        if not self.steps:
            raise SettingsError(
                f"{len(labels)} images do not fill a batch of {settings.batch_size}"
            )
        self.epoch = 0
        decayed: list[nn.Parameter] = []
        others: list[nn.Parameter] = []
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
        settings = self.settings
        seeds = np.random.SeedSequence([settings.seed, self.epoch + 1])
        generator = torch.manual_seed(int(seeds.generate_state(1)[0]))  # the global one: dropout
        self.model.train()
        batches = torch.randperm(len(self.labels), generator=generator).split(settings.batch_size)
        loss_sum, correct = 0.0, 0
        for rows in track(batches[: self.steps], f"epoch {self.epoch + 1}", transient=True):
            rows = rows.to(self.device)
            batch = augment(self.images[rows], generator, pad=self.images.shape[1] // 8)
            logits = self.model(self.normalise(batch))
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
        """Write the state file, whole or not at all; `CheckpointError` if the disk is full."""
        state = {name: getattr(self, name).state_dict() for name in self.parts}
        state |= {"recipe": self.settings.recipe, "epoch": self.epoch}
        write_file(self.settings.state, lambda file: torch.save(state, file))

    def load(self) -> None:
        """Restore what `save` wrote.

        Raises
        ------
        CheckpointError
            The file is corrupt.
        SettingsError
            It was written with other settings.
        """
        state = read_state(self.settings.state)
        was, now = state["recipe"], self.settings.recipe
        changed = [f"{k} was {was.get(k)}" for k in was | now if was.get(k) != now.get(k)]
        if changed:
            raise SettingsError(f"{self.settings.state} is of other settings: {', '.join(changed)}")
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


def write(model: nn.Module, settings: Pretraining, facts: dict[str, str], command: str) -> None:
    """Write the weights as fp16, with their provenance as metadata."""
    metadata = {
        **settings.recipe,
        **facts,
        "command": command,
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
    }
    tensors = {
        k: (v.half() if v.is_floating_point() else v).cpu().contiguous()  # BatchNorm counts steps
        for k, v in model.state_dict().items()
    }
    contents = safetensors_bytes(tensors, metadata)
    write_file(settings.out, lambda file: file.write(contents))


def pretrain(settings: Pretraining, command: str) -> None:
    """Train, score on the test images, write the file.

    Parameters
    ----------
    command
        The command line without ``--resume``, for the file's metadata.

    Raises
    ------
    SettingsError
        There is a state file and no ``--resume``, or the other way round, or it is of other
        settings.
    """
    spec = architecture(settings.arch)
    choose_device(settings.device)  # refused before the images are read
    if settings.resume and not settings.state.exists():
        raise SettingsError(f"there is no {settings.state} to resume")
    if settings.state.exists() and not settings.resume:
        raise SettingsError(f"{settings.state} is of an interrupted run: add --resume or delete it")
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
    logits = predict(model, image_rows(test_images.numpy(), spec, trainer.device))
    accuracy = (logits.argmax(1) == test_labels).double().mean().item()
    facts = {
        "classes": json.dumps(classes),
        "training_images": str(len(labels)),
        "test_images": str(len(test_labels)),
        "test_accuracy": f"{accuracy:.4f}",
    }
    write(model, settings, facts, command)
    settings.state.unlink()
    print(f"test accuracy {accuracy:.4f} on {len(test_labels):,} images; wrote {settings.out}")
