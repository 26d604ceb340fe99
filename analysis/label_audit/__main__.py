"""Which labels are wrong: a page of suspected errors, and how many there can be.

    python -m analysis.label_audit --from ray_results/NAME

Writes ``label_audit.html`` (one file, nothing fetched), ``labels.csv`` with every label and its scores,
``review.csv`` to fill in, and the numbers of the check to ``ray_results/NAME/label_audit``.
"""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from trainable.command_line import parse
from trainable.config import Settings, SourceFlags
from trainable.errors import EXIT_CODE, SettingsError, UserError

if TYPE_CHECKING:
    from analysis.label_audit.features import LabelledFeatures
    from analysis.label_audit.page import LabelAudit
    from analysis.progress import Show, Step

PROGRAM = "python -m analysis.label_audit"
DESCRIPTION = """Which labels are wrong: suspected errors with their images, and how many there can be.

  python -m analysis.label_audit --from ray_results/NAME

Confident learning (Northcutt et al. 2021, cleanlab) on out-of-fold probabilities of a linear probe, for
all labelled images, the test set among them. --check flips labels on purpose to see what the estimate is worth.
Without a sweep: --data, and a pre-trained backbone as --arch.
"""


@dataclass(frozen=True, kw_only=True)
class ImageFlags:
    """Which images, seen by which frozen backbone."""

    sweep: Annotated[Path | None, tyro.conf.arg(name="from", metavar="SWEEP")] = None
    """Folder of a sweep, e.g. ray_results/NAME: its images, classes and best frozen backbone."""
    data: str | None = None
    """Instead of --from: folder of pictures, data set (hf:NAME), HDF5 file, galaxy10 or mock."""
    labels: Path | None = None
    """With --data: catalogue (CSV or Parquet) with the labels of the images in the folder."""
    drop_labels: tuple[int, ...] | None = None
    """With --data: labels to leave out, as the data number them. None: 4 for Galaxy10."""
    merge_labels: tuple[str, ...] = ()
    """With --data: labels to merge into one class, joined by +, e.g. 1+2."""
    arch: str | None = None
    """With --data: architecture of the pre-trained backbone, as of a sweep."""
    weights: str | None = None
    """With --data: its weights, NAME or FILE. None: the architecture's default."""
    cache_dir: Path | None = None
    """Folder for features. None: the sweep's own; with --data $SWEEP_CACHE_DIR, else the user's."""


@dataclass(frozen=True, kw_only=True)
class AuditFlags:
    """How labels are audited, and where the page goes."""

    check: bool = True
    """Flip labels on purpose, for a limit on the share of wrong ones; seconds to minutes."""
    rates: tuple[float, ...] = (0.05, 0.1, 0.2)
    """Shares of the labels that are flipped."""
    repeats: int = 20
    """Of each share and kind of flips, and draws of the folds."""
    top: int = 50
    """Suspected images that the page shows."""
    review: int = 100
    """Images of the random sample to review."""
    reviewed: Path | None = None
    """The filled-in review.csv of an earlier run: gives an interval with two ends."""
    seed: int = 0
    """Of folds, flips and the sample."""
    device: str | None = None
    """Device of torch for features, e.g. cpu or cuda:1. None: cuda if there is one."""
    out: Path | None = None
    """Folder to write. None: label_audit in the sweep's, or ray_results/label-audit-NAME."""


