"""The complete configuration of a training run, and the flags that it is made from.

Standard library only, so that ``--help`` needs neither torch nor Ray.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from trainable.errors import SettingsError
from trainable.protocol import (
    ARCHITECTURE,
    LORA_RANK,
    TEST_FRACTION,
    Init,
    Protocol,
    ProtocolName,
    Schedule,
    Split,
    Stopping,
    Trained,
    Transform,
    check_trained,
    last_blocks,
    variant_name,
)

Precision = Literal["fp32", "tf32", "bf16"]
PrecisionChoice = Literal["auto", "fp32", "tf32", "bf16"]
CompileChoice = Literal["auto", "on", "off"]

MAX_SEED = 2**32 - 1
OF_A_PROBE: dict[str, Any] = {
    "max_epochs": 1,
    "augment": False,
    "schedule": "constant",
    "warmup": 0.0,
    "layer_decay": 1.0,
    "decay_vectors": True,
    "label_smoothing": 0.0,
    "mixup": 0.0,
}
"""What a probe has, whatever the protocol and the flags say for others."""
DETERMINISTIC_COMPILED = (
    "--deterministic --compile on: what is compiled chooses its kernels by timing them, in each process "
    "for itself, so that two runs may differ in rounding; leave out one of the two"
)


@dataclass(frozen=True, kw_only=True)
class SourceFlags:
    """How images and labels are read."""

    # no paths: it is the same on every node, and part of a run's identity
    image_column: str | None = None
    """Column of images: paths in --labels (None: file), of a data set (image), HDF5 file (images)."""
    label_column: str | None = None
    """Column of labels, words or whole numbers. None: label; of an HDF5 file, ans."""
    label_columns: tuple[str, ...] = ()
    """Columns of votes, fractions from 0 to 1: the class with most votes is the label."""
    min_agreement: float = 0.0
    """Leave out images whose winner among --label-columns has a smaller fraction of the votes."""
    bands: tuple[int, ...] = ()
    """Planes of a FITS image that are red, green, blue, from 1. None: the last, middle, first of 3."""
    stretch: float = 5.0
    """Linear stretch of FITS images after Lupton et al. (2004): smaller is brighter."""
    q: float = 8.0
    """Softening of FITS images after Lupton et al. (2004): larger compresses bright parts more."""
    skip_unreadable: bool = False
    """Leave out images that are missing or damaged, and say how many; else they are refused."""

    def __post_init__(self) -> None:
        if self.label_column is not None and self.label_columns:
            raise SettingsError("--label-column and --label-columns: give one of them")
        if not 0 <= self.min_agreement <= 1:
            raise SettingsError(
                f"--min-agreement {self.min_agreement:g}: must be from 0 to 1; 60% is 0.6"
            )
        if self.min_agreement and not self.label_columns:
            raise SettingsError("--min-agreement: needs the columns of votes, --label-columns")
        if self.bands and (len(self.bands) != 3 or min(self.bands) < 1):
            raise SettingsError(
                f"--bands {' '.join(map(str, self.bands))}: must be three planes counted from 1, "
                "e.g. 3 2 1"
            )
        if not self.stretch > 0 or not self.q > 0:
            raise SettingsError(
                f"--stretch {self.stretch:g} --q {self.q:g}: both must be greater than 0"
            )

    @property
    def vote_columns(self) -> tuple[str, ...]:
        """``label_columns``, also if they were given as one word with commas."""
        return tuple(name for names in self.label_columns for name in names.split(",") if name)

    @classmethod
    def of(cls, settings: SourceFlags) -> SourceFlags:
        """These flags alone, of settings that have others beside them."""
        return cls(**{field.name: getattr(settings, field.name) for field in fields(cls)})


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which images a run sees and how they are split."""

    path: str
    """Absolute path of the data on the node that trains: a folder, or a file."""
    sha256: str
    """Checksum of images and labels; a node with others refuses to train."""
    labels: str | None = None
    """Absolute path of the catalogue that labels the images of a folder."""
    source: SourceFlags = SourceFlags()
    """How images and labels are read."""
    drop_labels: tuple[int, ...] = ()
    """Labels (as numbered in the file) to leave out; the others are renumbered."""
    merge_labels: tuple[tuple[int, ...], ...] = ()
    """Groups of labels (as numbered in the file) that are one class each."""
    split: Split = "budget"
    split_seed: int = 0
    validation_fraction: float = 0.2
    test_fraction: float = TEST_FRACTION
    """Share of the images in the test set of ``budget``, if the data have none of their own."""
    fixed_draw: bool = False
    """With ``budget``: all seeds label the same images."""
    group_sky: bool = True
    """Keep galaxies within `SAME_SKY_ARCSEC` of each other on one side of the split."""
    cache_dir: str | None = None
    """Absolute path of the node's cache; None is the user's cache folder."""


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """One training run, complete: no other setting changes its result."""

    protocol: str
    """Name of the protocol that the other settings come from."""
    init: Init
    fraction: float
    """Label budget as a share of the pool (``budget``), or share of the training split; in (0, 1]."""
    seed: int
    """Seed of the initialisation and the batch order and, with ``budget``, of the labelled images."""
    data: DataConfig
    arch: str
    weights: str | None
    """A name that the architecture knows, or the absolute path of a checkpoint; None for
    ``scratch``."""
    trained: Trained
    transform: Transform
    learning_rate: float
    weight_decay: float
    batch_size: int
    max_epochs: int
    stopping: Stopping
    per_class: int | None = None
    """Label so many images of each class instead of the fraction's share of the pool."""
    lora_rank: int = LORA_RANK
    """Rank of the adapters, if `trained` is ``lora``."""
    augment: bool = False
    """Show each training image with a random flip and 90° rotation in every epoch."""
    schedule: Schedule = "constant"
    """``cosine``: the learning rate rises over the first `warmup` of all steps and falls to 0."""
    warmup: float = 0.0
    """Share of the steps of `max_epochs`, in [0, 1)."""
    layer_decay: float = 1.0
    """The learning rate of a block is this share of the one above it, in (0, 1]."""
    decay_vectors: bool = True
    """Weight decay of biases, of the scales of norms and of embeddings of positions, too."""
    label_smoothing: float = 0.0
    """Share of the target that is spread evenly over all classes, in [0, 1)."""
    mixup: float = 0.0
    """α of mixup, if the run has `MIXUP_LABELS` labels; 0: none."""
    precision: Precision = "fp32"
    cache_features: bool = True
    """Train a head alone on features of its backbone that are computed once, and the last K blocks
    on what the frozen ones give; same losses within rounding. A probe always does."""
    compile: bool = False
    """Compile the blocks of what `cache_features` does not spare, and on a GPU replay whole steps as one
    graph; same losses within rounding."""
    deterministic: bool = False
    """On a GPU, bit-equal results of equal runs; on a CPU they are so anyway."""

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise SettingsError(f"fraction {self.fraction}: must be in (0, 1], e.g. 0.4 for 40%")
        if (self.weights is None) != (self.init == "scratch"):
            raise SettingsError(
                f"init {self.init!r} with weights {self.weights!r}: scratch takes none"
            )
        if self.per_class is not None and self.per_class < 1:
            raise SettingsError(f"{self.per_class} images of each class: must be at least 1")
        check_trained(self.trained)
        if self.lora_rank < 1:
            raise SettingsError(f"LoRA rank {self.lora_rank}: must be at least 1, e.g. {LORA_RANK}")
        if self.batch_size < 1 or self.max_epochs < 1:
            raise SettingsError(
                f"batch size {self.batch_size}, max. epochs {self.max_epochs}: both must be ≥ 1"
            )
        if self.augment and self.on_features:
            raise SettingsError("features are cached of images as they are: not with --augment")
        if self.trained == "probe" and self.max_epochs != 1:
            raise SettingsError(f"a probe has 1 epoch, not {self.max_epochs}: it is fitted at once")
        if self.deterministic and self.compile:
            raise SettingsError(DETERMINISTIC_COMPILED)
        if self.learning_rate <= 0 or self.weight_decay < 0:
            raise SettingsError(
                f"learning rate {self.learning_rate}, weight decay {self.weight_decay}: "
                "must be > 0 and ≥ 0"
            )
        if not (0 < self.layer_decay <= 1 and 0 <= self.warmup < 1 and self.mixup >= 0):
            raise SettingsError(
                f"layer decay {self.layer_decay}, warm-up {self.warmup}, mixup {self.mixup}: must be "
                "in (0, 1], in [0, 1) and ≥ 0"
            )
        if not 0 <= self.label_smoothing < 1:
            raise SettingsError(f"label smoothing {self.label_smoothing}: must be in [0, 1)")

    @property
    def on_features(self) -> bool:
        """The run sees images through features alone, which all runs of one backbone share."""
        return self.trained == "probe" or (self.trained == "head" and self.cache_features)

    @property
    def on_tokens(self) -> bool:
        """The run trains its last blocks on what the frozen ones below give, computed once.

        If the network can be cut there: see `trainable.models.cut`. Not with rates by layer, which
        need the whole network.
        """
        plain = not self.augment and self.layer_decay == 1
        return last_blocks(self.trained) is not None and self.cache_features and plain

    @classmethod
    def of(
        cls,
        protocol: Protocol,
        *,
        init: Init,
        fraction: float,
        seed: int,
        data: DataConfig,
        arch: str,
        weights: str | None,
        max_epochs: int | None = None,
        **overrides: Any,
    ) -> TrainingConfig:
        """The run that `protocol` prescribes for one cell of the grid.

        Parameters
        ----------
        weights
            Ignored for ``scratch``.
        max_epochs
            Replaces the protocol's own limit unless it is None. A probe has one epoch.
        **overrides
            Other fields of `TrainingConfig` to set against the protocol. A probe has no use for
            ``augment``, and drops it; of augmented images no features are cached.
        """
        recipe = protocol.recipe(init)
        fields: dict[str, Any] = {
            "trained": recipe.trained,
            "transform": recipe.transform,
            "learning_rate": recipe.learning_rate,
            "weight_decay": protocol.weight_decay,
            "batch_size": protocol.batch_size,
            "stopping": protocol.stopping_for(init, fraction),
            "max_epochs": max_epochs or protocol.max_epochs_for(init, fraction),
            "augment": protocol.augment,
            "schedule": protocol.schedule,
            "warmup": protocol.warmup,
            "layer_decay": recipe.layer_decay,
            "decay_vectors": protocol.decay_vectors,
            "label_smoothing": protocol.label_smoothing,
            "mixup": protocol.mixup,
        }
        fields |= overrides
        if fields["trained"] != "lora":  # no two runs differ by a rank that neither uses
            fields.pop("lora_rank", None)
        if fields["trained"] == "probe":
            fields |= OF_A_PROBE
        if fields["augment"]:
            fields["cache_features"] = False
        return cls(
            protocol=protocol.name,
            init=init,
            fraction=fraction,
            seed=seed,
            data=data,
            arch=arch,
            weights=None if init == "scratch" else weights,
            **fields,
        )

    def to_dict(self) -> dict[str, Any]:
        """Nested plain values, as Ray and JSON want them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainingConfig:
        """The inverse of `to_dict`, also after a trip through JSON."""
        data = values["data"]
        source: dict[str, Any] = dict(data.get("source", {}))
        for name in ("label_columns", "bands"):
            source[name] = tuple(source.get(name, ()))
        lists = {
            "drop_labels": tuple(data["drop_labels"]),
            "merge_labels": tuple(tuple(group) for group in data["merge_labels"]),
            "source": SourceFlags(**source),
        }
        nested: dict[str, Any] = {
            "data": DataConfig(**data | lists),
            "stopping": Stopping(**values["stopping"]),
        }
        return cls(**values | nested)


@dataclass(frozen=True, kw_only=True)
class DataFlags:
    """Which images, which classes, how they are split."""

    data: str = "galaxy10"
    """Folder of pictures, data set (hf:NAME: on the hub), HDF5 file, galaxy10 (2.5 GB) or mock."""
    labels: Path | None = None
    """Catalogue (CSV or Parquet) with the labels of the images in the folder --data."""
    drop_labels: tuple[int, ...] | None = None
    """Labels to leave out, as the data number them. None: 4 for Galaxy10. No value: keep all."""
    merge_labels: tuple[str, ...] = ()
    """Labels to merge into one class, joined by +, e.g. 1+2."""
    split: Split = "budget"
    """budget: a test set first, and every label counts. fixed, subset-first: as the paper."""
    test_fraction: float = TEST_FRACTION
    """Share of the images in the test set of --split budget."""
    fixed_draw: bool = False
    """All seeds label the same images; intervals then do not cover which images are labelled."""
    split_seed: int = 0
    """Seed of the test set (budget) or of the split, apart from the trials' own seeds."""
    resample: bool = False
    """Vary --split-seed with the trial's seed, so that intervals cover the whole split."""
    group_sky: bool = True
    """Keep galaxies within 10 arcsec of each other on one side of the split."""
    cache_dir: Path | None = None
    """Folder for rendered and preprocessed images. None: $SWEEP_CACHE_DIR, else the user's."""


