"""The report's page: what is said where, around the figures and tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from . import answer, paper, tables, words
from .frames import Results
from .html import template

if TYPE_CHECKING:
    from .report import Findings

SETTINGS = (
    "trained",
    "transform",
    "learning_rate",
    "weight_decay",
    "batch_size",
    "max_epochs",
    "augment",
    "precision",
)
CLAIMS_TITLE = "The claims of the paper"
SCORING = (
    "Every trial is scored on validation images only. Accuracy is the share of images whose most "
    "probable class is the true one, summed over all images and divided by their number; the loss "
    "is the mean cross-entropy. A trial's accuracy is its best over epochs, its loss its lowest."
)
OPTIMISTIC = (
    "The best accuracy over epochs is chosen on the very images that it is measured on, so it is "
    "optimistic, for both inits alike; no separate test set is held back."
)
SUBSET_FIRST = (
    "The subset is taken first and then split, as in the paper: each fraction is scored on other, "
    "and fewer, images, so its comparisons are paired on few images or none and are less sharp."
)
RESAMPLED = (
    "Each seed has a split of its own: trials of one seed and fraction share a validation set and "
    "are paired on it, others on the images that they share. Intervals cover the choice of "
    "training images too."
)
FIXED = (
    "All fractions are scored on one fixed validation set, so differences are paired over its "
    "images; smaller training subsets lie within larger ones."
)
LIMITS = (
    OPTIMISTIC,
    "Intervals cover the choice of validation images and, with two seeds or more, the seed; the "
    "choice of training images only where the split varies with the seed (--resample); other "
    "hyperparameters never. Each is a 95 % "
    "interval for itself: of twenty comparisons without a difference, one is expected to show one.",
    "The verdicts are about this data, this model, these weights, this protocol and this "
    "augmentation (see the settings), which can be a rival to pre-training where labels are few.",
    "Times are of one machine, and of trials that may have run side by side on it.",
)


def paper_tables(results: Results) -> dict[str, tuple[str, pd.DataFrame, list[int]]]:
    """File name → title, table and bold rows of tables 1 and 2."""
    bold = tables.best_rows(results)
    return {
        "table_1": (
            "Table 1. Best validation accuracy and lowest validation loss. Mean ± standard "
            "deviation over seeds. The 95 % interval is over validation images and seeds; with one "
            "seed it is Wilson's, over the images alone. "
            f"Columns “paper”: {tables.PAPER_NOTE}, n = 1 run.",
            tables.table_1(results),
            bold,
        ),
        "table_2": (
            "Table 2. Epochs and training time. Mean ± standard deviation over seeds; “limit”: a "
            "trial ended at the epoch limit, not by the stopper. Columns “paper”: "
            f"{tables.PAPER_NOTE} on another machine, n = 1 run.",
            tables.table_2(results),
            [],
        ),
    }


def render(results: Results, found: Findings, sources: dict[str, str]) -> str:
    """The whole page as HTML.

    Parameters
    ----------
    sources
        Name of a figure → data URI.
    """
    whole, results = results, results.main
    manifest = results.manifest
    return template("report.html").render(
        title=" + ".join(m["name"] for m in whole.manifests),
        question=answer.QUESTION,
        answer=found.answer,
        summary=_summary(results),
        claims=found.claims,
        claims_title=CLAIMS_TITLE,
        not_comparable=paper.why_not_comparable(manifest),
        tables=paper_tables(results).values(),
        bold_columns=tables.BOLD,
        plates=[p for p in found.plates if not found.protocols or p is not found.protocols.plate],
        protocols=found.protocols,
        labels=found.labels,
        sources=sources,
        classes=found.classes,
        calibration=found.calibration,
        galaxies=found.galaxies,
        facts=_facts(results),
        scoring=_scoring(manifest["data"]),
        protocol=_protocol(results),
        trials=tables.trials_table(whole),
        missing=whole.missing,
        notes=whole.notes,
        limits=LIMITS,
        manifests=whole.manifests,
    )


def _scoring(data: dict[str, Any]) -> list[str]:
    """How trials are scored, by how their images are split."""
    split = [SUBSET_FIRST] if data["split"] == "subset-first" else []
    split += [RESAMPLED] if data.get("resample") else []
    return [SCORING, *(split or [FIXED])]


def _summary(results: Results) -> str:
    complete, trials = results.complete, results.trials
    seeds = complete.groupby(["init", "fraction"]).size()
    n = f", {words.seeds(seeds)} per cell" if len(seeds) else ""
    data = results.manifest["data"]
    return (
        f"{len(complete)} of {len(trials)} trials complete{n}; {data['name']}, "
        f"{sum(data['class_counts']):,} images in {len(data['class_names'])} classes; "
        f"{results.manifest['arch']}, weights {results.manifest['weights'] or 'none'}, protocol "
        f"{results.manifest['protocol']}"
    )


def _facts(results: Results) -> list[tuple[str, str]]:
    """Name and value of what defines the sweep."""
    manifest, data = results.manifest, results.manifest["data"]
    dropped = (
        f"{name} (label {label}, {count:,} images)" for label, name, count in data["dropped"]
    )
    facts = [
        ("data", f"{data['name']}: {data['path']}"),
        ("SHA-256", data["sha256"]),
        ("classes left out", "; ".join(dropped) or "none"),
        ("split", data["split"]),
        ("image size", f"{data['image_size']} pixels"),
        ("model", f"{manifest['arch']}, weights {manifest['weights'] or 'none'}"),
        ("SHA-256 of the weights", manifest.get("weights_sha256") or "not recorded"),
        *((f"parameters, {init}", text) for init, text in _parameters(results)),
        ("protocol", manifest["protocol"]),
        ("device", manifest["device"]),
        ("git commit", manifest["git_commit"] or "not in a git repository"),
        ("versions", ", ".join(f"{k} {v}" for k, v in manifest["versions"].items())),
    ]
    for column, name in (("val_hash", "validation sets"), ("split_hash", "splits")):
        found = sorted(set(results.trials[column].dropna().astype(str)))
        facts.append((name, f"{len(found)}: {', '.join(text[:12] for text in found)}"))
    return facts


def _parameters(results: Results) -> list[tuple[str, str]]:
    rows = results.trials.drop_duplicates("init")
    return [
        (row.init, f"{row.trained_parameters:,} trained of {row.parameters:,}")
        for row in rows.itertuples()
        if words.known(row.trained_parameters)
    ]


def _protocol(results: Results) -> pd.DataFrame:
    """What the runs of each init are made of, over all its trials."""
    runs = [cell["run"] for manifest in results.manifests for cell in manifest["cells"]]
    rows: dict[str, dict[str, Any]] = {}
    for init in sorted({run["init"] for run in runs}, reverse=True):
        own = [run for run in runs if run["init"] == init]
        row = {name: {str(run[name]) for run in own if name in run} for name in SETTINGS}
        stopping = [run["stopping"] for run in own if "stopping" in run]
        for name, shown in (("rule", "stopper"), ("delta", "δ"), ("patience", "patience")):
            row[shown] = {str(s[name]) for s in stopping}
        rows[init] = {
            name.replace("_", " "): ", ".join(sorted(v)) or words.NONE for name, v in row.items()
        }
    return pd.DataFrame(rows).rename_axis("setting").reset_index()
