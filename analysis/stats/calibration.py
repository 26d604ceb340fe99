"""Calibration: whether predictions of 80% confidence are right in 80% of the cases.

The expected calibration error is the mean distance between confidence and accuracy over bins of
equal width, weighted by their images (Naeini et al. 2015; Guo et al. 2017, who use 15 bins).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse, stats

from analysis import formatting
from analysis.results.schema import Results
from analysis.stats.bootstrap import RESAMPLES
from analysis.stats.estimates import LEVEL, Estimate, student_half_width, wilson
from analysis.stats.seed_predictions import SeedPredictions, at_largest, described

BINS = 15
CHUNK = 200
"""Resamples that are computed at once."""
PERFECT = 200
"""Draws for the error that a perfectly calibrated model would show."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Calibration of both inits, as numbers and in sentences."""

    bins: pd.DataFrame
    """As `reliability` gives it, of both inits."""
    sentences: tuple[str, ...]


def calibration(results: Results) -> Calibration | None:
    """Calibration of all seeds of the largest fraction; None without stored predictions."""
    by_init = at_largest(results)
    if not by_init:
        return None
    errors = expected_errors(list(by_init.values()))
    return Calibration(
        bins=pd.concat(
            [reliability(predictions) for predictions in by_init.values()], ignore_index=True
        ),
        sentences=(
            *(_sentence(p, e) for p, e in zip(by_init.values(), errors, strict=True)),
            f"Expected calibration error: over {BINS} bins of equal width, mean over seeds, with "
            f"a 95% interval ({errors[0].how}). On few images even a perfectly calibrated "
            "model shows more than 0, so what it would show stands beside it.",
        ),
    )


def bin_of(confidence: NDArray[Any]) -> NDArray[Any]:
    """Bin 0 … `BINS` - 1 of each confidence; the bins are open below and closed above."""
    return np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)


def reliability(predictions: SeedPredictions) -> pd.DataFrame:
    """Confidence and accuracy in each bin that has images, over all seeds.

    Returns
    -------
    pandas.DataFrame
        ``init``, ``seeds``, ``bin``, ``images`` (mean over seeds), ``share`` of all images,
        ``confidence``, ``accuracy``, ``low``, ``high`` (Wilson over the bin's images); 0–1.
    """
    confidence, correct = (
        predictions.confidence[predictions.seen],
        predictions.correct[predictions.seen],
    )
    pairs = pd.DataFrame(
        {"bin": bin_of(confidence), "confidence": confidence, "accuracy": correct.astype(float)}
    )
    bins = pairs.groupby("bin").agg(
        pairs=("accuracy", "size"), confidence=("confidence", "mean"), accuracy=("accuracy", "mean")
    )
    bins.insert(0, "images", bins["pairs"] / predictions.n_seeds)
    bins.insert(1, "share", bins["pairs"] / len(pairs))
    ends = [
        wilson(a, max(1, round(n))) for a, n in zip(bins["accuracy"], bins["images"], strict=True)
    ]
    bins["low"] = [end.low for end in ends]
    bins["high"] = [end.high for end in ends]
    return (
        bins.drop(columns="pairs")
        .reset_index()
        .assign(init=predictions.init, seeds=predictions.n_seeds)
    )


def errors_by_seed(
    confidence: NDArray[Any], correct: NDArray[Any], weights: NDArray[Any] | None = None
) -> NDArray[Any]:
    """(S,) expected calibration error of each seed, 0–1.

    Parameters
    ----------
    confidence, correct
        (S, n) float in 0–1, and bool.
    weights
        (S, n) or (n,) how often each image counts; once unless given.
    """
    seeds, n = confidence.shape
    weights = np.broadcast_to(1.0 if weights is None else weights, (seeds, n))
    bins = bin_of(confidence) + BINS * np.arange(seeds)[:, None]
    gaps = weights * (confidence - correct)
    sums = np.bincount(bins.ravel(), gaps.ravel(), minlength=BINS * seeds)
    return np.abs(sums.reshape(seeds, BINS)).sum(axis=1) / weights.sum(axis=1)