@dataclass(frozen=True, kw_only=True)
class ModelFlags:
    """Which networks, and from which weights they start."""

    arch: tuple[str, ...] = (ARCHITECTURE,)
    """vit_b_16, vit_demo (for a CPU), torchvision's classifiers, timm:NAME; several compare."""
    weights: tuple[str, ...] = ()
    """Pre-trained weights, NAME or FILE; ARCH=FILE for each of several. None: the default ones."""


@dataclass(frozen=True, kw_only=True)
class TrainingFlags:
    """What is trained, and how; every default is the protocol's."""

    protocol: ProtocolName = "paper"
    """paper (its text), authors (their notebooks), paper+… (one difference each), modern, demo."""
    trained: tuple[Trained, ...] | None = None
    """Of the pre-trained model: all, head, probe, last_K, lora, …; several compare. None: protocol's."""
    max_epochs: int | None = None
    """Limit of epochs per trial. None: the protocol's (100)."""
    learning_rate: float | None = None
    """Learning rate of AdamW. None: the protocol's (1e-4)."""
    scratch_learning_rate: float | None = None
    """Learning rate of the scratch trials, if it differs from --learning-rate."""
    batch_size: int | None = None
    """Images per batch. None: the protocol's (32)."""
    augment: bool = False
    """Flip and rotate the training images by 90° at random. Wrong if handedness is a class."""
    precision: PrecisionChoice = "auto"
    """fp32, tf32 or bf16. auto: bf16 on GPUs of compute capability 8.0 or more, else fp32."""
    compile: CompileChoice = "auto"
    """Compile blocks and replay whole steps. auto: on GPUs as above, with a C compiler."""
    deterministic: bool = False
    """Bit-equal results on a GPU, too: slower, not compiled. On a CPU they are so without it."""
    cache_features: bool = True
    """Compute what frozen layers give once for all trials, if images are not augmented."""
    cache_gb: float = 20.0
    """Gigabytes that a node may keep of what the blocks below last_K give; more is not kept."""
    lora_rank: int = LORA_RANK
    """Rank of the adapters of trials that train lora."""


