import numpy as np
import pytest
from helpers.surveys import leak_trials

from analysis.survey.leakage import Worth, divided, expected_leaks, leaked
from trainable.data.splits import Partition


def a_split(train, validation):
    train, validation = np.array(train), np.array(validation)
    labels = {"train_labels": train * 0, "validation_labels": validation * 0}
    return Partition(train=train, validation=validation, **labels)


def test_divided_pairs_and_leaked_images():
    split = a_split([0, 2, 4, 5], [1, 3, 6])
    pairs = np.array([[0, 1], [1, 3], [2, 4], [3, 5], [6, 7], [2, 3]])  # row 7 takes no part
    assert divided(pairs, split).tolist() == [True, False, False, True, False, True]
    assert leaked(pairs, split).tolist() == [1, 3]


def test_expected_leaks_agree_with_random_splits():
    random = np.random.default_rng(0)
    pairs = np.arange(20).reshape(-1, 2)
    counts = []
    for _ in range(2000):
        rows = random.permutation(30)
        counts.append(divided(pairs, a_split(rows[6:], rows[:6])).sum())
    error = np.std(counts) / np.sqrt(len(counts))
    assert expected_leaks(10, 30, 6) == pytest.approx(np.mean(counts), abs=4 * error)


def test_worth_is_plain_minus_grouped_and_pools_the_seeds():
    worth = Worth(trials=leak_trials())
    assert worth.difference.value == pytest.approx(0.1)
    assert worth.difference.low < 0.1 < worth.difference.high
    assert worth.share_right(of_leaked=True) == (6, 12)
    assert worth.share_right(of_leaked=False) == (60 + 61 + 62 - 6, 300 - 12)
