import numpy as np
import pytest

from analysis.leak import Trial, Worth, divided, expected_leaks, leaked
from analysis.leak_section import worth_sentences
from trainable.splits import Partition


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


def trials(leaked=4):
    plain = [
        Trial(seed=s, grouped=False, accuracy=0.6 + s / 100, n_validation=100, leaked=leaked,
              leaked_correct=leaked // 2)
        for s in range(3)
    ]  # fmt: skip
    grouped = [
        Trial(
            seed=s,
            grouped=True,
            accuracy=0.5 + s / 100,
            n_validation=100,
            leaked=0,
            leaked_correct=0,
        )
        for s in range(3)
    ]
    return Worth(trials=(*plain, *grouped))


def test_worth_is_plain_less_grouped_and_pools_the_seeds():
    worth = trials()
    assert worth.difference.value == pytest.approx(0.1)
    assert worth.difference.low < 0.1 < worth.difference.high
    assert worth.share_right(of_leaked=True) == (6, 12)
    assert worth.share_right(of_leaked=False) == (60 + 61 + 62 - 6, 300 - 12)


def test_worth_in_words():
    said = worth_sentences(trials())
    assert "+10.0 points [" in said[0]
    assert "n = 3 seeds" in said[0]
    assert "n = 12" in said[1]
    assert "n = 288" in said[1]
    assert worth_sentences(trials(leaked=0))[1] == "None of these plain splits leaked an image."


def test_one_seed_has_no_interval():
    alone = Worth(trials=tuple(t for t in trials().trials if t.seed == 0))
    assert "(no interval: n = 1 seed each) against" in worth_sentences(alone)[0]
