"""How often predictions from few labels of real images cover what more labels brought.

    PYTHONPATH=tests:. python -m helpers.real_curves --data sdss_gz1.h5 galaxy10_decals

Each data set is an HDF5 file in Galaxy10's layout or a folder of images by class. A quarter of its images is
never trained on. From the rest, labelled images are drawn again and again, smaller budgets inside larger
ones, and three methods are trained: a linear probe (multinomial logistic regression) on the features of
the frozen `vit_demo` with weights from photographs, another on one with random weights, and the whole
network from scratch.

What all draws of a budget score on all test images is its true accuracy. A sweep is some of the draws,
at budgets up to the largest that it may see, on some of the test images drawn with replacement, as if they were
a sample of many such images. What the report would predict from it for 1.5, 2 and 4 times the largest budget
is compared with what was found there.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import tyro
from helpers import curve_coverage, simulation
from helpers.curve_coverage import AHEAD
from helpers.surveys import ROOT
from numpy.typing import NDArray
from PIL import Image
from sklearn.linear_model import LogisticRegression
from torch import nn
from torchvision.datasets import ImageFolder

from analysis.stats.seed_predictions import CellRuns
from trainable.data.dataset import open_survey
from trainable.data.pixels import normalise
from trainable.data.preprocess import transform_images
from trainable.models import architectures

ARCH = "vit_demo"
PROBES = {"probe, photographs": "photographs", "probe, random weights": None}
"""Method → weights of the frozen network."""
SCRATCH = "from scratch"
BUDGETS = (13, 25, 50, 100, 200, 400)
"""A sweep sees these up to its largest, the third or a later one."""
LARGEST_FROM_SCRATCH = 100
"""A sweep's largest budget from scratch, where a trial takes seconds and not milliseconds."""
LEFT_OUT = "Don't know"
"""A class that is none, of Galaxy Zoo 1; its spirals are one class, whichever way they turn."""
TEST_SHARE = 0.25
STRENGTH = 0.1
"""C of the probe, which does best of 0.001, 0.01, 0.1 and 1 at most budgets."""
BATCH, STEPS, EPOCHS, RATE = 16, 150, 20, 1e-3
"""From scratch: AdamW, one cycle, `STEPS` or `EPOCHS` if these are more."""
SEEDS = (1, 2, 3, 5, 10)
IMAGES = (100, 300, 1000)

Correct = dict[int, NDArray[np.bool_]]
"""Budget → (D, T) bool: the draw's model is right on the test image."""


@dataclass(frozen=True, kw_only=True)
class RealSweeps:
    """Measure the coverage of predictions on real images."""

    data: tuple[Path, ...]
    """HDF5 files in Galaxy10's layout, or folders of images by class."""
    draws: int = 100
    """Draws of each budget for the probes."""
    scratch_draws: int = 40
    """Draws of each budget from scratch; 0: none. More than an hour of one CPU core for 40 and two data sets."""
    repeats: int = 300
    """Sweeps of each data set, method and largest budget."""
    keep: Path | None = None
    """Folder for what is trained from scratch, to resume. None: it is not kept."""
    out: Path = ROOT / "docs" / "statistics"
    """Folder for the table."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RealSet:
    """Labelled images, and which are never trained on."""

    name: str
    images: NDArray[np.uint8]
    """(N, 32, 32, 3)."""
    labels: NDArray[np.integer]
    """(N,) 0 to C - 1."""
    test: NDArray[np.integer]
    """(T,) rows."""
    pool: NDArray[np.integer]
    """(N - T,) rows."""

    def order(self, draw: int) -> NDArray[np.integer]:
        """The pool in the order in which one draw labels it."""
        return np.random.default_rng(draw).permutation(self.pool)

    def largest(self) -> list[int]:
        """The largest budgets that a sweep may see: four times as many are in the pool."""
        return [n for n in BUDGETS[2:] if AHEAD[-1] * n <= len(self.pool)]


def read(path: Path) -> RealSet:
    """The images at the network's size, and a test set of a quarter of them."""
    shrunk = transform_images("resize_crop", architectures.architecture(ARCH).image_size)
    if path.is_dir():
        pairs = [(np.asarray(shrunk(image)), label) for image, label in ImageFolder(path)]
        images, labels = (np.stack(column) for column in zip(*pairs, strict=True))
    else:
        survey = open_survey(path)
        names = np.array([name.split(",")[0] for name in survey.class_names])[survey.labels]
        rows = np.flatnonzero(names != LEFT_OUT)
        raw = (Image.fromarray(image) for image in survey.read_images(rows))
        images = np.stack([np.asarray(shrunk(image)) for image in raw])
        labels = np.unique(names[rows], return_inverse=True)[1]
    order = np.random.default_rng(0).permutation(len(labels))
    n_test = round(TEST_SHARE * len(labels))
    return RealSet(
        name=path.stem, images=images, labels=labels, test=order[:n_test], pool=order[n_test:]
    )


def batch(images: NDArray[np.uint8]) -> torch.Tensor:
    """(n, 3, S, S) float32 as the network takes it."""
    spec = architectures.architecture(ARCH)
    return normalise(torch.from_numpy(images), spec.mean, spec.std)


def features(real: RealSet, weights: str | None) -> NDArray[np.float64]:
    """(N, D) of the frozen network."""
    model = architectures.build(
        ARCH,
        num_classes=2,
        init="pretrained" if weights else "scratch",
        weights=weights,
        trained="head",
        seed=0,
    )
    model.set_submodule(architectures.architecture(ARCH).head, nn.Identity())
    return outputs(model, real.images)


