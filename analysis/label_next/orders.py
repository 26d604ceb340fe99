"""Orders in which images are labelled: TypiClust, ProbCover, margin, BADGE, and random.

All but random are those of scikit-activeml. This module gives them what they ask for: features as their
papers have them, ProbCover's radius, and the probabilities of a classifier that is fitted already.

- TypiClust (Hacohen et al. 2022): the most typical image of each of the largest clusters without a label.
- ProbCover (Yehuda et al. 2022): the image with the most images around it that no labelled one covers.
- margin (Scheffer et al. 2001): the smallest difference between the two highest probabilities.
- BADGE (Ash et al. 2020): k-means++ on the gradients that the last layer would have.

The first two look at features alone, of length 1. The last two ask a classifier, and BADGE sees features
standardised to mean 0 and standard deviation 1, as the linear probe does.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from skactiveml.base import SkactivemlClassifier
from skactiveml.pool import Badge, ProbCover, TypiClust, UncertaintySampling
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.metrics import pairwise_distances

from trainable.errors import SettingsError
from trainable.novelty import unit_length

OrderName = Literal["typiclust", "probcover", "margin", "badge", "random"]
ORDERS: tuple[OrderName, ...] = get_args(OrderName)
SHOWN: dict[OrderName, str] = {
    "typiclust": "TypiClust",
    "probcover": "ProbCover",
    "margin": "margin",
    "badge": "BADGE",
    "random": "random",
}
"""How tables and figures call them."""
WITH_CLASSIFIER: frozenset[OrderName] = frozenset({"margin", "badge"})
"""Orders that ask a classifier."""
TYPICAL_NEIGHBOURS = 20
"""Neighbours that typicality is a mean distance to, as Hacohen et al. have it; fewer in a smaller cluster."""
PURITY = 0.95
"""α of Yehuda et al.: share of images around which all are of one cluster."""
RADII = 200
"""Radii that are tried, evenly spaced up to the largest distance of two images."""
EXACT_KMEANS = 2e10
"""Images × clusters × features up to which TypiClust's k-means uses all images in each step; beyond it
takes mini-batches, as the authors do beyond 50 clusters."""
MOST_DISTANCES = 15_000
"""Images that ProbCover takes: it holds the distances of all pairs, 1.8 GB of them."""
MOST_GRADIENTS = 4e9
"""Bytes of BADGE's gradients, images × classes × features × 8."""
SAME = 5
"""Decimals to which the features of two copies of one image agree."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool:
    """Images that are labelled or may be, by their features."""

    features: NDArray[np.float32]
    """(N, D), finite."""
    n_classes: int
    seed: int = 0
    """Of the clusters that choose ProbCover's radius."""

    @property
    def n(self) -> int:
        """N."""
        return len(self.features)

    @cached_property
    def unit(self) -> NDArray[np.float32]:
        """(N, D), each of length 1."""
        return unit_length(self.features)

    @cached_property
    def standardised(self) -> NDArray[np.float32]:
        """(N, D), each feature with mean 0 and standard deviation 1, or 0 if it is constant."""
        centred = self.features - self.features.mean(0)
        deviation = centred.std(0)
        return (centred / np.where(deviation > 0, deviation, 1)).astype(np.float32)

    @cached_property
    def distinct(self) -> tuple[Pool, NDArray[np.int64], NDArray[np.int64]]:
        """The pool without copies: M images of different features, and where they are.

        Returns
        -------
        pool : Pool
            Of M images.
        first : numpy.ndarray
            (M,) rows of this pool: the first of each image's copies, ascending.
        number : numpy.ndarray
            (N,) position among the M.
        """
        _, found, number = np.unique(
            np.round(self.unit, SAME), axis=0, return_index=True, return_inverse=True
        )
        order = np.argsort(found)
        position = np.empty(len(found), np.int64)
        position[order] = np.arange(len(found))
        first = found[order]
        if len(first) == self.n:
            return self, first, position[number.ravel()]
        few = Pool(features=self.features[first], n_classes=self.n_classes, seed=self.seed)
        return few, first, position[number.ravel()]

    @cached_property
    def distances(self) -> NDArray[np.float32]:
        """(N, N), of the features of length 1; `SettingsError` for too many images."""
        if self.n > MOST_DISTANCES:
            raise SettingsError(
                f"ProbCover holds the distances of all pairs of {self.n:,} images: it takes up to "
                f"{MOST_DISTANCES:,}. Use --order typiclust, or a smaller folder"
            )
        return pairwise_distances(self.unit).astype(np.float32)

    @property
    def radius(self) -> float:
        """ProbCover's δ: the largest radius with a purity of `PURITY`, by the library.

        Purity is the share of images within whose radius all images are of their own cluster, by
        k-means with as many clusters as there are classes: no label is used (Yehuda et al. 2022).
        """
        return float(self.probcover.delta_max_)

    @cached_property
    def probcover(self) -> ProbCover:
        """The library's strategy, with the distances and the radius, which it keeps."""
        radii = np.linspace(
            0, self.distances.max(), RADII + 1
        )  # 0 is pure: it warns of none that is
        strategy = ProbCover(
            n_classes=max(2, min(self.n_classes, self.n)),
            deltas=radii,
            alpha=PURITY,
            cluster_algo_dict={"n_init": 10},
            distance_func=lambda _: self.distances,
            random_state=self.seed,
        )
        strategy.query(self.unit, np.full(self.n, np.nan))
        return strategy

    def strategy(
        self, order: OrderName, seed: int
    ) -> Callable[[NDArray[np.float64], int, NDArray[np.float64] | None], NDArray[np.int64]]:
        """The library's query of an order: (labels, number, probabilities) → rows, which may repeat.

        Parameters
        ----------
        order
            Not ``random``.
        seed
            Of ties, clusters and k-means++.
        """
        of_probcover = None
        if order == "probcover":
            of_probcover = copy.copy(self.probcover).set_params(random_state=seed)
        random = np.random.RandomState(seed)

        def query(
            labels: NDArray[np.float64], number: int, probabilities: NDArray[np.float64] | None
        ) -> NDArray[np.int64]:
            if of_probcover is not None:
                found = of_probcover.query(self.unit, labels, batch_size=number)
            elif order == "typiclust":
                clusters = int((~np.isnan(labels)).sum()) + number
                exact = self.unit.size * clusters <= EXACT_KMEANS
                algorithm: Any = KMeans if exact else MiniBatchKMeans
                strategy = TypiClust(
                    k=TYPICAL_NEIGHBOURS,
                    cluster_algo=algorithm,
                    cluster_algo_dict={"n_init": 1},
                    random_state=random.randint(2**31),
                )
                found = strategy.query(self.unit, labels, batch_size=number)
            else:
                if probabilities is None:
                    raise ValueError(f"the order {order} asks a classifier")
                applied = _Applied(probabilities[np.isnan(labels)])
                state = random.randint(2**31)
                if order == "margin":
                    strategy = UncertaintySampling(method="margin_sampling", random_state=state)
                    seen = self.unit
                else:
                    self._check_gradients()
                    strategy = Badge(random_state=state)
                    seen = self.standardised
                found = strategy.query(seen, labels, applied, fit_clf=False, batch_size=number)
            return np.asarray(found, np.int64)

        return query

    def _check_gradients(self) -> None:
        needed = self.features.size * self.n_classes * 8
        if needed > MOST_GRADIENTS:
            raise SettingsError(
                f"BADGE holds a gradient of each of {self.n:,} images, {needed / 1e9:.0f} GB: it takes "
                f"up to {MOST_GRADIENTS / 1e9:.0f} GB. Use another --order, or a smaller folder"
            )


