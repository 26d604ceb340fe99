"""Labels for a person to look at: a random sample, and what was said of it."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeGuard, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.label_audit.confident_learning import Audit
from trainable.errors import DataError, OutputError

Verdict = Literal["right", "wrong", "unsure"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
COLUMNS = ("row", "given", "verdict")


def sample(found: Audit, n: int, seed: int) -> NDArray[np.int64]:
    """Indices of about `n` images in random order, half of them suspected if there are so many."""
    random, chosen = np.random.default_rng([seed, 17]), list[NDArray[np.int64]]()
    for part in (True, False):
        members = np.flatnonzero(found.suspected == part)
        chosen.append(random.permutation(members)[: n // 2])
    return random.permutation(np.concatenate(chosen))


def table(
    chosen: NDArray[np.int64],
    found: Audit,
    rows: NDArray[np.int64],
    names: list[str],
    classes: tuple[str, ...],
) -> pd.DataFrame:
    """The sample as a table to fill in; it does not say what the audit thinks."""
    return pd.DataFrame(
        {
            "image": [names[index] for index in chosen],
            "row": rows[chosen],
            "given": [classes[label] for label in found.labels[chosen]],
            "verdict": "",
        }
    )


def read_verdicts(
    path: Path, asked: pd.DataFrame, chosen: NDArray[np.int64]
) -> Mapping[int, Verdict]:
    """What was said of the sample: index of an image → verdict, of those that have one.

    Parameters
    ----------
    asked
        The `table` of this audit.
    chosen
        Its indices, of `sample`.

    Raises
    ------
    DataError
        The file is missing, is of another audit, says something else, or nothing.
    """
    try:
        filled = pd.read_csv(path, keep_default_na=False, dtype={"given": str, "verdict": str})
    except FileNotFoundError as error:
        raise DataError(f"--reviewed {path} does not exist") from error
    except (OSError, ValueError) as error:
        raise DataError(f"--reviewed {path} cannot be read as CSV: {error}") from error
    if missing := [name for name in COLUMNS if name not in filled]:
        raise DataError(
            f"--reviewed {path} has no column {missing[0]!r}: fill in review.csv of an audit"
        )
    index_of = dict(
        zip(zip(asked["row"], asked["given"], strict=True), chosen.tolist(), strict=True)
    )
    verdicts: dict[int, Verdict] = {}
    for row, given, verdict in filled[list(COLUMNS)].itertuples(index=False, name=None):
        said = verdict.strip().lower()
        if (row, given) not in index_of:
            raise DataError(
                f"--reviewed {path}: row {row} labelled {given!r} is not in the sample of this audit; give "
                "the review.csv that the same command wrote, with the same data, backbone and --seed"
            )
        if _is_verdict(said):
            verdicts[index_of[row, given]] = said
        elif said:
            raise DataError(
                f"--reviewed {path}: row {row} has the verdict {verdict!r}, expected one of "
                f"{', '.join(VERDICTS)}, or nothing if nobody looked at it"
            )
    if not verdicts:
        raise DataError(f"--reviewed {path}: no row has a verdict ({', '.join(VERDICTS)})")
    return verdicts


def refuse_to_overwrite(path: Path) -> None:
    """`OutputError` if a review that somebody has begun would be written over."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8", newline="") as file:
        begun = any((row.get("verdict") or "").strip() for row in csv.DictReader(file))
    if begun:
        raise OutputError(
            f"{path} has verdicts, which this run would write over: give it with --reviewed {path}, or "
            "another folder with --out"
        )


def _is_verdict(text: str) -> TypeGuard[Verdict]:
    return text in VERDICTS