def outputs(model: nn.Module, images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(n, D) of any number of images."""
    model.eval()
    with torch.inference_mode():
        parts = [model(batch(part)) for part in np.array_split(images, 1 + len(images) // 256)]
    return torch.cat(parts).numpy().astype(float)


def probe(real: RealSet, x: NDArray[np.float64], rows: NDArray[np.integer]) -> NDArray[np.bool_]:
    """(T,) where a probe is right that was trained on some rows of the features."""
    mean, scale = x[rows].mean(axis=0), x[rows].std(axis=0) + 1e-6
    y = real.labels[rows]
    if len(set(y)) == 1:
        return real.labels[real.test] == y[0]
    model = LogisticRegression(C=STRENGTH, max_iter=1000).fit((x[rows] - mean) / scale, y)
    return model.predict((x[real.test] - mean) / scale) == real.labels[real.test]


def from_scratch(real: RealSet, rows: NDArray[np.integer], seed: int) -> NDArray[np.bool_]:
    """(T,) where a network is right that was trained on some rows, from random weights."""
    model = architectures.build(
        ARCH,
        num_classes=int(real.labels.max()) + 1,
        init="scratch",
        weights=None,
        trained="all",
        seed=seed,
    )
    steps = max(STEPS, EPOCHS * len(rows) // BATCH)
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    random = np.random.default_rng(seed)
    model.train()
    for _ in range(steps):
        chosen = random.choice(rows, min(BATCH, len(rows)), replace=False)
        logits = model(batch(real.images[chosen]))
        nn.functional.cross_entropy(logits, torch.from_numpy(real.labels[chosen])).backward()
        optimiser.step()
        optimiser.zero_grad()
        schedule.step()
    return outputs(model, real.images[real.test]).argmax(axis=1) == real.labels[real.test]


def budgets(largest: Sequence[int]) -> list[int]:
    """All that sweeps see or are asked about, with these largest budgets."""
    seen = {n for n in BUDGETS if n <= max(largest)}
    return sorted(seen | {int(times * n) for n in largest for times in AHEAD})


def trained(real: RealSet, settings: RealSweeps) -> dict[str, Correct]:
    """Method → what each draw of each budget gets right."""
    found: dict[str, Correct] = {}
    for method, weights in PROBES.items():
        x = features(real, weights)
        found[method] = {
            n: np.stack([probe(real, x, real.order(d)[:n]) for d in range(settings.draws)])
            for n in budgets(real.largest())
        }
    if settings.scratch_draws:
        few = [n for n in real.largest() if n <= LARGEST_FROM_SCRATCH]
        found[SCRATCH] = {
            n: np.stack([_kept(real, settings, n, d) for d in range(settings.scratch_draws)])
            for n in budgets(few)
        }
    return found


def _kept(real: RealSet, settings: RealSweeps, n: int, draw: int) -> NDArray[np.bool_]:
    """One draw from scratch, read if it was trained before."""
    if settings.keep is None:
        return from_scratch(real, real.order(draw)[:n], draw)
    file = settings.keep / f"{real.name}-{n}-{draw}.npy"
    if not file.exists():
        settings.keep.mkdir(parents=True, exist_ok=True)
        np.save(file, from_scratch(real, real.order(draw)[:n], draw))
    return np.load(file)


def sweep(random: np.random.Generator, correct: Correct, largest: int) -> list[CellRuns]:
    """The cells of some draws, on some of the test images."""
    n_draws, n_test = correct[largest].shape
    draws = random.permutation(n_draws)[: random.choice(SEEDS)]
    images = random.integers(0, n_test, random.choice(IMAGES))
    return [
        replace(simulation.cell(correct[n][np.ix_(draws, images)], seeds=draws), n_labels=n)
        for n in BUDGETS
        if n <= largest
    ]


def found_at(correct: Mapping[int, NDArray[np.bool_]], labels: NDArray[np.float64]):
    """The mean accuracy of all draws on all test images at each number of labels."""
    return np.array([correct[int(n)].mean() for n in labels])


def coverage(real: RealSet, settings: RealSweeps) -> pd.DataFrame:
    """`curve_coverage.judged` of sweeps of one data set."""
    rows = []
    for method, correct in trained(real, settings).items():
        for largest in [n for n in real.largest() if AHEAD[-1] * n in correct]:
            of = {"data": real.name, "method": method, "largest budget": largest}
            for number in range(settings.repeats):
                cells = sweep(np.random.default_rng(number), correct, largest)
                judged = curve_coverage.judged(
                    curve_coverage.deviating, cells, partial(found_at, correct), 300
                )
                rows += [of | row for row in judged]
    return pd.DataFrame(rows)


def main(settings: RealSweeps) -> None:
    """Write the table."""
    torch.set_num_threads(1)
    rows = pd.concat([coverage(read(path), settings) for path in settings.data])
    every = rows.assign(**{"data": "all", "method": "all", "largest budget": "all"})
    by = ("data", "method", "largest budget")
    table = curve_coverage.summarised(pd.concat([rows, every]), *by)
    curve_coverage.write(table, settings.out / "curves_real.md")
    ahead = rows.rename(columns={"times": "times the largest budget"})
    table = curve_coverage.summarised(ahead, "times the largest budget")
    curve_coverage.write(table, settings.out / "curves_real_ahead.md")


if __name__ == "__main__":
    sys.exit(main(tyro.cli(RealSweeps, description=__doc__)))
