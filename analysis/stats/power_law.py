"""What more labels would buy: learning curves, continued beyond the largest budget.

The mean accuracy of a method over its draws (which images are labelled, and the seed), as a function
of the number of labels n, is taken to be an inverse power law with an offset,

    accuracy(n) = a - b n^-c,   written as   f + s (1 - (n / m)^-c) / (c ln 2),

with the accuracy f and the slope s (per doubling, never negative) at the largest budget m. All draws
of all budgets are fitted at once, weighted by what makes each uncertain:

- **test images**, which all trials share: the covariance of the cells' means over resampled images
  (`bootstrap.draw`);
- **draws**: the variance between the trials of a cell that the images do not explain. It falls with n
  as a power of n, since a model of few labels depends more on which these are. If each cell
  has one trial, how far the cells lie from the curve is all that tells it;
- **the form of the curve**: no learning curve is a power law exactly. A smooth deviation is added, whose
  slope is a random walk in log n. Its size is `MODEL_ERROR` times the mean slope observed.

Exponents near `EXPONENT` are taken to be more probable, after the exponents of learning curves that were
measured (0.07 to 0.35 of errors without an offset: Hestness et al. 2017, arXiv:1712.00409; 0.5 and 1 are
what theory gives with one: Viering and Loog 2022, arXiv:2103.10948). Exponents may be negative: a curve may
still bend upwards, as where few labels are hardly better than guessing. Curves (`DRAWS` of them) are
drawn from the posterior distribution, which is the sum of normal ones over a grid of exponents and of
variances between draws.

**What is predicted** is the mean accuracy over draws, of any images like the test images, after
training with n labels drawn like those of the sweep: the accuracy that infinitely many seeds
would have on infinitely many test images. One model trained once varies around it, by the spread between
seeds.

**Why not another method.** On 240 simulated sweeps the intervals of the gain cover 98% as they are; they would be
9.8 points wide on average at 95%. scikit-learn's Gaussian process on log n covers 68%, and 27.8 points would be needed for 95%;
the power law without deviation 42%, and 37.9 points. Measured coverage: docs/statistics.md, by
``tests/helpers/curve_coverage.py`` and ``tests/helpers/real_curves.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from analysis import formatting
from analysis.stats.bootstrap import RESAMPLES, draw
from analysis.stats.estimates import LEVEL, percentiles
from analysis.stats.label_efficiency import BELOW, NEVER, first_fraction_reaching
from analysis.stats.seed_predictions import CellRuns

MODEL_ERROR = 0.5
"""By how much the slope of a learning curve may leave that of the power law over one doubling of the
labels (standard deviation), as a share of the mean slope observed. Ours: the smallest multiple of 0.1
with which prediction intervals of the gain cover 90% or more in each of six families of simulated
curves. Of the gains predicted on real images 96% are covered, 74% in the worst of twelve curves."""
EXPONENT = (0.4, 0.4)
"""Mean and standard deviation of the exponent c before any data. Ours, as `MODEL_ERROR`."""
FURTHEST = 4
"""Nothing is predicted beyond so many times the largest budget."""
WIDEST = 0.10
"""Nothing is predicted where the interval of the gain is wider, 0–1: such an interval decides
nothing."""
LEAST_BUDGETS = 3
"""A curve with three parameters needs as many points."""
DRAWS = 4000

EXPONENTS = np.linspace(-1, 2.5, 25) + 0.001
"""c; never 0, of which the curve is the limit."""
SPREADS = np.geomspace(0.001, 0.08, 12)
"""Standard deviation between draws at the largest budget, all equally probable before any data."""
FALLS = np.array([0.0, 0.3, 0.6, 1.0])
"""The power of n with which it falls."""
SPREAD_LIMIT = 0.12
"""The standard deviation between draws is not above it at any budget."""
STEP = 1 / 8
"""Of the numbers of labels at which curves are kept, in doublings; linear in log n between them."""
FLAT = 0.002
"""A curve that looks flat may rise by about so much a doubling."""

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Refused:
    """Why something is not predicted."""

    reason: str
    """A clause without a full stop."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """An accuracy, or a gain of accuracy, at a number of labels that no trial had."""

    labels: float
    value: float
    """Median of the curves, 0–1."""
    low: float
    """Lower end of the 95% prediction interval."""
    high: float

    @property
    def as_gain(self) -> str:
        """In points, with a sign: "+2.1 points (95% prediction interval +0.9 to +3.2)"."""
        value, low, high = map(formatting.points, (self.value, self.low, self.high))
        return f"{value} points ({LEVEL:.0%} prediction interval {low} to {high})"

    @property
    def as_accuracy(self) -> str:
        """In per cent: "71.2% (95% prediction interval 69.0% to 73.1%)"."""
        value, low, high = map(formatting.percent, (self.value, self.low, self.high))
        return f"{value} ({LEVEL:.0%} prediction interval {low} to {high})"


@dataclass(frozen=True, kw_only=True)
class LabelsNeeded:
    """How many labels an accuracy takes: a number, `BELOW` or `NEVER`."""

    accuracy: float
    """The accuracy to be reached, 0–1."""
    value: float
    """Median of the curves."""
    low: float
    """Lower end of the 95% prediction interval."""
    high: float
    smallest: int
    """The smallest budget tested: `BELOW` means it or fewer."""
    furthest: int
    """The most labels that predictions go to: `NEVER` means more."""

    @property
    def text(self) -> str:
        """The number in two or three digits: "1,850", "≤ 50" or "> 4,000"."""
        return self._as_text(self.value)

    @property
    def interval(self) -> str:
        """Its interval: "95% prediction interval 1,200 to > 4,000"."""
        return f"{LEVEL:.0%} prediction interval {self.ends}"

    @property
    def ends(self) -> str:
        """Both ends of the interval: "1,200 to > 4,000", or one if they are alike."""
        return " to ".join(dict.fromkeys((self._as_text(self.low), self._as_text(self.high))))

    def __str__(self) -> str:
        return f"{self.text} ({self.interval})"

    def _as_text(self, labels: float) -> str:
        if labels == BELOW:
            return f"≤ {self.smallest:,}"
        if labels == NEVER:
            return f"> {self.furthest:,}"
        return f"{rounded(labels, 3 if labels >= 1000 else 2):,}"


@dataclass(frozen=True, kw_only=True)
class LearningCurve:
    """The accuracy of one method over the number of labels, as it may be: `fit` makes it."""

    cells: tuple[CellRuns, ...]
    """C cells by ascending number of labels."""
    labels: Array
    """(G,) numbers of labels, ascending: from the smallest budget to `FURTHEST` times the
    largest."""
    curves: Array
    """(B, G) accuracy there of each curve drawn, 0–1, never falling."""
    baseline: Array | None
    """(B,) the baseline's true accuracy, drawn together with the curves; None without a
    baseline."""
    n_images: int
    """Images that the trials are scored on."""

    @property
    def smallest(self) -> int:
        """The smallest budget."""
        return self.cells[0].n_labels

    @property
    def largest(self) -> int:
        """The largest budget."""
        return self.cells[-1].n_labels

    @cached_property
    def furthest(self) -> int:
        """The most labels that something is predicted for; the largest budget or more."""
        told = [
            n
            for n in self.labels[self.labels > self.largest]
            if isinstance(self.gain(n - self.largest), Prediction)
        ]
        if len(told) and told[-1] >= FURTHEST * self.largest:
            return FURTHEST * self.largest
        return max(int(_floor(told[-1])) if told else 0, self.largest)

    @property
    def how(self) -> str:
        """What the curve rests on: "4 budgets from 50 to 400 labels, n = 3 seeds, 428 images"."""
        seeds = formatting.seeds(cell.n for cell in self.cells)
        return (
            f"{len(self.cells)} budgets from {self.smallest:,} to {self.largest:,} labels, {seeds}, "
            f"{self.n_images:,} images"
        )

    def accuracy(self, labels: float) -> Prediction | Refused:
        """The accuracy with so many labels; beyond the largest budget if the gain can be told."""
        if labels < self.smallest:
            return Refused(
                reason=f"{labels:,.0f} labels are fewer than the smallest budget, {self.smallest:,}"
            )
        if labels > self.largest:
            gain = self.gain(labels - self.largest)
            if isinstance(gain, Refused):
                return gain
        return _predicted(labels, self._at(labels))

    def gain(self, more: float) -> Prediction | Refused:
        """What `more` labels than the largest budget add to the accuracy.

        Refused beyond `FURTHEST` times the largest budget, and if the interval is wider than `WIDEST`.
        """
        labels = self.largest + more
        if labels > FURTHEST * self.largest:
            return Refused(
                reason=f"{labels:,.0f} labels are more than {FURTHEST} times the largest budget, "
                f"{self.largest:,}, and nothing is predicted so far beyond it"
            )
        gain = _predicted(labels, self._at(labels) - self._at(self.largest))
        if gain.high - gain.low > WIDEST:
            points = formatting.number(100 * (gain.high - gain.low), 0)
            return Refused(
                reason=f"the {LEVEL:.0%} prediction interval of the gain with {labels:,.0f} labels would "
                f"be {points} points wide, and nothing is predicted above {100 * WIDEST:.0f}"
            )
        return gain

    def needed(self, target: float | Array) -> LabelsNeeded | Refused:
        """How many labels it takes to reach an accuracy, as far as `furthest`.

        Refused if the interval says nothing: if it reaches from `BELOW` to `NEVER`.

        Parameters
        ----------
        target
            An accuracy, 0–1, or one for each curve: (B,), e.g. `baseline`.
        """
        targets = np.broadcast_to(np.asarray(target, dtype=float), len(self.curves))
        reached = first_fraction_reaching(self.labels.tolist(), self.curves, targets)
        reached = np.where(reached > self.furthest, NEVER, reached)
        value = float(np.quantile(reached, 0.5, method="inverted_cdf"))
        low, high = percentiles(reached)
        accuracy = float(np.median(targets))
        if low == BELOW and high == NEVER:
            return Refused(
                reason=f"the prediction interval of the labels for {formatting.percent(accuracy)} "
                f"reaches from {self.smallest:,} or fewer to more than {self.furthest:,}"
            )
        return LabelsNeeded(
            accuracy=accuracy,
            value=value,
            low=low,
            high=high,
            smallest=self.smallest,
            furthest=self.furthest,
        )

    def _at(self, labels: float) -> Array:
        """(B,) accuracy of each curve, linear in log n between the numbers that are kept."""
        logs = np.log(self.labels)
        after = int(np.clip(np.searchsorted(logs, np.log(labels)), 1, len(logs) - 1))
        share = (np.log(labels) - logs[after - 1]) / (logs[after] - logs[after - 1])
        return (1 - share) * self.curves[:, after - 1] + share * self.curves[:, after]


@dataclass(frozen=True, kw_only=True)
class Observed:
    """The mean accuracies of C cells, and what makes them uncertain."""

    labels: Array
    """(C,) numbers of labels."""
    means: Array
    """(C,) mean accuracies over draws, 0–1."""
    draws: Array
    """(C,) numbers of draws."""
    variances: Array
    """(C,) variance between the draws of a cell (ddof 1); 0 if it has one."""
    explained: Array
    """(C,) the part of it that comes from which image a model happens to classify correctly."""
    images: Array
    """(C, C) covariance of the means over resampled images."""
    n_images: int
    """N."""

    def part(self, cells: slice) -> Observed:
        """Some of the cells."""
        return Observed(
            labels=self.labels[cells],
            means=self.means[cells],
            draws=self.draws[cells],
            variances=self.variances[cells],
            explained=self.explained[cells],
            images=self.images[cells, cells],
            n_images=self.n_images,
        )


def observed(cells: Sequence[CellRuns], *, resamples: int = RESAMPLES) -> Observed | None:
    """What is known of several cells together; None if predictions are not stored."""
    drawn = draw(cells, pools=range(len(cells)), resamples=resamples)
    if drawn is None:
        return None
    explained = np.zeros(len(cells))
    if drawn.seeds is not None:
        explained = drawn.seeds.images[drawn.seeds.pool]
    n = drawn.n_images
    return Observed(
        labels=np.array([cell.n_labels for cell in cells], dtype=float),
        means=np.array([cell.accuracy for cell in cells]),
        draws=np.array([cell.n for cell in cells], dtype=float),
        variances=np.array([np.var(c.accuracies, ddof=1) if c.n > 1 else 0.0 for c in cells]),
        explained=explained,
        # two images of each outcome, so that perfect accuracy is no certainty (Agresti & Coull 1998)
        images=np.atleast_2d(np.cov(drawn.over_images.T)) + 2 / n**2,
        n_images=n,
    )


def learning_curves(
    methods: Mapping[str, Sequence[CellRuns]], baseline: str | None = None
) -> dict[str, LearningCurve | Refused]:
    """The learning curve of each method.

    Parameters
    ----------
    methods
        Name → cells by ascending number of labels.
    baseline
        Name of the method whose last cell is the baseline of the others; None without one.
    """
    reference = () if baseline is None else methods[baseline]
    return {
        name: fit(cells, () if name == baseline else reference) for name, cells in methods.items()
    }


def fit(
    cells: Sequence[CellRuns],
    baseline: Sequence[CellRuns] = (),
    *,
    resamples: int = RESAMPLES,
) -> LearningCurve | Refused:
    """The learning curve of one method.

    Parameters
    ----------
    cells
        Of one method, by ascending number of labels.
    baseline
        Cells of the method that is the baseline, by ascending number of labels; the last one's accuracy
        is the baseline, and the others help to tell how much its draws vary. Empty without one.
    resamples
        Of the images.
    """
    if len(cells) < LEAST_BUDGETS:
        return Refused(
            reason=f"a learning curve needs {LEAST_BUDGETS} numbers of labels or more, and complete "
            f"trials have {len(cells)}"
        )
    known = observed([*cells, *baseline], resamples=resamples)
    if known is None:
        return Refused(reason="not all trials have stored predictions")
    random = np.random.default_rng(0)
    own = known.part(slice(len(cells)))
    beyond = np.log2(FURTHEST)
    first = np.log2(own.labels[0] / own.labels[-1])
    steps = np.linspace(first, beyond, int(np.ceil((beyond - first) / STEP)) + 1)
    doublings = np.union1d(steps, np.log2(own.labels / own.labels[-1]))
    law = _posterior(own, random)
    curves, levels = _conditioned(law, known, doublings, random)
    if baseline:
        spread = _spread_of_last(known.part(slice(len(cells), None)), random)
        noise = random.standard_normal(DRAWS) * spread / np.sqrt(known.draws[-1])
        levels = np.clip(levels + noise, 0, 1)
    return LearningCurve(
        cells=tuple(cells),
        labels=own.labels[-1] * 2**doublings,
        curves=curves,
        baseline=levels if baseline else None,
        n_images=known.n_images,
    )


@dataclass(frozen=True, kw_only=True)
class _PowerLaws:
    """Power laws drawn from the posterior distribution, one for each of B curves."""

    exponent: Array
    """(B,) c."""
    level: Array
    """(B,) accuracy at the largest budget."""
    slope: Array
    """(B,) per doubling there, 0 or more."""
    spread: Array
    """(B, C) standard deviation between the draws of each cell."""
    precision: NDArray[np.floating[Any]]
    """(B, C, C) inverse covariance of the means around the power law."""
    deviation: float
    """Size of the deviation from the power law: of its slope, after one doubling."""

    def at(self, doublings: Array) -> Array:
        """(B, G) accuracies at numbers of labels, (G,) doublings of the largest budget."""
        return self.level[:, None] + self.slope[:, None] * _shape(self.exponent, doublings)


def _shape(exponents: Array, doublings: Array) -> Array:
    """(E, G): a power law of slope 1 a doubling at 0 doublings, where it is 0."""
    rate = exponents[:, None] * np.log(2)
    return -np.expm1(-rate * doublings) / rate


def _walk(a: Array, b: Array) -> Array:
    """(A, B) covariance of a deviation whose slope is a random walk from 0 doublings, both ways."""
    near, far = np.sort(np.abs([a[:, None] + 0 * b, b + 0 * a[:, None]]), axis=0)
    return np.where(a[:, None] * b > 0, near**2 * (3 * far - near) / 6, 0)


def _posterior(known: Observed, random: np.random.Generator) -> _PowerLaws:
    """Power laws that fit the cells, by how probable each is.

    For each exponent and each variance between draws of the grid, level and slope have a normal
    distribution (generalised least squares), cut off at slope 0.
    """
    doublings = np.log2(known.labels / known.labels[-1])
    spreads, likelihood = _spreads(known)  # (M, C), (M,)
    deviation = MODEL_ERROR * _mean_slope(known)
    each = np.eye(len(known.labels))
    covariance = known.images + (spreads**2 / known.draws)[:, :, None] * each
    covariance += deviation**2 * _walk(doublings, doublings)
    precision = np.linalg.inv(covariance)
    shapes = _shape(EXPONENTS, doublings)
    design = np.stack([np.ones_like(shapes), shapes], axis=2)  # (E, C, 2)
    projected = np.einsum("eki,mkl->emil", design, precision)
    of_fit = np.linalg.inv(np.einsum("emil,elj->emij", projected, design))
    fitted = np.einsum("emij,emjl,l->emi", of_fit, projected, known.means)
    residuals = known.means - np.einsum("eki,emi->emk", design, fitted)
    error = np.sqrt(of_fit[..., 1, 1])
    log_probability = (
        stats.norm.logpdf(EXPONENTS, *EXPONENT)[:, None]
        + likelihood
        - np.linalg.slogdet(covariance)[1] / 2
        + np.linalg.slogdet(of_fit)[1] / 2
        - np.einsum("emk,mkl,eml->em", residuals, precision, residuals) / 2
        + stats.norm.logcdf(fitted[..., 1] / error)
    )
    e, m = _drawn(log_probability, random)
    centre, error, of_fit = fitted[e, m], error[e, m], of_fit[e, m]
    slope = stats.truncnorm.ppf(
        random.random(DRAWS), -centre[:, 1] / error, np.inf, loc=centre[:, 1], scale=error
    )
    share = of_fit[:, 0, 1] / of_fit[:, 1, 1]
    rest = np.sqrt(of_fit[:, 0, 0] - share * of_fit[:, 0, 1])
    level = centre[:, 0] + share * (slope - centre[:, 1]) + rest * random.standard_normal(DRAWS)
    return _PowerLaws(
        exponent=EXPONENTS[e],
        level=level,
        slope=slope,
        spread=spreads[m],
        precision=precision[m],
        deviation=deviation,
    )


def _spreads(known: Observed) -> tuple[Array, Array]:
    """(M, C) standard deviations between draws that may be true, and (M,) their log likelihood."""
    doublings = np.log2(known.labels / known.labels[-1])
    last, fall = (grid.ravel() for grid in np.meshgrid(SPREADS, FALLS))
    spreads = np.minimum(last[:, None] * 2 ** (-fall[:, None] * doublings), SPREAD_LIMIT)
    total = spreads**2 + known.explained
    free = known.draws - 1  # the sum of squares is chi-squared on so many degrees of freedom
    return spreads, -(free * (np.log(total) + known.variances / total)).sum(axis=1) / 2


def _spread_of_last(known: Observed, random: np.random.Generator) -> Array:
    """(B,) standard deviation between the draws of the last cell, by all cells."""
    spreads, likelihood = _spreads(known)
    (chosen,) = _drawn(likelihood, random)
    return spreads[chosen, -1]


def _drawn(log_probability: Array, random: np.random.Generator) -> tuple[NDArray[np.intp], ...]:
    """Indices of B elements of an array, drawn by their probabilities."""
    probability = np.exp(log_probability - log_probability.max()).ravel()
    chosen = random.choice(len(probability), DRAWS, p=probability / probability.sum())
    return np.unravel_index(chosen, log_probability.shape)


def _mean_slope(known: Observed) -> float:
    """Gain per doubling between the smallest and the largest budget, and its standard error more.

    The error, as a slope that is too small by chance would make the deviation too small.
    """
    doublings = np.log2(known.labels / known.labels[-1])
    of_draws = np.where(known.draws > 1, known.variances, np.median(SPREADS) ** 2) / known.draws
    design = np.stack([np.ones_like(doublings), doublings], axis=1)
    precision = np.linalg.inv(known.images + np.diag(of_draws + SPREADS[0] ** 2))
    of_fit = np.linalg.inv(design.T @ precision @ design)
    slope = (of_fit @ design.T @ precision @ known.means)[1]
    return max(float(slope + np.sqrt(of_fit[1, 1])), FLAT)


def _conditioned(
    law: _PowerLaws, known: Observed, doublings: Array, random: np.random.Generator
) -> tuple[Array, Array]:
    """(B, G) curves, and (B,) the last cell's accuracy without the error of its images.

    The deviation and the errors of the cells are drawn before any data, and then corrected by
    what the cells' means say (Matheron's rule). The last cell is the baseline's, if there is one.
    """
    n_cells = law.spread.shape[1]
    at_cells = np.log2(known.labels[:n_cells] / known.labels[n_cells - 1])
    deviation = law.deviation * _walks(doublings, random)
    none = np.zeros(len(known.means))
    images = random.multivariate_normal(none, known.images, DRAWS, method="eigh")
    draws = random.standard_normal((DRAWS, n_cells)) * law.spread
    errors = images[:, :n_cells] + draws / np.sqrt(known.draws[:n_cells])
    own = deviation[:, np.searchsorted(doublings, at_cells)]
    unexplained = known.means[:n_cells] - law.at(at_cells) - own - errors
    weighted = np.einsum("bij,bj->bi", law.precision, unexplained)
    deviation += law.deviation**2 * weighted @ _walk(at_cells, doublings)
    curves = np.maximum.accumulate(law.at(doublings) + deviation, axis=1)
    error = images[:, -1] + weighted @ known.images[:n_cells, -1]
    return np.clip(curves, 0, 1), known.means[-1] - error


def _walks(doublings: Array, random: np.random.Generator) -> Array:
    """(B, G) integrated random walks that start at 0 doublings in both directions."""
    walks = np.zeros((DRAWS, len(doublings)))
    zero = int(np.searchsorted(doublings, 0))
    for order in (range(zero + 1, len(doublings)), range(zero - 1, -1, -1)):
        value, slope, before = np.zeros(DRAWS), np.zeros(DRAWS), zero
        for point in order:
            step = abs(doublings[point] - doublings[before])
            a, b = random.standard_normal((2, DRAWS))
            value = value + slope * step + step**1.5 * (a / 2 + b / np.sqrt(12))
            slope = slope + np.sqrt(step) * a
            walks[:, point], before = value, point
    return walks


def _predicted(labels: float, values: Array) -> Prediction:
    low, high = percentiles(values)
    return Prediction(labels=labels, value=float(np.median(values)), low=low, high=high)


def _floor(number: float) -> float:
    """The number of two significant digits at or below: 1,934 → 1,900."""
    unit = 10.0 ** (np.floor(np.log10(number)) - 1)
    return float(np.floor(number / unit) * unit)


def rounded(number: float, digits: int = 2) -> int:
    """A number of labels with so many significant digits: 1,711 → 1,700."""
    return int(float(f"{number:.{digits}g}"))
