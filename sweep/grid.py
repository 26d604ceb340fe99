"""The flags of a sweep, its grid of trials and the presets, as data; no torch, no Ray."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, cast, get_args

import tyro

from trainable.config import MAX_SEED, DataFlags, ModelFlags, Settings, SourceFlags, TrainingFlags
from trainable.errors import SettingsError
from trainable.manifest import name_in_ids
from trainable.protocol import (
    AUTHORS,
    IMAGE_STATISTICS,
    INITS,
    PAPER_FRACTIONS,
    SWITCHED,
    UNTRAINED,
    Init,
    ProtocolName,
    protocol_named,
)

LEAST_SEEDS = 3
"""Of the first round of ``--until-decided``: two tell next to nothing of their variance."""

Preset = Literal["grid", "paper", "authors", "ablation", "demo", "transfer"]
Control = Literal["untrained", "statistics"]
CONTROLS: tuple[Control, ...] = get_args(Control)


@dataclass(frozen=True, kw_only=True)
class GridFlags:
    """Which trials a sweep has."""

    preset: Preset = "grid"
    """grid, paper or authors (the nine trials of either), ablation (both), demo (minutes, CPU), transfer."""
    other_protocols: tuple[ProtocolName, ...] = ()
    """Protocols to run beside --protocol, on the same data, splits and seeds."""
    inits: tuple[Init, ...] = INITS
    """Which of scratch and pretrained."""
    scratch_arch: tuple[str, ...] | None = None
    """Those of --arch that train from scratch, too. None: all. No value: none."""
    controls: tuple[Control, ...] | None = None
    """Probes on untrained networks or image statistics. None: both if several --arch. No value: none."""
    fractions: tuple[float, ...] = PAPER_FRACTIONS
    """Label budgets as shares of the pool, all images but the test set, in (0, 1]."""
    scratch_fractions: tuple[float, ...] | None = None
    """Shares for the scratch trials, if they differ from --fractions."""
    budgets: tuple[int, ...] | None = None
    """Label budgets in images, instead of --fractions."""
    scratch_budgets: tuple[int, ...] | None = None
    """Budgets for the scratch trials, if they differ from --budgets."""
    per_class: bool = False
    """--budgets are images of each class."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of labelled images, initialisation and batch order; each cell runs once with each."""
    probe_draws: int = 20
    """Draws of labelled images for each budget of a probe (--trained probe), beside --seeds."""


@dataclass(frozen=True, kw_only=True)
class CertaintyFlags:
    """How small a difference the sweep is to find."""

    detect: float = 2.0
    """Difference in points that matters: --dry-run says what it takes to find it."""
    until_decided: bool = False
    """Add a seed after a seed until each difference at equal labels is clear of 0 or within ±detect."""
    max_seeds: int = 10
    """Most seeds of a cell, with --until-decided."""
    pilot: Annotated[str | None, tyro.conf.arg(metavar="SWEEP")] = None
    """Folder of a sweep that shows --dry-run how much seeds and models vary here."""


@dataclass(frozen=True, kw_only=True)
class TransferFlags:
    """Another survey whose labels the pre-trained model has learned from, with --preset transfer."""

    transfer_from: Annotated[Path | None, tyro.conf.arg(metavar="SWEEP")] = None
    """Folder of a sweep on another survey; its best network by validation is the pre-trained model."""
    transfer_trial: str | None = None
    """Trial of --transfer-from to use instead, by name; all or the last layers must have trained."""
    class_map: Path | None = None
    """CSV file with the columns source and target: which classes of the two surveys are the same."""


@dataclass(frozen=True, kw_only=True)
class ResourceFlags:
    """Where the trials run, and how many at a time."""

    gpus: int = 1
    """GPUs of this machine to use; 0 trains on the CPU."""
    gpus_per_trial: float | Literal["auto"] = 1.0
    """GPUs of a trial; 0.5: two share one. auto: a tenth for heads on cached features."""
    cpus: int | None = None
    """CPUs of this machine to use, one a trial. None: all that this process may use."""
    address: str | None = None
    """Address of a running Ray cluster (auto: the one on this machine)."""
    wait_for_resources: bool = False
    """On a cluster that lacks what a trial asks for, wait for a node that has it."""


