"""A folder for each class, the layout of torchvision's ``ImageFolder``.

    FOLDER/CLASS/…/picture.jpg

Classes are numbered by the order of their folders' names, images by the order of their paths (code
points). With ``FOLDER/train/CLASS/…`` and ``FOLDER/test/CLASS/…`` the images of ``test`` are the test
set; without ``test``, those of ``val`` are.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trainable.data.sources.files import (
    HIDDEN,
    Found,
    Labelled,
    displayable,
    find_files,
    open_files,
)
from trainable.data.sources.source import Request, Survey, counted, some
from trainable.errors import DataError

TRAIN = ("train", "training")
TEST = ("test", "testing")
VALIDATION = ("val", "valid", "validation")
TABLES = (".csv", ".tsv", ".parquet")


def recognises(request: Request) -> bool:
    """A folder."""
    return request.path.is_dir()


def open_images(request: Request) -> Survey:
    """Open class folders."""
    root, found = request.path, find_files(request.path)
    folders = _folders_in(root)
    if not folders:
        raise DataError(_no_folders(root, found))
    parts = folders if _is_split(folders) else []
    class_folders = [f"{part}/{name}" for part in parts for name in _folders_in(root / part)]
    _require_pictures(root, class_folders if parts else folders, parts, found)
    depth = 1 if parts else 0
    inside = [name for name in found.images if name.count("/") > depth]
    class_of = [name.split("/")[depth] for name in inside]
    names = sorted(set(class_of))
    if len(names) < 2:
        raise DataError(
            f"{root} has one class, {displayable(names[0])!r}: at least 2 are needed, each in a "
            f"folder of its own{' inside of train' if parts else ''}"
        )
    notes = [*found.notes(root)]
    if beside := len(found.images) - len(inside):
        notes.append(f"Left out: {counted(beside, 'picture')} in {root} in no class folder.")
    is_test = None
    if (test := _test_part(parts)) is not None:
        is_test = np.array([name.split("/")[0] == test for name in inside])
        _require_same_classes(root, class_of, is_test)
        pool = " and ".join(part for part in parts if part != test)
        notes.append(
            f"The test set is {test} ({is_test.sum():,} images); the pool is {pool} "
            f"({(~is_test).sum():,})."
        )
    numbers = {name: label for label, name in enumerate(names)}
    return open_files(
        request,
        Labelled(
            kind="class folders",
            names=tuple(inside),
            labels=np.array([numbers[name] for name in class_of], np.int64),
            class_names=tuple(map(displayable, names)),
            is_test=is_test,
            notes=tuple(notes),
        ),
    )


def _folders_in(folder: Path) -> list[str]:
    return sorted(
        entry.name
        for entry in folder.iterdir()
        if entry.is_dir() and not entry.name.startswith(HIDDEN)
    )


def _no_folders(root: Path, found: Found) -> str:
    """Why a folder without folders is refused."""
    if not found.images:
        what = f"holds no pictures, only {some(found.others)}" if found.others else "is empty"
        return f"{root} {what}: give a folder that holds one folder for each class"
    tables = [name for name in found.others if name.lower().endswith(TABLES)]
    catalogue = root / (tables[0] if tables else "catalogue.csv")
    return (
        f"{root} holds {counted(len(found.images), 'picture')} and no class folders: put those of each "
        f"class into a folder of its own, or name a catalogue, e.g. --labels {catalogue}"
    )


def _is_split(folders: Sequence[str]) -> bool:
    """Whether folders are the parts of a split and not classes: train, and perhaps others."""
    small = {folder.lower() for folder in folders}
    return bool(small & {*TRAIN}) and small <= {*TRAIN, *TEST, *VALIDATION}


def _test_part(parts: Sequence[str]) -> str | None:
    """The part that is the test set: test or else val; None if there is neither."""
    named = [part for names in (TEST, VALIDATION) for part in parts if part.lower() in names]
    return named[0] if named else None


def _require_pictures(
    root: Path, class_folders: Sequence[str], parts: Sequence[str], found: Found
) -> None:
    """Refuse a class without a picture: something was not copied."""
    filled = {name[: name.rfind("/")] for name in found.images}
    above = {
        "/".join(name.split("/")[:n]) for name in filled for n in range(1, name.count("/") + 2)
    }
    empty = [folder for folder in class_folders if folder not in above]
    empty += [part for part in parts if not any(f.startswith(f"{part}/") for f in class_folders)]
    if not empty:
        return
    inside = [name for name in found.others if name.startswith(f"{empty[0]}/")]
    holds = f", only {some(list(map(displayable, inside)))}" if inside else ""
    what = "class folders" if empty[0] in parts else "pictures"
    raise DataError(
        f"{displayable(empty[0])!r} in {root} has no {what}{holds}"
        f"{f' (as have {len(empty) - 1} more)' if len(empty) > 1 else ''}: fill it, or remove it"
    )


def _require_same_classes(root: Path, class_of: Sequence[str], is_test: np.ndarray) -> None:
    tested = {name for name, test in zip(class_of, is_test, strict=True) if test}
    trained = {name for name, test in zip(class_of, is_test, strict=True) if not test}
    if unknown := sorted(map(displayable, tested - trained)):
        raise DataError(
            f"{root}: the test set has classes of which there is no other image, {some(unknown)}: "
            "remove them, or add images to train on"
        )
