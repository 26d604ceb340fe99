"""Several protocols on the same data, splits and seeds: what each prescribes and what it gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from . import words
from .frames import BASELINE_FRACTION, Results, of_cell
from .statistics import Arm, Estimate, accuracy_difference, arm, spread
from .tables import cell_name

PARTS = {"all": "all", "head": "last layer", "as_run": "all but encoder"}
IMAGES = {"resize": "resized", "resize_crop": "centre crop"}
RULES = {"paper": "never resets", "as_run": "resets"}
SETTINGS = {
    "trained": "trains",
    "transform": "image",
    "rule": "counter",
    "delta": "δ",
    "patience": "patience",
    "max_epochs": "epoch limit",
    "learning_rate": "learning rate",
}
"""What protocols may differ in, and the heading of its column."""
ALWAYS = ("trained", "transform", "rule", "delta", "patience")
"""Settings with a column whether they differ or not: the four things that text and notebooks
differ in."""
SIGNS = (
    (1, "is more accurate than"),
    (0, "is not to be told from"),
    (-1, "is less accurate than"),
    (None, "has no interval against"),
)

ALIKE = "is right on the very images that {} is right on, seed by seed,"
SAME = "prescribes the very trials of {}"


def compared(results: Results) -> pd.DataFrame | None:
    """Every protocol at every cell of its grid beside the first one; None where there is one.

    Returns
    -------
    pandas.DataFrame
        By init, fraction and protocol, the first protocol first. Settings of the trials (columns
        of `SETTINGS`); ``n`` complete seeds with their ``accuracies`` (0–1) and mean ``epochs``;
        ``difference``, an `Estimate` of the mean accuracy less that of the first protocol in the
        cell, and ``gain``, less that of the same protocol's baseline: None where a side has no
        complete trial or is the other; ``same``: the trials are the first protocol's own;
        ``alike``: they are others, but right on the very same images, seed by seed (as where only
        the end of a trial is another), so that a difference needs no interval and is None.
    """
    if len(results.protocols) == 1:
        return None
    rows = []
    for protocol in results.protocols:
        own = results.only(protocol)
        baseline = arm(own, "scratch", BASELINE_FRACTION)
        cells = own.trials.groupby(["init", "fraction"], sort=False)
        rows += [_row(own, baseline, *cell, trials) for cell, trials in cells]
    first = {(r["init"], r["fraction"]): r for r in rows if r["protocol"] == results.protocols[0]}
    for row in rows:
        beside = first.get((row["init"], row["fraction"]))
        other = beside is not None and row is not beside
        row["same"] = other and row["trials"] == beside["trials"]
        apart = other and not row["same"]
        row["alike"] = apart and _alike(row["arm"], beside["arm"])
        differ = apart and not row["alike"]
        row["difference"] = _difference(row["arm"], beside["arm"]) if differ else None
    order = results.protocols.index
    rows.sort(key=lambda r: (r["init"] == "pretrained", r["fraction"], order(r["protocol"])))
    return pd.DataFrame(rows).drop(columns=["arm", "trials"])


def _row(
    own: Results, baseline: Arm | None, init: str, fraction: float, trials: pd.DataFrame
) -> dict[str, Any]:
    complete, here = own.of(init, fraction), arm(own, init, fraction)
    return {
        "protocol": own.manifest["protocol"],
        "init": init,
        "fraction": float(fraction),
        "n_train": int(trials["n_train"].iloc[0]),
        "n_val": int(trials["n_val"].iloc[0]),
        **_settings(own, init, fraction),
        "trained_parameters": trials["trained_parameters"].iloc[0],
        "n": len(complete),
        "accuracies": tuple(map(float, complete["best_val_accuracy"])),
        "epochs": tuple(map(int, complete["epochs"])),
        "gain": _difference(here, baseline) if init == "pretrained" else None,
        "arm": here,
        "trials": set(trials["trial"]),
    }


def _settings(own: Results, init: str, fraction: float) -> dict[str, Any]:
    """Of the trials of one cell; seeds share them."""
    runs = (
        cell["run"]
        for manifest in own.manifests
        for cell in manifest["cells"]
        if own.manifest["protocol"] in of_cell(cell, manifest)
    )
    run = next(r for r in runs if r["init"] == init and np.isclose(r["fraction"], fraction))
    return {name: run.get(name, run.get("stopping", {}).get(name)) for name in SETTINGS}


def _difference(a: Arm | None, b: Arm | None) -> Estimate | None:
    return None if a is None or b is None else accuracy_difference(a, b)


def _alike(a: Arm | None, b: Arm | None) -> bool:
    """Right on the same images, seed by seed; False where predictions are not stored."""
    if a is None or b is None or a.correct is None or b.correct is None:
        return False
    return np.array_equal(a.rows, b.rows) and np.array_equal(a.correct, b.correct)


def table(frame: pd.DataFrame, first: str) -> pd.DataFrame:
    """The comparison as text: a block for each cell, in which a setting stands where it differs.

    Parameters
    ----------
    frame
        As `compared` gives it.
    first
        The protocol that the others are compared with.
    """
    shown = [name for name in SETTINGS if name in ALWAYS or _differs(frame, name)]
    rows, heads = [], {}
    for row in frame.to_dict("records"):
        head = heads.setdefault((row["init"], row["fraction"]), row)
        accuracy = spread(row["accuracies"])[:2] if row["n"] else (None, None)
        rows.append(
            {
                "trial": cell_name(row["init"], row["fraction"]) if head is row else "",
                "protocol": row["protocol"],
                **{
                    SETTINGS[name]: _setting(row, name)
                    if head is row or row[name] != head[name]
                    else ""
                    for name in shown
                },
                "seeds": str(row["n"]),
                "epochs": _span(row["epochs"]),
                "accuracy %": words.with_spread(*(x and x * 100 for x in accuracy)),
                f"less {first}, points": _against(row),
                "less baseline, points": _interval(row["gain"]),
            }
        )
    return pd.DataFrame(rows)


def _differs(frame: pd.DataFrame, name: str) -> bool:
    return bool((frame.groupby(["init", "fraction"])[name].nunique(dropna=False) > 1).any())


def _cell(row: dict[str, Any]) -> str:
    return f"{cell_name(row['init'], row['fraction'])}, {row['n_train']:,} labels"


def _setting(row: dict[str, Any], name: str) -> str:
    value = row[name]
    if not words.known(value):
        return words.NONE
    if name == "trained":
        return f"{PARTS[value]}, {row['trained_parameters']:,}"
    named = {"transform": IMAGES, "rule": RULES}.get(name)
    return named[value] if named else f"{value:g}"


def _against(row: dict[str, Any]) -> str:
    if row["same"]:
        return "same trials"
    return "0.0 on each image" if row["alike"] else _interval(row["difference"])


def _span(counts: tuple[int, ...]) -> str:
    """(12, 15, 9) → "9–15"."""
    if not counts:
        return words.NONE
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low}–{high}"


def _interval(difference: Estimate | None) -> str:
    if difference is None:
        return words.NONE
    text = words.points(difference.value)
    if difference.low is None:
        return text
    return f"{text} [{words.points(difference.low)}, {words.points(difference.high)}]"


def sentences(frame: pd.DataFrame, first: str) -> tuple[str, ...]:
    """What the comparison says of each protocol, in words; arguments as of `table`."""
    others = [protocol for protocol in frame["protocol"].unique() if protocol != first]
    said = [_against_first(frame[frame["protocol"] == p], p, first) for p in others]
    return (*said, *_gains(frame))


def _against_first(own: pd.DataFrame, protocol: str, first: str) -> str:
    parts = []
    known = own[own["difference"].notna()]
    for sign, what in SIGNS:
        rows = [row for row in known.to_dict("records") if row["difference"].sign == sign]
        if rows:
            cells = (f"{_cell(row)}: {_interval(row['difference'])} points" for row in rows)
            parts.append(f"{what} {first} at {'; '.join(cells)}")
    for column, what in (("alike", ALIKE), ("same", SAME)):
        if own[column].any():
            names = map(_cell, own[own[column]].to_dict("records"))
            parts.append(f"{what.format(first)} at {'; '.join(names)}")
    if not parts:
        return f"{protocol} cannot be set against {first}: they share no cell that is complete."
    return f"{protocol} {'. It '.join(parts)}."


def _gains(frame: pd.DataFrame) -> tuple[str, ...]:
    """Pre-training against each protocol's own baseline, at its largest fraction."""
    known = frame[frame["gain"].notna()]
    if known.empty:
        return ()
    rows = known[known["fraction"] == known["fraction"].max()].to_dict("records")
    cells = (f"{_interval(row['gain'])} by {row['protocol']}" for row in rows)
    return (
        f"Pre-trained at {words.fraction(rows[0]['fraction'])} of the labels less from scratch on "
        f"all labels, in points: {words.listed(cells)}.",
    )
