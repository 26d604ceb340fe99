"""The model card of an exported trial: what it was trained on, what it is worth, and what it is not for.

Its form is that of Mitchell et al. (2019, "Model Cards for Model Reporting") with the header that the
Hugging Face hub reads. Every number comes from the trial's own files.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analysis.formatting import fraction, percent
from analysis.results.chosen import Chosen
from analysis.stats.estimates import Estimate, wilson
from trainable.calibration import CalibrationError, Temperature
from trainable.export import TOLERANCE, Check
from trainable.manifest import Manifest
from trainable.models.architectures import architecture
from trainable.protocol import PROTOCOLS


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a card is made of."""

    manifest: Manifest
    trial: Chosen
    labels: NDArray[np.int64]
    """(n,) of the images that the trial is scored on."""
    predicted: NDArray[np.int64]
    """(n,) class that the trial predicts for them."""
    temperature: Temperature
    error: CalibrationError | None
    """None without a test set."""
    licence: str
    """Of the weights that the trial started from."""
    library: str
    """``timm`` or ``torchvision``."""
    check: Check


def card(facts: Facts) -> str:
    """The text of the card, Markdown."""
    manifest, trial, cell = facts.manifest, facts.trial, facts.trial.cell
    config, data = cell.config, manifest.data
    scored = data.scored_on
    accuracy = wilson(float((facts.labels == facts.predicted).mean()), len(facts.labels), scored)
    weights = config.weights and architecture(config.arch).weights_label(config.weights)
    start = f"pre-trained: {Path(weights).name}" if weights else "from scratch"
    honest = (
        ""
        if scored == "test"
        else " These images also chose the epoch, so the accuracy of others is lower."
    )
    lines = [
        "---",
        f"library_name: {facts.library}",
        "pipeline_tag: image-classification",
        "tags: [image-classification, vit-label-sweep]",
        "---",
        "",
        f"# {manifest.name}: {trial.name}",
        "",
        f"An image classifier, {config.arch}, of {len(data.class_names)} classes: "
        f"{', '.join(data.class_names)}.",
        "",
        "## Training",
        "",
        "| | |",
        "|---|---|",
        f"| data | {data.name}, {sum(data.class_counts):,} images of {data.image_size}; SHA-256 "
        f"{data.sha256} |",
        f"| label budget | {cell.n_labels:,} labelled images ({fraction(cell.fraction)} of the pool of {data.n_pool:,}), "
        f"of which {_use(facts)} |",
        f"| split | {data.split}; {cell.n_test:,} test images; identity {cell.split_hash} |",
        f"| protocol | {', '.join(cell.protocols)}; trained: {config.trained}; seed {cell.seed} |",
        f"| start | {start} |",
        f"| licence of the weights | {facts.licence} |",
        f"| chosen | {trial.reason} |",
        f"| code | vit-label-sweep, commit {manifest.git_commit or 'unknown'} |",
        "",
        *_known_protocol(cell.protocols[0]),
        "## What it is worth",
        "",
        f"Accuracy on {len(facts.labels):,} {scored} images: {_with_interval(accuracy)} (95% CI, "
        f"Wilson; of this one network).{honest}",
        "",
        "| class | images | recall [95% CI] | precision |",
        "|---|---|---|---|",
        *_classes(facts),
        "",
        "## Calibration",
        "",
        f"Temperature {facts.temperature.value:.3f}, fitted to {facts.temperature.n:,} images that the "
        "network was not trained on; `probabilities` of `model.onnx` has it inside, logits are without."
        + (f" Without it the {facts.error.sentence}." if facts.error else ""),
        "",
        "## Intended use",
        "",
        "Images like those of the data above: the same instrument, depth, framing, scale and classes. "
        "Every image gets one of the classes, whatever it shows. Accuracy and calibration say nothing "
        "of other surveys; `python -m sweep.predict` flags images unlike the training images. Not for "
        "decisions about persons.",
        "",
        "## Use",
        "",
        *_use_by(facts.library),
        "",
        "`python classify.py picture.png` needs onnxruntime, numpy and Pillow alone. "
        f"On {facts.check.images} {scored} images the probabilities of `model.onnx` differ from the "
        f"trial's by at most {facts.check.onnx:.1g}, those of `model.safetensors` by at most "
        f"{facts.check.loaded:.1g} (allowed: {TOLERANCE:g}).",
        "",
    ]
    return "\n".join(lines)


def _use(facts: Facts) -> str:
    cell = facts.trial.cell
    if cell.folds:
        return f"all train, and validate in {cell.folds} folds"
    return f"{cell.n_train:,} train and {cell.n_val:,} validate"


def _known_protocol(name: str) -> list[str]:
    """A sentence on where the constants of a protocol stand."""
    base = name if name in PROTOCOLS else name.rpartition("+")[0]
    return [f"The constants of `{base}` stand in `trainable/protocol.py`.", ""]


def _with_interval(estimate: Estimate) -> str:
    return f"{percent(estimate.value)} [{percent(estimate.low)}, {percent(estimate.high)}]"


def _classes(facts: Facts) -> list[str]:
    names = facts.manifest.data.class_names
    rows: list[str] = []
    for label, name in enumerate(names):
        of_class, taken = facts.labels == label, facts.predicted == label
        n = int(of_class.sum())
        recall = "none"
        if n:
            recall = _with_interval(wilson(float(taken[of_class].mean()), n))
        right = int((of_class & taken).sum())
        shown = percent(right / int(taken.sum())) if taken.any() else "never predicted"
        rows.append(f"| {name} | {n:,} | {recall} | {shown} |")
    return rows


def _use_by(library: str) -> list[str]:
    if library == "timm":
        code = [
            "import timm",
            "from timm.data import create_transform, resolve_model_data_config",
            "",
            'model = timm.create_model("local-dir:FOLDER", pretrained=True).eval()',
            "transform = create_transform(**resolve_model_data_config(model))",
        ]
    else:
        code = ["from load_torchvision import load", "", "model, transform = load()"]
    return [
        "```python",
        *code,
        "logits = model(transform(picture)[None])  # picture: PIL, RGB; temperature in config.json",
        "```",
    ]
