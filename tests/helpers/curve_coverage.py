"""How often the prediction intervals of learning curves cover the true value, by simulation.

    PYTHONPATH=tests:. python -m helpers.curve_coverage

A sweep is simulated whose true curve is known, of one of six families (`FAMILIES`); trials have
budgets up to `LARGEST` labels. What the report would predict for 1.5, 2 and 4 times as many is compared
with the true curve. Writes the tables of the documentation's page on statistics; an interval of the right
width covers the true value in 95% of the simulations.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import tyro
from helpers import simulation
from helpers.surveys import ROOT
from numpy.typing import NDArray
from scipy import optimize
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor, kernels

from analysis.stats import power_law
from analysis.stats.bootstrap import draw
from analysis.stats.estimates import LEVEL, percentiles
from analysis.stats.label_efficiency import NEVER
from analysis.stats.power_law import Refused
from analysis.stats.seed_predictions import CellRuns

Array = NDArray[np.float64]
Table = Literal["families", "trials", "needed", "methods"]
Curve = Callable[[Array], Array]
"""Numbers of labels → true accuracies."""
LARGEST = 1000
AHEAD = (1.5, 2, 4)
"""Times the largest budget, where predictions are compared with the truth."""
SEEDS = (1, 2, 3, 5, 10, 20)
IMAGES = (100, 300, 1000, 3500)
RANGE = (0.25, 0.985)
"""Accuracies that simulated curves may have, up to four times the largest budget."""
STEEPEST = 0.08
"""Gain of the last doubling that simulated curves may have."""


def power(random: np.random.Generator, smallest: float) -> Curve:
    """An inverse power law with an offset, as the fit has it."""
    exponent = random.uniform(0.2, 1.2)
    return lambda n: -((n / smallest) ** -exponent)


def exponential(random: np.random.Generator, smallest: float) -> Curve:
    """An exponential approach to the last accuracy: faster than any power law."""
    scale = LARGEST * random.uniform(0.25, 2)
    return lambda n: -np.exp(-n / scale)


def logarithmic(random: np.random.Generator, smallest: float) -> Curve:
    """The same gain from each doubling, with no end."""
    return lambda n: np.log(n)


def sigmoid(random: np.random.Generator, smallest: float) -> Curve:
    """Logistic in log n: slow, then fast, then slow."""
    middle = np.log(LARGEST) - random.uniform(0, 3) * np.log(2)
    width = random.uniform(0.5, 1.2)
    return lambda n: 1 / (1 + np.exp(-(np.log(n) - middle) / width))


def double_power(random: np.random.Generator, smallest: float) -> Curve:
    """An error that falls with one power of n, and with another one beyond some n."""
    slow, fast = random.uniform(0.1, 0.4), random.uniform(0.5, 1.2)
    before, after = (slow, fast) if random.random() < 0.5 else (fast, slow)
    bend = LARGEST * 2 ** random.uniform(-2, 1)
    return lambda n: -((n / bend) ** -before) * (1 + (n / bend) ** 2) ** ((before - after) / 2)


def plateau(random: np.random.Generator, smallest: float) -> Curve:
    """Level, then a constant gain from each doubling."""
    bend, width = LARGEST * 2 ** random.uniform(-2.5, -0.5), 0.35
    return lambda n: width * np.log1p((n / bend) ** (1 / width))


FAMILIES: dict[str, Callable[[np.random.Generator, float], Curve]] = {
    "power law": power,
    "exponential": exponential,
    "logarithmic": logarithmic,
    "sigmoid": sigmoid,
    "double power law": double_power,
    "plateau, then rise": plateau,
}
"""Forms of true curves. Smallest and largest accuracy are drawn for each."""


@dataclass(frozen=True, kw_only=True)
class Simulated:
    """A sweep with a known curve."""

    curve: Curve
    cells: tuple[CellRuns, ...]
    seeds: int
    images: int


def simulated(random: np.random.Generator, family: str) -> Simulated:
    """Four to seven budgets up to `LARGEST`, of one of the families.

    The spread between seeds is 0.3 to 5 points at the smallest budget and less at the largest, at
    least 0.2 points; in half of the sweeps a seed's budgets share half of its variance, as nested draws do.
    """
    ratio = random.choice([1.6, 2, 2.5])
    labels = np.round(LARGEST / ratio ** np.arange(random.integers(4, 8))[::-1])
    curve = _scaled(random, FAMILIES[family], labels)
    seeds, images = int(random.choice(SEEDS)), int(random.choice(IMAGES))
    first = np.exp(random.uniform(np.log(0.003), np.log(0.05)))
    last = max(0.002, first * random.uniform(0.2, 1))
    spread = np.exp(np.interp(np.log(labels), np.log(labels[[0, -1]]), np.log([first, last])))
    truth = curve(labels)
    made = simulation.cells(
        random,
        truth,
        n_val=images,
        n_seeds=seeds,
        seeds=spread * 100 / simulation.in_points(truth) * simulation.SEEDS,
        nested=random.choice([0, 0.5]),
    )
    cells = [
        replace(cell, n_labels=int(n), fraction=n / LARGEST)
        for cell, n in zip(made, labels, strict=True)
    ]
    return Simulated(curve=curve, cells=tuple(cells), seeds=seeds, images=images)


def _scaled(random: np.random.Generator, family: Callable[..., Curve], labels: Array) -> Curve:
    """A curve of a family between two accuracies, neither too steep nor too high."""
    while True:
        form = family(random, labels[0])
        low = random.uniform(RANGE[0], 0.6)
        high = low + random.uniform(0.03, min(0.35, 0.93 - low))
        start, end = form(labels[[0, -1]])

        def curve(n: Array, low=low, high=high, form=form, start=start, end=end) -> Array:
            return low + (high - low) * (form(n) - start) / (end - start)

        half, whole, furthest = curve(LARGEST * np.array([0.5, 1, AHEAD[-1]]))
        if whole - half <= STEEPEST and furthest <= RANGE[1]:
            return curve


Triple = tuple[float, float, float]
"""Lower end, middle, upper end."""
Method = Callable[[Sequence[CellRuns], int], tuple[list[Triple], list[Triple]]]
"""Cells and resamples → intervals of the gain and of the accuracy at each of `AHEAD`."""


def deviating(cells: Sequence[CellRuns], resamples: int) -> tuple[list[Triple], list[Triple]]:
    """The report's: a power law and a smooth deviation from it."""
    curve = power_law.fit(cells, resamples=resamples)
    if isinstance(curve, Refused):
        raise TypeError(f"a simulated sweep was refused: {curve.reason}")
    at = np.stack([curve._at(times * curve.largest) for times in (1, *AHEAD)])
    return _intervals(at)