@dataclass(frozen=True, kw_only=True)
class Settings(DataFlags, SourceFlags, ModelFlags, TrainingFlags):
    """The flags that one run and a sweep have in common."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.arch:
            raise SettingsError("--arch: give at least one")
        _weights_by_arch(self.archs, self.weights)
        for trained in self.trained or ():
            check_trained(trained)
        positive = (
            "max_epochs",
            "learning_rate",
            "scratch_learning_rate",
            "batch_size",
            "lora_rank",
        )
        for name in positive:
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise SettingsError(f"--{name.replace('_', '-')} {value}: must be greater than 0")
        if not self.cache_gb >= 0:
            raise SettingsError(f"--cache-gb {self.cache_gb:g}: must be 0 or more")
        if self.deterministic and self.compile == "on":
            raise SettingsError(DETERMINISTIC_COMPILED)
        if not 0 < self.test_fraction < 1:
            raise SettingsError(
                f"--test-fraction {self.test_fraction:g}: must be between 0 and 1; 20% is 0.2"
            )
        if not 0 <= self.split_seed <= MAX_SEED:
            raise SettingsError(f"--split-seed {self.split_seed}: must be from 0 to 2**32 - 1")
        for group in self.merge_labels:
            if not re.fullmatch(r"\d+(\+\d+)+", group):
                raise SettingsError(f"--merge-labels {group}: must be labels joined by +, e.g. 1+2")

    @property
    def source(self) -> SourceFlags:
        """How images and labels are read."""
        return SourceFlags.of(self)

    @property
    def archs(self) -> tuple[str, ...]:
        """The architectures, each once, the main one first."""
        return tuple(dict.fromkeys(self.arch))

    def weights_of(self, arch: str) -> str | None:
        """What ``--weights`` says of one of `archs`; None: nothing."""
        return _weights_by_arch(self.archs, self.weights).get(arch)

    @property
    def variants(self) -> tuple[str, ...]:
        """The protocol as ``--trained`` changes it, the main one first: names for `protocol_named`."""
        parts = dict.fromkeys(self.trained or ())
        return tuple(variant_name(self.protocol, part) for part in parts) or (self.protocol,)

    @property
    def merged(self) -> tuple[tuple[int, ...], ...]:
        """``merge_labels`` as numbers."""
        return tuple(tuple(map(int, group.split("+"))) for group in self.merge_labels)

    def overrides(self, init: Init) -> dict[str, float | int]:
        """The settings that replace the protocol's own for one init."""
        own = self.scratch_learning_rate if init == "scratch" else None
        rate = self.learning_rate if own is None else own
        chosen = {"learning_rate": rate, "batch_size": self.batch_size}
        return {name: value for name, value in chosen.items() if value is not None}


def _weights_by_arch(archs: Sequence[str], weights: Sequence[str]) -> dict[str, str]:
    """Architecture → its weights: those after ``ARCH=``, and the first one's may be without.

    Raises
    ------
    SettingsError
        Two are of one architecture, or it is none of `archs`.
    """
    found: dict[str, str] = {}
    for given in weights:
        named = [arch for arch in archs if given.startswith(f"{arch}=")]
        arch = max(named, key=len, default=archs[0])
        if len(archs) > 1 and not named and "=" in given:
            raise SettingsError(
                f"--weights {given}: {given.partition('=')[0]} is none of --arch {' '.join(archs)}"
            )
        if arch in found:
            whose = f", e.g. --weights {archs[-1]}=FILE" if len(archs) > 1 else ""
            raise SettingsError(
                f"--weights {' '.join(weights)}: {arch} gets two; give one for each --arch{whose}"
            )
        found[arch] = given.removeprefix(f"{arch}=") if named else given
    return found
