"""The classes of a survey that take part: some are left out, some are merged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trainable.data.dataset import Survey
from trainable.errors import DataError
from trainable.protocol import DROPPED_LABEL


@dataclass(frozen=True, kw_only=True, eq=False)
class Selection:
    """The images that take part in an experiment, with labels 0 … C-1."""

    rows: np.ndarray
    """Shape (n,), int64, ascending rows of the file."""
    labels: np.ndarray
    """Shape (n,), int64 in [0, C)."""
    class_names: tuple[str, ...]
    """C names."""
    label_values: tuple[int, ...]
    """The file's own label (of several merged ones, the first) of each class."""

    @property
    def counts(self) -> np.ndarray:
        """(C,) int64, images of each class."""
        return np.bincount(self.labels, minlength=len(self.class_names))


def select(
    survey: Survey,
    drop_labels: Sequence[int],
    merge_labels: Sequence[Sequence[int]] = (),
) -> Selection:
    """Leave out some classes and renumber the others without gaps, in the file's order.

    Parameters
    ----------
    drop_labels
        Labels as the file numbers them; may be empty.
    merge_labels
        Groups of such labels; each becomes one class, named and placed by its first in the file.

    Raises
    ------
    DataError
        For an unknown label, a label that is dropped and merged or merged twice, a class with fewer
        than 2 images, or fewer than 2 classes left.
    """
    names = survey.class_names
    groups = _groups(survey, drop_labels, merge_labels)
    class_of = np.full(len(names), -1)
    for number, group in enumerate(groups):
        class_of[list(group)] = number
    labels = class_of[survey.labels]
    rows = np.flatnonzero(labels >= 0)
    counts = np.bincount(labels[rows], minlength=len(groups))
    class_names = tuple(" + ".join(names[c] for c in group) for group in groups)
    if small := np.flatnonzero(counts < 2).tolist():
        what = ", ".join(
            f"class {groups[c][0]} {class_names[c]!r} has {counts[c] or 'no'} image" for c in small
        )
        drop = " ".join(map(str, sorted({*drop_labels, *(x for c in small for x in groups[c])})))
        say = " and do not merge them" if any(len(groups[c]) > 1 for c in small) else ""
        raise DataError(f"{survey.path}: {what}, too few to split: use --drop-labels {drop}{say}")
    if len(groups) < 2:
        what = f"{len(groups)} of {len(names)} classes"
        raise DataError(f"{survey.path}: dropping and merging leaves {what}, at least 2 are needed")
    return Selection(
        rows=rows,
        labels=labels[rows],
        class_names=class_names,
        label_values=tuple(group[0] for group in groups),
    )


def _groups(
    survey: Survey, drop_labels: Sequence[int], merge_labels: Sequence[Sequence[int]]
) -> list[tuple[int, ...]]:
    """The file's labels of each class that is kept."""
    names, merged = survey.class_names, [label for group in merge_labels for label in group]
    named = [*drop_labels, *merged]
    if unknown := sorted(set(named) - set(range(len(names)))):
        valid = ", ".join(f"{label} {name!r}" for label, name in enumerate(names))
        raise DataError(f"{survey.path} has no label {unknown} to drop or merge, only {valid}")
    if twice := sorted({m for m in merged if named.count(m) > 1}):
        raise DataError(
            f"labels {twice} are merged and dropped, or merged twice: name each once. Dropped are "
            f"{sorted(drop_labels)}; --drop-labels without a value keeps all"
        )
    alone = ((c,) for c in range(len(names)) if c not in named)
    return sorted([*alone, *(tuple(sorted(group)) for group in merge_labels)])


def default_drop_labels(survey: Survey) -> tuple[int, ...]:
    """The labels to leave out by default: the paper's class of Galaxy10, else none."""
    return (DROPPED_LABEL,) if survey.is_galaxy10 else ()
