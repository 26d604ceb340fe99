"""Probabilities one can use: the calibration error before and after temperature scaling."""

from __future__ import annotations

import pandas as pd

from analysis import formatting
from analysis.report.analysis import Analysis
from analysis.report.section import Note, Section
from analysis.report.tables import ReportTable
from analysis.stats.calibration import BINS
from analysis.stats.estimates import Estimate
from analysis.stats.temperature import Scaling, temperature_scaling


def section(analysis: Analysis) -> Section | None:
    """None without a test set, or if trials stored no predictions of their validation images."""
    found = temperature_scaling(analysis.results)
    if not found:
        return None
    table = pd.DataFrame([_row(scaling) for scaling in found])
    return Section(
        id="calibration",
        title="Probabilities one can use",
        blocks=(
            *map(_sentence, found),
            ReportTable(frame=table),
            Note(
                text="Temperature scaling (Guo et al. 2017) divides the logits of a trial by one number "
                "that its validation images choose, of a probe and of a cross-validated budget the "
                "labelled images, each as predicted by the fit that left it out. No predicted class "
                f"changes. Expected calibration error on the test images, over {BINS} bins, mean over "
                f"seeds; 95% CI: {found[0].change.how}. python -m sweep.predict applies it."
            ),
        ),
    )


def _row(scaling: Scaling) -> dict[str, str]:
    predictions = scaling.predictions
    return {
        "trials": predictions.label,
        "test images": f"{len(predictions.rows):,}",
        "fitted to": _span([float(n) for n in scaling.n_validation], 0),
        "temperature": _span(scaling.temperatures, 2),
        "error before, points": _interval(scaling.before),
        "error after, points": _interval(scaling.after),
        "change, points": _interval(scaling.change, signed=True),
    }


def _span(values: list[float] | tuple[float, ...], digits: int) -> str:
    """The range of some numbers, or the one that they all are."""
    low, high = (f"{value:.{digits}f}" for value in (min(values), max(values)))
    return low if low == high else f"{low}–{high}"


def _interval(estimate: Estimate, signed: bool = False) -> str:
    value, low, high = (
        formatting.number(None if end is None else 100 * end, 1, signed=signed)
        for end in (estimate.value, estimate.low, estimate.high)
    )
    return f"{value} [{low}, {high}]"


def _sentence(scaling: Scaling) -> str:
    change, name = scaling.change, formatting.capital(scaling.predictions.label)
    if change.high is not None and change.high < 0:
        verdict = "temperature scaling makes the probabilities more honest"
    elif change.low is not None and change.low > 0:
        verdict = "temperature scaling makes the probabilities less honest: use --no-calibrated"
    else:
        verdict = "no significant difference"
    return (
        f"{name}: {verdict}; the expected calibration error changes by "
        f"{_interval(change, signed=True)} points."
    )
