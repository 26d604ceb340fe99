"""The grid of trials and the presets, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

import tyro

from trainable.protocol import AS_RUN, INITS, PAPER_FRACTIONS, SWITCHED, Init, ProtocolName
from trainable.settings import Settings

Preset = Literal["grid", "paper", "as_run", "ablation", "demo"]


@dataclass(frozen=True, kw_only=True)
class SweepConfig(Settings):
    """A sweep: the settings of its trials, its grid, and where it runs."""

    preset: Preset = "grid"
    """grid: {scratch, pretrained} × 40…100 %. paper, as_run: the paper's nine trials, by its text
    or as its authors ran them. ablation: both, and the four things they differ in one at a time.
    demo: a small ViT on a rendered survey, minutes on a CPU."""
    other_protocols: tuple[ProtocolName, ...] = ()
    """Protocols to run beside --protocol, on the same data, splits and seeds. A trial that several
    prescribe runs once."""
    inits: tuple[Init, ...] = INITS
    """Which of scratch and pretrained."""
    fractions: tuple[float, ...] = PAPER_FRACTIONS
    """Shares of the training images, in (0, 1]."""
    scratch_fractions: tuple[float, ...] | None = None
    """Those of the scratch trials, where they differ from --fractions."""
    seeds: tuple[int, ...] = (0,)
    """Every cell of the grid runs once with each seed: another initialisation and batch order,
    and with --resample another split."""
    gpus: int = 1
    """GPUs of this machine to use; 0 trains on the CPU."""
    gpus_per_trial: float | Literal["auto"] = 1.0
    """One GPU a trial; 0.5 lets two trials share one. auto: a tenth for trials that train a head on
    cached features, which then run beside the others."""
    name: str | None = None
    """Folder of the sweep under --storage-path. None: the preset and the time."""
    storage_path: str = "ray_results"
    """Where sweeps are kept: a folder (on a cluster, one that all nodes share) or a URI such as
    s3://bucket/path."""
    address: str | None = None
    """Address of a running Ray cluster (auto: the one on this machine). --gpus 0 trains on its
    CPUs, any other number takes whatever GPUs it has."""
    wait_for_resources: bool = False
    """On a cluster that lacks what a trial asks for, wait for a node that has it."""
    checkpoint_seconds: float = 3.0
    """A trial is saved at the end of an epoch, once it has trained for so long since it was saved
    last and ten times as long as saving takes. 0: after every epoch."""
    resume: Annotated[str | None, tyro.conf.arg(metavar="NAME-OR-PATH")] = None
    """Go on with a sweep; more --fractions, --inits or --seeds add trials to it."""
    replace: bool = False
    """Delete an earlier sweep of the same name first."""
    dry_run: bool = False
    """Print the plan and stop."""
    tflops: float | None = None
    """For --dry-run: the rate that a GPU sustains in training, in TFLOP/s (make bench prints it);
    the plan then gives hours on 1, 4 and 16 GPUs."""
    log_to: tuple[Literal["mlflow", "wandb"], ...] = ()
    """More places to log to, beside TensorBoard; each is an extra to install."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for fraction in (*self.fractions, *(self.scratch_fractions or ())):
            if not 0 < fraction <= 1:
                raise ValueError(f"--fractions {fraction:g}: must be in (0, 1]; 40 % is 0.4")
        for name in ("inits", "fractions", "seeds"):
            if not getattr(self, name):
                raise ValueError(f"--{name}: give at least one")
        if any(not 0 <= seed < 2**32 for seed in self.seeds):
            raise ValueError(f"--seeds {self.seeds}: must be whole numbers from 0 to 2**32 - 1")
        if self.resample and self.split_seed + max(self.seeds) >= 2**32:
            raise ValueError("--resample: --split-seed and the largest of --seeds exceed 2**32 - 1")
        if self.gpus < 0 or (self.gpus_per_trial != "auto" and self.gpus_per_trial <= 0):
            raise ValueError(
                f"--gpus {self.gpus} --gpus-per-trial {self.gpus_per_trial}: "
                "must be ≥ 0 and > 0; --gpus 0 trains on the CPU"
            )
        if self.checkpoint_seconds < 0:
            raise ValueError(f"--checkpoint-seconds {self.checkpoint_seconds:g}: must be ≥ 0")
        if self.tflops is not None and not self.tflops > 0:
            raise ValueError(f"--tflops {self.tflops:g}: must be greater than 0")
        if self.name is not None and (not self.name or "/" in self.name or self.name[0] == "."):
            raise ValueError(f"--name {self.name!r}: must be a plain folder name")

    @property
    def protocols(self) -> tuple[ProtocolName, ...]:
        """All protocols, that of the main report first."""
        return tuple(dict.fromkeys((self.protocol, *self.other_protocols)))

    def cells(self) -> list[tuple[Init, float, int]]:
        """(init, fraction, seed) of each protocol's trials; the whole baselines come first."""
        cells = [
            (init, fraction, seed)
            for seed in dict.fromkeys(self.seeds)
            for init in dict.fromkeys(self.inits)
            for fraction in sorted(set(self._fractions(init)), reverse=True)
        ]
        return sorted(cells, key=lambda cell: self.seeds.index(cell[2]))

    def _fractions(self, init: Init) -> tuple[float, ...]:
        own = self.scratch_fractions if init == "scratch" else None
        return self.fractions if own is None else own


def cell_id(
    init: Init, fraction: float, seed: int, other_protocol: ProtocolName | None = None
) -> str:
    """A name that sorts and reads: ``pretrained-095-s0`` is 95 %, ``scratch-012.5-s1`` 12.5 %.

    Trials of another protocol than the sweep's own have its name in front:
    ``as_run-pretrained-095-s0``.
    """
    whole, _, rest = f"{100 * fraction:.10g}".partition(".")
    name = f"{init}-{whole:0>3}{'.' + rest if rest else ''}-s{seed}"
    return f"{other_protocol}-{name}" if other_protocol else name


PRESETS: dict[str, SweepConfig] = {
    "grid": SweepConfig(),
    "paper": SweepConfig(
        preset="paper", protocol="paper", split="subset-first", scratch_fractions=(1.0,)
    ),
    "as_run": SweepConfig(
        preset="as_run", protocol="as_run", split="subset-first", scratch_fractions=(1.0,)
    ),
    "ablation": SweepConfig(
        preset="ablation",
        protocol="paper",
        other_protocols=tuple(protocol.name for protocol in (*SWITCHED, AS_RUN)),
        fractions=(0.4, 0.6, 0.8, 1.0),  # each δ and patience of the notebooks once
        scratch_fractions=(1.0,),
        seeds=(0, 1, 2),
    ),
    "demo": SweepConfig(
        preset="demo",
        protocol="demo",
        data="mock",
        arch="vit_demo",
        fractions=(0.05, 0.15, 0.5, 1.0),
        seeds=(0, 1, 2),  # two leave intervals of twice the width
        gpus=0,
    ),
}
assert set(PRESETS) == set(get_args(Preset))