def least_squares(cells: Sequence[CellRuns], resamples: int) -> tuple[list[Triple], list[Triple]]:
    """a - b n^-c alone, fitted by SciPy to each of 100 joint draws of the cells' means."""
    drawn = draw(cells, resamples=100)
    labels = np.array([cell.n_labels for cell in cells]) / cells[-1].n_labels
    scale = drawn.means.std(axis=0) + 1e-4
    at = np.empty((len(AHEAD) + 1, len(drawn.means)))
    for number, means in enumerate(drawn.means):

        def residuals(x: Array, means: Array = means) -> Array:
            return (x[0] - x[1] * labels ** -x[2] - means) / scale

        bounds = ([0, 0, 0.01], [1, 1, 3])
        start = np.clip([means.max(), np.ptp(means) / 2, 0.5], 0.011, 0.99)
        a, b, c = optimize.least_squares(residuals, start, bounds=bounds).x
        at[:, number] = a - b * np.array([1, *AHEAD]) ** -c
    return _intervals(at)


def gaussian_process(
    cells: Sequence[CellRuns], resamples: int
) -> tuple[list[Triple], list[Triple]]:
    """scikit-learn's Gaussian process on log n: a line and a smooth part (Matérn 5/2).

    Its amplitudes and length are fitted; errors are those that the report's fit is given, apart from the
    images' part that is common to all budgets and is added to the accuracies afterwards.
    """
    known = power_law.observed(cells, resamples=resamples)
    common = known.images[np.triu_indices(len(cells), 1)].mean()
    between = np.maximum(known.variances - known.explained, power_law.SPREADS[0] ** 2).mean()
    errors = np.maximum(known.images.diagonal() - common, 0) + between / known.draws
    log_labels = np.log2(known.labels / known.labels[-1])[:, None]
    middle, scale = known.means.mean(), max(known.means.std(), 0.01)
    kernel = kernels.ConstantKernel(0.3, (1e-2, 10)) * kernels.Matern(3, (1, 30), nu=2.5)
    kernel += kernels.ConstantKernel(1, (1e-2, 100)) * kernels.DotProduct(1, (0.1, 10))
    white = cells[0].n == 1
    if white:  # one trial a budget: its error is fitted, too
        kernel += kernels.WhiteKernel(0.01, (1e-5, 1))
    process = GaussianProcessRegressor(kernel, alpha=errors / scale**2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # an amplitude at its bound
        process.fit(log_labels, (known.means - middle) / scale)
    mean, covariance = process.predict(np.log2([1, *AHEAD])[:, None], return_cov=True)
    if white:
        covariance -= process.kernel_.k2.noise_level * np.eye(len(mean))
    random = np.random.default_rng(0)
    drawn = random.multivariate_normal(mean, covariance, 1000, check_valid="ignore").T
    level = random.normal(0, np.sqrt(max(common, 0)), 1000)
    return _intervals(np.clip(middle + scale * drawn + level, 0, 1))


METHODS: dict[str, Method] = {
    "power law and deviation": deviating,
    "power law alone": least_squares,
    "Gaussian process": gaussian_process,
}


def _intervals(at: Array) -> tuple[list[Triple], list[Triple]]:
    """Of the gain and of the accuracy; (4, B) accuracies at the largest budget and at `AHEAD`."""

    def triple(values: Array) -> Triple:
        low, high = percentiles(values)
        return low, float(np.median(values)), high

    return [triple(row - at[0]) for row in at[1:]], [triple(row) for row in at[1:]]


@dataclass(frozen=True, kw_only=True)
class Simulations:
    """Measure the coverage of predictions beyond the largest budget."""

    repeats: int = 800
    """Simulated sweeps of each family for the tables ``families`` and ``trials``."""
    fewer: int = 150
    """The same for the tables ``needed`` and ``methods``, where one takes longer."""
    resamples: int = 300
    """Resamples of the images in each fit; the report takes 2,000."""
    out: Path = ROOT / "docs" / "statistics"
    """Folder for the tables."""
    tables: tuple[Table, ...] = ("families", "trials", "needed", "methods")
    """Which of them to write."""


def judged(
    method: Method, cells: Sequence[CellRuns], truth: Curve, resamples: int
) -> list[dict[str, object]]:
    """Intervals of gain and accuracy against their true values, a row for each of `AHEAD`.

    Parameters
    ----------
    truth
        The true curve; it is asked for the largest budget and `AHEAD` times as many labels.
    """
    largest = cells[-1].n_labels
    start, *ends = truth(largest * np.array([1.0, *AHEAD]))
    rows = []
    for times, end, gain, accuracy in zip(AHEAD, ends, *method(cells, resamples), strict=True):
        row: dict[str, object] = {"times": times, "seeds": cells[0].n}
        for name, (low, middle, high), true in (
            ("gain", gain, end - start),
            ("accuracy", accuracy, end),
        ):
            side = high - middle if true > middle else middle - low
            row |= {
                f"{name} covered": low <= true <= high,
                f"{name} width": 100 * (high - low),
                f"{name} missed by": abs(true - middle) / max(side, 1e-9),
                f"{name} beyond": 100 * max(low - true, true - high, 0),
            }
        row["given"] = gain[2] - gain[0] <= power_law.WIDEST
        rows.append(row)
    return rows


def simulations(method: Method, repeats: int, resamples: int) -> pd.DataFrame:
    """`judged` of simulated sweeps of all families; further columns ``family`` and ``images``."""
    rows = []
    for family in FAMILIES:
        for number in range(repeats):
            sweep = simulated(np.random.default_rng(number), family)
            of_sweep = {"family": family, "images": sweep.images}
            rows += [of_sweep | row for row in judged(method, sweep.cells, sweep.curve, resamples)]
    return pd.DataFrame(rows)


def percent(covered: pd.Series) -> str:
    """A share with its standard error: "95.1 ± 0.4"."""
    share = covered.mean()
    return f"{100 * share:.1f} ± {100 * np.sqrt(share * (1 - share) / len(covered)):.1f}"


def summarised(rows: pd.DataFrame, *by: str) -> pd.DataFrame:
    """Coverage and width of the predictions that are given, and how many are."""
    made = []
    for keys, group in rows.groupby(list(by), sort=False):
        given = group[group["given"]]
        made.append(
            dict(zip(by, keys, strict=True))
            | {
                "predicted, %": f"{100 * group['given'].mean():.0f}",
                "gain: coverage, %": percent(given["gain covered"]) if len(given) else "–",
                "width, points": f"{given['gain width'].mean():.1f}" if len(given) else "–",
                "accuracy: coverage, %": percent(given["accuracy covered"]) if len(given) else "–",
                "its width, points": f"{given['accuracy width'].mean():.1f}" if len(given) else "–",
                "coverage of all gains, %": percent(group["gain covered"]),
            }
        )
    return pd.DataFrame(made)


def needed(sweep: Simulated, random: np.random.Generator, resamples: int) -> dict[str, object]:
    """Whether the labels for an accuracy are covered; it takes 0.25 to 4 times `LARGEST`."""
    labels = LARGEST * np.exp(random.uniform(np.log(0.25), np.log(AHEAD[-1])))
    curve = power_law.fit(sweep.cells, resamples=resamples)
    found = curve.needed(float(sweep.curve(np.array(labels))))
    where = "more than the largest budget" if labels > LARGEST else "no more"
    if isinstance(found, Refused):
        return {"labels needed": where, "given": False}
    ends = np.clip([found.low, found.high], found.smallest, found.furthest)
    return {
        "labels needed": where,
        "given": True,
        "covered": found.low <= labels <= found.high,
        "ratio": ends[1] / ends[0],
        "open": found.high == NEVER,
    }


def needed_table(settings: Simulations) -> pd.DataFrame:
    """Coverage of the labels that an accuracy takes, by family."""
    rows = []
    for family in FAMILIES:
        for number in range(settings.fewer):
            random = np.random.default_rng(number)
            sweep = simulated(random, family)
            rows.append({"curve": family} | needed(sweep, random, settings.resamples))
    made = []
    for (family, where), group in pd.DataFrame(rows).groupby(
        ["curve", "labels needed"], sort=False
    ):
        given = group[group["given"]]
        made.append(
            {
                "curve": family,
                "labels needed": where,
                "predicted, %": f"{100 * group['given'].mean():.0f}",
                "coverage, %": percent(given["covered"].astype(bool)),
                "upper end not reached, %": f"{100 * given['open'].mean():.0f}",
                "upper over lower end": f"{given['ratio'].median():.2g}",
            }
        )
    return pd.DataFrame(made)


def methods_table(settings: Simulations) -> pd.DataFrame:
    """The report's method and two others, as they are and if widened until they cover 95%.

    The interval score is the width and 40 times the distance to what is missed (Gneiting and Raftery 2007).
    """
    made = []
    for name, method in METHODS.items():
        rows = simulations(method, settings.fewer, settings.resamples)
        factor = float(np.quantile(rows["gain missed by"], LEVEL))
        by_family = rows.groupby("family")["gain covered"].mean()
        widened = (rows["gain missed by"] <= factor).groupby(rows["family"]).mean()
        made.append(
            {
                "method": name,
                "coverage of the gain, %": percent(rows["gain covered"]),
                "lowest of a family, %": f"{100 * by_family.min():.0f}",
                "width, points": f"{rows['gain width'].mean():.1f}",
                "interval score": f"{(rows['gain width'] + 40 * rows['gain beyond']).mean():.1f}",
                "factor to 95%": f"{factor:.2f}",
                "width then": f"{factor * rows['gain width'].mean():.1f}",
                "lowest of a family then, %": f"{100 * widened.min():.0f}",
            }
        )
    return pd.DataFrame(made)


def write(table: pd.DataFrame, file: Path) -> None:
    """Print a table and write it as Markdown."""
    text = table.to_markdown(index=False, disable_numparse=True)
    print(text)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{text}\n", encoding="utf-8")


def main(settings: Simulations) -> None:
    """Write the tables."""
    chosen = set(settings.tables)
    if chosen & {"families", "trials"}:
        rows = simulations(deviating, settings.repeats, settings.resamples)
        rows = rows.rename(columns={"family": "curve", "times": "times the largest budget"})
        if "families" in chosen:
            every = rows.assign(curve="all")
            by_family = summarised(pd.concat([rows, every]), "curve", "times the largest budget")
            write(by_family, settings.out / "curves_families.md")
        if "trials" in chosen:
            rows = rows.sort_values(["seeds", "images"])
            write(summarised(rows, "seeds"), settings.out / "curves_seeds.md")
            write(summarised(rows, "images"), settings.out / "curves_images.md")
    if "needed" in chosen:
        write(needed_table(settings), settings.out / "curves_needed.md")
    if "methods" in chosen:
        write(methods_table(settings), settings.out / "curves_methods.md")


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Simulations, description=__doc__)))
