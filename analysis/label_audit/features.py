"""Features of all labelled images, of a sweep's best frozen backbone or of one that flags name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analysis.formatting import percent
from analysis.results.load import read
from analysis.results.schema import Results, groups, records, rows_where
from trainable.config import OF_A_PROBE, Settings, TrainingConfig
from trainable.data.class_selection import Selection, select
from trainable.data.dataset import Survey
from trainable.data.splits import groups_of, planned
from trainable.errors import SweepError
from trainable.manifest import Cell
from trainable.models.features import cached_features
from trainable.prepare import prepare
from trainable.run import open_as_planned

Progress = Callable[[int, int], None]
"""Called with (images done, images in all)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledFeatures:
    """All labelled images that take part, as a frozen backbone sees them."""

    survey: Survey
    selection: Selection
    features: NDArray[np.float32]
    """(n, D), in the order of `selection`."""
    groups: NDArray[np.int64]
    """(n,): images of one group are of one place on the sky, and stay in one fold."""
    is_test: NDArray[np.bool_] | None
    """(n,): images of the test set; None if none is set aside."""
    backbone: str
    """Which backbone it is, and why this one, in words."""
    best_accuracy: float | None = None
    """Of the sweep's best cell, a mean over its trials, on the test images; 0–1. None: not known."""

    @property
    def names(self) -> list[str]:
        """What each of the n images is called."""
        names, rows = self.survey.names, self.selection.rows.tolist()
        return [f"row {row}" if names is None else names[row] for row in rows]


def of_sweep(
    folder: Path,
    *,
    device: str = "cpu",
    cache_dir: Path | None = None,
    progress: Progress | None = None,
) -> LabelledFeatures:
    """Of the frozen backbone that is best by validation.

    The backbone of a pre-trained trial whose last layer alone was trained, if the sweep has one;
    else the weights that its other pre-trained trials started from.

    Parameters
    ----------
    folder
        Of the sweep.
    cache_dir
        None: the sweep's own.

    Raises
    ------
    SweepError
        It has no complete pre-trained trial.
    DataError
        The images are not there, or changed.
    """
    results = read(folder)
    cell, reason = _best_frozen(results)
    config = cell.config
    if not config.on_features:
        config = replace(config, trained="probe", **OF_A_PROBE)
    if cache_dir is not None:
        config = replace(config, data=replace(config.data, cache_dir=str(cache_dir.absolute())))
    survey = open_as_planned(config.data)
    selection = select(survey, config.data.drop_labels, config.data.merge_labels)
    test = planned(survey, selection, cell.config).test
    found = _features(survey, selection, config, device, progress)
    return replace(
        found,
        is_test=np.isin(selection.rows, test) if len(test) else None,
        backbone=f"{_called(config)}, {reason}",
        best_accuracy=_best_accuracy(results),
    )


def of_backbone(
    settings: Settings, *, device: str = "cpu", progress: Progress | None = None
) -> LabelledFeatures:
    """Of the first pre-trained architecture of some settings; without a sweep no test set is drawn."""
    prepared = prepare(settings, progress)
    config = prepared.training_config("pretrained", 1.0, 0)
    found = _features(prepared.survey, prepared.selection, config, device, progress)
    return replace(found, backbone=f"{_called(config)}, named by --arch")


def _best_frozen(results: Results) -> tuple[Cell, str]:
    """The cell whose backbone is taken, and why."""
    trials = [
        (row, cell)
        for row in records(results.complete)
        if (cell := results.cell(row["trial"])).init == "pretrained"
    ]
    name = results.manifest.name
    if not trials:
        raise SweepError(
            f"{name} has no complete trial of a pre-trained backbone, whose features an audit needs: resume "
            f"it (python -m sweep.run --resume {name}), or name one with --data DATA --arch NAME"
        )
    frozen = [(row, cell) for row, cell in trials if cell.config.on_features]
    compared = frozen or trials
    most = max(cell.n_labels for _, cell in compared)
    compared = [(row, cell) for row, cell in compared if cell.n_labels == most]
    row, cell = max(compared, key=lambda pair: pair[0]["best_val_accuracy"])
    kind = "frozen" if frozen else "pre-trained"
    accuracy = percent(row["best_val_accuracy"])
    if frozen:
        return cell, f"the best {kind} backbone of {name} by validation ({accuracy})"
    return cell, (
        f"from whose weights the best fine-tuned trial of {name} started; the sweep has no trial of a "
        "frozen backbone"
    )


def _best_accuracy(results: Results) -> float | None:
    """The highest mean test accuracy of the sweep's cells at most labels."""
    done = results.complete
    if results.scored_on != "test" or not len(done):
        return None
    most = rows_where(done, done["n_labels"] == done["n_labels"].max())
    return max(
        float(rows["accuracy"].mean()) for _, rows in groups(most, "arch", "init", "protocol")
    )


def _called(config: TrainingConfig) -> str:
    return f"{config.arch} with weights {Path(config.weights or '').name}"


def _features(
    survey: Survey,
    selection: Selection,
    config: TrainingConfig,
    device: str,
    progress: Progress | None,
) -> LabelledFeatures:
    features = cached_features(survey, config, device=device, progress=progress)
    own = np.arange(len(selection.rows))
    return LabelledFeatures(
        survey=survey,
        selection=selection,
        features=np.asarray(features[selection.rows]),
        groups=groups_of(survey, selection) if config.data.group_sky else own,
        is_test=None if survey.is_test is None else survey.is_test[selection.rows],
        backbone="",
    )
