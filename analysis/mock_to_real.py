"""How far the mock survey is from real galaxies: statistics side by side, classifiers across.

    python -m analysis.mock_to_real --real PATH.h5 [--seeds 0 1 2] [--out DIR]

``PATH.h5`` has Galaxy Zoo 1's classes. Writes ``statistics.md``, ``scores.md``, ``scores.csv``,
``confusion.md`` and ``contact-sheet.png`` (of the mock survey) to ``ray_results/mock-to-real``.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import tyro
from rich.console import Console

from trainable.galaxy10 import Survey, open_survey
from trainable.settings import data_path

from . import contact_sheet, matching, transfer, words
from .statistics import spread

SHEET_IMAGES, SHEET_SIDE, SHEET_SEED, SHEET_BITS = 7, 64, 0, 6


@dataclass(frozen=True, kw_only=True)
class MockToReal:
    """Compare the mock survey with real galaxies."""

    real: Path
    """HDF5 file in Galaxy10's layout with Galaxy Zoo 1's class names."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of split, initialisation and batch order."""
    crop: bool = True
    """Cut the mock images out in proportion to the galaxy's size, as Galaxy Zoo's are."""
    out: Path = Path("ray_results/mock-to-real")
    """Folder to write."""
    cache_dir: Path | None = None
    """Folder for rendered and preprocessed images. None: $SWEEP_CACHE_DIR, else the user's."""

    def __post_init__(self) -> None:
        if not self.seeds:
            raise ValueError("--seeds: at least one, e.g. 0 1 2")


def scores(
    mock: matching.Matched, real: matching.Matched, options: MockToReal, console: Console
) -> list[transfer.Score]:
    """Every classifier of every seed."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: Path(folder) / f"{name}.h5" for name in ("mock", "real")}
        mock.write(paths["mock"])
        real.write(paths["real"])
        for seed in options.seeds:
            with console.status(f"seed {seed}: two small ViTs"):
                runs = {n: transfer.trained(p, seed, options.cache_dir) for n, p in paths.items()}
                found += transfer.by_vit(runs, paths, seed)
                rows = {n: (r.partition.train, r.partition.validation) for n, r in runs.items()}
                found += transfer.by_statistics(mock, real, rows, seed)
    return found


def scores_table(found: list[transfer.Score]) -> pd.DataFrame:
    """Mean ± standard deviation over seeds of accuracy and balanced accuracy."""
    rows = {}
    for score in found:
        rows.setdefault((score.classifier, score.trained_on, score.scored_on), []).append(score)
    table = []
    for (classifier, trained_on, scored_on), own in rows.items():
        row = {"classifier": classifier, "trained on": trained_on, "scored on": scored_on}
        row["training images"] = f"{own[0].n_train:,}"
        row["images scored"] = f"{len(own[0].true):,}"
        for name in ("accuracy", "balanced_accuracy"):
            mean, std, _ = spread([100 * getattr(s, name) for s in own])
            row[f"{name.replace('_', ' ')}, %"] = words.with_spread(mean, std, 1)
        table.append(row | {"seeds": len(own)})
    return pd.DataFrame(table)


def confusions(found: list[transfer.Score]) -> str:
    """Confusion matrices of what was scored on real galaxies, summed over seeds, in Markdown."""
    parts = []
    for classifier in dict.fromkeys(s.classifier for s in found):
        for trained_on in ("mock", "real"):
            own = [
                s.confusion
                for s in found
                if (s.classifier, s.trained_on, s.scored_on) == (classifier, trained_on, "real")
            ]
            table = pd.DataFrame(sum(own), index=matching.NAMES, columns=matching.NAMES)
            title = (
                f"{classifier}, trained on {trained_on}, scored on real; {words.seeds(len(own))}"
            )
            parts.append(f"{title}:\n\n{table.rename_axis('label ↓ predicted →').to_markdown()}\n")
    return "\n".join(parts)


def draw_sheet(survey: Survey, path: Path) -> None:
    """The contact sheet of the mock survey, in fewer colours so that the file stays small."""
    rows = contact_sheet.choose(
        survey.labels, len(survey.class_names), SHEET_IMAGES, seed=SHEET_SEED
    )
    sheet = contact_sheet.mosaic(rows, survey.read_images, SHEET_SIDE)
    contact_sheet.save(sheet, survey.class_names, path, bits=SHEET_BITS)


def compare(options: MockToReal, console: Console) -> None:
    """Measure, train, print and write."""
    real = matching.matched(open_survey(options.real), side=1)
    survey = open_survey(data_path("mock", options.cache_dir))
    mock = matching.matched(survey, side=0)
    if options.crop:
        mock = matching.in_field_of(mock, real)
    statistics = matching.comparison(mock, real)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "statistics.md").write_text(statistics.to_markdown(index=False) + "\n")
    draw_sheet(survey, options.out / "contact-sheet.png")
    found = scores(mock, real, options, console)
    table = scores_table(found)
    (options.out / "scores.md").write_text(table.to_markdown(index=False) + "\n")
    (options.out / "confusion.md").write_text(confusions(found))
    pd.DataFrame(
        [
            {
                "classifier": s.classifier,
                "trained_on": s.trained_on,
                "scored_on": s.scored_on,
                "seed": s.seed,
                "n_train": s.n_train,
                "n_scored": len(s.true),
                "accuracy": s.accuracy,
                "balanced_accuracy": s.balanced_accuracy,
            }
            for s in found
        ]
    ).to_csv(options.out / "scores.csv", index=False)
    for name in ("statistics.md", "scores.md", "confusion.md"):
        console.print((options.out / name).read_text(), soft_wrap=True, highlight=False)
    console.print(f"Wrote {options.out}")


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    try:
        options: Any = tyro.cli(MockToReal, args=arguments, prog="python -m analysis.mock_to_real")
        compare(options, Console())
    except ValueError as error:  # DataError and settings: of the user's making
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
