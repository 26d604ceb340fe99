"""A sweep's manifest, `sweep.json`: read it, check it, and see that several can be read as one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .frames import of_cell

FORMAT = 1
KEYS = (
    "name",
    "command",
    "created",
    "protocol",
    "arch",
    "weights",
    "data",
    "cells",
    "experiments",
    "versions",
    "git_commit",
    "device",
)


class NotASweep(ValueError):
    """The path does not hold a sweep, or the sweeps cannot be read as one grid."""


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of one sweep folder, checked.

    Parameters
    ----------
    folder
        ``ray_results/NAME``.

    Raises
    ------
    NotASweep
        Where the folder or its ``sweep.json`` is missing, torn or of another format.
    """
    path = folder / "sweep.json"
    if not path.is_file():
        found = "a folder without sweep.json" if folder.is_dir() else "no such folder here"
        raise NotASweep(
            f"{folder} is not a sweep ({found}); expected a folder that `python -m sweep.run` "
            "wrote, e.g. ray_results/demo"
        )
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise NotASweep(
            f"{path} cannot be read as JSON ({error}); start the sweep again under its name "
            "to have it rewritten"
        ) from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        found = manifest.get("format") if isinstance(manifest, dict) else type(manifest).__name__
        raise NotASweep(
            f"{path} has format {found!r}, expected {FORMAT}; read it with the version of this "
            "project that wrote it"
        )
    lacking = [key for key in KEYS if key not in manifest]
    if lacking:
        raise NotASweep(f"{path} lacks {', '.join(lacking)}; expected the keys {', '.join(KEYS)}")
    if not manifest["cells"]:
        raise NotASweep(f"{path} lists no cells; expected one for each trial of the grid")
    return manifest


def check_comparable(manifests: list[dict[str, Any]]) -> None:
    """Refuse sweeps that differ in anything but their protocols and cells.

    Raises
    ------
    NotASweep
        Naming the first sweep that differs, in what, and both values.
    """
    first = manifests[0]
    for other in manifests[1:]:
        for what, here, there in _identity(first, other):
            if here != there:
                raise NotASweep(
                    f"the sweeps {first['name']!r} and {other['name']!r} cannot be read as one "
                    f"grid: {what} is {here!r} in one and {there!r} in the other; "
                    "write a report for each"
                )
    recipes: dict[tuple[str, str], dict[str, Any]] = {}
    for manifest, cell in ((m, cell) for m in manifests for cell in m["cells"]):
        recipe, init = _recipe(cell["run"]), cell["run"]["init"]
        for protocol in of_cell(cell, manifest):
            known = recipes.setdefault((protocol, init), recipe)
            for name, value in recipe.items():
                if known.get(name, value) != value:
                    raise NotASweep(
                        f"the cell {cell['id']!r} has {name} {value!r} where others of init "
                        f"{init!r} and protocol {protocol!r} have {known[name]!r}; seeds and "
                        "fractions can only be compared where nothing else differs: write a report "
                        "for each sweep"
                    )


def _identity(a: dict[str, Any], b: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """Name and both values of everything that must agree; weights only where both have some."""
    pairs = [("the data's sha256", a["data"]["sha256"], b["data"]["sha256"])]
    for key, what in (
        ("class_names", "the list of classes"),
        ("split", "the split"),
        ("image_size", "the image size"),
    ):
        pairs.append((what, a["data"][key], b["data"][key]))
    pairs.append(("the arch", a["arch"], b["arch"]))
    varies = (bool(manifest["data"].get("resample")) for manifest in (a, b))
    pairs.append(("whether the split varies with the seed", *varies))
    if a["weights"] and b["weights"]:
        key = "weights_sha256" if "weights_sha256" in a and "weights_sha256" in b else "weights"
        pairs.append((f"the {key}", a[key], b[key]))
    return pairs


def _recipe(run: dict[str, Any]) -> dict[str, Any]:
    """What all trials of one protocol and init share."""
    names = ("trained", "transform", "learning_rate", "weight_decay", "batch_size", "precision")
    augment = run.get("augment", False)  # of a sweep from before there was a choice
    return {name: run[name] for name in names if name in run} | {"augment": augment}
