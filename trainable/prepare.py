"""From flags to data and weights that are found and checked, and to each run's configuration."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from trainable.config import DataConfig, Precision, Settings, TrainingConfig
from trainable.data.cache import cache_root
from trainable.data.class_selection import Selection, default_drop_labels, select
from trainable.data.dataset import Survey, open_survey
from trainable.data.sources import hub
from trainable.data.splits import pool_of
from trainable.devices import Gpu, suited_to
from trainable.errors import SettingsError, WeightsError
from trainable.models import architectures
from trainable.models.cut import cut_of
from trainable.protocol import PROTOCOLS, Init, Trained, last_blocks, protocol_named


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Settings with their data and weights, known before any run starts."""

    settings: Settings
    """With ``auto`` replaced by what it means."""
    survey: Survey
    selection: Selection
    data: DataConfig
    n_pool: int
    """Images that label budgets are shares of; without a test set, all of them."""
    weights: Mapping[str, str | None]
    """Architecture → a name that it knows, or an absolute path; None: it knows none, none was given."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on images that were left out, and the like."""
        survey, split = self.survey, self.settings.split
        if survey.is_test is None or split == "budget":
            return survey.notes
        return (
            *survey.notes,
            f"The {survey.is_test.sum():,} images that the data set aside for testing are left out: with "
            f"--split {split} trials are scored on validation images.",
        )

    def training_config(
        self,
        init: Init,
        fraction: float,
        seed: int,
        protocol: str | None = None,
        *,
        arch: str | None = None,
        per_class: int | None = None,
    ) -> TrainingConfig:
        """The complete configuration of one run.

        Parameters
        ----------
        protocol
            A name as `protocol_named` takes it. None: that of the settings.
        arch
            None: the first of the settings.
        per_class
            So many labelled images of each class, of which `fraction` is the share of the pool.
        """
        data, shift = self.data, seed if self.settings.resample else 0
        arch = arch or self.settings.archs[0]
        spec = architectures.architecture(arch)
        weights = self.weights.get(arch)
        if init == "pretrained" and weights is None:
            raise WeightsError(architectures.no_weights(arch))
        own: dict[str, Any] = {"transform": spec.transform} if spec.transform else {}
        if self.settings.augment:  # else as the protocol says
            own["augment"] = True
        chosen = protocol_named(protocol or self.settings.variants[0])
        config = TrainingConfig.of(
            chosen,
            init=init,
            fraction=fraction,
            seed=seed,
            data=replace(data, split_seed=data.split_seed + shift),
            arch=arch,
            weights=weights,
            per_class=per_class,
            max_epochs=self.settings.max_epochs,
            precision=self.settings.precision,
            cache_features=self._keeps(arch, chosen.recipe(init).trained),
            compile=self.settings.compile == "on",
            deterministic=self.settings.deterministic,
            lora_rank=self.settings.lora_rank,
            **own | self.settings.overrides(init),
        )
        if config.layer_decay < 1:
            architectures.check_layers(config.arch)
        return config

    def _keeps(self, arch: str, trained: Trained) -> bool:
        """Whether what the frozen layers give of all images is kept, if images are not augmented."""
        settings = self.settings
        if not settings.cache_features or last_blocks(trained) is None:
            return settings.cache_features
        try:
            found = cut_of(arch, trained)
        except SettingsError as error:  # it has no such blocks
            raise SettingsError(f"--arch {arch}: {error}") from error
        if found is None:
            return False
        needed = len(self.survey.labels) * found.image_bytes(cast("Precision", settings.precision))
        return needed <= settings.cache_gb * 1e9


def data_path(
    source: str, cache_dir: Path | None, progress: Callable[[int, int], None] | None = None
) -> Path:
    """The file or folder that ``--data`` means, fetched or rendered if it is not there yet."""
    if source == "galaxy10":
        from trainable.data.download import fetch_galaxy10  # its libraries are slow to import

        return fetch_galaxy10()
    if source == "mock":
        from trainable.mock.survey import MockSurvey, cached  # GalSim, likewise

        return cached(MockSurvey(), cache_root(cache_dir), progress=progress)
    if hub.is_hub_name(source):
        return hub.fetch(source, cache_root(cache_dir))
    return Path(source).expanduser().absolute()


def is_path(source: str) -> bool:
    """Whether ``--data`` is the path of a file or folder, and no name."""
    return source not in ("galaxy10", "mock") and not hub.is_hub_name(source)


def prepare(
    settings: Settings,
    progress: Callable[[int, int], None] | None = None,
    gpus: Sequence[Gpu] = (),
) -> Prepared:
    """Find, check and describe the data and the weights.

    Parameters
    ----------
    progress
        Called with (images done, images in all) while data are rendered, or read for the first time.
    gpus
        Those that the runs will train on, which decide what ``auto`` means; none for a CPU.

    Raises
    ------
    DataError, WeightsError, SettingsError
        The message is complete for the user.
    """
    settings = suited_to(gpus, settings)
    for arch in settings.archs:
        architectures.architecture(arch)  # refused before anything is fetched
    survey = open_survey(
        data_path(settings.data, settings.cache_dir, progress),
        labels=_absolute(settings.labels),
        flags=settings.source,
        cache_dir=_absolute(settings.cache_dir),
        progress=progress,
    )
    return prepared(settings, survey)


def prepared(settings: Settings, survey: Survey) -> Prepared:
    """Settings with a survey that is open: which classes and weights they mean."""
    drop = default_drop_labels(survey) if settings.drop_labels is None else settings.drop_labels
    selection = select(survey, drop, settings.merged)
    data = DataConfig(
        path=str(survey.path),
        sha256=survey.sha256,
        labels=_absolute(settings.labels),
        source=settings.source,
        drop_labels=tuple(sorted(drop)),
        merge_labels=settings.merged,
        split=settings.split,
        split_seed=settings.split_seed,
        test_fraction=settings.test_fraction,
        fixed_draw=settings.fixed_draw,
        validation_fraction=PROTOCOLS[settings.protocol].validation_fraction,
        group_sky=settings.group_sky,
        cache_dir=_absolute(settings.cache_dir),
    )
    return Prepared(
        settings=settings,
        survey=survey,
        selection=selection,
        data=data,
        n_pool=len(pool_of(survey, selection, data)),
        weights={arch: chosen_weights(settings, arch) for arch in settings.archs},
    )


def chosen_weights(settings: Settings, arch: str) -> str | None:
    """The weights that settings mean for one of their architectures, as `Prepared.weights` has them."""
    spec = architectures.architecture(arch)
    weights = settings.weights_of(arch) or spec.default_weights
    if weights and weights not in spec.weights and os.path.isfile(os.path.expanduser(weights)):
        return os.path.abspath(os.path.expanduser(weights))
    return weights


def _absolute(path: str | Path | None) -> str | None:
    return None if path is None else os.path.abspath(os.path.expanduser(path))
