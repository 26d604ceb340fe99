"""From one survey to another: the network of an earlier sweep as the pre-trained model of this one.

After Domínguez Sánchez et al. (2019, MNRAS 484, 93). The earlier sweep's best network that has learned
from its images, or the one named, is written as a file of weights; the sweep then compares it, fine-tuned
on few and many labels of the new survey, with training on these alone. What it knows without any of them, its own
classes counted as those that a table says are the same, is scored first, on the same test set.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from sklearn.metrics import confusion_matrix

from analysis.results import load
from analysis.results.chosen import Chosen, best_trials, named_trials
from analysis.results.schema import Results
from analysis.results.transfer import Transfer
from sweep.grid import SweepConfig
from sweep.prediction import temperature_of
from trainable.class_map import SharedClass, in_shared_classes, read, shared_classes
from trainable.classifier import Classifier, load_classifier
from trainable.config import ARCHITECTURE
from trainable.data.dataset import open_survey
from trainable.data.preprocess import cached_images
from trainable.devices import choose_device
from trainable.errors import SettingsError
from trainable.export import merge_adapters, whole_state
from trainable.files import write_atomically
from trainable.forward_backward import use_precision
from trainable.manifest import Cell
from trainable.prepare import Prepared, data_path
from trainable.run import planned

FOLDER = "transfer"
"""In the folder of the sweep that is transferred from: the weights of its trials."""
BLOCK = 1024
"""Images that are scored at a time."""


def has_learned(cell: Cell) -> bool:
    """Whether a trial has trained more of its network than the last layer."""
    return cell.config.trained not in ("head", "probe")


def chosen(results: Results, name: str | None) -> Chosen:
    """The trial whose network is transferred: the one named, or the best by validation.

    Raises
    ------
    SettingsError
        Its network below the last layer is as it was before.
    SweepError
        There is none, or it is not complete.
    """
    if name is None:
        return best_trials(results, among=has_learned)[0]
    (trial,) = named_trials(results, [name])
    if not has_learned(trial.cell):
        raise SettingsError(
            f"--transfer-trial {name}: it trained its last layer alone, so that its network knows "
            "nothing of the survey; name one that trained all or the last layers"
        )
    return trial


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """What is transferred, and the classes that both surveys have."""

    results: Results
    trial: Chosen
    classifier: Classifier
    classes: tuple[SharedClass, ...]

    @classmethod
    def of(cls, config: SweepConfig, class_names: tuple[str, ...]) -> Source:
        """Read what the flags name.

        Parameters
        ----------
        class_names
            Those of the data of `config`, by label.
        """
        assert config.transfer_from is not None
        assert config.class_map is not None, "checked with the flags"
        results = load.read(config.transfer_from)
        trial = chosen(results, config.transfer_trial)
        classifier = load_classifier(trial.checkpoint, trial.cell.config, "fp32")
        pairs = read(config.class_map)
        classes = shared_classes(pairs, classifier.class_names, class_names, config.class_map)
        return cls(results=results, trial=trial, classifier=classifier, classes=classes)


def with_source(config: SweepConfig) -> SweepConfig:
    """The configuration with what the transferred network and the table of classes decide.

    The network is written as a file into the earlier sweep's folder, if it is not there yet.

    Raises
    ------
    UserError
        The earlier sweep, its trial, the table or the data cannot be used.
    """
    assert config.transfer_from is not None, "asked by the caller"
    for name in ("weights", "drop_labels", "merge_labels"):
        if getattr(config, name):
            raise SettingsError(
                f"--transfer-from with --{name.replace('_', '-')}: the earlier sweep and --class-map "
                "decide this; leave it out"
            )
    survey = open_survey(
        data_path(config.data, config.cache_dir),
        labels=None if config.labels is None else str(config.labels),
        flags=config.source,
        cache_dir=None if config.cache_dir is None else str(config.cache_dir),
    )
    source = Source.of(config, survey.class_names)
    trial, classifier = source.trial, source.classifier
    run = trial.cell.config
    if config.archs not in ((ARCHITECTURE,), (run.arch,)):
        raise SettingsError(
            f"--arch {config.archs[0]}: {trial.name} of {config.transfer_from} is a {run.arch}; leave "
            "it out"
        )
    number = {name: label for label, name in enumerate(survey.class_names)}
    shared = [[number[name] for name in of.target] for of in source.classes]
    kept = {label for group in shared for label in group}
    merge_adapters(classifier.backbone)
    path = config.transfer_from / FOLDER / f"{trial.name}.safetensors"
    _write_weights(path, whole_state(classifier))
    return dataclasses.replace(
        config,
        arch=(run.arch,),
        weights=(str(path),),
        drop_labels=tuple(sorted(set(number.values()) - kept)),
        merge_labels=tuple("+".join(map(str, group)) for group in shared if len(group) > 1),
        transfer_trial=trial.name,
    )


def _write_weights(path: Path, state: dict[str, torch.Tensor]) -> None:
    contents = save(state)
    if path.exists() and path.read_bytes() == contents:
        return  # another sweep may be reading it
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, contents)


def without_labels(config: SweepConfig, prepared: Prepared, cell: Cell) -> Transfer:
    """Score the transferred network, as it is, on the test set of this sweep.

    Parameters
    ----------
    config
        As `with_source` gives it.
    cell
        Any of the sweep: all have one test set.

    Raises
    ------
    UserError
        The network or its trial cannot be read any more.
    """
    source = Source.of(config, prepared.survey.class_names)
    trial, classifier, classes = source.trial, source.classifier, source.classes
    use_precision("fp32")
    selection = prepared.selection
    assert tuple(of.name for of in classes) == selection.class_names
    images = cached_images(
        prepared.survey,
        transform=classifier.transform,
        size=classifier.size,
        evaluation=classifier.spec.evaluation,
        cache_dir=prepared.data.cache_dir,
    )
    partition = planned(prepared.survey, selection, cell.config)
    device = choose_device(None if config.gpus and config.address is None else "cpu")
    classifier.backbone.to(device)
    temperature = temperature_of(trial).value
    predicted: list[np.ndarray] = []
    for start in range(0, len(partition.test), BLOCK):
        rows = partition.test[start : start + BLOCK]
        logits = classifier.logits(classifier.features(images[rows], device, "fp32"))
        own = (logits.double() / temperature).softmax(1).numpy()
        shared = in_shared_classes(own, classifier.class_names, classes)
        predicted.append(shared.argmax(1))
    counts = confusion_matrix(
        partition.test_labels, np.concatenate(predicted), labels=range(len(classes))
    )
    return Transfer(
        sweep=source.results.manifest.name,
        data=source.results.manifest.data.name,
        trial=trial.name,
        arch=classifier.arch,
        n_labels=trial.cell.n_labels,
        accuracy_there=trial.accuracy,
        scored_on=source.results.scored_on,
        classes=classes,
        confusion=tuple(map(tuple, counts.tolist())),
    )
