"""Of several architectures, the pre-trained one and the training from scratch that a report is about.

Most of a report sets one pre-trained method against one that is trained from scratch. If a sweep, or
several that are read as one grid, has more architectures, they are chosen by their validation images:
test images choose nothing, so that what the report says of the pair is not the luck of the best of
several. What is trained of the pre-trained model is what the first protocol says, for all.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from analysis.results.schema import Results, rows_where
from trainable.errors import SweepError
from trainable.manifest import Manifest


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An architecture with the trials of one init, those with its most labels complete."""

    arch: str
    trials: tuple[str, ...]
    """Names of all its trials of that init."""
    n_labels: int
    """The most."""
    validation_accuracy: float
    """0–1: mean over its complete trials with the most labels; best epoch, or out of fold."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """What a report is about, and what it was chosen from."""

    results: Results
    """Trials of both, by the first protocol; the pre-trained architecture is the main one."""
    pretrained: str
    """Architecture."""
    scratch: str
    """Architecture that is trained from scratch."""
    among_pretrained: tuple[Candidate, ...]
    """Architectures with complete pre-trained trials; the highest validation accuracy first."""
    among_scratch: tuple[Candidate, ...]
    """Likewise from scratch."""
    named: bool
    """The caller named one of the two, or both."""


def pair(results: Results, arch: str | None = None, baseline: str | None = None) -> Pair:
    """Choose what a report is about.

    Parameters
    ----------
    results
        Of all architectures and protocols.
    arch
        The pre-trained architecture. None: of those that were tested with the most labels, the one
        with the highest validation accuracy; the first if accuracies are of validation images
        themselves, or if none has a complete trial.
    baseline
        The architecture that is trained from scratch. None: likewise.

    Raises
    ------
    SweepError
        An architecture that is named has no trial of that init.
    """
    pretrained = _candidates(results, "pretrained")
    scratch = _candidates(results, "scratch")
    first = results.manifest.arch
    chosen = _chosen(results, "pretrained", arch, "--of", pretrained)
    against = _chosen(results, "scratch", baseline, "--baseline", scratch)
    chosen, against = chosen or against or first, against or chosen or first
    part = _part(results, chosen, against)
    return Pair(
        results=part,
        pretrained=chosen,
        scratch=against,
        among_pretrained=tuple(pretrained),
        among_scratch=tuple(scratch),
        named=arch is not None or baseline is not None,
    )


def _chosen(
    results: Results, init: str, named: str | None, flag: str, candidates: Sequence[Candidate]
) -> str | None:
    """An architecture of one init; None if there is none."""
    trials = _of_init(results, init)
    archs = list(dict.fromkeys(trials["arch"]))
    if named is not None:
        if named not in archs:
            raise SweepError(
                f"{flag} {named}: no {init} trial of this architecture; expected "
                f"{' or '.join(archs) if archs else f'a sweep with {init} trials'}"
            )
        return named
    first = results.manifest.arch
    if results.scored_on == "test" and candidates:
        return candidates[0].arch
    return first if first in archs or not archs else archs[0]


def _candidates(results: Results, init: str) -> list[Candidate]:
    """The architectures whose complete trials have the most labels, the best first."""
    trials = _of_init(results, init)
    complete = rows_where(trials, trials["status"] == "complete")
    if complete.empty:
        return []
    most = complete["n_labels"].max()
    found: list[Candidate] = []
    for arch in dict.fromkeys(trials["arch"]):
        of_arch = rows_where(complete, (complete["arch"] == arch) & (complete["n_labels"] == most))
        if len(of_arch):
            every = rows_where(trials, trials["arch"] == arch)
            found.append(
                Candidate(
                    arch=arch,
                    trials=tuple(every["trial"]),
                    n_labels=int(most),
                    validation_accuracy=float(np.mean(of_arch["best_val_accuracy"])),
                )
            )
    return sorted(found, key=lambda candidate: -candidate.validation_accuracy)


def _protocol(results: Results) -> str:
    """The first protocol that pre-trained trials have; the first of all if there are none."""
    pretrained = results.trials.loc[results.trials["init"] == "pretrained", "protocols"]
    known = {name for names in pretrained for name in names}
    return next((p for p in results.protocols if p in known), results.manifest.protocol)


def _of_init(results: Results, init: str) -> pd.DataFrame:
    """The trials of one init that the protocol of a report prescribes."""
    trials, protocol = results.trials, _protocol(results)
    prescribed = np.array([protocol in names for names in trials["protocols"]], dtype=bool)
    return rows_where(trials, (trials["init"] == init) & prescribed)


def _part(results: Results, pretrained: str, scratch: str) -> Results:
    """Trials of two architectures, one of each init, all as of the first protocol."""
    of_pair = pd.concat(
        rows_where(trials, trials["arch"] == arch)
        for arch, trials in (
            (scratch, _of_init(results, "scratch")),
            (pretrained, _of_init(results, "pretrained")),
        )
    )
    protocol = _protocol(results)
    trials = rows_where(results.trials, results.trials["trial"].isin(set(of_pair["trial"])))
    own = {
        name: set(trials.loc[trials["sweep"] == name, "cell"]) for name in trials["sweep"].unique()
    }
    archs = list(dict.fromkeys((pretrained, scratch)))
    manifests = [
        _manifest(manifest, own.get(manifest.name, set()), archs, protocol)
        for manifest in results.manifests
    ]
    # the first one's settings are shown
    manifests.sort(key=lambda manifest: all(cell.init != "pretrained" for cell in manifest.cells))
    return results.part(trials.assign(protocol=protocol).reset_index(drop=True), manifests)


def _manifest(
    manifest: Manifest, cells: Collection[str], archs: Sequence[str], protocol: str
) -> Manifest:
    """The part of a sweep that these cells are; the first of `archs` is the main architecture."""
    known = {backbone.arch: backbone for backbone in manifest.backbones}
    return replace(
        manifest,
        protocol=protocol,
        backbones=tuple(known[arch] for arch in archs if arch in known),
        cells=tuple(cell for cell in manifest.cells if cell.id in cells),
    )
