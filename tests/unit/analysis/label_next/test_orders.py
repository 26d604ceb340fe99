"""Orders on features of a known geometry."""

import numpy as np
import pytest

from analysis.label_next import orders
from analysis.label_next.orders import ORDERS, WITH_CLASSIFIER, Order, Pool
from trainable.errors import SettingsError

CLUSTERS, EACH = 4, 15


@pytest.fixture
def clusters():
    """Four tight clusters of directions; the first image of each lies in its middle."""
    random = np.random.default_rng(0)
    centres = np.eye(CLUSTERS, 8)
    features = np.repeat(centres, EACH, axis=0) + random.normal(0, 0.04, (CLUSTERS * EACH, 8))
    features[::EACH] = [features[c * EACH : (c + 1) * EACH].mean(0) for c in range(CLUSTERS)]
    return Pool(features=features.astype(np.float32), n_classes=CLUSTERS)


def of_cluster(rows):
    return sorted((np.asarray(rows) // EACH).tolist())


def none_labelled(pool):
    return np.zeros(pool.n, bool)


def probabilities(pool, seed=0):
    return np.random.default_rng(seed).dirichlet(np.ones(pool.n_classes), pool.n)


def test_typiclust_takes_the_most_typical_image_of_each_cluster(clusters):
    chosen = Order("typiclust", clusters, 0).next(none_labelled(clusters), CLUSTERS)
    assert of_cluster(chosen) == [0, 1, 2, 3]
    for row in chosen:
        own = clusters.unit[row // EACH * EACH :][:EACH]
        distances = np.linalg.norm(own[:, None] - own, axis=2).mean(1)
        assert distances[row % EACH] == distances.min()


@pytest.mark.parametrize("name", ["typiclust", "probcover"])
def test_labelled_clusters_come_after_those_without(name, clusters):
    labelled = none_labelled(clusters)
    labelled[[0, EACH]] = True
    assert of_cluster(Order(name, clusters, 0).next(labelled, 2)) == [2, 3]


def test_probcover_covers_each_cluster_with_one_image(clusters):
    assert 0.2 < clusters.radius < 1.4  # more than a cluster is wide, less than they are apart
    chosen = Order("probcover", clusters, 0).next(none_labelled(clusters), CLUSTERS)
    assert of_cluster(chosen) == [0, 1, 2, 3]


def test_radius_has_the_purity_that_it_promises():
    random = np.random.default_rng(1)
    features = random.normal(0, 1, (120, 5)).astype(np.float32) + np.repeat(np.eye(2, 5), 60, 0)
    pool = Pool(features=features.astype(np.float32), n_classes=2)
    from sklearn.cluster import KMeans

    cluster = KMeans(2, n_init=10, random_state=0).fit_predict(pool.unit)
    nearest_other = np.where(cluster[:, None] != cluster, pool.distances, np.inf).min(1)
    step = pool.distances.max() / orders.RADII
    assert (nearest_other > pool.radius).mean() >= orders.PURITY
    assert (nearest_other > pool.radius + step).mean() < orders.PURITY


def test_margin_orders_by_the_difference_of_the_two_highest(clusters):
    given = probabilities(clusters)
    highest = np.sort(given, axis=1)
    margins = highest[:, -1] - highest[:, -2]
    chosen = Order("margin", clusters, 0).next(none_labelled(clusters), 7, given)
    assert chosen.tolist() == np.argsort(margins)[:7].tolist()


def test_badge_begins_with_the_longest_gradient_and_takes_no_two_alike(clusters):
    given = np.tile([0.97, 0.01, 0.01, 0.01], (clusters.n, 1))
    unsure = [3, EACH + 3, 2 * EACH + 3]
    given[unsure] = 0.25
    chosen = Order("badge", clusters, 0).next(none_labelled(clusters), 3, given)
    lengths = np.linalg.norm(given - np.eye(4)[given.argmax(1)], axis=1)
    lengths *= np.linalg.norm(clusters.standardised, axis=1)
    assert chosen[0] == lengths.argmax()
    assert sorted(chosen.tolist()) == unsure


@pytest.mark.parametrize("name", ORDERS)
def test_no_image_twice_and_the_same_again_with_the_same_seed(name, clusters):
    given = probabilities(clusters) if name in WITH_CLASSIFIER else None

    def everything(seed):
        labelled, order, chosen = none_labelled(clusters), Order(name, clusters, seed), []
        labelled[:5] = True
        while not labelled.all():
            rows = order.next(labelled, 9, given)
            assert len(rows) == min(9, (~labelled).sum())
            assert not labelled[rows].any()
            labelled[rows] = True
            chosen += rows.tolist()
        return chosen

    first = everything(3)
    assert sorted(first) == list(range(5, clusters.n))
    assert everything(3) == first
    if name == "random":
        assert everything(4) != first


@pytest.mark.parametrize("name", ["probcover", "margin", "badge", "random"])
def test_the_first_of_many_are_those_of_a_smaller_budget(name, clusters):
    given = probabilities(clusters) if name in WITH_CLASSIFIER else None
    few, many = (
        Order(name, clusters, 1).next(none_labelled(clusters), number, given) for number in (5, 20)
    )
    assert many[:5].tolist() == few.tolist()


@pytest.mark.parametrize("name", ["typiclust", "probcover", "margin", "badge"])
def test_copies_come_last(name):
    random = np.random.default_rng(0)
    different = random.normal(size=(6, 4)).astype(np.float32)
    pool = Pool(features=np.concatenate([different, different, different]), n_classes=2)
    labelled = none_labelled(pool)
    labelled[[0, 7]] = True  # so that of images 0 and 1 nothing new is left
    given = np.tile(random.dirichlet(np.ones(2), 6), (3, 1))
    chosen = Order(name, pool, 0).next(labelled, 16, given if name in WITH_CLASSIFIER else None)
    assert sorted(chosen.tolist()) == np.flatnonzero(~labelled).tolist()
    assert sorted((chosen[:4] % 6).tolist()) == [2, 3, 4, 5]


def test_all_images_alike():
    pool = Pool(features=np.ones((9, 3), np.float32), n_classes=2)
    for name in ORDERS:
        chosen = Order(name, pool, 0).next(none_labelled(pool), 9, np.full((9, 2), 0.5))
        assert sorted(chosen.tolist()) == list(range(9))


def test_too_many_images_are_refused(clusters, monkeypatch):
    monkeypatch.setattr(orders, "MOST_DISTANCES", 10)
    with pytest.raises(SettingsError, match=r"distances of all pairs of 60 images.*--order typi"):
        Order("probcover", clusters, 0)
    monkeypatch.setattr(orders, "MOST_GRADIENTS", 10)
    with pytest.raises(SettingsError, match="BADGE holds a gradient of each of 60 images"):
        Order("badge", clusters, 0).next(none_labelled(clusters), 1, probabilities(clusters))


def test_mini_batches_beyond_a_size(clusters, monkeypatch):
    monkeypatch.setattr(orders, "EXACT_KMEANS", 0)
    chosen = Order("typiclust", clusters, 0).next(none_labelled(clusters), CLUSTERS)
    assert len(set(chosen.tolist())) == CLUSTERS
