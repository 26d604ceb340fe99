"""``--until-decided``: rounds of seeds, with a look at the result after each.

All that a resumed sweep needs is in its folder: the manifest has the trials of all rounds so far, and
a look is made again from the results.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis import formatting
from analysis.results.load import read
from analysis.results.schema import records
from analysis.stats.comparisons import at_equal_labels
from analysis.stats.estimates import Estimate
from analysis.stats.sequential import Decision, Looks, decision, looks_of
from sweep import orchestrate
from sweep.cells import describe_cells
from sweep.grid import Wanted
from sweep.orchestrate import Outcome, Sweep, read_manifest
from trainable.errors import SettingsError

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Both inits at one number of labels, at a look."""

    fraction: float
    n_labels: int
    n_seeds: int
    """Of the init that has fewer."""
    estimate: Estimate
    decision: Decision | None


def look(folder: Path, detect: float) -> list[Compared]:
    """Every comparison at equal labels, corrected for looking, by ascending labels.

    Parameters
    ----------
    detect
        Points.
    """
    return [
        Compared(
            fraction=row["fraction"],
            n_labels=row["n_labels"],
            n_seeds=min(row["n_pretrained"], row["n_scratch"]),
            estimate=row["estimate"],
            decision=decision(row["estimate"], detect / 100),
        )
        for row in records(at_equal_labels(read(folder).main))
    ]


def require_all_seeds(sweep: Sweep) -> None:
    """Refuse a sweep some of whose later rounds could not run, or that has nothing to decide.

    Raises
    ------
    SettingsError
        No number of labels has both inits.
    DataError
        The images of a seed cannot be split.
    """
    config, cells = sweep.config, sweep.manifest.cells
    fractions = [
        {c.fraction for c in cells if c.init == init} for init in ("scratch", "pretrained")
    ]
    if not set.intersection(*fractions):
        raise SettingsError(
            "--until-decided: no number of labels has both inits; give scratch and pretrained a "
            "fraction or budget in common"
        )
    wanted = _wanted(sweep, config.all_seeds)
    describe_cells(sweep.prepared, wanted).require_all()


def execute(sweep: Sweep, say: Say) -> tuple[Outcome, Sweep]:
    """Run round after round until every comparison is decided or `max_seeds` have run.

    Returns
    -------
    outcome
        Of all trials so far.
    sweep
        With the cells of all rounds.
    """
    while True:
        outcome = orchestrate.execute(sweep, say)
        if outcome.failed or outcome.unfinished:
            return outcome, sweep  # resuming tries these first
        following = next_round(sweep, say)
        if following is None:
            return outcome, sweep
        sweep = following


def next_round(sweep: Sweep, say: Say) -> Sweep | None:
    """The sweep with one more seed where it is undecided; None if it ends."""
    config = sweep.config
    manifest = read_manifest(sweep.folder)
    looks = looks_of(manifest.settings)
    if looks is None:
        raise ValueError(f"{manifest.name} is no sweep in rounds")
    compared = look(Path(sweep.folder.location), config.detect)
    say(describe(compared, looks, config.detect))
    undecided = [c for c in compared if c.decision is None and c.n_seeds < config.max_seeds]
    if not undecided:
        return None
    seed = config.all_seeds[max(c.n_seeds for c in undecided)]
    wanted = [
        trial
        for trial in _wanted(sweep, (seed,))
        if any(np.isclose(trial.fraction, c.fraction) for c in undecided)
    ]
    cells = describe_cells(sweep.prepared, wanted).require_all()
    return dataclasses.replace(
        sweep,
        manifest=manifest.with_cells(cells),
        config=dataclasses.replace(config, replace=False),  # what is there is this sweep's own
    )


def _wanted(sweep: Sweep, seeds: tuple[int, ...]) -> list[Wanted]:
    """The trials of these seeds; draws of a probe are all in the first round."""
    prepared = sweep.prepared
    config = dataclasses.replace(sweep.config, seeds=seeds, until_decided=False)
    trials = config.cells(prepared.n_pool, len(prepared.selection.class_names))
    return [trial for trial in trials if trial.seed in seeds]


def describe(compared: Sequence[Compared], looks: Looks, detect: float) -> str:
    """What a look found, in a few sentences."""
    number = max(looks.reached(c.n_seeds) for c in compared)
    parts: list[str] = []
    for chosen, what in (
        ("different", "a difference with"),
        ("alike", f"less than {detect:g} points with"),
        (None, "undecided with"),
    ):
        cells = [
            f"{c.n_labels:,} labels ({c.estimate.in_points()})"
            for c in compared
            if c.decision == chosen
        ]
        if cells:
            parts.append(f"{what} {formatting.listed(cells)}")
    text = (
        f"look {number + 1} of {len(looks.seeds)}, {looks.seeds[number]} seeds: {'; '.join(parts)}"
    )
    if all(c.decision for c in compared):
        return f"{text}. All is decided: the sweep ends"
    if number + 1 == len(looks.seeds):
        return f"{text}. --max-seeds is reached: the sweep ends"
    return f"{text}. One more seed where it is undecided"
