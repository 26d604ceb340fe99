"""How many labels are enough, for the report: one figure with its caption, and two tables."""

from __future__ import annotations

from dataclasses import dataclass

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from . import enough, figures, words
from .baseline import Crossing
from .cost import Share, shares
from .crossing import Enough
from .frames import Results
from .intervals import accuracies
from .plates import Plate

TITLE = "How many labels are enough?"
CURVES = (
    "Left: accuracy over labels; marks are means over seeds, bands their 95 % intervals over "
    "validation images and seeds (one seed: Wilson's, images alone), lines fits that never fall. "
    "Where the pre-trained line meets the red one (diamond; grey: its 95 % interval) the labels "
    "are enough to match training from scratch on all of them."
)
COUNTS = {
    "images": "images through the network",
    "flops": "floating-point operations",
    "seconds": "seconds of the epochs",
}
AMOUNTS = {
    "images": lambda count: f"{count:,.0f}",
    "flops": lambda count: f"{count / 1e12:.3g} TFLOP",
    "seconds": words.duration,
}


@dataclass(frozen=True, kw_only=True)
class Labels:
    """What the report says of it."""

    title: str
    plate: Plate
    tables: dict[str, tuple[str, pd.DataFrame, list[int]]]
    """File name → title, table, bold rows (none)."""


def labels(results: Results, cross: Crossing, found: Enough) -> Labels | None:
    """The section; None without a baseline and a pre-trained cell.

    Parameters
    ----------
    cross, found
        As `baseline.crossing` and `crossing.enough` give them.
    """
    place = found.crossing
    if place is None:
        return None
    fraction = place.tested[-1] if cross.fraction is None else cross.fraction
    compared = shares(results, fraction)
    if cross.fraction is None:
        where = f"at {words.fraction(fraction)}, the most tested, as the baseline is not reached"
    else:
        where = f"at {words.fraction(fraction)}, the smallest fraction tested that reaches it"
    with matplotlib.rc_context(figures.STYLE):
        plate = _plate(results, found, compared, fraction, where)
    tables = {"label_saving": (SAVING_TITLE.format(place.how), savings_table(found), [])}
    if compared:
        tables["compute_saving"] = (COSTS_TITLE.format(where), costs_table(compared), [])
    return Labels(title=TITLE, plate=plate, tables=tables)


SAVING_TITLE = (
    "Labels saved at equal accuracy: what the pre-trained model needs to be as accurate as one "
    "from scratch, with the factor saved and its 95 % interval; {}."
)
COSTS_TITLE = (
    "Cost of the pre-trained model {}, against the baseline; means over seeds and Student's 95 % "
    "interval of the share. Validation images are counted too. “Every image, every epoch”: "
    "each passes the whole network in each epoch, as the paper runs it (a training step costs "
    "three forward passes where all is trained, two where all but the encoder is, one below a "
    "frozen backbone). “As run here”: a head on cached features needs one pass of each image, "
    "once; seconds are without that pass."
)


def _plate(
    results: Results, found: Enough, compared: list[Share], fraction: float, where: str
) -> Plate:
    figure = Figure(figsize=(11, 5), layout="constrained")
    if compared:
        left, right = figure.subplots(1, 2, width_ratios=(1.75, 1))
        enough.costs(compared, right, f"at {words.fraction(fraction)}")
        bars = f" Right: what training the pre-trained model costs {where}, in shares of the "
        bars += "baseline's cost (red)."
    else:
        left, bars = figure.subplots(), ""
    enough.learning(accuracies(results), found, left)
    return Plate(name="enough", title=TITLE, caption=CURVES + bars, figure=figure)


def savings_table(found: Enough) -> pd.DataFrame:
    """One row per fraction of scratch."""
    rows = [
        {
            "from scratch": words.fraction(saving.fraction),
            "labels": f"{saving.n_train:,}",
            "accuracy %": words.number(saving.accuracy * 100, 1),
            "pre-trained needs": saving.place.words,
            "95 % interval": saving.place.interval.removeprefix("95 % interval "),
            "times fewer labels": saving.words,
        }
        for saving in found.savings
    ]
    return pd.DataFrame(rows)


def costs_table(compared: list[Share]) -> pd.DataFrame:
    """One row per cost and way of counting it."""
    rows = []
    for share in compared:
        amount = AMOUNTS[share.quantity]
        low, high = share.share.low, share.share.high
        interval = share.share.how if low is None else f"{_per_cent(low)} to {_per_cent(high)} %"
        rows.append(
            {
                "cost": COUNTS[share.quantity],
                "counted": share.counted,
                "pre-trained": amount(share.ours),
                "baseline": amount(share.baseline),
                "share": f"{_per_cent(share.share.value)} %",
                "95 % interval": interval,
                "saving": enough.factor(share),
            }
        )
    return pd.DataFrame(rows)


def _per_cent(share: float) -> str:
    """Three digits or more: 0.0895 → "8.95", 10.02 → "1,002"."""
    return f"{share * 100:,.0f}" if share >= 1 else f"{share * 100:.3g}"
