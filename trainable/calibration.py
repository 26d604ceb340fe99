"""Temperature scaling: probabilities that are right as often as they say (Guo et al. 2017).

Logits are divided by one number T > 0, which changes no predicted class. T minimises the log loss of
images that the network was not trained on: the validation images or, of a linear probe and of
cross-validated budgets, all labelled images, each as predicted by the fit that left it out.

With few images, all of them classified rightly, the loss would fall to 0 as T does. So one further image
counts, whose label is each class in equal parts: what Platt (1999, "Probabilistic outputs for support
vector machines") does to the targets of two classes. It does not matter for many images.
"""

from __future__ import annotations

import json
import math
import zipfile
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainable.errors import CheckpointError

FILE = "calibration.json"
"""Name in a trial's checkpoint."""
LIMIT = 20.0
"""T lies between 1 / LIMIT and LIMIT."""
BINS = 15
"""Of the expected calibration error, as Guo et al. have them."""


@dataclass(frozen=True, kw_only=True)
class Temperature:
    """A fitted temperature."""

    value: float
    """T."""
    n: int
    """Images that it was fitted to."""
    loss_before: float
    """Their mean log loss, nats, as the network gives it."""
    loss_after: float
    """The same at T."""


@dataclass(frozen=True, kw_only=True)
class CalibrationError:
    """Expected calibration error on the test set, 0–1."""

    before: float
    after: float
    """With the temperature."""
    n: int
    """Test images."""

    @property
    def sentence(self) -> str:
        """Both, in points."""
        return (
            f"expected calibration error on {self.n:,} test images {100 * self.before:.1f} points, "
            f"{100 * self.after:.1f} with it"
        )


def fit_temperature(probabilities: NDArray[Any], labels: NDArray[Any]) -> Temperature:
    """The temperature of predictions.

    Parameters
    ----------
    probabilities
        Shape (n, C), 0–1, of images that the network was not trained on. Their logarithms are the
        logits but for a number for each image, which has no influence.
    labels
        Shape (n,), 0 to C - 1.
    """
    from scipy.optimize import minimize_scalar  # SciPy is slow to import, and not all need it
    from scipy.special import log_softmax

    logits = _logits(probabilities)

    def loss(scale: float) -> float:
        return float(-log_softmax(logits * scale, axis=1)[np.arange(len(labels)), labels].mean())

    def penalised(log_temperature: float) -> float:
        scaled = log_softmax(logits * math.exp(-log_temperature), axis=1)
        given = -scaled[np.arange(len(labels)), labels].sum()
        return float(given - scaled.mean())  # the further image: mean over images and classes

    bounds = (-math.log(LIMIT), math.log(LIMIT))
    found: Any = minimize_scalar(
        penalised, bounds=bounds, method="bounded", options={"xatol": 1e-6}
    )
    value = math.exp(found.x)
    return Temperature(
        value=value, n=len(labels), loss_before=loss(1.0), loss_after=loss(1 / value)
    )


def scaled(probabilities: NDArray[Any], temperature: float) -> NDArray[np.float64]:
    """Probabilities (n, C) at a temperature."""
    from scipy.special import softmax

    return softmax(_logits(probabilities) / temperature, axis=1)


def _logits(probabilities: NDArray[Any]) -> NDArray[np.float64]:
    """Logarithms; of 0, to which float32 rounds, that of the smallest number it has."""
    smallest = float(np.finfo(np.float32).tiny)
    return np.log(np.maximum(np.asarray(probabilities, np.float64), smallest))


def expected_calibration_error(probabilities: NDArray[Any], labels: NDArray[Any]) -> float:
    """Mean distance between confidence and accuracy over `BINS` bins of equal width, 0–1.

    By torchmetrics; of the most probable class (Naeini et al. 2015).
    """
    import torch  # slow to import, as is the next
    from torchmetrics.functional.classification import multiclass_calibration_error

    values = torch.from_numpy(np.asarray(probabilities, np.float64))
    found = multiclass_calibration_error(
        values,
        torch.from_numpy(np.asarray(labels, np.int64)),
        num_classes=values.shape[1],
        n_bins=BINS,
        norm="l1",
    )
    return float(found)


def stored(checkpoint: Path, *, tested: bool) -> Temperature | None:
    """The temperature of a trial: that in its checkpoint, or else fitted to what is stored there.

    Parameters
    ----------
    checkpoint
        The trial's folder ``checkpoint_…``, of a finished trial.
    tested
        The trial has a test set, so that its validation predictions have a file of their own.

    Returns
    -------
    Temperature or None
        None if the trial stored no validation predictions.

    Raises
    ------
    CheckpointError
        A file is damaged.
    """
    path = checkpoint / FILE
    if path.is_file():
        try:
            return Temperature(**json.loads(path.read_bytes()))
        except (ValueError, TypeError) as error:
            raise CheckpointError(
                f"{path} is damaged ({error}): delete it, it is made again of the predictions beside it"
            ) from error
    predictions = read_predictions(checkpoint / ("validation.npz" if tested else "predictions.npz"))
    return None if predictions is None else fit_temperature(*predictions[1:])


def as_json(temperature: Temperature) -> str:
    """The contents of `FILE`."""
    return json.dumps(asdict(temperature))


def read_predictions(
    path: Path,
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]] | None:
    """Rows (n,), probabilities (n, C) and labels (n,) of a trial's file; None if there is none.

    Raises
    ------
    CheckpointError
        It is damaged.
    """
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            return arrays["rows"], arrays["probabilities"], arrays["labels"]
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error


def error_of(checkpoints: list[Path], temperatures: list[float]) -> CalibrationError | None:
    """What the mean probabilities of some trials are worth on their test set.

    Parameters
    ----------
    checkpoints
        Of trials with a test set; their ``predictions.npz`` are of it.
    temperatures
        One for each.

    Returns
    -------
    CalibrationError or None
        None if they are not all scored on the same images.
    """
    found = [read_predictions(checkpoint / "predictions.npz") for checkpoint in checkpoints]
    known = [predictions for predictions in found if predictions is not None]
    if len(known) < len(found) or any(not np.array_equal(p[0], known[0][0]) for p in known):
        return None
    labels = known[0][2]
    before = np.mean([p[1].astype(np.float64) for p in known], axis=0)
    after = np.mean([scaled(p[1], t) for p, t in zip(known, temperatures, strict=True)], axis=0)
    return CalibrationError(
        before=expected_calibration_error(before, labels),
        after=expected_calibration_error(after, labels),
        n=len(labels),
    )
