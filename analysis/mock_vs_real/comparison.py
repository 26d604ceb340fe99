"""Measure, train and write: the whole comparison of the mock survey with a real one."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import partial
from io import BytesIO
from pathlib import Path

import pandas as pd
from PIL import Image, ImageOps
from rich.progress import track

from analysis import formatting
from analysis.mock_vs_real import matching, transfer
from analysis.plots import style
from analysis.plots import survey as survey_plots
from analysis.report.tables import to_markdown
from analysis.stats.estimates import spread
from trainable.data.dataset import Survey, open_survey
from trainable.prepare import data_path

SHEET_IMAGES = 7
"""Of each class on the contact sheet."""
SHEET_SIDE = 64
"""Pixels of an image on the contact sheet."""
SHEET_SEED = 0
SHEET_BITS = 6
"""Of each channel of the contact sheet; fewer make the file smaller."""


def compare(
    real_path: Path, *, seeds: Sequence[int], crop: bool, out: Path, cache_dir: Path | None
) -> list[Path]:
    """Compare the mock survey with a real one.

    Parameters
    ----------
    real_path
        HDF5 file with Galaxy Zoo 1's class names.
    seeds
        Of split, initialisation and batch order.
    crop
        Cut the mock images out in proportion to the galaxy's size.
    out
        Folder to write.

    Returns
    -------
    list of pathlib.Path
        The files written.
    """
    real = matching.matched(open_survey(real_path), side=1)
    survey = open_survey(data_path("mock", cache_dir))
    mock = matching.matched(survey, side=0)
    if crop:
        mock = matching.in_field_of(mock, real)
    found = scores(mock, real, seeds, cache_dir)
    out.mkdir(parents=True, exist_ok=True)
    texts = {
        "statistics.md": to_markdown(matching.comparison(mock, real), STATISTICS_TITLE),
        "scores.md": to_markdown(scores_table(found), SCORES_TITLE),
        "confusion.md": confusions(found),
        "scores.csv": numbers(found).to_csv(index=False),
    }
    for name, text in texts.items():
        (out / name).write_text(text, encoding="utf-8")
    draw_sheet(survey, out / "contact-sheet.png")
    return [*(out / name for name in texts), out / "contact-sheet.png"]


STATISTICS_TITLE = "Median [16th, 84th percentile] of every statistic of the images, by class."
SCORES_TITLE = "Mean ± standard deviation over seeds."


def scores(
    mock: matching.Matched, real: matching.Matched, seeds: Sequence[int], cache_dir: Path | None
) -> list[transfer.Score]:
    """Every classifier of every seed."""
    found: list[transfer.Score] = []
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: Path(folder) / f"{name}.h5" for name in ("mock", "real")}
        mock.write(paths["mock"])
        real.write(paths["real"])
        for seed in track(seeds, "training two small ViTs a seed"):
            runs = {n: transfer.trained(p, seed, cache_dir) for n, p in paths.items()}
            found += transfer.by_vit(runs, paths, seed)
            rows = {n: (r.partition.train, r.partition.validation) for n, r in runs.items()}
            found += transfer.by_statistics(mock, real, rows, seed)
    return found


def scores_table(found: Sequence[transfer.Score]) -> pd.DataFrame:
    """Mean ± standard deviation over seeds of accuracy and balanced accuracy, as text."""
    groups: dict[tuple[str, str, str], list[transfer.Score]] = {}
    for score in found:
        groups.setdefault((score.classifier, score.trained_on, score.scored_on), []).append(score)
    rows: list[dict[str, str]] = []
    for (classifier, trained_on, scored_on), group in groups.items():
        row = {"classifier": classifier, "trained on": trained_on, "scored on": scored_on}
        row["training images"] = f"{group[0].n_train:,}"
        row["images scored"] = f"{len(group[0].true):,}"
        for name in ("accuracy", "balanced_accuracy"):
            mean, std, _ = spread([100 * getattr(score, name) for score in group])
            row[f"{name.replace('_', ' ')}, %"] = formatting.with_spread(mean, std, 1)
        rows.append(row | {"seeds": str(len(group))})
    return pd.DataFrame(rows)


def confusions(found: Sequence[transfer.Score]) -> str:
    """Confusion matrices of what was scored on real galaxies, summed over seeds, in Markdown."""
    parts: list[str] = []
    for classifier in dict.fromkeys(score.classifier for score in found):
        for trained_on in ("mock", "real"):
            matrices = [
                score.confusion
                for score in found
                if (score.classifier, score.trained_on, score.scored_on)
                == (classifier, trained_on, "real")
            ]
            counts = pd.DataFrame(sum(matrices), index=matching.NAMES, columns=matching.NAMES)
            table = counts.astype(str).rename_axis("label ↓ predicted →").reset_index()
            seeds = formatting.seeds(len(matrices))
            title = f"{classifier}, trained on {trained_on}, scored on real; {seeds}:"
            parts.append(to_markdown(table, title))
    return "\n".join(parts)


def numbers(found: Sequence[transfer.Score]) -> pd.DataFrame:
    """One row per classifier, pair of surveys and seed; accuracies in 0–1."""
    rows = [
        {
            "classifier": score.classifier,
            "trained_on": score.trained_on,
            "scored_on": score.scored_on,
            "seed": score.seed,
            "n_train": score.n_train,
            "n_scored": len(score.true),
            "accuracy": score.accuracy,
            "balanced_accuracy": score.balanced_accuracy,
        }
        for score in found
    ]
    return pd.DataFrame(rows)


def draw_sheet(survey: Survey, path: Path) -> None:
    """The contact sheet of the mock survey, in fewer colours so that the file stays small."""
    names = survey.class_names
    rows = survey_plots.choose_examples(survey.labels, len(names), SHEET_IMAGES, seed=SHEET_SEED)
    sheet = survey_plots.mosaic(rows, partial(survey.read_squares, side=SHEET_SIDE), SHEET_SIDE)
    buffer = BytesIO()
    with style.applied(names):
        figure = survey_plots.contact_sheet_figure(sheet, names)
        figure.savefig(buffer, format="png", dpi=survey_plots.SHEET_DPI)
    with Image.open(buffer) as drawn:
        ImageOps.posterize(drawn.convert("RGB"), SHEET_BITS).save(path, optimize=True)
