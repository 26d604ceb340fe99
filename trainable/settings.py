"""What a user sets, for one run and for a sweep alike, and how it becomes a `RunConfig`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from . import backbones
from .cache import cache_root
from .config import DataConfig, Precision, RunConfig
from .galaxy10 import Survey, open_survey
from .protocol import ARCHITECTURE, PROTOCOLS, Init, ProtocolName, Split
from .selection import Selection, default_drop_labels, select


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Data, model and protocol."""

    data: str = "galaxy10"
    """galaxy10 (fetched once, 2.5 GB), mock (rendered once, offline), or the path of an HDF5 file
    in Galaxy10's layout."""
    arch: Annotated[str, tyro.conf.arg(metavar="{" + ",".join(backbones.ARCHITECTURES) + "}")] = (
        ARCHITECTURE
    )
    """Architecture."""
    weights: str | None = None
    """Pre-trained weights: a name such as IMAGENET1K_V1 (fetched once, 330 MB), photographs or
    rendered (ship with vit_demo), or the path of a .pth or .safetensors file. None: the
    architecture's."""
    protocol: ProtocolName = "paper"
    """What is trained, transform, stopper, learning rate: the paper's text, what its authors ran,
    or the text but for one thing (paper+…). See trainable/protocol.py."""
    split: Split = "fixed"
    """fixed: one validation set for all trials, nested fractions of the rest. subset-first: the
    fraction first, then 80/20 of it, as the paper did."""
    drop_labels: tuple[int, ...] | None = None
    """Labels to leave out, as the file numbers them. None: 4 for Galaxy10 (as the paper), nothing
    otherwise. Give the flag without a value to keep all."""
    merge_labels: tuple[str, ...] = ()
    """Labels to take for one class, joined by +, e.g. 1+2 for two kinds of spirals."""
    augment: bool = False
    """Mirror and turn the training images by quarter turns at random, for both inits; the paper
    does not. Wrong for classes that a mirror turns into each other."""
    max_epochs: int | None = None
    """Most epochs of a trial. None: the protocol's (100)."""
    learning_rate: float | None = None
    """AdamW's learning rate. None: the protocol's (1e-4)."""
    scratch_learning_rate: float | None = None
    """That of the scratch trials, where it differs from --learning-rate."""
    batch_size: int | None = None
    """None: the protocol's (32)."""
    precision: Precision = "fp32"
    """bf16 computes the network in bfloat16, tf32 its products in TensorFloat-32: faster, on GPUs
    that have them."""
    compile: bool = False
    """Compile the training step with torch.compile (takes a minute, and a C++ compiler)."""
    cache_features: bool = True
    """Where only the last layer trains, compute what it sees of each image once, for all trials."""
    split_seed: int = 0
    """Seed of the split, apart from the trials' own seeds."""
    group_sky: bool = True
    """Keep galaxies within 10 arcsec of each other, many of them one galaxy listed twice, on one
    side of the split. Without it they may leak from training to validation, as in the paper."""
    resample: bool = False
    """Let the split vary with the seed: its seed is --split-seed plus the trial's. Intervals then
    cover the choice of training images too."""
    cache_dir: Path | None = None
    """Folder for rendered and preprocessed images. None: $SWEEP_CACHE_DIR, else the user's."""

    def __post_init__(self) -> None:
        backbones.architecture(self.arch)
        for name in ("max_epochs", "learning_rate", "scratch_learning_rate", "batch_size"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"--{name.replace('_', '-')} {value}: must be greater than 0")
        if not 0 <= self.split_seed < 2**32:
            raise ValueError(f"--split-seed {self.split_seed}: must be from 0 to 2**32 - 1")
        for group in self.merge_labels:
            if not re.fullmatch(r"\d+(\+\d+)+", group):
                raise ValueError(f"--merge-labels {group}: must be labels joined by +, e.g. 1+2")

    @property
    def merged(self) -> tuple[tuple[int, ...], ...]:
        """``merge_labels`` as numbers."""
        return tuple(tuple(map(int, group.split("+"))) for group in self.merge_labels)

    def overrides(self, init: Init) -> dict[str, float | int | None]:
        """The settings that replace the protocol's own for one init."""
        own = self.scratch_learning_rate if init == "scratch" else None
        rate = self.learning_rate if own is None else own
        chosen = {"learning_rate": rate, "batch_size": self.batch_size}
        return {k: v for k, v in chosen.items() if v is not None}


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Settings with their data at hand and checked: what a driver knows before any run."""

    settings: Settings
    survey: Survey
    selection: Selection
    data: DataConfig
    weights: str

    def run_config(
        self, init: Init, fraction: float, seed: int, protocol: ProtocolName | None = None
    ) -> RunConfig:
        """The complete configuration of one run; None: by the protocol of the settings."""
        data, shift = self.data, seed if self.settings.resample else 0
        return RunConfig.of(
            PROTOCOLS[protocol or self.settings.protocol],
            init=init,
            fraction=fraction,
            seed=seed,
            data=replace(data, split_seed=data.split_seed + shift),
            arch=self.settings.arch,
            weights=self.weights,
            max_epochs=self.settings.max_epochs,
            precision=self.settings.precision,
            augment=self.settings.augment,
            cache_features=self.settings.cache_features and not self.settings.augment,
            compile=self.settings.compile,
            **self.settings.overrides(init),
        )


def data_path(
    source: str, cache_dir: Path | None, progress: Callable[[int, int], None] | None = None
) -> Path:
    """The file that ``--data`` means, fetched or rendered where that is needed."""
    if source == "galaxy10":
        from .download import fetch_galaxy10  # its libraries are slow to import

        return fetch_galaxy10()
    if source == "mock":
        from .mock_survey import MockSurvey, cached  # galsim, likewise

        return cached(MockSurvey(), cache_root(cache_dir), progress=progress)
    return Path(source).expanduser().absolute()


def prepare(settings: Settings, progress: Callable[[int, int], None] | None = None) -> Experiment:
    """Find, check and describe the data and the weights.

    Raises
    ------
    DataError, WeightsError
        The message is complete for the user.
    """
    survey = open_survey(data_path(settings.data, settings.cache_dir, progress))
    drop = default_drop_labels(survey) if settings.drop_labels is None else settings.drop_labels
    selection = select(survey, drop, settings.merged)
    weights = settings.weights or backbones.architecture(settings.arch).default_weights
    data = DataConfig(
        path=str(survey.path),
        sha256=survey.sha256,
        drop_labels=tuple(sorted(drop)),
        merge_labels=settings.merged,
        split=settings.split,
        split_seed=settings.split_seed,
        validation_fraction=PROTOCOLS[settings.protocol].validation_fraction,
        group_sky=settings.group_sky,
        cache_dir=settings.cache_dir and str(Path(settings.cache_dir).absolute()),  # str on resume
    )
    return Experiment(
        settings=settings, survey=survey, selection=selection, data=data, weights=weights
    )
