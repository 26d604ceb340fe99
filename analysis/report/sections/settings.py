"""Data, protocol and scoring: what the sweep is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import pandas as pd

from analysis import formatting
from analysis.formatting import capital
from analysis.metrics import ACCURACY, Metric
from analysis.report.analysis import Analysis
from analysis.report.section import Facts, Section
from analysis.report.tables import ReportTable
from analysis.results.schema import Results, groups
from trainable.config import TrainingConfig
from trainable.manifest import DataInfo

SETTINGS = (
    "trained",
    "transform",
    "learning_rate",
    "weight_decay",
    "batch_size",
    "max_epochs",
    "augment",
    "precision",
    "deterministic",
)
NOT_OF_THE_PAPER = (
    "schedule",
    "warmup",
    "layer_decay",
    "decay_vectors",
    "label_smoothing",
    "mixup",
)
"""Settings that have a row if a trial has them otherwise than the paper's protocol."""
STOPPING = {"rule": "stopper", "delta": "δ", "patience": "patience"}
OF_STEPS = ("learning_rate", "weight_decay", "batch_size", "max_epochs")
"""Settings that a probe has no use for, as it has none for the stopper."""
SCORING = (
    "Accuracy is the share of images whose most probable class is the true one, summed over all "
    "images and divided by their number; the loss is the mean cross-entropy. "
)
HEADLINE = (
    "Trials are compared by another score than accuracy (--metric {name}), but for the paper's claims, "
    "tables and figures. {label} {definition}."
)
TESTED = (
    "Every trial is scored once, on test images that nothing was trained, stopped or chosen on, at "
    "the epoch that its validation images chose. Its label budget counts training and validation "
    "images alike."
)
PROBED = (
    "The pre-trained model's last layer is fitted at once (a linear probe: multinomial logistic "
    "regression on the features of the frozen rest), to all images of its label budget. The penalty on "
    "its weights is the one with the lowest loss on images that a fit has not seen, fold by fold."
)
VALIDATED = (
    "Every trial is scored on validation images: its accuracy is its best over epochs, chosen on the "
    "very images that it is measured on, and its loss the lowest. Validation images count as no "
    "labels."
)
BUDGET = (
    "All trials share one test set, so differences are paired over its images. Each seed labels other "
    "images, smaller budgets within larger ones, so intervals cover which images are labelled."
)
FIXED_DRAW = (
    "All trials share one test set, so differences are paired over its images. All seeds label the "
    "same images (--fixed-draw), so intervals do not cover which images are labelled."
)
SUBSET_FIRST = (
    "The subset is taken first and then split, as in the paper: each fraction is scored on other, "
    "and fewer, images, so its comparisons are paired on few images or none and are less sharp."
)
CHOSEN_ON_ITS_IMAGES = (
    "Each accuracy was chosen on the validation images that it is measured on, so it is optimistic"
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


def section(analysis: Analysis) -> Section:
    """How trials are scored, what they are trained on and how."""
    results = analysis.results
    return Section(
        id="method",
        title="Data, protocol and scoring",
        blocks=(
            *([PROBED] if results.are_probes("pretrained") else []),
            *([] if results.metric == ACCURACY else [HEADLINE.format(**_words(results.metric))]),
            *_scoring(results.manifest.data, bool(results.manifest.settings.get("fixed_draw"))),
            Facts(items=tuple(_facts(results))),
            ReportTable(frame=protocol_table(results), numbers=False),
        ),
    )


def _words(metric: Metric) -> dict[str, str]:
    return {"label": capital(metric.label), "definition": metric.definition, "name": metric.name}


def _scoring(data: DataInfo, fixed_draw: bool) -> list[str]:
    """How trials are scored, by how their images are split."""
    if data.scored_on == "test":
        split = [FIXED_DRAW if fixed_draw else BUDGET]
    else:
        split = [SUBSET_FIRST] if data.split == "subset-first" else []
    split += [RESAMPLED] if data.resample else []
    return [SCORING + (TESTED if data.scored_on == "test" else VALIDATED), *(split or [FIXED])]


def _facts(results: Results) -> list[tuple[str, str]]:
    """Name and value of what defines the sweep."""
    manifest, data = results.manifest, results.manifest.data
    dropped = (f"{k.name} (label {k.label}, {k.n_images:,} images)" for k in data.dropped)
    facts = [
        ("data", f"{data.name}: {data.path}"),
        ("SHA-256", data.sha256),
        ("classes left out", "; ".join(dropped) or "none"),
        ("split", data.split),
        ("image size", data.image_size),
        *((("left out, and the like", " ".join(data.notes)),) if data.notes else ()),
        ("model", _models(results)),
        ("SHA-256 of the weights", manifest.weights_sha256.get(manifest.arch, "not recorded")),
        *_parameters(results),
        ("protocol", manifest.protocol),
        ("device", manifest.device),
        ("git commit", manifest.git_commit or "not in a git repository"),
        ("versions", ", ".join(f"{k} {v}" for k, v in manifest.versions.items())),
    ]
    for column, name in (("scored_hash", f"{results.scored_on} sets"), ("split_hash", "splits")):
        hashes = sorted(set(results.trials[column].dropna().astype(str)))
        facts.append((name, f"{len(hashes)}: {', '.join(text[:12] for text in hashes)}"))
    return facts


def _parameters(results: Results) -> list[tuple[str, str]]:
    cells = (cell for manifest in results.manifests for cell in manifest.cells)
    first = {cell.init: cell for cell in reversed(list(cells))}
    return [
        (f"parameters, {init}", f"{cell.trained_parameters:,} trained of {cell.parameters:,}")
        for init, cell in sorted(first.items(), reverse=True)
    ]


def protocol_table(results: Results) -> pd.DataFrame:
    """What the trials of each init are made of: a row per setting, a column per init."""
    configs = [cell.config for manifest in results.manifests for cell in manifest.cells]
    columns: dict[str, dict[str, str]] = {}
    for init in sorted({config.init for config in configs}, reverse=True):
        chosen = [config for config in configs if config.init == init]
        rows: dict[str, set[Any]] = {
            name.replace("_", " "): {str(getattr(config, name)) for config in chosen}
            for name in (*SETTINGS, *_not_of_the_paper(configs))
        }
        for name, heading in STOPPING.items():
            rows[heading] = {str(getattr(config.stopping, name)) for config in chosen}
        if results.are_probes(init):
            of_steps = (*OF_STEPS, *_not_of_the_paper(configs))
            for heading in (*STOPPING.values(), *(name.replace("_", " ") for name in of_steps)):
                rows[heading] = {formatting.NONE}
        columns[init] = {name: ", ".join(sorted(values)) for name, values in rows.items()}
    return pd.DataFrame(columns).rename_axis("setting").reset_index()


def subtitle(results: Results) -> str:
    """What the report rests on, in one line."""
    complete, manifest = results.complete, results.manifest
    seeds = [len(rows) for _, rows in groups(complete, "init", "fraction")]
    n = f", {formatting.seeds(seeds)} per cell" if seeds else ""
    chosen = "" if results.scored_on == "test" else f". {CHOSEN_ON_ITS_IMAGES}"
    return (
        f"{len(complete)} of {len(results.trials)} trials complete{n}; {manifest.data.name}, "
        f"{sum(manifest.data.class_counts):,} images in {len(manifest.data.class_names)} classes; "
        f"{_models(results)}, protocol {manifest.protocol}{chosen}"
    )


def _models(results: Results) -> str:
    """The architecture and its weights; those of either init if they differ."""
    manifest = results.manifest
    cells = [cell for each in results.manifests for cell in each.cells]
    scratch = {cell.config.arch for cell in cells if cell.init == "scratch"} - {manifest.arch}
    others = f"; from scratch {formatting.listed(sorted(scratch))}" if scratch else ""
    return f"{manifest.arch}, weights {formatting.weights(manifest.weights)}{others}"


def _not_of_the_paper(configs: Sequence[TrainingConfig]) -> list[str]:
    """Those of `NOT_OF_THE_PAPER` that some trial has."""
    default = {field.name: field.default for field in fields(TrainingConfig)}
    return [
        name
        for name in NOT_OF_THE_PAPER
        if any(getattr(config, name) != default[name] for config in configs)
    ]
