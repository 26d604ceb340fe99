"""Which images to label next: an order of a folder's images, and what such orders are worth.

The work is in the other modules of the package; this is the command line. Torch is not imported before the
flags are read.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from trainable.command_line import parse
from trainable.config import SourceFlags
from trainable.errors import EXIT_CODE, SettingsError, UserError

PROGRAM = "python -m analysis.label_next"
DESCRIPTION = """Which images to label next, and what it is worth to choose them.

  python -m analysis.label_next --from ray_results/NAME --unlabelled FOLDER --budget 200
  python -m analysis.label_next --from ray_results/NAME --simulate

The first writes label_next.csv and a page with the images in the order in which to label them. Images
that the sweep has labels of are left out. The second hides the sweep's own labels, asks for them in all
orders, and writes what each order is worth against random at equal budgets.
"""
Choice = Literal["typiclust", "probcover", "margin", "badge", "random"]
"""The same as `analysis.label_next.orders.OrderName`, whose module is slow to import."""
DEFAULT_ORDER: Choice = "badge"
"""Simulated on two surveys of real galaxies, no order is significantly more accurate than random; BADGE alone has a
higher mean accuracy at every budget of both (docs/guide/label-next.md)."""


@dataclass(frozen=True, kw_only=True)
class SweepFlags:
    """Which network looks at the images."""

    sweep: Annotated[Path, tyro.conf.arg(name="from", metavar="SWEEP")]
    """Folder of a sweep, e.g. ray_results/NAME."""
    trial: str | None = None
    """Trial by name. None: the best by validation; with --simulate the best pre-trained one."""
    device: str | None = None
    """Device of torch on this machine, e.g. cpu or cuda:1. None: cuda if there is one."""
    cache_dir: Path | None = None
    """Folder for features. None: $SWEEP_CACHE_DIR, else the user's."""


@dataclass(frozen=True, kw_only=True)
class ImageFlags:
    """Which images are chosen from; labels are not needed."""

    unlabelled: str | None = None
    """Folder, one image, Parquet files (or a URI), HDF5 file, galaxy10, mock or hf:NAME."""
    labels: Path | None = None
    """Catalogue (CSV or Parquet) of the images in the folder; its columns are carried."""
    image_column: str | None = None
    """Column of the images' paths in --labels (None: file), or of the pictures (None: image)."""
    bands: tuple[int, ...] = ()
    """Planes of a FITS image that are red, green, blue, from 1. None: the sweep's own."""
    stretch: float | None = None
    """Linear stretch of FITS images after Lupton et al. (2004). None: the sweep's own."""
    q: float | None = None
    """Softening of FITS images after Lupton et al. (2004). None: the sweep's own."""


@dataclass(frozen=True, kw_only=True)
class ChoiceFlags:
    """How they are chosen, and where it is written."""

    budget: int = 200
    """Images to label next."""
    order: Choice = DEFAULT_ORDER
    """Order in which images are chosen."""
    seed: int = 0
    """Of everything random: clusters, ties, starts and random orders."""
    out: Path | None = None
    """Folder to write. None: label_next in the sweep's folder."""


@dataclass(frozen=True, kw_only=True)
class SimulationFlags:
    """What orders are worth on the labels that the sweep has."""

    simulate: bool = False
    """Hide the sweep's labels and ask for them in all orders; needs no --unlabelled."""
    orders: tuple[Choice, ...] = ("typiclust", "probcover", "margin", "badge")
    """Orders to compare with random."""
    start: int = 3
    """Labelled images of each class, at random, to begin with; at least 2."""
    batch: int | None = None
    """Labels of a batch. None: as many as there are, so that budgets double."""
    repeats: int = 20
    """Random starts."""


@dataclass(frozen=True, kw_only=True)
class LabelNextConfig(SweepFlags, ImageFlags, ChoiceFlags, SimulationFlags):
    """All flags of ``python -m analysis.label_next``."""

    def __post_init__(self) -> None:
        if self.simulate and self.unlabelled is not None:
            raise SettingsError(
                "--simulate works on the labels that the sweep has: leave --unlabelled out"
            )
        if not self.simulate and self.unlabelled is None:
            raise SettingsError(
                "give the images to choose from with --unlabelled, or --simulate to see what an order is "
                "worth on the images that have labels"
            )
        for name, least in (("budget", 1), ("start", 2), ("repeats", 2), ("batch", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise SettingsError(f"--{name} {value}: must be at least {least}")
        if self.seed < 0:
            raise SettingsError(f"--seed {self.seed}: must be 0 or more")
        if not set(self.orders) - {"random"}:
            raise SettingsError("--orders: name one or more to compare with random, e.g. typiclust")
        if repeated := [o for o in self.orders if self.orders.count(o) > 1]:
            raise SettingsError(f"--orders: {repeated[0]} is given twice")
        SourceFlags(bands=self.bands, stretch=self.stretch or 5.0, q=self.q or 8.0)  # checks them

    @property
    def folder(self) -> Path:
        """Where everything is written."""
        return self.out or self.sweep / "label_next"

    def source(self, of_sweep: SourceFlags) -> SourceFlags:
        """How images are read: as those of the sweep, but for what the flags say."""
        return SourceFlags(
            image_column=self.image_column,
            bands=self.bands or of_sweep.bands,
            stretch=of_sweep.stretch if self.stretch is None else self.stretch,
            q=of_sweep.q if self.q is None else self.q,
        )


GROUPS = {
    "network": SweepFlags,
    "images": ImageFlags,
    "choice": ChoiceFlags,
    "simulation": SimulationFlags,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    try:
        config = parse(LabelNextConfig, GROUPS, arguments, prog=PROGRAM, description=DESCRIPTION)
        from analysis.label_next import commands  # torch

        print(commands.run(config))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_CODE
    return 0


if __name__ == "__main__":
    sys.exit(main())
