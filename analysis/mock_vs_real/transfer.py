"""Classifiers trained on one survey of galaxies and scored on another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, confusion_matrix
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from analysis.mock_vs_real.matching import NAMES, Matched
from analysis.survey.image_statistics import STATISTICS
from trainable.config import Settings
from trainable.data.batches import image_rows, predict
from trainable.data.dataset import open_survey
from trainable.data.preprocess import cached_images
from trainable.forward_backward import use_precision
from trainable.models import architectures
from trainable.prepare import prepare
from trainable.run import TrainingRun

ARCH = "vit_demo"
PAIRS = (("mock", "mock"), ("mock", "real"), ("real", "real"))
"""Trained on, scored on."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Score:
    """What one classifier makes of one set of images."""

    classifier: str
    trained_on: str
    scored_on: str
    seed: int
    n_train: int
    true: np.ndarray
    """Shape (n,), int64."""
    predicted: np.ndarray

    @property
    def accuracy(self) -> float:
        """Share of images classified as labelled."""
        return float((self.true == self.predicted).mean())

    @property
    def balanced_accuracy(self) -> float:
        """Mean over the classes of the share of their images that are found."""
        return float(balanced_accuracy_score(self.true, self.predicted))

    @property
    def confusion(self) -> np.ndarray:
        """Images by label (down) and prediction (across), (C, C)."""
        return confusion_matrix(self.true, self.predicted, labels=range(len(NAMES)))


def trained(path: Path, seed: int, cache_dir: Path | None) -> TrainingRun:
    """A small ViT, trained from scratch to its stop; the seed is the split's, too."""
    settings = Settings(
        data=str(path),
        arch=(ARCH,),
        protocol="demo",
        split="fixed",
        split_seed=seed,
        cache_dir=cache_dir,
    )
    config = prepare(settings).training_config("scratch", 1.0, seed)
    use_precision(config.precision)
    run = TrainingRun(config)
    while not run.finished:
        run.step_epoch()
    return run


def predictions(run: TrainingRun, path: Path, rows: np.ndarray) -> np.ndarray:
    """Labels that a run, at its best epoch, gives images of a file; (n,) int64."""
    spec = architectures.architecture(run.config.arch)
    images = cached_images(
        open_survey(path),
        transform=run.config.transform,
        size=spec.image_size,
        evaluation=spec.evaluation,
        cache_dir=run.config.data.cache_dir,
    )
    if run.best is None:
        raise RuntimeError("predictions of a run that has not finished an epoch")
    run.model.load_state_dict(run.best["weights"], strict=False)
    inputs = image_rows(images, spec, run.device)
    return predict(run.model, inputs, rows=torch.from_numpy(rows)).argmax(1).numpy()


def by_vit(runs: dict[str, TrainingRun], paths: dict[str, Path], seed: int) -> list[Score]:
    """Mock → mock, mock → real and real → real, the last two on the same validation images."""
    return [
        Score(
            classifier=f"{ARCH}, scratch",
            trained_on=on,
            scored_on=of,
            seed=seed,
            n_train=len(runs[on].partition.train),
            true=runs[of].partition.validation_labels,
            predicted=predictions(runs[on], paths[of], runs[of].partition.validation),
        )
        for on, of in PAIRS
    ]


def by_statistics(
    mock: Matched, real: Matched, rows: dict[str, tuple[np.ndarray, np.ndarray]], seed: int
) -> list[Score]:
    """The same with a logistic regression on the `STATISTICS` of the images.

    Parameters
    ----------
    rows
        ``mock`` and ``real`` → training and validation rows, those of the ViT's split.
    """
    surveys, fitted = {"mock": mock, "real": real}, {}
    for name, survey in surveys.items():
        train = rows[name][0]
        # a galaxy that was not found has the median galaxy's statistics
        model = make_pipeline(
            SimpleImputer(strategy="median"), StandardScaler(), LogisticRegression(max_iter=1000)
        )
        fitted[name] = model.fit(_features(survey, train), survey.labels[train])
    return [
        Score(
            classifier="logistic regression on image statistics",
            trained_on=on,
            scored_on=of,
            seed=seed,
            n_train=len(rows[on][0]),
            true=surveys[of].labels[rows[of][1]],
            predicted=fitted[on].predict(_features(surveys[of], rows[of][1])),
        )
        for on, of in PAIRS
    ]


def _features(survey: Matched, rows: np.ndarray) -> np.ndarray:
    return survey.statistics[list(STATISTICS)].to_numpy()[rows]