@dataclass(frozen=True, kw_only=True)
class AuditConfig(ImageFlags, SourceFlags, AuditFlags):
    """All flags of ``python -m analysis.label_audit``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.sweep is None) == (self.data is None):
            raise SettingsError(
                "give one of --from ray_results/NAME (a sweep) and --data DATA --arch NAME (labelled images "
                "and a pre-trained backbone)"
            )
        if self.data is not None and self.arch is None:
            raise SettingsError(
                "--data: name a pre-trained backbone with --arch, e.g. --arch vit_demo"
            )
        if self.sweep is not None and (
            self.labels
            or self.arch
            or self.weights
            or self.merge_labels
            or self.drop_labels is not None
        ):
            raise SettingsError(
                "--labels, --drop-labels, --merge-labels, --arch and --weights go with --data; a sweep has "
                "its own"
            )
        if not self.rates or not all(0 < rate <= 0.5 for rate in self.rates):
            raise SettingsError(
                f"--rates {' '.join(f'{rate:g}' for rate in self.rates)}: must be above 0 and at most "
                "0.5; 5% is 0.05"
            )
        for name, least in (("repeats", 3), ("top", 1), ("review", 2)):
            if getattr(self, name) < least:
                raise SettingsError(f"--{name} {getattr(self, name)}: must be at least {least}")
        if self.seed < 0:
            raise SettingsError(f"--seed {self.seed}: must be 0 or more")

    @property
    def folder(self) -> Path:
        """Where the page goes."""
        if self.out is not None:
            return self.out
        if self.sweep is not None:
            return self.sweep / "label_audit"
        return Path("ray_results") / f"label-audit-{self.name}"

    @property
    def name(self) -> str:
        """What the data are called."""
        if self.sweep is not None:
            return self.sweep.resolve().name
        data = str(self.data)
        path = Path(data)
        return path.resolve().stem if path.exists() else data.replace("/", "-").replace(":", "-")


GROUPS = {"images": ImageFlags, "reading": SourceFlags, "audit": AuditFlags}


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        config = parse(AuditConfig, GROUPS, given, prog=PROGRAM, description=DESCRIPTION)
        write_audit(config, shlex.join([*PROGRAM.split(), *_without_reviewed(given)]))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_CODE
    return 0


def write_audit(config: AuditConfig, command: str) -> Path:
    """Audit the labels, write the page and print what it begins with; returns its path.

    Parameters
    ----------
    command
        The command that does it again, for the page.
    """
    # slow to import, which --help needs none of
    from rich.console import Console

    from analysis.label_audit.page import page
    from analysis.progress import bars
    from analysis.report.render import write

    console = Console()
    with bars(console) as show:
        analysis = examine(config, command, show)
    made = page(analysis)
    path = write(made, config.folder / "label_audit.html")[0]
    for sentence in (made.sections[0].headline, *made.sections[0].paragraphs, f"Wrote {path}"):
        console.print(sentence, highlight=False, markup=False, soft_wrap=True)
    return path


def examine(config: AuditConfig, command: str, show: Show) -> LabelAudit:
    """Everything that the page is made from.

    Parameters
    ----------
    show
        Called with the name of what is done; gives a `Step`.
    """
    from analysis.label_audit.confident_learning import audit, check_counts
    from analysis.label_audit.flips import check
    from analysis.label_audit.page import LabelAudit
    from analysis.label_audit.review import read_verdicts, refuse_to_overwrite, sample, table
    from analysis.label_audit.share import from_check, from_review
    from trainable.probe import components_of

    images = labelled(config, show("computing features"))
    labels, selection = images.selection.labels, images.selection
    check_counts(labels, images.groups, selection.class_names)
    components = components_of(images.features)
    found = audit(components, labels, images.groups, draws=config.repeats, seed=config.seed)
    chosen = sample(found, config.review, config.seed)
    asked = table(chosen, found, selection.rows, images.names, selection.class_names)
    by_review = None
    if config.reviewed is None:
        refuse_to_overwrite(config.folder / "review.csv")
    else:
        verdicts = read_verdicts(config.reviewed, asked, chosen)
        by_review = from_review(found.suspected, verdicts)
        asked["verdict"] = [verdicts.get(index, "") for index in chosen.tolist()]
    tried = None
    if config.check:
        tried = check(
            components,
            images.groups,
            found,
            rates=config.rates,
            repeats=config.repeats,
            seed=config.seed,
            progress=show("flipping labels"),
        )
    return LabelAudit(
        name=config.name,
        images=images,
        audit=found,
        check=tried,
        share=None if tried is None else from_check(found, tried),
        by_review=by_review,
        review=chosen,
        review_table=asked,
        top=config.top,
        command=command,
    )


def labelled(config: AuditConfig, progress: Step) -> LabelledFeatures:
    """The images with their features."""
    import torch

    from analysis.label_audit.features import of_backbone, of_sweep

    device = config.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if config.sweep is not None:
        return of_sweep(config.sweep, device=device, cache_dir=config.cache_dir, progress=progress)
    settings = Settings(
        **{
            name: getattr(SourceFlags.of(config), name) for name in SourceFlags.__dataclass_fields__
        },
        data=str(config.data),
        labels=config.labels,
        drop_labels=config.drop_labels,
        merge_labels=config.merge_labels,
        arch=(str(config.arch),),
        weights=() if config.weights is None else (config.weights,),
        trained=("probe",),
        cache_dir=config.cache_dir,
    )
    return of_backbone(settings, device=device, progress=progress)


def _without_reviewed(arguments: list[str]) -> list[str]:
    """The arguments without ``--reviewed FILE``."""
    kept = list(arguments)
    if "--reviewed" in kept:
        place = kept.index("--reviewed")
        del kept[place : place + 2]
    return [argument for argument in kept if not argument.startswith("--reviewed=")]


if __name__ == "__main__":
    sys.exit(main())
