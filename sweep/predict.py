"""From a trained trial to a catalogue: classes, probabilities and features of any number of images.

The work is in `sweep.prediction`; this is the command line. Neither torch nor Ray is imported before the
flags are read.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from trainable.command_line import parse
from trainable.config import PrecisionChoice, SourceFlags
from trainable.errors import EXIT_CODE, SettingsError, UserError
from trainable.protocol import Transform

PROGRAM = "python -m sweep.predict"
DESCRIPTION = """From a trained trial to a catalogue: classes, probabilities, features of any images.

  python -m sweep.predict --from ray_results/NAME --images FOLDER --out catalogue.parquet

Takes the trial that is best by validation. Each image is a row: its id or path, whatever else is known
of it, the predicted class, the probability of each, their entropy, the distance to the training images
and whether that flags it. An image that cannot be read keeps its row, with the reason in "problem". The
same command resumes after an interruption. --export writes the trial for timm, torchvision and
onnxruntime. With --arch instead of --from: features of a pre-trained
backbone alone.
"""
INTERRUPTED = 130
TABLES = (".parquet", ".csv")
"""Suffixes of --out that ask for one file."""


@dataclass(frozen=True, kw_only=True)
class NetworkFlags:
    """Which network is applied."""

    sweep: Annotated[Path | None, tyro.conf.arg(name="from", metavar="SWEEP")] = None
    """Folder of a sweep, e.g. ray_results/NAME."""
    trial: tuple[str, ...] = ()
    """Trials by name; the probabilities of several are averaged. None: the best by validation."""
    ensemble: int = 1
    """Average the probabilities of so many trials, the best by validation."""
    arch: str | None = None
    """Instead of --from: the features of this architecture, pre-trained, and no classes."""
    weights: str | None = None
    """With --arch: a name or the path of a file. None: the architecture's default."""
    transform: Transform | None = None
    """With --arch: resize, resize_crop or evaluation. None: the architecture's, or else resize."""
    precision: PrecisionChoice = "auto"
    """fp32, tf32 or bf16. auto: fp32 on a CPU, the trial's own (without one, fp32) on a GPU."""


@dataclass(frozen=True, kw_only=True)
class InputFlags:
    """Which images are read; labels are not needed."""

    images: str | None = None
    """Folder, one image, Parquet files (or a URI), HDF5 file, galaxy10, mock or hf:NAME."""
    labels: Path | None = None
    """Catalogue (CSV or Parquet) of the images in the folder --images; its columns are carried."""
    image_column: str | None = None
    """Column of images: paths in --labels (None: file), pictures (image), of an HDF5 file (images)."""
    bands: tuple[int, ...] = ()
    """Planes of a FITS image that are red, green, blue, from 1. None: the sweep's own."""
    stretch: float | None = None
    """Linear stretch of FITS images after Lupton et al. (2004). None: the sweep's own, or else 5."""
    q: float | None = None
    """Softening of FITS images after Lupton et al. (2004). None: the sweep's own, or else 8."""
    cache_dir: Path | None = None
    """Folder for features of the training images. None: $SWEEP_CACHE_DIR, else the user's."""


@dataclass(frozen=True, kw_only=True)
class OutputFlags:
    """What is written, and where."""

    out: str | None = None
    """catalogue.parquet or catalogue.csv; else a folder, or its URI, of Parquet files."""
    calibrated: bool = True
    """Divide logits by the temperature that the validation images ask for."""
    export: Path | None = None
    """New folder for the trial as safetensors, ONNX and a model card; --images is not needed then."""
    embeddings: bool = False
    """Write the features that the last layer sees, of the first trial of several."""
    novelty: bool = True
    """Measure how far each image is from the training images, and flag the far ones."""
    false_alarms: float = 0.05
    """Share of images like the training images that may be flagged."""
    shard_images: int = 1024
    """Images of a part that is written whole or not at all."""