class Order:
    """An order on a pool, asked batch after batch.

    Parameters
    ----------
    seed
        The same seed gives the same images.
    """

    def __init__(self, name: OrderName, pool: Pool, seed: int) -> None:
        self.name, self.pool = name, pool
        self.random = np.random.default_rng(seed)
        strategy_seed = int(self.random.integers(2**31))
        different = pool.distinct[0]
        is_random = name == "random" or different.n < 2  # of copies of one image none is better
        self._query = None if is_random else different.strategy(name, strategy_seed)

    def next(
        self,
        labelled: NDArray[np.bool_],
        number: int,
        probabilities: NDArray[np.float64] | None = None,
    ) -> NDArray[np.int64]:
        """The images to label next.

        Copies of an image come after all others, in random order; with ``random`` they are images like
        any other.

        Parameters
        ----------
        labelled
            (N,): has a label already.
        number
            How many; all that are left if they are fewer.
        probabilities
            (N, C), of a classifier; for `WITH_CLASSIFIER`.

        Returns
        -------
        numpy.ndarray
            (number,) rows of the pool, each once, the first to label first.
        """
        left = np.flatnonzero(~labelled)
        number = min(int(number), len(left))
        if self._query is None:
            return self.random.permutation(left)[:number]
        pool, first, position = self.pool.distinct
        known = np.zeros(pool.n, np.bool_)
        known[position[labelled]] = True
        asked = None if probabilities is None else probabilities[first]
        chosen: list[int] = []
        wanted = min(number, int((~known).sum()))
        while len(chosen) < wanted:
            # as many clusters as images, or probabilities of 0 and 1: the library may repeat an image
            labels = np.where(known, 0.0, np.nan)
            found = self._query(labels, wanted - len(chosen), asked)
            new = [row for row in dict.fromkeys(found.tolist()) if not known[row]]
            if not new:
                raise RuntimeError(f"{self.name} asks for labels of images that have one")
            chosen += new
            known[new] = True
        rows = first[chosen]
        copies = self.random.permutation(np.setdiff1d(left, rows))
        return np.concatenate([rows, copies[: number - len(rows)]]).astype(np.int64)


class _Applied(SkactivemlClassifier):
    """A classifier that has been applied: the library asks for the probabilities of unlabelled images.

    Parameters
    ----------
    probabilities
        (m, C), of the unlabelled images in their order.
    """

    def __init__(self, probabilities: NDArray[np.float64]) -> None:
        super().__init__(classes=list(range(probabilities.shape[1])))
        self.probabilities = probabilities

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> _Applied:
        """Never called: the order is asked with ``fit_clf=False``."""
        raise NotImplementedError

    def predict_proba(self, X: Any, **_: Any) -> NDArray[np.float64]:
        """The probabilities, (m, C)."""
        if len(X) != len(self.probabilities):
            raise ValueError(f"{len(X)} images for the probabilities of {len(self.probabilities)}")
        return self.probabilities
