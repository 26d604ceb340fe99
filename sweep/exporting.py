"""A trial of a sweep as files for timm, torchvision and onnxruntime: `sweep.predict`'s ``--export``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from analysis.results.chosen import Chosen
from sweep.model_card import Facts, card
from sweep.predict import PredictConfig
from sweep.prediction import chosen_trials, temperature_of
from trainable import calibration, export
from trainable.classifier import load_classifier
from trainable.errors import CheckpointError, DataError
from trainable.forward_backward import use_precision
from trainable.manifest import Manifest
from trainable.models.architectures import TIMM
from trainable.run import open_as_planned

CHECKED = 32
"""Images on which an export must agree with the trial."""


def run(config: PredictConfig, folder: Path) -> str:
    """Export the trial that is asked for; a sentence on what was done.

    Raises
    ------
    UserError
        The trial cannot be used, its images are not there, or the export is not the trial.
    """
    (trial,) = chosen_trials(config)
    assert config.sweep is not None, "checked with the flags"
    manifest = Manifest.read(config.sweep)
    use_precision("fp32")
    classifier = load_classifier(trial.checkpoint, trial.cell.config, "fp32")
    predictions = calibration.read_predictions(trial.checkpoint / "predictions.npz")
    if predictions is None:
        raise CheckpointError(
            f"{trial.checkpoint} has no predictions.npz: choose another --trial, or train it again"
        )
    rows, probabilities, labels = predictions
    temperature = temperature_of(trial)
    error = None
    if trial.cell.n_test:
        error = calibration.error_of([trial.checkpoint], [temperature.value])

    def make_card(check: export.Check) -> str:
        return card(
            Facts(
                manifest=manifest,
                trial=trial,
                labels=labels,
                predicted=probabilities.argmax(1),
                temperature=temperature,
                error=error,
                licence=export.licence(classifier),
                library="timm" if classifier.arch.startswith(TIMM) else "torchvision",
                check=check,
            )
        )

    check = export.export(
        classifier,
        temperature.value,
        folder.expanduser().absolute(),
        pictures=_pictures(trial, rows),
        card=make_card,
    )
    return (
        f"wrote {trial.name} ({trial.reason}) to {folder}; on {check.images} images its probabilities "
        f"differ from the trial's by at most {check.onnx:.1g} in onnxruntime and {check.loaded:.1g} as "
        "loaded again"
    )


def _pictures(trial: Chosen, rows: np.ndarray) -> list[Image.Image]:
    """Some of the images that a trial is scored on."""
    try:
        survey = open_as_planned(trial.cell.config.data)
    except DataError as error:
        raise DataError(
            f"{error}. An export is checked on images of the test set: put the sweep's data back"
        ) from error
    chosen = rows[np.unique(np.linspace(0, len(rows) - 1, CHECKED).astype(int))]
    return list(map(Image.fromarray, survey.read_images(chosen)))