def expected_errors(of_inits: Sequence[SeedPredictions]) -> list[Estimate]:
    """Expected calibration error of each init, mean over seeds, with its interval.

    The bootstrap over images is the basic one, which reflects the resampled errors about the
    error itself: an absolute value grows with noise, measured and resampled alike. The variance
    between seeds enters by Student's interval of their mean, pooled over the inits, added in quadrature; it holds the
    images' noise a second time, so the interval is rather too wide.
    """
    by_seed = [errors_by_seed(s.confidence, s.correct, s.seen) for s in of_inits]
    known = [(float(e.var(ddof=1)), len(e)) for e in by_seed if len(e) > 1]
    how = (
        "bootstrap over the images, and Student's over the seeds"
        if known
        else "bootstrap over the images; one seed, so without the variance between seeds"
    )
    estimates: list[Estimate] = []
    for predictions, errors in zip(of_inits, by_seed, strict=True):
        value, seeds = float(errors.mean()), student_half_width(known, [predictions.n_seeds])
        low, high = over_images(len(predictions.rows), ResampledErrors(predictions))
        low, high = min(low, value), max(high, value)
        low = max(0.0, float(value - np.hypot(value - low, seeds)))
        high = min(1.0, float(value + np.hypot(high - value, seeds)))
        estimates.append(Estimate(value=value, low=low, high=high, how=how))
    return estimates


class ResampledErrors:
    """The mean error of all seeds, for many resamples of the images at once.

    Which bin an image falls into does not depend on the resample, so the gap between confidence and
    accuracy in a bin is linear in how often each image was drawn: one sparse product for all resamples.

    Parameters
    ----------
    predictions : SeedPredictions
        Of S seeds and n images.
    """

    def __init__(self, predictions: SeedPredictions) -> None:
        seeds, images = predictions.seen.shape
        seed, image = np.nonzero(predictions.seen)
        gaps = (predictions.confidence - predictions.correct)[seed, image]
        bins = bin_of(predictions.confidence)[seed, image] + BINS * seed
        self.gaps = sparse.csr_array((gaps, (bins, image)), shape=(BINS * seeds, images))
        self.seen = predictions.seen.astype(float)

    def __call__(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """(B,) errors; `counts` (B, n): how often each image was drawn."""
        gaps = np.abs(self.gaps @ counts.T).reshape(-1, BINS, len(counts)).sum(axis=1)
        return (gaps / (self.seen @ counts.T)).mean(axis=0)


def over_images(
    n: int, statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> tuple[float, float]:
    """The basic bootstrap interval, over `n` images, of a statistic of one cell.

    Parameters
    ----------
    statistic
        Takes (B, n), how often each image was drawn in each of B resamples; gives (B,).
    """

    def of_drawn(drawn: NDArray[np.int64], axis: int = -1) -> NDArray[np.float64]:
        del axis  # always the last
        rows = drawn.reshape(-1, n)
        values = [
            statistic(_counts(part, n)) for part in np.array_split(rows, len(rows) // CHUNK + 1)
        ]
        return np.concatenate(values).reshape(drawn.shape[:-1])

    interval = stats.bootstrap(
        (np.arange(n),),
        of_drawn,
        n_resamples=RESAMPLES,
        vectorized=True,
        confidence_level=LEVEL,
        method="basic",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(interval.low), float(interval.high)


def _counts(drawn: NDArray[np.int64], n: int) -> NDArray[np.float64]:
    """(B, n): how often each of `n` images is among the drawn ones, (B, m)."""
    cells = drawn + n * np.arange(len(drawn))[:, None]
    return np.bincount(cells.ravel(), minlength=n * len(drawn)).reshape(-1, n).astype(float)


def perfect_error(predictions: SeedPredictions) -> float:
    """Mean error of a model that is right as often as it says, on as many images."""
    rng, confidence = np.random.default_rng(0), predictions.confidence
    drawn = (rng.random(confidence.shape) < confidence for _ in range(PERFECT))
    return float(np.mean([errors_by_seed(confidence, c, predictions.seen).mean() for c in drawn]))


def _sentence(predictions: SeedPredictions, error: Estimate) -> str:
    confidence = float(predictions.confidence[predictions.seen].mean())
    accuracy = float(predictions.correct[predictions.seen].mean())
    perfect = perfect_error(predictions)
    return (
        f"{described({predictions.init: predictions})}: mean confidence "
        f"{formatting.percent(confidence)}, accuracy {formatting.percent(accuracy)}; expected "
        f"calibration error {_points(error.value)} points [{_points(error.low)}, "
        f"{_points(error.high)}]; a perfectly calibrated model would show {_points(perfect)} on "
        f"these n = {len(predictions.rows):,} images."
    )


def _points(error: float | None) -> str:
    """0.034 → "3.4"; percentage points without a sign."""
    return formatting.number(None if error is None else error * 100, 1)
