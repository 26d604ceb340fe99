"""The settings of one pre-training, which are its flags. Standard library only."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from trainable.errors import SettingsError

SOURCES = {"cifar10": "CIFAR-10", "rendered": "the mock survey's renderer (near-domain)"}
"""Value of ``--data`` → what the weights file calls it. Of a folder, its name."""


@dataclass(frozen=True, kw_only=True)
class SourceFlags:
    """Which images."""

    data: str
    """cifar10, rendered, or a folder that holds train/CLASS/ and test/CLASS/."""
    rendered_images: int = 20_000
    """For rendered: galaxies to train on; a tenth as many more to test on."""


@dataclass(frozen=True, kw_only=True)
class RecipeFlags:
    """Which network is trained, and how."""

    arch: str = "vit_demo"
    """Architecture: vit_demo or vit_b_16."""
    epochs: int = 30
    """Epochs, all of them run."""
    batch_size: int = 128
    """Images per batch; a last, smaller batch is left out."""
    learning_rate: float = 1e-3
    """Peak of AdamW's learning rate."""
    weight_decay: float = 0.05
    """Weight decay of matrices and kernels; biases, norms, tokens and positions have none."""
    label_smoothing: float = 0.1
    """Share of each label that is spread over all classes."""
    warmup: float = 0.05
    """Share of all steps during which the learning rate rises to its peak."""
    seed: int = 0
    """Seed of the initialisation, the batch order and the augmentation."""


@dataclass(frozen=True, kw_only=True)
class OutputFlags:
    """Where it trains and what it writes."""

    out: Path
    """The .safetensors file to write."""
    resume: bool = False
    """Resume from the state file that an interrupted run with these settings left."""
    device: str | None = None
    """Device of torch, e.g. cpu or cuda:1. None: cuda if there is one."""


GROUPS = {"data": SourceFlags, "training": RecipeFlags, "output": OutputFlags}


@dataclass(frozen=True, kw_only=True)
class Pretraining(SourceFlags, RecipeFlags, OutputFlags):
    """Settings of one pre-training."""

    def __post_init__(self) -> None:
        if self.rendered_images < 400:
            raise SettingsError(f"--rendered-images {self.rendered_images}: must be at least 400")
        for name in ("epochs", "batch_size", "learning_rate"):
            if not getattr(self, name) > 0:
                flag = name.replace("_", "-")
                raise SettingsError(f"--{flag} {getattr(self, name)}: must be greater than 0")

    @property
    def state(self) -> Path:
        """The file that an interrupted run leaves."""
        return self.out.with_suffix(".state.pt")

    @property
    def recipe(self) -> dict[str, str]:
        """Everything that the result depends on."""
        elsewhere = {"data", "out", "resume", "device"}
        if self.data != "rendered":
            elsewhere.add("rendered_images")
        own = {k: str(v) for k, v in asdict(self).items() if k not in elsewhere}
        return own | {"source": SOURCES.get(self.data, Path(self.data).name)}
