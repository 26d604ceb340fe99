"""What is in a survey before anything is trained on it: one page, and its tables.

    python -m analysis.survey --data {FOLDER | FILE | mock | galaxy10} [--labels CATALOGUE] [--leak]

Writes ``survey.html`` (one file, nothing fetched), ``*.csv`` and ``figures/`` to
``ray_results/survey-NAME``.
"""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from trainable.command_line import parse
from trainable.config import SourceFlags
from trainable.errors import EXIT_CODE, SettingsError, UserError
from trainable.protocol import Init

if TYPE_CHECKING:
    from analysis.progress import Show, Step
    from analysis.survey.leakage import Trial
    from analysis.survey.sections import SurveyAnalysis


@dataclass(frozen=True, kw_only=True)
class SurveyFlags:
    """Which images are looked at."""

    data: str = "galaxy10"
    """Folder of pictures, data set (hf:NAME: on the hub), HDF5 file, galaxy10 (2.5 GB) or mock."""
    labels: Path | None = None
    """Catalogue (CSV or Parquet) with the labels of the images in the folder --data."""
    drop_labels: tuple[int, ...] | None = None
    """Labels to leave out, as the data number them. None: 4 for Galaxy10, nothing otherwise."""
    cache_dir: Path | None = None
    """Folder for rendered and preprocessed images. None: $SWEEP_CACHE_DIR, else the user's."""


@dataclass(frozen=True, kw_only=True)
class ReportFlags:
    """What is looked for, and where the report goes."""

    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Seeds of the splits that are looked at and, with --leak, of the trials."""
    leak: bool = False
    """Train with plain and grouped splits to see what the leak is worth: two trials a seed."""
    arch: str = "vit_demo"
    """Architecture of these trials."""
    init: Init = "scratch"
    """Initialisation of these trials: scratch or pretrained."""
    device: str = "cpu"
    """Torch device of these trials."""
    out: Path | None = None
    """Folder to write. None: ray_results/survey-NAME."""


@dataclass(frozen=True, kw_only=True)
class SurveyReport(SurveyFlags, SourceFlags, ReportFlags):
    """Write the report of a survey."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.seeds:
            raise SettingsError("--seeds: at least one, e.g. 0 1 2")


GROUPS = {"data": SurveyFlags, "images": SourceFlags, "report": ReportFlags}
PROGRAM = "python -m analysis.survey"


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    try:
        description = str(SurveyReport.__doc__)
        write_report(parse(SurveyReport, GROUPS, arguments, prog=PROGRAM, description=description))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_CODE
    return 0


def write_report(options: SurveyReport) -> Path:
    """Read the images, write the report and print what it begins with; returns its path."""
    # slow to import, which --help needs none of
    from rich.console import Console

    from analysis.progress import bars
    from analysis.report.render import write
    from analysis.survey.sections import report
    from trainable.prepare import is_path

    console = Console()
    with bars(console) as show:
        analysis = examine(options, show)
    survey = analysis.survey
    name = survey.path.stem if is_path(options.data) else options.data.replace("/", "-")
    page = report(analysis, name)
    out = options.out or Path("ray_results") / f"survey-{name}"
    path = write(page, out / "survey.html")[0]
    for sentence in (*survey.notes, *page.sections[0].paragraphs):
        console.print(sentence, highlight=False, markup=False, soft_wrap=True)
    console.print(f"Wrote {path}", highlight=False, markup=False, soft_wrap=True)
    return path


def examine(options: SurveyReport, show: Show) -> SurveyAnalysis:
    """Read every image once and, if asked, train the trials that tell what the leak is worth.

    Parameters
    ----------
    show
        Called with the name of what is done; gives a `Step`.
    """
    from analysis.survey.duplicates import find, fingerprint
    from analysis.survey.sections import SurveyAnalysis
    from trainable.data.class_selection import default_drop_labels, select
    from trainable.data.dataset import open_survey
    from trainable.prepare import data_path

    survey = open_survey(
        data_path(options.data, options.cache_dir, show("finding the data")),
        labels=options.labels,
        flags=SourceFlags.of(options),
        cache_dir=options.cache_dir,
        progress=show("checking images"),
    )
    drop = default_drop_labels(survey) if options.drop_labels is None else options.drop_labels
    selection = select(survey, drop)
    prints = fingerprint(survey, selection.rows, show("reading images"))
    analysis = SurveyAnalysis(
        survey=survey,
        selection=selection,
        fingerprints=prints,
        duplicates=find(survey, selection, prints),
        seeds=options.seeds,
    )
    if not options.leak:
        return analysis
    return replace(analysis, leak_trials=leak_trials(options, analysis, show("training")))


def leak_trials(
    options: SurveyReport, analysis: SurveyAnalysis, progress: Step
) -> tuple[Trial, ...]:
    """The same trial with plain and with grouped splits, for every seed; none without pairs."""
    from analysis.survey.leakage import trial
    from trainable.config import Settings

    pairs = analysis.pairs_on_sky
    if pairs is None:
        return ()
    trials: list[Trial] = []
    for seed in options.seeds:
        for group_sky in (False, True):
            settings = Settings(
                data=options.data,
                labels=options.labels,
                **asdict(SourceFlags.of(options)),
                arch=(options.arch,),
                protocol="demo",
                drop_labels=options.drop_labels,
                split="fixed",
                split_seed=seed,
                group_sky=group_sky,
                cache_dir=options.cache_dir,
            )
            trials.append(trial(settings, pairs, options.init, seed, options.device))
            progress(len(trials), 2 * len(options.seeds))
    return tuple(trials)


if __name__ == "__main__":
    sys.exit(main())
