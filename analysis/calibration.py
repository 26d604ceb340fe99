"""Calibration: whether a confidence of 80 % is right in 80 % of the cases.

The expected calibration error is the mean distance between confidence and accuracy over bins of
equal width, weighted by their images (Naeini et al. 2015; Guo et al. 2017, who use 15 bins).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from . import words
from .draws import RESAMPLES
from .frames import Results
from .stacks import Stack, at_largest, described
from .statistics import LEVEL, Estimate, student_half_width, wilson

BINS = 15
PERFECT = 200
"""Draws for the error that a perfectly calibrated model would show."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What the report says about calibration."""

    bins: pd.DataFrame
    """As `reliability` gives it, of both inits."""
    sentences: tuple[str, ...]


def calibration(results: Results) -> Calibration | None:
    """Calibration of all seeds of the largest fraction; None without stored predictions."""
    stacks = at_largest(results)
    if not stacks:
        return None
    errors = expected_errors(list(stacks.values()))
    return Calibration(
        bins=pd.concat([reliability(stack) for stack in stacks.values()], ignore_index=True),
        sentences=(
            *(_sentence(s, e) for s, e in zip(stacks.values(), errors, strict=True)),
            f"Expected calibration error: over {BINS} bins of equal width, mean over seeds, with "
            f"a 95 % interval ({errors[0].how}). On few images even a perfectly calibrated "
            "model shows more than 0, so what it would show stands beside it.",
        ),
    )


def bin_of(confidence: np.ndarray) -> np.ndarray:
    """Bin 0 … `BINS` - 1 of each confidence; the bins are open below and closed above."""
    return np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)


def reliability(stack: Stack) -> pd.DataFrame:
    """Confidence and accuracy in each bin that has images, over all seeds.

    Returns
    -------
    pandas.DataFrame
        ``init``, ``seeds``, ``bin``, ``images`` (mean over seeds), ``share`` of all images,
        ``confidence``, ``accuracy``, ``low``, ``high`` (Wilson over the bin's images); 0–1.
    """
    confidence, correct = stack.confidence[stack.seen], stack.correct[stack.seen]
    pairs = pd.DataFrame(
        {"bin": bin_of(confidence), "confidence": confidence, "accuracy": correct.astype(float)}
    )
    found = pairs.groupby("bin").agg(
        pairs=("accuracy", "size"), confidence=("confidence", "mean"), accuracy=("accuracy", "mean")
    )
    found.insert(0, "images", found["pairs"] / stack.n_seeds)
    found.insert(1, "share", found["pairs"] / len(pairs))
    ends = [
        wilson(a, max(1, round(n))) for a, n in zip(found["accuracy"], found["images"], strict=True)
    ]
    found["low"] = [end.low for end in ends]
    found["high"] = [end.high for end in ends]
    return found.drop(columns="pairs").reset_index().assign(init=stack.init, seeds=stack.n_seeds)


def errors_by_seed(
    confidence: np.ndarray, correct: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
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
    places = bin_of(confidence) + BINS * np.arange(seeds)[:, None]
    gaps = weights * (confidence - correct)
    sums = np.bincount(places.ravel(), gaps.ravel(), minlength=BINS * seeds)
    return np.abs(sums.reshape(seeds, BINS)).sum(axis=1) / weights.sum(axis=1)


def expected_errors(stacks: Sequence[Stack]) -> list[Estimate]:
    """Expected calibration error of each init, mean over seeds, with its interval.

    The bootstrap over images is the basic one, which reflects the resampled errors about the
    found one: an absolute value grows with noise, found and resampled alike. The seeds' share is
    Student's interval of their mean, pooled over the inits, added in quadrature; it holds the
    images' noise a second time, so the interval is rather too wide.
    """
    by_seed = [errors_by_seed(s.confidence, s.correct, s.seen) for s in stacks]
    known = [(float(e.var(ddof=1)), len(e)) for e in by_seed if len(e) > 1]
    how = (
        "bootstrap over the images, and Student's over the seeds"
        if known
        else "bootstrap over the images; one seed, so without the seed's share"
    )
    found = []
    for stack, errors in zip(stacks, by_seed, strict=True):
        value, seeds = float(errors.mean()), student_half_width(known, [stack.n_seeds])
        low, high = _over_images(stack)
        low, high = min(low, value), max(high, value)
        low, high = value - np.hypot(value - low, seeds), value + np.hypot(high - value, seeds)
        found.append(Estimate(value=value, low=max(0.0, low), high=min(1.0, high), how=how))
    return found


def _over_images(stack: Stack) -> tuple[float, float]:
    confidence, correct, n = stack.confidence, stack.correct, len(stack.rows)

    def mean_error(drawn: np.ndarray) -> float:
        weights = np.bincount(drawn, minlength=n) * stack.seen
        return float(errors_by_seed(confidence, correct, weights).mean())

    interval = stats.bootstrap(
        (np.arange(n),),
        mean_error,
        n_resamples=RESAMPLES,
        vectorized=False,
        confidence_level=LEVEL,
        method="basic",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(interval.low), float(interval.high)


def perfect_error(stack: Stack) -> float:
    """Mean error of a model that is right as often as it says, on as many images."""
    rng, confidence = np.random.default_rng(0), stack.confidence
    drawn = (rng.random(confidence.shape) < confidence for _ in range(PERFECT))
    return float(np.mean([errors_by_seed(confidence, c, stack.seen).mean() for c in drawn]))


def _sentence(stack: Stack, error: Estimate) -> str:
    confidence, accuracy = stack.confidence[stack.seen].mean(), stack.correct[stack.seen].mean()
    return (
        f"{described({stack.init: stack})}: mean confidence {words.percent(confidence)}, accuracy "
        f"{words.percent(accuracy)}; expected calibration error "
        f"{words.number(error.value * 100, 1)} points [{words.number(error.low * 100, 1)}, "
        f"{words.number(error.high * 100, 1)}], where a perfectly calibrated model would show "
        f"{words.number(perfect_error(stack) * 100, 1)} on these n = {len(stack.rows):,} images."
    )