@dataclass(frozen=True, kw_only=True)
class OutputFlags:
    """What is written where, and what is done with an earlier sweep."""

    name: str | None = None
    """Folder of the sweep under --storage-path. None: the preset and the time."""
    storage_path: str = "ray_results"
    """Folder of all sweeps (shared by the nodes of a cluster), or a URI, e.g. s3://bucket/path."""
    checkpoint_seconds: float = 3.0
    """Train at least this long between checkpoints, and 10 x as long as saving takes. 0: always."""
    resume: Annotated[str | None, tyro.conf.arg(metavar="NAME-OR-PATH")] = None
    """Resume a sweep; more --fractions, --inits or --seeds add trials to it."""
    replace: bool = False
    """Delete an earlier sweep of the same name first."""
    dry_run: bool = False
    """Print the plan and stop."""
    list_archs: Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="[PATTERN …]")] = None
    """List architectures whose names have PATTERN in them, with sizes and licences, and stop."""
    metric: str = "accuracy"
    """What the report compares by: accuracy, balanced_accuracy, macro_f1, a scikit-learn scorer."""
    tflops: float | None = None
    """Rate in TFLOP/s for the plan's hours. None: what make bench measured last on this device."""
    log_to: tuple[Literal["mlflow", "wandb"], ...] = ()
    """Further loggers beside TensorBoard; each is an extra to install."""


GROUPS: dict[str, type] = {
    "data": DataFlags,
    "images": SourceFlags,
    "model": ModelFlags,
    "training": TrainingFlags,
    "grid": GridFlags,
    "certainty": CertaintyFlags,
    "transfer": TransferFlags,
    "resources": ResourceFlags,
    "output": OutputFlags,
}
"""Heading on the command line → the flags under it."""


