"""The complete configuration of one training run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from .protocol import Init, Protocol, Split, Stopping, Trained, Transform

Precision = Literal["fp32", "tf32", "bf16"]


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which images a run sees and how they are split."""

    path: str
    """Absolute path of an HDF5 file in Galaxy10's layout."""
    sha256: str
    """Checksum of that file; a node with another file refuses to train."""
    drop_labels: tuple[int, ...] = ()
    """Labels (as numbered in the file) to leave out; the others are renumbered."""
    merge_labels: tuple[tuple[int, ...], ...] = ()
    """Groups of labels (as numbered in the file) that are one class each."""
    split: Split = "fixed"
    split_seed: int = 0
    validation_fraction: float = 0.2
    group_sky: bool = True
    """Keep galaxies within `SAME_SKY_ARCSEC` of each other on one side of the split."""
    cache_dir: str | None = None
    """Folder of the node's preprocessed images; None is the user's cache folder."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One training run, complete: no other setting changes its result."""

    protocol: str
    """Name of the protocol that the other settings come from."""
    init: Init
    fraction: float
    """Share of the training split, in (0, 1]."""
    seed: int
    """Of the initialisation and the batch order."""
    data: DataConfig
    arch: str
    weights: str | None
    """A name the architecture knows or the path of a checkpoint; None for ``scratch``."""
    trained: Trained
    transform: Transform
    learning_rate: float
    weight_decay: float
    batch_size: int
    max_epochs: int
    stopping: Stopping
    augment: bool = False
    """Mirror and turn the training images by quarter turns, each time anew; the paper does not."""
    precision: Precision = "fp32"
    cache_features: bool = True
    """Train a head alone on features of its backbone that are computed once; same losses."""
    compile: bool = False
    """Compile what `cache_features` does not spare; same losses within rounding."""

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise ValueError(f"fraction {self.fraction}: must be in (0, 1], e.g. 0.4 for 40 %")
        if (self.weights is None) != (self.init == "scratch"):
            raise ValueError(
                f"init {self.init!r} with weights {self.weights!r}: scratch takes none"
            )
        if self.batch_size < 1 or self.max_epochs < 1:
            raise ValueError(
                f"batch size {self.batch_size}, max. epochs {self.max_epochs}: both must be ≥ 1"
            )
        if self.augment and self.cache_features and self.trained == "head":
            raise ValueError("features are cached of images as they are: not with augment")
        if self.learning_rate <= 0 or self.weight_decay < 0:
            raise ValueError(
                f"learning rate {self.learning_rate}, weight decay {self.weight_decay}: "
                "must be > 0 and ≥ 0"
            )

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
    ) -> RunConfig:
        """The run that `protocol` prescribes for one cell of the grid.

        Parameters
        ----------
        weights
            Ignored for ``scratch``.
        max_epochs
            Where given, replaces the protocol's own limit.
        **overrides
            Other fields of `RunConfig` to set against the protocol.
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
        }
        return cls(
            protocol=protocol.name,
            init=init,
            fraction=fraction,
            seed=seed,
            data=data,
            arch=arch,
            weights=None if init == "scratch" else weights,
            **fields | overrides,
        )

    def to_dict(self) -> dict[str, Any]:
        """Nested plain values, as Ray and JSON want them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> RunConfig:
        """The inverse of `to_dict`, also after a trip through JSON."""
        data = dict(values["data"])
        data["drop_labels"] = tuple(data["drop_labels"])
        data["merge_labels"] = tuple(map(tuple, data.get("merge_labels", ())))
        stopping = Stopping(**values["stopping"])
        return cls(**values | {"data": DataConfig(**data), "stopping": stopping})