@dataclass(frozen=True, kw_only=True)
class MachineFlags:
    """Where it is computed."""

    device: str | None = None
    """Device of torch on this machine, e.g. cpu or cuda:1. None: cuda if there is one."""
    address: str | None = None
    """Address of a Ray cluster (auto: the one on this machine; local: start one) to compute on."""
    workers: int = 1
    """With --address: copies of the network."""
    worker_gpus: float = 1.0
    """With --address: GPUs of a worker; 0 computes on CPUs."""
    worker_cpus: int = 1
    """With --address: CPUs of a worker, which decode its images."""


@dataclass(frozen=True, kw_only=True)
class PredictConfig(NetworkFlags, InputFlags, OutputFlags, MachineFlags):
    """All flags of ``python -m sweep.predict``."""

    def __post_init__(self) -> None:
        if (self.sweep is None) == (self.arch is None):
            raise SettingsError(
                "give one of --from ray_results/NAME (a trained trial) and --arch NAME (features of a "
                "pre-trained backbone)"
            )
        if self.arch is not None and (self.trial or self.ensemble > 1):
            raise SettingsError(
                "--trial and --ensemble choose trials of a sweep: give it with --from"
            )
        if self.arch is None and (self.weights or self.transform):
            raise SettingsError("--weights and --transform go with --arch; a trial has its own")
        if self.trial and self.ensemble > 1:
            raise SettingsError(
                "--trial and --ensemble: give one of them; several names of --trial are averaged, too"
            )
        for name in ("ensemble", "shard_images", "workers", "worker_cpus"):
            if getattr(self, name) < 1:
                flag = name.replace("_", "-")
                raise SettingsError(f"--{flag} {getattr(self, name)}: must be at least 1")
        if not 0 < self.false_alarms < 1:
            raise SettingsError(
                f"--false-alarms {self.false_alarms:g}: must be between 0 and 1; 5% is 0.05"
            )
        if self.worker_gpus < 0:
            raise SettingsError(f"--worker-gpus {self.worker_gpus:g}: must be 0 or more")
        if self.export is not None and (
            self.sweep is None or self.ensemble > 1 or len(self.trial) > 1
        ):
            raise SettingsError(
                "--export writes one trial of a sweep: give --from, and one --trial"
            )
        given = (self.images is not None) + (self.out is not None)
        if given == 1 or (given == 0 and self.export is None):
            raise SettingsError("give the images with --images, and where to write with --out")
        if self.out is not None and self.out.endswith(".csv") and self.embeds:
            raise SettingsError(
                f"--out {self.out}: features are lists of numbers, which CSV has none of: name a "
                ".parquet file"
            )
        SourceFlags(bands=self.bands, stretch=self.stretch or 5.0, q=self.q or 8.0)  # checks them

    @property
    def embeds(self) -> bool:
        """Features are written."""
        return self.embeddings or self.arch is not None

    def source(self, of_trial: SourceFlags | None) -> SourceFlags:
        """How images are read: as those of the trial, but for what the flags say."""
        base = of_trial or SourceFlags()
        return SourceFlags(
            image_column=self.image_column,
            bands=self.bands or base.bands,
            stretch=base.stretch if self.stretch is None else self.stretch,
            q=base.q if self.q is None else self.q,
        )

    def with_absolute_paths(self) -> PredictConfig:
        """The same; workers may have another working folder."""
        weights = self.weights
        if weights and Path(os.path.expanduser(weights)).is_file():
            weights = os.path.abspath(os.path.expanduser(weights))
        return replace(self, weights=weights)


GROUPS = {
    "network": NetworkFlags,
    "images": InputFlags,
    "output": OutputFlags,
    "resources": MachineFlags,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    try:
        config = parse(PredictConfig, GROUPS, arguments, prog=PROGRAM, description=DESCRIPTION)
        if config.export is not None:
            from sweep import exporting  # torch

            print(exporting.run(config, config.export))
        if config.images is not None:
            from sweep import prediction  # torch

            print(prediction.run(config.with_absolute_paths()))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_CODE
    except KeyboardInterrupt:
        print("interrupted: the same command resumes", file=sys.stderr)
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