@dataclass(frozen=True, kw_only=True)
class SweepConfig(Settings, GridFlags, CertaintyFlags, TransferFlags, ResourceFlags, OutputFlags):
    """A sweep: the settings of its trials, its grid, where it runs and what it writes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for fraction in (*self.fractions, *(self.scratch_fractions or ())):
            if not 0 < fraction <= 1:
                raise SettingsError(f"--fractions {fraction:g}: must be in (0, 1]; 40% is 0.4")
        budgets = (*(self.budgets or ()), *(self.scratch_budgets or ()))
        if budgets and min(budgets) < 1:
            raise SettingsError(f"--budgets {min(budgets)}: must be at least one image")
        if (budgets or self.per_class) and self.split != "budget":
            raise SettingsError(
                f"--budgets are of --split budget; with --split {self.split} give --fractions"
            )
        if (self.scratch_budgets or self.per_class) and not self.budgets:
            raise SettingsError(
                "--scratch-budgets and --per-class go with --budgets: give these too"
            )
        for name in ("inits", "fractions", "seeds"):
            if not getattr(self, name):
                raise SettingsError(f"--{name}: give at least one")
        if not 0 <= self.probe_draws <= MAX_SEED:
            raise SettingsError(f"--probe-draws {self.probe_draws}: must be 0 or more")
        if any(not 0 <= seed <= MAX_SEED for seed in self.seeds):
            seeds = " ".join(map(str, self.seeds))
            raise SettingsError(f"--seeds {seeds}: must be whole numbers from 0 to 2**32 - 1")
        largest = max(*self.seeds, self.probe_draws)
        if self.resample and self.split_seed + largest > MAX_SEED:
            raise SettingsError(
                "--resample: --split-seed and the largest of --seeds exceed 2**32 - 1"
            )
        if not self.detect > 0:
            raise SettingsError(f"--detect {self.detect:g}: must be more than 0 points")
        self._check_archs()
        self._check_transfer()
        if self.until_decided:
            self._check_rounds()
        if self.pilot and not self.dry_run:
            raise SettingsError(f"--pilot {self.pilot}: goes with --dry-run")
        if self.gpus < 0 or (self.gpus_per_trial != "auto" and self.gpus_per_trial <= 0):
            raise SettingsError(
                f"--gpus {self.gpus} --gpus-per-trial {self.gpus_per_trial}: "
                "must be ≥ 0 and > 0; --gpus 0 trains on the CPU"
            )
        if self.cpus is not None and self.cpus < 1:
            raise SettingsError(f"--cpus {self.cpus}: must be at least 1")
        if self.checkpoint_seconds < 0:
            raise SettingsError(f"--checkpoint-seconds {self.checkpoint_seconds:g}: must be ≥ 0")
        if self.tflops is not None and not self.tflops > 0:
            raise SettingsError(f"--tflops {self.tflops:g}: must be greater than 0")
        if self.name is not None and (not self.name or "/" in self.name or self.name[0] == "."):
            raise SettingsError(f"--name {self.name!r}: must be a plain folder name")

    def _check_archs(self) -> None:
        if IMAGE_STATISTICS in self.archs:
            raise SettingsError(
                f"--arch {IMAGE_STATISTICS}: is no network but a control: --controls statistics"
            )
        if unknown := set(self.scratch_arch or ()) - set(self.archs):
            raise SettingsError(
                f"--scratch-arch {' '.join(sorted(unknown))}: not among --arch {' '.join(self.archs)}"
            )
        names = [name_in_ids(arch) for arch in self.archs]
        if len(set(names)) < len(names):
            raise SettingsError(
                f"--arch {' '.join(self.archs)}: two would have one name in the ids of trials; run one "
                "of them in a sweep of its own"
            )

    def _check_transfer(self) -> None:
        if self.transfer_from is None:
            if self.transfer_trial or self.class_map:
                raise SettingsError(
                    "--transfer-trial and --class-map go with --transfer-from SWEEP: give it too"
                )
            return
        if self.class_map is None:
            raise SettingsError(
                "--transfer-from needs --class-map FILE: which classes of the two surveys are the same"
            )
        if self.split != "budget" or self.resample:
            raise SettingsError(
                "--transfer-from compares on one test set: leave out --split and --resample"
            )
        if len(self.archs) > 1:
            raise SettingsError("--transfer-from has one network: give one --arch, or none")

    def _check_rounds(self) -> None:
        first = len(set(self.seeds))
        if first < LEAST_SEEDS:
            raise SettingsError(
                f"--until-decided with {first} of --seeds: give at least {LEAST_SEEDS} for the "
                "first round, e.g. --seeds 0 1 2"
            )
        if first >= self.max_seeds:
            raise SettingsError(
                f"--until-decided --max-seeds {self.max_seeds}: must be more than the {first} seeds "
                "of the first round"
            )
        if self.split_seed + max(self.all_seeds) > MAX_SEED:
            raise SettingsError(
                f"--until-decided: seeds up to {max(self.all_seeds)} must stay below 2**32"
            )
        if set(self.inits) != set(INITS):
            raise SettingsError(
                "--until-decided compares scratch with pretrained: give both --inits"
            )
        if "://" in self.storage_path:
            raise SettingsError(
                "--until-decided reads the results between rounds and needs --storage-path on a disk"
            )

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """Those of the first round and of all rounds that may follow, in order."""
        first = tuple(dict.fromkeys(self.seeds))
        if not self.until_decided:
            return first
        return (*first, *range(max(first) + 1, max(first) + 1 + self.max_seeds - len(first)))

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> SweepConfig:
        """The inverse of `to_settings`: the flags of a sweep that is there, for resuming it."""
        values: dict[str, Any] = {
            name: tuple(cast("list[Any]", value)) if isinstance(value, list) else value
            for name, value in settings.items()
        }
        for name in ("labels", "cache_dir", "transfer_from", "class_map"):
            if values.get(name) is not None:
                values[name] = Path(values[name])
        return cls(**values)

    def to_settings(self) -> dict[str, Any]:
        """The flags as plain values, as JSON wants them."""
        return json.loads(json.dumps(dataclasses.asdict(self), default=str))

    @property
    def protocols(self) -> tuple[str, ...]:
        """All protocols, that of the main report first: names for `protocol_named`."""
        return tuple(dict.fromkeys((*self.variants, *self.other_protocols)))

    @property
    def draws(self) -> tuple[int, ...]:
        """Seeds that the probes have beside ``seeds``; none if a seed does not decide the images."""
        if not self.resample and (self.split != "budget" or self.fixed_draw):
            return ()
        return tuple(seed for seed in range(self.probe_draws) if seed not in self.seeds)

    @property
    def chosen_controls(self) -> tuple[Control, ...]:
        """``controls``, or their default: all of them if architectures are compared."""
        if self.controls is None:
            return CONTROLS if len(self.archs) > 1 else ()
        return tuple(dict.fromkeys(self.controls))

    @property
    def methods(self) -> tuple[Method, ...]:
        """What is compared: each architecture by each protocol, then the controls.

        The report is about the first, but for its sections on protocols and architectures.
        """
        with_scratch = self.archs if self.scratch_arch is None else self.scratch_arch
        controlled = (
            *(self.archs if "untrained" in self.chosen_controls else ()),
            *((IMAGE_STATISTICS,) if "statistics" in self.chosen_controls else ()),
        )
        return (
            *(
                Method(
                    arch=arch,
                    protocol=protocol,
                    inits=tuple(i for i in INITS if i != "scratch" or arch in with_scratch),
                    prefix=self._prefix(arch, protocol),
                )
                for arch in self.archs
                for protocol in self.protocols
            ),
            *(
                Method(
                    arch=arch,
                    protocol=UNTRAINED.name,
                    inits=("pretrained",),
                    prefix=self._prefix(arch, UNTRAINED.name),
                )
                for arch in controlled
            ),
        )

    def _prefix(self, arch: str, protocol: str) -> str:
        """What stands in front of the ids of a method's trials; nothing for the first method."""
        parts = (
            *(() if arch == self.archs[0] else (name_in_ids(arch),)),
            *(() if protocol == self.protocols[0] else (protocol,)),
        )
        return "".join(f"{part}-" for part in parts)

    def cells(self, n_pool: int = 0, n_classes: int = 0) -> list[Wanted]:
        """Each method's trials, the whole baselines first and further draws of probes last.

        Parameters
        ----------
        n_pool, n_classes
            Images that may be labelled, and their classes; needed for budgets in images alone.

        Raises
        ------
        SettingsError
            A budget is larger than the pool.
        """
        return [
            Wanted(method.init_for(init), fraction, seed, images, per_class, method)
            for seeds, further in ((tuple(dict.fromkeys(self.seeds)), False), (self.draws, True))
            for seed in seeds
            for init in dict.fromkeys(self.inits)
            for fraction, images, per_class in self._sizes(init, n_pool, n_classes)
            for method in self.methods
            if init in method.inits and (method.has_draws(init) or not further)
        ]

    def _sizes(
        self, init: Init, n_pool: int, n_classes: int
    ) -> list[tuple[float, int | None, int | None]]:
        """Fraction of the pool, images and images of each class, from many to few."""
        scratch = init == "scratch"
        if self.budgets is None:
            own = self.scratch_fractions if scratch else None
            chosen = self.fractions if own is None else own
            return [(fraction, None, None) for fraction in sorted(set(chosen), reverse=True)]
        own = self.scratch_budgets if scratch else None
        of_init = sorted(set(self.budgets if own is None else own), reverse=True)
        images = [budget * n_classes if self.per_class else budget for budget in of_init]
        if images[0] > n_pool:
            raise SettingsError(
                f"--budgets {of_init[0]}{' of each class' if self.per_class else ''}: that is "
                f"{images[0]:,} images, and the pool (all images but the test set) has {n_pool:,}"
            )
        return [
            (size / n_pool, size, budget if self.per_class else None)
            for size, budget in zip(images, of_init, strict=True)
        ]


class Method(NamedTuple):
    """One of the things that a sweep compares: an architecture by a protocol, or a control."""

    arch: str
    protocol: str
    """As `protocol_named` takes it; that of `UNTRAINED` for a control."""
    inits: tuple[Init, ...]
    """Inits whose label budgets it has; a control has those of pre-trained models."""
    prefix: str = ""
    """In front of the ids of its trials; empty for the main one."""

    @property
    def is_control(self) -> bool:
        """Nothing of its network has been trained."""
        return self.protocol == UNTRAINED.name

    def init_for(self, init: Init) -> Init:
        """What its trials start from that have the label budgets of an init."""
        return "scratch" if self.is_control else init

    def has_draws(self, init: Init) -> bool:
        """Whether trials with the budgets of an init have further draws of labelled images.

        Probes do, but those of untrained networks: each seed is another one, whose features take a
        pass of all images.
        """
        if self.is_control:
            return self.arch == IMAGE_STATISTICS
        return protocol_named(self.protocol).recipe(init).trained == "probe"


class Wanted(NamedTuple):
    """A trial of the grid, before its images are known."""

    init: Init
    fraction: float
    """Of the pool, or of the training images; in (0, 1]."""
    seed: int
    images: int | None
    """The label budget, if it was given in images."""
    per_class: int | None
    """Images of each class, if it was given so."""
    method: Method

    @property
    def id(self) -> str:
        """A name that sorts and reads.

        ``pretrained-095-s0`` is 95%, ``scratch-012.5-s1`` 12.5%, ``scratch-n00200-s0`` 200 images,
        ``scratch-k003-s0`` 3 of each class. Trials of another architecture or protocol than the sweep's
        own have their names in front: ``authors-pretrained-095-s0``,
        ``timm-convnext_nano-pretrained-095-s0``.
        """
        whole, _, rest = f"{100 * self.fraction:.10g}".partition(".")
        size = f"{whole:0>3}{'.' + rest if rest else ''}"
        if self.images is not None:
            size = f"n{self.images:05}" if self.per_class is None else f"k{self.per_class:03}"
        return f"{self.method.prefix}{self.init}-{size}-s{self.seed}"


PRESETS: dict[str, SweepConfig] = {
    "grid": SweepConfig(),
    "paper": SweepConfig(
        preset="paper",
        protocol="paper",
        split="subset-first",
        scratch_fractions=(1.0,),
        seeds=(0,),  # the nine trials
    ),
    "authors": SweepConfig(
        preset="authors",
        protocol="authors",
        split="subset-first",
        scratch_fractions=(1.0,),
        seeds=(0,),
    ),
    "ablation": SweepConfig(
        preset="ablation",
        protocol="paper",
        split="fixed",
        other_protocols=tuple(
            cast("ProtocolName", protocol.name) for protocol in (*SWITCHED, AUTHORS)
        ),
        fractions=(0.4, 0.6, 0.8, 1.0),  # each δ and patience of the notebooks once
        scratch_fractions=(1.0,),
        seeds=(0, 1, 2),
    ),
    "transfer": SweepConfig(
        preset="transfer",
        trained=("all", "probe"),
        fractions=(0.01, 0.05, 0.1, 0.25, 1.0),
    ),
    "demo": SweepConfig(
        preset="demo",
        protocol="demo+rule",
        data="mock",
        arch=("vit_demo",),
        trained=("probe",),
        fractions=(0.2, 0.4, 0.65, 1.0),  # of some 600 labels; a probe costs next to nothing
        scratch_fractions=(0.4, 1.0),  # seeds for few and for many labels, not a third budget
        seeds=tuple(range(6)),  # a seed draws the labelled images: 3 leave intervals twice as wide
        gpus=0,
    ),
}
assert set(PRESETS) == set(get_args(Preset))
